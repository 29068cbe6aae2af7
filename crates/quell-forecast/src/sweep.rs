//! What is known of every signature at an origin, carried from origin to origin.
//!
//! One pass over the incidents serves all origins: sums that decay are brought forward instead of added up anew.
//! Absent on purpose: any look at what opened at the origin or after it.

use crate::history::{DAY, History, NONE, Series, days};

/// The windows, in days, in which openings are counted.
pub(crate) const WINDOWS: [i64; 5] = [1, 3, 7, 14, 28];
/// Half-lives, in days, of the decaying sums.
pub(crate) const HALF_LIVES: [f64; 7] = [1.0, 3.0, 7.0, 14.0, 28.0, 56.0, 112.0];
/// Where the half-life that the profile of weekdays uses stands among them: 28 days.
const WEEKDAY_HALF_LIFE: f64 = 28.0;

/// What is known of one signature before the origin.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// How many of its incidents opened before the origin.
    pub(crate) seen: usize,
    /// For each of [`WINDOWS`], the first incident not older than it.
    pub(crate) since: [usize; WINDOWS.len()],
    /// Sum of 2^(-age / half-life) as of the last incident.
    decayed: [f64; HALF_LIVES.len()],
    /// The same for each weekday (Thursday first, as the epoch began on one), half-life 28 days.
    weekdays: [f64; 7],
    /// Mean and sum of squared deviations of the gaps, by Welford's method.
    gap_mean: f64,
    gap_squares: f64,
    /// The last gap, in days.
    pub(crate) last_gap: f64,
    pub(crate) in_business_hours: usize,
    pub(crate) on_weekend: usize,
    pub(crate) urgent: usize,
}

impl State {
    fn new() -> State {
        State {
            seen: 0,
            since: [0; WINDOWS.len()],
            decayed: [0.0; HALF_LIVES.len()],
            weekdays: [0.0; 7],
            gap_mean: 0.0,
            gap_squares: 0.0,
            last_gap: 0.0,
            in_business_hours: 0,
            on_weekend: 0,
            urgent: 0,
        }
    }

    /// Takes in the next incident of the series.
    fn take(&mut self, series: &Series) {
        let at = series.opened[self.seen];
        if let Some(before) = self.seen.checked_sub(1) {
            let gap = days(at - series.opened[before]);
            for (sum, half_life) in self.decayed.iter_mut().zip(HALF_LIVES) {
                *sum *= (-gap / half_life).exp2();
            }
            self.weekdays.iter_mut().for_each(|sum| *sum *= (-gap / WEEKDAY_HALF_LIFE).exp2());
            let delta = gap - self.gap_mean;
            self.gap_mean += delta / self.seen as f64;
            self.gap_squares += delta * (gap - self.gap_mean);
            self.last_gap = gap;
        }
        self.decayed.iter_mut().for_each(|sum| *sum += 1.0);
        self.weekdays[weekday(at)] += 1.0;
        let hour = at.rem_euclid(DAY) / (DAY / 24);
        self.in_business_hours += usize::from((8..18).contains(&hour));
        // Thursday is 0, so Saturday is 2 and Sunday 3.
        self.on_weekend += usize::from(matches!(weekday(at), 2 | 3));
        self.urgent += usize::from(series.urgent[self.seen]);
        self.seen += 1;
    }

    /// Takes in what opened before the origin.
    fn advance(&mut self, series: &Series, origin: i64) {
        while series.opened.get(self.seen).is_some_and(|&at| at < origin) {
            self.take(series);
        }
        for (since, window) in self.since.iter_mut().zip(WINDOWS) {
            while *since < self.seen && origin - series.opened[*since] > window * DAY {
                *since += 1;
            }
        }
    }

    /// The mean gap in days; without a gap the days since the only incident.
    pub(crate) fn mean_gap(&self, recency: f64) -> f64 {
        if self.seen > 1 { self.gap_mean } else { recency }
    }

    /// Standard deviation of the gaps over their mean; 0 where there are fewer than two or all are 0.
    pub(crate) fn gap_variation(&self) -> f64 {
        let gaps = self.seen.saturating_sub(1);
        if gaps < 2 || self.gap_mean <= 0.0 {
            return 0.0;
        }
        (self.gap_squares / gaps as f64).max(0.0).sqrt() / self.gap_mean
    }

    /// Incidents within the window of that place in [`WINDOWS`].
    pub(crate) fn count(&self, window: usize) -> f64 {
        (self.seen - self.since[window]) as f64
    }

    /// Distinct dates with an incident within the last 28 days.
    pub(crate) fn active_days(&self, series: &Series) -> f64 {
        let first = self.since[WINDOWS.len() - 1];
        if first == self.seen {
            return 0.0;
        }
        f64::from(series.date_changes[self.seen - 1] - series.date_changes[first] + 1)
    }

    /// Incidents per day, weighted by 2^(-age / half-life), for the half-life at that place.
    pub(crate) fn rate(&self, half_life: usize, recency: f64) -> f64 {
        let days = HALF_LIVES[half_life];
        self.decayed[half_life] * (-recency / days).exp2() * std::f64::consts::LN_2 / days
    }

    /// Incidents expected within the target window if each weekday goes on as it did; half-life 28 days.
    pub(crate) fn by_weekday(&self, target: &[f64; 7], recency: f64) -> f64 {
        let fade = (-recency / WEEKDAY_HALF_LIFE).exp2() * 7.0 * std::f64::consts::LN_2 / WEEKDAY_HALF_LIFE;
        self.weekdays.iter().zip(target).map(|(sum, days)| sum * days).sum::<f64>() * fade
    }
}

/// What is known of everything together at an origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    /// All incidents of the last 7 days and of the last 28, by whole windows.
    pub(crate) week: f64,
    pub(crate) month: f64,
    /// Days since the span began.
    pub(crate) elapsed: f64,
    /// Of the signatures known one horizon ago, the share that opened since.
    pub(crate) returned: f64,
    /// Days of each weekday in the target window, and the share of Saturday and Sunday in it.
    pub(crate) target: [f64; 7],
    pub(crate) weekend: f64,
    /// Decaying rates (half-lives of 3 and 28 days) of each service and of each CI.
    services: Vec<[f64; 2]>,
    cis: Vec<[f64; 2]>,
}

/// Places of 3 and 28 days in [`HALF_LIVES`].
pub(crate) const GROUP_HALF_LIVES: [usize; 2] = [1, 4];

/// All signatures at one origin after the other.
#[derive(Clone, Debug)]
pub(crate) struct Sweep<'a> {
    pub(crate) history: &'a History,
    /// The horizon in microseconds.
    pub(crate) horizon: i64,
    /// The origin in microseconds.
    pub(crate) origin: i64,
    pub(crate) states: Vec<State>,
    pub(crate) context: Context,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(history: &'a History, horizon: i64) -> Sweep<'a> {
        let origin = history.span.start.micros();
        let states = vec![State::new(); history.series.len()];
        Sweep { history, horizon, origin, states, context: Context::default() }
    }

    /// Goes on to a later origin.
    pub(crate) fn advance(&mut self, origin: i64) {
        self.origin = origin;
        for (state, series) in self.states.iter_mut().zip(&self.history.series) {
            state.advance(series, origin);
        }
        self.context = self.look_around();
    }

    /// The signatures with an incident before the origin.
    pub(crate) fn known(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.states.len()).filter(|&series| self.states[series].seen > 0)
    }

    /// Days since the last incident before the origin.
    pub(crate) fn recency(&self, series: usize) -> f64 {
        let last = self.states[series].seen - 1;
        days(self.origin - self.history.series[series].opened[last])
    }

    /// Whether a signature opens within the horizon: the label, which is never a feature.
    pub(crate) fn label(&self, series: usize) -> bool {
        self.history.series[series].opens_within(self.origin, self.origin + self.horizon)
    }

    /// Rates of what shares the service (`true`), or the CI (with what stands next to it in the graph), of a signature's
    /// last incident, without itself.
    pub(crate) fn neighbours(&self, series: usize, of_service: bool) -> [f64; 2] {
        let (all, state) = (&self.history.series[series], &self.states[series]);
        let (groups, sums) =
            if of_service { (&all.service, &self.context.services) } else { (&all.ci, &self.context.cis) };
        let group = groups[state.seen - 1];
        let Some(sum) = sums.get(group as usize).filter(|_| group != NONE) else { return [0.0; 2] };
        let mut sum = *sum;
        if !of_service {
            for &next in self.history.near.get(group as usize).into_iter().flatten() {
                let of_next = self.context.cis.get(next as usize).copied().unwrap_or_default();
                sum.iter_mut().zip(of_next).for_each(|(sum, rate)| *sum += rate);
            }
        }
        let recency = self.recency(series);
        std::array::from_fn(|at| (sum[at] - state.rate(GROUP_HALF_LIVES[at], recency)).max(0.0))
    }

    fn look_around(&self) -> Context {
        let History { opened, span, services, cis, .. } = self.history;
        let now = opened.partition_point(|&at| at < self.origin);
        let within = |window: i64| (now - opened.partition_point(|&at| at < self.origin - window * DAY)) as f64;
        let mut context = Context {
            week: within(7),
            month: within(28),
            elapsed: days(self.origin - span.start.micros()),
            target: target(self.origin, self.horizon),
            services: vec![[0.0; 2]; *services],
            cis: vec![[0.0; 2]; *cis],
            ..Context::default()
        };
        context.weekend = (context.target[2] + context.target[3]) / days(self.horizon).max(f64::MIN_POSITIVE);
        let (mut known, mut returned) = (0.0, 0.0);
        for index in self.known() {
            let (series, state) = (&self.history.series[index], &self.states[index]);
            let (last, recency) = (state.seen - 1, self.recency(index));
            let rates = GROUP_HALF_LIVES.map(|half_life| state.rate(half_life, recency));
            for (sums, group) in [(&mut context.services, series.service[last]), (&mut context.cis, series.ci[last])] {
                for (sum, rate) in sums.get_mut(group as usize).into_iter().flatten().zip(rates) {
                    *sum += rate;
                }
            }
            if series.opened[0] < self.origin - self.horizon {
                known += 1.0;
                returned += f64::from(u8::from(series.opens_within(self.origin - self.horizon, self.origin)));
            }
        }
        // One half of a case on each side keeps the share within (0, 1).
        context.returned = (returned + 0.5) / (known + 1.0);
        context
    }
}

/// Thursday is 0, because the epoch began on one.
pub(crate) fn weekday(at: i64) -> usize {
    usize::try_from(at.div_euclid(DAY).rem_euclid(7)).unwrap_or(0)
}

/// How many days of each weekday lie in the window of that length from that instant.
fn target(from: i64, length: i64) -> [f64; 7] {
    let weeks = length.div_euclid(7 * DAY);
    let mut target = [weeks as f64; 7];
    let (mut at, end) = (from, from + length.rem_euclid(7 * DAY));
    while at < end {
        let next = ((at.div_euclid(DAY) + 1) * DAY).min(end);
        target[weekday(at)] += days(next - at);
        at = next;
    }
    target
}
