//! Partition: which troubles explain a set of alerts best, when all of them are looked at together.
//!
//! A trouble strikes one CI at one time. Its alerts come on what hangs on that CI: each CI takes the share of them that
//! its closeness says, and they come the rarer, the longer ago it struck. An alert may also come by chance. Wanted are
//! the fewest troubles under which what was seen is likeliest (maximum a posteriori, begun with the `way` that failures
//! take, or greedily where much of the estate alerts, and then improved by turns, as in expectation maximisation with
//! hard assignments). A CI that is hit raises further alerts more easily than another is hit. Troubles that strike at
//! about the same time in places that hang on one place are one, if their number is better explained by that place than
//! by chance: a failed zone is seen as several failed switches. What is known of a place beforehand counts too
//! (`strikes`).
//!
//! Absent on purpose: alerts, incidents and the graph; `revise` makes numbers of them and acts on what is found.

use std::collections::{BTreeSet, BinaryHeap};
use std::sync::LazyLock;

use crate::strikes::Strikes;

mod fade;
mod heads;
mod simplify;
mod way;

use fade::Fade;
pub(crate) use way::Spot;

/// Time scales, in seconds, over which the alerts of one trouble come: rules wait for minutes, and failures travel.
const SCALES: [f64; 2] = [300.0, 600.0];

/// An alert may begin so many seconds before the first one that is known of its trouble.
const EARLY: usize = 45;

/// Nothing comes later than this, in seconds.
const LATEST: usize = 5400;

/// What one more trouble behind several troubles costs.
const COST_ABOVE: f64 = 10.0;

/// A trouble of its own comes by chance so many times for each alert that does.
const TROUBLE: f64 = 0.25;

/// How many further alerts a CI raises that is hit.
const FURTHER: f64 = 0.1;

/// How often the same alert comes again in one trouble.
const SAME: f64 = 0.05;

/// Seconds by which troubles that have one place behind them are apart, on average.
const NEAR: f64 = 150.0;

/// Seconds between onsets that are tried.
const STEP: f64 = 30.0;

/// Times that troubles and assignments are improved in turn.
const TURNS: usize = 3;

/// One alert, as it is to be explained.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// Seconds.
    pub(crate) at: f64,
    /// Equal for alerts of one CI; counted from 0.
    pub(crate) ci: u32,
    /// Equal for alerts of one name on one CI; counted from 0.
    pub(crate) kind: u32,
    /// Alerts a second by chance, as a logarithm.
    pub(crate) chance: f64,
    /// The share of any trouble's alerts that come here although nothing known ties it to the trouble, as a logarithm.
    pub(crate) stray: f64,
    /// Places that may be behind it.
    pub(crate) places: Vec<Tie>,
}

/// That something hangs on a place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Tie {
    pub(crate) place: u32,
    /// The share of the place's alerts that come here, as a logarithm.
    pub(crate) share: f64,
    /// Over how many relationships.
    pub(crate) hops: u32,
    /// How surely a failure passes.
    pub(crate) strength: f64,
}

/// A trouble.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Trouble {
    /// Where it struck.
    pub(crate) place: u32,
    /// When its first alert came.
    pub(crate) onset: f64,
    /// How many CIs it is seen on.
    pub(crate) cis: f64,
}

/// What was found.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Found {
    pub(crate) troubles: Vec<Trouble>,
    /// For each alert the trouble that explains it best; `None` for chance.
    pub(crate) of: Vec<Option<u32>>,
    /// For each alert how much likelier it is so than by chance, as a logarithm.
    pub(crate) surer: Vec<f64>,
    /// For each trouble the one that stands for it and its like, and where that struck.
    pub(crate) heads: Vec<(u32, u32)>,
}

/// How likely an alert is, by seconds after the onset.
static FADE: LazyLock<Fade> = LazyLock::new(|| {
    Fade::new(EARLY, LATEST, |tau| {
        let late: f64 = SCALES.iter().map(|scale| (-tau.max(0.0) / scale).exp() / scale).sum();
        late.ln() - (SCALES.len() as f64).ln() + tau.min(0.0) / 20.0
    })
});

/// Says of a place which others it hangs on, itself among them, each with the share of the troubles there that strike
/// here, as a logarithm.
pub(crate) type Above<'a> = &'a mut dyn FnMut(u32) -> Vec<(u32, f64)>;

/// Finds the troubles behind alerts, which are in the order of time, among so many places: by what each of these is on
/// the way that failures take, or greedily.
pub(crate) fn partition(
    sights: &[Sight],
    places: usize,
    spots: Option<&[Spot]>,
    strikes: &Strikes,
    above: Above<'_>,
) -> Found {
    let mut search = Search::new(sights, places, strikes);
    match spots {
        Some(spots) => way::trees(sights, spots, strikes).iter().for_each(|tree| search.take(tree)),
        None => search.greedy(),
    }
    search.turns(TURNS);
    search.simplify();
    search.turns(TURNS);
    let heads = search.heads(above);
    search.strays();
    let surer = search.value.iter().zip(sights).map(|(value, sight)| value - sight.chance).collect();
    Found { troubles: search.troubles, of: search.of, surer, heads }
}

struct Search<'a> {
    sights: &'a [Sight],
    strikes: &'a Strikes,
    /// For each place the alerts that it may be behind, with their shares.
    behind: Vec<Vec<(u32, f64)>>,
    troubles: Vec<Trouble>,
    of: Vec<Option<u32>>,
    /// How likely each alert is under its best explanation, as a logarithm, less the [`Before::price`] of it.
    value: Vec<f64>,
    /// When each CI was last hit, and in which pass.
    hit: Vec<(u32, f64)>,
    /// The same for each kind of alert.
    same: Vec<(u32, f64)>,
    pass: u32,
}

/// When an alert's CI was seen before in one trouble, and when the same alert was.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    ci: Option<f64>,
    same: Option<f64>,
}

/// What a place would explain from an onset on.
#[derive(Clone, Copy, Debug)]
struct Gain {
    gain: f64,
    onset: f64,
    cis: f64,
}

#[derive(PartialEq)]
struct Offer(f64, u32);

impl Eq for Offer {}

impl Ord for Offer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for Offer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Before {
    /// What it costs that one more CI is hit: so many are then expected (the mean of a Poisson process).
    fn price(self) -> f64 {
        if self.ci.is_some() { 0.0 } else { 1.0 }
    }
}

impl<'a> Search<'a> {
    fn new(sights: &'a [Sight], places: usize, strikes: &'a Strikes) -> Search<'a> {
        let mut behind = vec![Vec::new(); places];
        for (at, sight) in (0..).zip(sights) {
            for &Tie { place, share, .. } in &sight.places {
                behind[place as usize].push((at, share));
            }
        }
        let cis = sights.iter().map(|sight| sight.ci + 1).max().unwrap_or(0);
        let kinds = sights.iter().map(|sight| sight.kind + 1).max().unwrap_or(0);
        Search {
            sights,
            strikes,
            behind,
            troubles: Vec::new(),
            of: vec![None; sights.len()],
            value: sights.iter().map(|sight| sight.chance).collect(),
            hit: vec![(0, 0.0); cis as usize],
            same: vec![(0, 0.0); kinds as usize],
            pass: 0,
        }
    }

    /// How likely an alert is under a trouble, as a logarithm. A trouble raises each alert once: that it comes again is
    /// no more likely than that its CI raises another one.
    fn likely(&self, sight: &Sight, share: f64, onset: f64, cis: f64, before: Before) -> f64 {
        let first = share + cis.max(1.0).ln() + FADE.at(sight.at - onset);
        let further = |hit: f64, often: f64| often.ln() + FADE.at(sight.at - hit);
        match before {
            Before { same: Some(same), .. } => further(same, SAME),
            Before { same: None, ci: Some(ci) } => first.max(further(ci, FURTHER)),
            Before { same: None, ci: None } => first,
        }
    }

    /// What was seen in this pass before an alert.
    fn before(&self, sight: &Sight) -> Before {
        let seen = |(pass, when): (u32, f64)| (pass == self.pass).then_some(when);
        Before { ci: seen(self.hit[sight.ci as usize]), same: seen(self.same[sight.kind as usize]) }
    }

    fn see(&mut self, sight: &Sight) {
        self.hit[sight.ci as usize] = (self.pass, sight.at);
        self.same[sight.kind as usize] = (self.pass, sight.at);
    }

    /// What a trouble at this place from this onset on would add; `cis` is a first guess of how many it is seen on.
    fn gain(&mut self, place: u32, onset: f64, mut cis: f64) -> Gain {
        let mut gain = Gain { gain: f64::NEG_INFINITY, onset, cis };
        let price = self.strikes.cost(self.troubles.len()) - self.strikes.at(place, onset);
        for _ in 0..3 {
            let (more, alerts, hit) = self.pass(place, onset, cis, false);
            if alerts < 2 {
                return Gain { gain: f64::NEG_INFINITY, onset, cis };
            }
            gain = Gain { gain: more - price, onset, cis };
            cis = hit;
        }
        gain
    }

    /// How much better alerts are explained by a trouble that is seen on so many CIs, how many alerts are, and on how
    /// many CIs. With `take` they are explained so from now on.
    fn pass(&mut self, place: u32, onset: f64, cis: f64, take: bool) -> (f64, u32, f64) {
        let behind = std::mem::take(&mut self.behind[place as usize]);
        self.pass += 1;
        let (mut more, mut alerts, mut hit) = (0.0, 0, 0.0);
        for &(at, share) in &behind {
            let sight = &self.sights[at as usize];
            if sight.at < onset - EARLY as f64 {
                continue;
            }
            let before = self.before(sight);
            let likely = self.likely(sight, share, onset, cis, before) - before.price();
            if likely > self.value[at as usize] {
                more += likely - self.value[at as usize];
                alerts += 1;
                hit += f64::from(u8::from(before.ci.is_none()));
                self.see(sight);
                if take {
                    self.value[at as usize] = likely;
                }
            }
        }
        self.behind[place as usize] = behind;
        (more, alerts, hit)
    }

    /// The best onset of a place.
    fn best(&mut self, place: u32) -> Gain {
        let mut best = Gain { gain: f64::NEG_INFINITY, onset: 0.0, cis: 0.0 };
        let count = self.behind[place as usize].len();
        let mut tried = f64::NEG_INFINITY;
        for at in 0..count {
            let onset = self.sights[self.behind[place as usize][at].0 as usize].at;
            if onset - tried < STEP {
                continue;
            }
            tried = onset;
            let guess = f64::from(u32::try_from(count - at).unwrap_or(u32::MAX)) / 2.0;
            let gain = self.gain(place, onset, guess.max(2.0));
            if gain.gain > best.gain {
                best = gain;
            }
        }
        best
    }

    /// Takes the trouble that explains most, again and again.
    fn greedy(&mut self) {
        let mut offers = BinaryHeap::new();
        for place in 0..u32::try_from(self.behind.len()).unwrap_or(u32::MAX) {
            if self.behind[place as usize].len() > 1 {
                let gain = self.best(place).gain;
                if gain > 0.0 {
                    offers.push(Offer(gain, place));
                }
            }
        }
        while let Some(Offer(_, place)) = offers.pop() {
            let best = self.best(place);
            if best.gain <= 0.0 {
                continue;
            }
            if offers.peek().is_some_and(|next| next.0 > best.gain) {
                offers.push(Offer(best.gain, place));
                continue;
            }
            self.pass(place, best.onset, best.cis, true);
            self.troubles.push(Trouble { place, onset: best.onset, cis: best.cis });
            offers.push(Offer(best.gain, place));
        }
    }

    /// Takes the place that explains these alerts best, the first one first, for one more trouble.
    fn take(&mut self, alerts: &[u32]) {
        let sight = |at: &u32| &self.sights[*at as usize];
        let Some(onset) = alerts.first().map(|at| sight(at).at) else { return };
        let cis: BTreeSet<u32> = alerts.iter().map(|at| sight(at).ci).collect();
        let cis = f64::from(u32::try_from(cis.len()).unwrap_or(u32::MAX));
        let places: BTreeSet<u32> = alerts.iter().flat_map(|at| &sight(at).places).map(|tie| tie.place).collect();
        let mut best: Option<(f64, u32)> = None;
        for place in places {
            let worth = self.worth(alerts, place, onset, cis) + self.strikes.at(place, onset);
            if best.is_none_or(|(known, _)| worth > known) {
                best = Some((worth, place));
            }
        }
        self.troubles.extend(best.map(|(_, place)| Trouble { place, onset, cis }));
    }

    /// Gives each alert to what explains it best, and takes what each trouble is seen on from that, in turn.
    fn turns(&mut self, turns: usize) {
        for _ in 0..turns {
            self.assign();
            let mut seen = vec![(0_u32, 0.0, f64::INFINITY); self.troubles.len()];
            let mut met: Vec<(u32, u32)> = Vec::with_capacity(self.sights.len());
            for (sight, of) in self.sights.iter().zip(&self.of) {
                let Some(of) = *of else { continue };
                let (alerts, _, onset) = &mut seen[of as usize];
                *alerts += 1;
                *onset = onset.min(sight.at);
                met.push((of, sight.ci));
            }
            met.sort_unstable();
            met.dedup();
            met.iter().for_each(|&(of, _)| seen[of as usize].1 += 1.0);
            let mut kept = Vec::with_capacity(self.troubles.len());
            let mut renamed = vec![None; self.troubles.len()];
            for (at, (trouble, &(alerts, cis, onset))) in self.troubles.iter().zip(&seen).enumerate() {
                if alerts > 1 {
                    renamed[at] = Some(u32::try_from(kept.len()).unwrap_or(u32::MAX));
                    kept.push(Trouble { onset, cis, ..*trouble });
                }
            }
            self.troubles = kept;
            for (at, of) in self.of.iter_mut().enumerate() {
                *of = of.and_then(|of| renamed[of as usize]);
                if of.is_none() {
                    self.value[at] = self.sights[at].chance;
                }
            }
        }
    }

    fn assign(&mut self) {
        let mut at_place: Vec<Vec<u32>> = vec![Vec::new(); self.behind.len()];
        for (at, trouble) in (0..).zip(&self.troubles) {
            at_place[trouble.place as usize].push(at);
        }
        // For each CI and kind of alert the troubles that it was seen in, and when last.
        let mut hit: Vec<Vec<(u32, f64)>> = vec![Vec::new(); self.hit.len()];
        let mut same: Vec<Vec<(u32, f64)>> = vec![Vec::new(); self.same.len()];
        let last = |seen: &[(u32, f64)], trouble: u32| seen.iter().find(|(t, _)| *t == trouble).map(|&(_, when)| when);
        let see = |seen: &mut Vec<(u32, f64)>, trouble: u32, at: f64| match seen.iter_mut().find(|(t, _)| *t == trouble)
        {
            Some((_, when)) => *when = at,
            None => seen.push((trouble, at)),
        };
        for (at, sight) in self.sights.iter().enumerate() {
            let (mut best, mut of) = (sight.chance, None);
            for &Tie { place, share, .. } in &sight.places {
                for &trouble in &at_place[place as usize] {
                    let Trouble { onset, cis, .. } = self.troubles[trouble as usize];
                    let ci = last(&hit[sight.ci as usize], trouble);
                    let before = Before { ci, same: last(&same[sight.kind as usize], trouble) };
                    let likely = self.likely(sight, share, onset, cis, before) - before.price();
                    if likely > best {
                        (best, of) = (likely, Some(trouble));
                    }
                }
            }
            self.value[at] = best;
            self.of[at] = of;
            if let Some(of) = of {
                see(&mut hit[sight.ci as usize], of, sight.at);
                see(&mut same[sight.kind as usize], of, sight.at);
            }
        }
    }

    /// Gives alerts that no known tie explains to the trouble that is the liveliest then, if that is likelier than chance.
    fn strays(&mut self) {
        for at in 0..self.sights.len() {
            let sight = &self.sights[at];
            if self.of[at].is_some() || sight.stray == f64::NEG_INFINITY {
                continue;
            }
            let likely =
                |trouble: &Trouble| sight.stray + trouble.cis.max(1.0).ln() + FADE.at(sight.at - trouble.onset);
            let best = (0..).zip(&self.troubles).map(|(number, trouble)| (likely(trouble), number));
            let best = best.reduce(|kept: (f64, u32), other| if other.0 > kept.0 { other } else { kept });
            if let Some((likely, number)) = best.filter(|(likely, _)| *likely > sight.chance) {
                (self.of[at], self.value[at]) = (Some(number), likely);
            }
        }
    }
}

#[cfg(test)]
mod tests;
