//! Learning from the past, and deciding on the past alone what is believed.
//!
//! The model must beat the EWMA on windows that came after those it learned from, and either must beat the base rate;
//! what does not is left out, with a reason. So nothing is promised that the user's own past does not bear out.
//! Absent on purpose: a look at anything that opened at `until` or after it.

use std::collections::BTreeMap;

use quell_domain::Timestamp;

use crate::belief::{Belief, Calibration, Said, Scored};
use crate::blend::{Blend, Ewma, last_window};
use crate::boost::sound;
use crate::chance::{bits, unit};
use crate::features::WIDTH;
use crate::history::{DAY, History, days};
use crate::metrics::{Bin, Ranking, brier, calibration, log_loss, pr_auc, surprise};
use crate::platt::{Platt, log_odds};
use crate::split::training;
use crate::sure::Sure;
use crate::table::Table;

/// Rows that are learned from at most; of more, as many are drawn by the seed.
pub const MAX_ROWS: usize = 60_000;
/// Windows that came, and windows that stayed quiet, below which nothing is learned.
pub const LEAST_OF_EACH: usize = 10;
/// The same below which only the EWMA is fitted, whose curve has two parameters.
const LEAST_FOR_MODEL: usize = 60;
/// Origins below which no part of the past can judge the rest.
const LEAST_ORIGINS: usize = 4;
/// How sure a gain must be of the model over the EWMA, and of either over the base rate.
const SURE_OF_MODEL: Sure = Sure { errors: 1.5, of_few: 1.5, tail: 0.066_8 };
const SURE_OF_SIGNAL: Sure = Sure { errors: 2.0, of_few: 2.5, tail: 0.022_8 };
/// Pseudo-observations that draw the last calibration to "leave it as it is".
const CALIBRATION_WEIGHT: f64 = 50.0;
/// Shares of the model beside the EWMA that are tried.
const SHARES: [f64; 4] = [0.25, 0.5, 0.75, 1.0];

/// Redraws of the signatures, and the share of them in which the model must rank better.
const REDRAWS: u64 = 60;
const MOST: f64 = 0.8;

/// What a forecast rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chosen {
    /// quell's own model.
    Model,
    /// The calibrated EWMA, because the model did not beat it.
    Ewma,
    /// The base rate, because neither beat it: there is no signal.
    BaseRate,
}

impl Chosen {
    /// Its word in files and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Chosen::Model => "model",
            Chosen::Ewma => "ewma",
            Chosen::BaseRate => "base_rate",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Chosen> {
        [Chosen::Model, Chosen::Ewma, Chosen::BaseRate].into_iter().find(|chosen| chosen.word() == word)
    }
}

/// Why the past is too thin to learn from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Thin {
    /// Not one window lies between the warm-up and the end of what is known.
    #[error(
        "no whole window of {horizon_days} days lies in the {days} days that are known, after a warm-up of 14 days"
    )]
    NoOrigin {
        /// Days that are known.
        days: u32,
        /// Days of the horizon, rounded up.
        horizon_days: u32,
    },
    /// Too few windows with an incident or without one.
    #[error("{hits} windows with an incident and {misses} without; at least {} of each are needed", LEAST_OF_EACH)]
    FewOutcomes {
        /// Windows with an incident.
        hits: usize,
        /// Windows without.
        misses: usize,
    },
}

/// How the candidates did on windows that came after those they learned from.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Inner {
    /// Rows judged.
    pub rows: usize,
    /// PR-AUC of the model and of the EWMA.
    pub pr_auc: [f64; 2],
    /// Logarithmic loss of the model and of the EWMA.
    pub log_loss: [f64; 2],
    /// Brier score of what was chosen and of the base rate.
    pub brier: [f64; 2],
}

/// A trained forecast for one horizon.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// The horizon in microseconds.
    pub horizon: i64,
    /// What it rests on.
    pub chosen: Chosen,
    /// Why it abstains, where it does.
    pub abstains: Option<Thin>,
    /// The share of windows with an incident.
    pub base_rate: f64,
    /// The EWMA and its calibration.
    pub ewma: Ewma,
    /// The calibration of the last window's count.
    pub last_window: Platt,
    /// The model's parts, where it was fitted and chosen.
    pub blend: Option<Blend>,
    /// The share of the model beside the EWMA, in log-odds.
    pub share: f64,
    /// How far each part was believed at the end of training, from windows that came after those learned from.
    pub belief: Belief,
    /// The calibration curve on those windows.
    pub curve: Vec<Bin>,
    /// The trial that chose.
    pub inner: Inner,
    /// The first origin learned from, and the instant before which everything was known.
    pub learned: [Timestamp; 2],
    /// Rows and rows with an incident.
    pub rows: [usize; 2],
    /// The seed.
    pub seed: u64,
}

impl Model {
    /// Learns from what opened before `until`.
    #[must_use]
    pub fn train(history: &History, until: Timestamp, horizon: i64, seed: u64) -> Model {
        let (start, until) = (history.span().start.micros(), until.micros());
        let protocol = training(start, until, horizon);
        let table = learning(history, horizon, &protocol, seed);
        let hits = table.hits();
        let base_rate = (hits as f64 + 0.5) / (table.len() as f64 + 1.0);
        let mut model = Model {
            horizon,
            chosen: Chosen::BaseRate,
            abstains: thin(&table, days(until - start), days(horizon)),
            base_rate: if hits == 0 { base_rate } else { hits as f64 / table.len() as f64 },
            ewma: Ewma::fit(&table, horizon),
            last_window: last_window(&table),
            blend: None,
            share: 0.0,
            belief: Belief::NONE,
            curve: Vec::new(),
            inner: Inner::default(),
            learned: [protocol.first().copied().unwrap_or(until), until].map(Timestamp::from_micros),
            rows: [table.len(), hits],
            seed,
        };
        if model.abstains.is_none() {
            model.choose(history, &protocol, &table, until);
        }
        model
    }

    /// Whether a model that was read can be run.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn sound(&self) -> Result<(), String> {
        if self.horizon < 1 {
            return Err(format!("a horizon of {} microseconds", self.horizon));
        }
        if self.chosen == Chosen::Model && self.blend.is_none() {
            return Err("a model that is chosen and not there".to_owned());
        }
        let Some(Blend { logistic, trees }) = &self.blend else { return Ok(()) };
        let widths = [logistic.scales.len(), logistic.weights.len()];
        if widths != [WIDTH; 2] {
            return Err(format!("{} scales and {} weights for {WIDTH} features", widths[0], widths[1]));
        }
        match trees.iter().position(|tree| !sound(tree)) {
            Some(place) => Err(format!("trees[{place}], which cannot be walked")),
            None => Ok(()),
        }
    }

    /// Tries the candidates on later windows and keeps what the trial bears out.
    fn choose(&mut self, history: &History, protocol: &[i64], table: &Table, until: i64) {
        let dense = dense(protocol, until, self.horizon, table.len());
        let table = if dense.len() == protocol.len() {
            table.clone()
        } else {
            learning(history, self.horizon, &dense, self.seed)
        };
        let trial = Trial::run(&table, &dense, self.horizon, self.seed);
        self.chosen = Chosen::Ewma;
        if let Some(share) = trial.best_share()
            && let Some(blend) = Blend::fit(&table, &self.ewma, self.seed)
        {
            (self.chosen, self.share, self.blend) = (Chosen::Model, share, Some(blend));
        }
        self.belief = trial.belief(self.share, self.horizon);
        let believed = if self.chosen == Chosen::Model { self.belief.model.platt } else { self.belief.ewma.platt };
        let slope = believed.slope;
        let believed = trial.probabilities(self.share, believed);
        if slope <= 0.0 || !trial.beats_base_rate(&believed) {
            (self.chosen, self.blend, self.share, self.belief) = (Chosen::BaseRate, None, 0.0, Belief::NONE);
        }
        self.curve = calibration(&believed, &trial.labels, 10);
        self.inner = trial.inner(&believed);
    }

    /// Scores one row.
    pub(crate) fn score(&self, table: &Table, row: usize) -> Scored {
        let (rate, ewma) = (self.ewma.rate(table, row), log_odds(self.ewma.probability(table, row)));
        let blended = |blend: &Blend| mix(self.share, blend.log_odds(table.row(row), ewma), ewma);
        Scored { rate, ewma, model: self.blend.as_ref().map_or(ewma, blended) }
    }

    /// What is said of a row; ranked by the EWMA's rate wherever the model is not used.
    pub(crate) fn say(&self, belief: &Belief, scored: &Scored) -> Said {
        let said = belief.say(scored, self.base_rate);
        match self.chosen {
            Chosen::Model => said,
            Chosen::Ewma => Said { rank: scored.rate, ..said },
            Chosen::BaseRate => Said { rank: scored.rate, probability: self.base_rate },
        }
    }
}

fn mix(share: f64, model: f64, ewma: f64) -> f64 {
    share * model + (1.0 - share) * ewma
}

fn thin(table: &Table, known: f64, horizon: f64) -> Option<Thin> {
    let (hits, misses) = (table.hits(), table.len() - table.hits());
    if table.is_empty() {
        return Some(Thin::NoOrigin { days: known as u32, horizon_days: horizon.ceil() as u32 });
    }
    (hits.min(misses) < LEAST_OF_EACH).then_some(Thin::FewOutcomes { hits, misses })
}

/// The rows of those origins, of which at most [`MAX_ROWS`] are kept.
fn learning(history: &History, horizon: i64, origins: &[i64], seed: u64) -> Table {
    let known: usize = origins.iter().map(|origin| history.known(*origin)).sum();
    let share = MAX_ROWS as f64 / known.max(1) as f64;
    Table::drawn(history, horizon, origins, |row| share >= 1.0 || unit(seed ^ 0x5eed, row) < share)
}

/// The same stretch with origins between, a whole number of days apart, as far as rows allow: windows that overlap say
/// more than windows that do not, though not as much as their number.
fn dense(protocol: &[i64], until: i64, horizon: i64, rows: usize) -> Vec<i64> {
    let Some(&first) = protocol.first() else { return Vec::new() };
    let whole = horizon / DAY;
    let room = (MAX_ROWS / rows.max(1)) as i64;
    let Some(parts) = (2..=7).rev().find(|parts| *parts <= room && whole % parts == 0) else {
        return protocol.to_vec();
    };
    let step = horizon / parts;
    (0..).map(|at| first + at * step).take_while(|at| at + horizon <= until).collect()
}

/// What the candidates said of windows that came after those they learned from.
struct Trial {
    labels: Vec<bool>,
    series: Vec<u32>,
    /// Which whole window of one horizon the row's origin lies in.
    windows: Vec<u32>,
    /// The EWMA's probabilities, the model's log-odds (`None` where it was not fitted) and the base rates.
    ewma: Vec<f64>,
    rates: Vec<f64>,
    model: Option<Vec<f64>>,
    base: Vec<f64>,
}

impl Trial {
    /// Two stages: the first half of the time judges the third quarter, the first three quarters the last.
    fn run(table: &Table, origins: &[i64], horizon: i64, seed: u64) -> Trial {
        let (labels, series, windows) = (Vec::new(), Vec::new(), Vec::new());
        let (ewma, rates, base) = (Vec::new(), Vec::new(), Vec::new());
        let mut trial = Trial { labels, series, windows, ewma, rates, model: Some(Vec::new()), base };
        let [Some(&first), Some(&last)] = [origins.first(), origins.last()] else { return trial };
        if (last - first) / horizon.max(1) + 1 < LEAST_ORIGINS as i64 {
            return trial;
        }
        for (from, to) in [(0.5, 0.75), (0.75, 1.0)] {
            let at = |share: f64| first + ((last + horizon - first) as f64 * share) as i64;
            let opened = |row: usize| origins[table.origins[row] as usize];
            let past = table.filter(|row| opened(row) + horizon <= at(from));
            let next = table.filter(|row| at(from) <= opened(row) && opened(row) < at(to));
            let window =
                |origin: &u32| u32::try_from((origins[*origin as usize] - first) / horizon).unwrap_or(u32::MAX);
            if trial.judge(&past, &next, horizon, seed) {
                trial.windows.extend(next.origins.iter().map(window));
            }
        }
        trial
    }

    fn judge(&mut self, past: &Table, next: &Table, horizon: i64, seed: u64) -> bool {
        let (hits, misses) = (past.hits(), past.len() - past.hits());
        if hits.min(misses) < LEAST_OF_EACH {
            return false;
        }
        let ewma = Ewma::fit(past, horizon);
        let blend = if hits.min(misses) < LEAST_FOR_MODEL { None } else { Blend::fit(past, &ewma, seed) };
        match (&mut self.model, blend) {
            (Some(model), Some(blend)) => model.extend(
                (0..next.len()).map(|row| blend.log_odds(next.row(row), log_odds(ewma.probability(next, row)))),
            ),
            (model, _) => *model = None,
        }
        self.ewma.extend((0..next.len()).map(|row| ewma.probability(next, row)));
        self.rates.extend((0..next.len()).map(|row| ewma.rate(next, row)));
        self.base.extend(std::iter::repeat_n(hits as f64 / past.len() as f64, next.len()));
        self.labels.extend(&next.labels);
        self.series.extend(&next.series);
        true
    }

    /// The log-odds of that share of the model beside the EWMA; the EWMA's own at a share of 0.
    fn log_odds(&self, share: f64) -> Vec<f64> {
        let ewma = self.ewma.iter().map(|p| log_odds(*p));
        match self.model.as_ref().filter(|_| share > 0.0) {
            Some(model) => model.iter().zip(ewma).map(|(model, ewma)| mix(share, *model, ewma)).collect(),
            None => ewma.collect(),
        }
    }

    fn probabilities(&self, share: f64, platt: Platt) -> Vec<f64> {
        self.log_odds(share).into_iter().map(|odds| platt.probability(odds)).collect()
    }

    /// How far to believe that share of the model, and the EWMA, after all these windows.
    fn belief(&self, share: f64, horizon: i64) -> Belief {
        let rows: Vec<usize> = (0..self.labels.len()).collect();
        let windows: Vec<&[usize]> = rows.chunk_by(|a, b| self.windows[*a] == self.windows[*b]).collect();
        let (model, ewma) = (self.log_odds(share), self.log_odds(0.0));
        let fit = |odds: &[f64]| Calibration::fit(odds, &self.labels, CALIBRATION_WEIGHT, windows.len(), horizon);
        let mut belief = Belief { model: fit(&model), ewma: fit(&ewma), ..Belief::NONE };
        // Before the first window whoever was chosen leads.
        belief.lead = if share > 0.0 { f64::MIN_POSITIVE } else { 0.0 };
        for window in windows {
            let scored = |&row: &usize| Scored { rate: self.rates[row], ewma: ewma[row], model: model[row] };
            let labels: Vec<bool> = window.iter().map(|&row| self.labels[row]).collect();
            let base = window.first().map_or(0.0, |&row| self.base[row]);
            belief.weigh(&window.iter().map(scored).collect::<Vec<_>>(), &labels, base, horizon);
        }
        belief
    }

    /// By how much a squared error is smaller than the base rate's.
    fn gain(&self, believed: &[f64], row: usize) -> f64 {
        let squared = |p: f64| (p - f64::from(u8::from(self.labels[row]))).powi(2);
        squared(self.base[row]) - squared(believed[row])
    }

    /// The share that lost least, where it surely beats the EWMA and ranks better.
    fn best_share(&self) -> Option<f64> {
        self.model.as_ref().filter(|model| !model.is_empty())?;
        let tried = SHARES.map(|share| (share, log_loss(&self.probabilities(share, Platt::IDENTITY), &self.labels)));
        let (share, _) = *tried.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
        let (mixed, raw) = (self.log_odds(share), self.probabilities(share, Platt::IDENTITY));
        let gain = self.surely(SURE_OF_MODEL, |row| {
            surprise(self.ewma[row], self.labels[row]) - surprise(raw[row], self.labels[row])
        });
        let ranks = self.ranks_better(&mixed);
        (gain && ranks).then_some(share)
    }

    /// Whether scores rank better than the EWMA in most redraws of the signatures (a bootstrap by signature).
    fn ranks_better(&self, scores: &[f64]) -> bool {
        let (ours, theirs) = (Ranking::of(scores, &self.labels), Ranking::of(&self.rates, &self.labels));
        let signatures = self.series.iter().max().map_or(0, |last| *last as usize + 1);
        let won = (0..REDRAWS).filter(|redraw| {
            let mut weights = vec![0.0; signatures];
            for draw in 0..signatures {
                weights[(bits(*redraw, draw as u64) % signatures as u64) as usize] += 1.0;
            }
            let weight = |row: usize| weights[self.series[row] as usize];
            ours.weighted(weight) > theirs.weighted(weight)
        });
        won.count() as f64 >= MOST * REDRAWS as f64
    }

    fn beats_base_rate(&self, believed: &[f64]) -> bool {
        self.surely(SURE_OF_SIGNAL, |row| self.gain(believed, row))
    }

    /// Whether a gain is surely above 0, rows counted together by signature, and by window.
    fn surely(&self, sure: Sure, gain: impl Fn(usize) -> f64) -> bool {
        let sums = |groups: &[u32]| {
            let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
            groups.iter().enumerate().for_each(|(row, group)| *sums.entry(*group).or_default() += gain(row));
            sums.into_values().collect::<Vec<f64>>()
        };
        sure.is(&sums(&self.series), &sums(&self.windows))
    }

    fn inner(&self, believed: &[f64]) -> Inner {
        let quality = |scores: &[f64]| pr_auc(scores, &self.labels).unwrap_or(0.0);
        let model = self.model.as_deref().unwrap_or(&self.rates);
        let as_model = if self.model.is_some() { self.probabilities(1.0, Platt::IDENTITY) } else { self.ewma.clone() };
        Inner {
            rows: self.labels.len(),
            pr_auc: [quality(model), quality(&self.rates)],
            log_loss: [log_loss(&as_model, &self.labels), log_loss(&self.ewma, &self.labels)],
            brier: [brier(believed, &self.labels), brier(&self.base, &self.labels)],
        }
    }
}
