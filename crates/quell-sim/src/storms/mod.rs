//! Storms of overlapping faults over an estate of any size, with the truth beside them.
//!
//! The generator knows things that nobody who judges alerts can know: what truly depends on what and how likely, which
//! CIs nobody watches, what the CMDB has wrong. It shares no code and no table with the engine, and it is meant to be
//! awkward: delays of minutes, roots that alert last or never, symptoms several hops from the next one, chatter beside
//! the fault. Deliberately absent: scoring.

pub mod changes;
pub mod estate;
pub mod files;
pub mod rules;
pub mod score;
pub mod spread;
pub mod table;
pub mod wire;

mod episodes;

use std::collections::BTreeSet;

use quell_domain::Topology;

use crate::rng::Rng;
pub use changes::Change;
pub use episodes::Episode;
use estate::{Carries, Estate, Kind};
use spread::{FaultKind, Hit, spread};

/// Seconds before the first fault in which there is nothing but noise.
pub const LEAD: f64 = 3600.0;
/// Seconds over which faults begin.
pub const SPAN: f64 = 5.0 * 3600.0;
/// Seconds in which everything heals and is told.
pub const TAIL: f64 = 3600.0;

/// What storm is wanted.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// The same seed gives the same storm.
    pub seed: u64,
    /// The same number gives the same estate.
    pub estate: u64,
    /// About so many CIs.
    pub cis: usize,
    /// So many faults.
    pub faults: usize,
    /// Of these kinds; a kind that is named twice is twice as likely.
    pub kinds: Vec<FaultKind>,
    /// Episodes of noise for each episode of a fault.
    pub noise: f64,
    /// A share of the CIs that the CMDB does not know.
    pub missing: f64,
    /// A share of the roots that nobody watches.
    pub unwatched: f64,
    /// A share of the relationships that the CMDB has forgotten; half as many again are wrong.
    pub errors: f64,
    /// The CMDB has one word for every relationship and knows of no alternatives.
    pub plain: bool,
}

impl Options {
    /// What is usual for an estate of that size.
    #[must_use]
    pub fn usual(seed: u64, cis: usize) -> Options {
        let faults = match cis {
            0..300 => 8,
            300..3_000 => 14,
            3_000..30_000 => 45,
            _ => 100,
        };
        let mut kinds: Vec<FaultKind> = [
            (FaultKind::Switch, 8),
            (FaultKind::Host, 10),
            (FaultKind::Storage, 4),
            (FaultKind::Database, 10),
            (FaultKind::Deploy, 12),
            (FaultKind::Certificate, 4),
        ]
        .into_iter()
        .flat_map(|(kind, times)| vec![kind; times])
        .collect();
        if cis >= 800 {
            kinds.push(FaultKind::Zone);
        }
        Options {
            seed,
            estate: seed,
            cis,
            faults,
            kinds,
            noise: 0.3,
            missing: 0.0,
            unwatched: 0.0,
            errors: 0.01,
            plain: false,
        }
    }

    /// The same with gaps: a tenth of the CIs missing from the CMDB, a tenth of the roots unmonitored.
    #[must_use]
    pub fn with_gaps(self) -> Options {
        Options { missing: 0.1, unwatched: 0.1, ..self }
    }
}

/// What truly happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Fault {
    /// What kind of fault.
    pub kind: FaultKind,
    /// Where, by index in the estate.
    pub root: usize,
    /// Seconds after the storm's start.
    pub begins: f64,
    /// When it was mended.
    pub mended: f64,
    /// What it hit.
    pub hits: Vec<Hit>,
}

/// A storm with its truth.
#[derive(Clone, Debug)]
pub struct Storm {
    /// What it raged over.
    pub estate: Estate,
    /// What the CMDB says of that.
    pub cmdb: Topology,
    /// What truly happened, in order of time.
    pub faults: Vec<Fault>,
    /// What was told, in order of time.
    pub episodes: Vec<Episode>,
    /// What was changed, in order of the time it was told of.
    pub changes: Vec<Change>,
}

/// Makes a storm. Faults that raise fewer than two alerts are not told of, so there may be fewer than wanted.
#[must_use]
pub fn storm(options: &Options) -> Storm {
    let stream = |seed: u64| Rng::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(options.cis as u64));
    let estate = Estate::new(options.cis, &mut stream(options.estate).fork(1));
    let mut rng = stream(options.seed).fork(5);
    let mut faults = faults(&estate, options, &mut rng.fork(2));
    let mut episodes = episodes::tell(&estate, &faults, options, &mut rng.fork(3));
    let told: BTreeSet<usize> = episodes.iter().filter_map(|episode| episode.fault).collect();
    let kept: Vec<usize> = told.into_iter().collect();
    episodes.iter_mut().for_each(|e| e.fault = e.fault.and_then(|fault| kept.binary_search(&fault).ok()));
    faults = kept.into_iter().map(|at| faults[at].clone()).collect();
    let mut cmdb_rng = rng.fork(4);
    let missing = (0..estate.parts.len()).filter(|_| cmdb_rng.chance(options.missing)).collect();
    let cmdb = estate.cmdb(&missing, options.errors, options.plain, &mut cmdb_rng);
    // A stream of its own, forked last: the rest is the same as without it.
    let changes = changes::changes(&estate, &faults, &mut rng.fork(6));
    Storm { estate, cmdb, faults, episodes, changes }
}

/// Faults come in bursts of one to three within a few minutes; of some bursts the later ones strike near the first.
fn faults(estate: &Estate, options: &Options, rng: &mut Rng) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    let mut roots = BTreeSet::new();
    let mut tries = 0;
    while faults.len() < options.faults && tries < options.faults * 20 {
        let center = LEAD + rng.range(0.0, SPAN);
        let (burst, near) = (1 + rng.index(3), rng.chance(0.15));
        let mut first = None;
        for _ in 0..burst.min(options.faults - faults.len()) {
            tries += 1;
            let kind = options.kinds[rng.index(options.kinds.len())];
            let Some(root) = root(estate, kind, first.filter(|_| near), rng) else { continue };
            let hits = spread(estate, root, kind, rng);
            let heard = hits.iter().filter(|hit| estate.parts[hit.part].watched).count();
            if heard < 3 || !roots.insert(root) {
                continue;
            }
            first = first.or(Some(root));
            let begins = center + rng.range(0.0, 240.0);
            let last = hits.last().map_or(0.0, |hit| hit.after);
            let mended = begins + last.min(900.0) + rng.range(600.0, 2400.0);
            faults.push(Fault { kind, root, begins, mended, hits });
        }
    }
    faults.sort_by(|a, b| a.begins.total_cmp(&b.begins));
    faults
}

/// Where a fault strikes: anywhere, or within a few relationships of another one.
fn root(estate: &Estate, kind: FaultKind, near: Option<usize>, rng: &mut Rng) -> Option<usize> {
    let fits = |part: usize| {
        let has_replicas = || estate.needs[part].iter().any(|&link| estate.links[link].carries == Carries::Share);
        estate.parts[part].kind == kind.befalls() && (kind != FaultKind::Deploy || has_replicas())
    };
    let mut candidates: Vec<usize> = match near {
        Some(near) => around(estate, near, 4).into_iter().filter(|&part| part != near && fits(part)).collect(),
        None => Vec::new(),
    };
    if candidates.is_empty() {
        candidates = estate.of(kind.befalls()).into_iter().filter(|&part| fits(part)).collect();
    }
    (!candidates.is_empty()).then(|| candidates[rng.index(candidates.len())])
}

/// Parts within so many links, whichever way they point; at most a thousand of them.
fn around(estate: &Estate, part: usize, hops: usize) -> Vec<usize> {
    let (mut found, mut seen) = (vec![part], BTreeSet::from([part]));
    let mut from = 0;
    for _ in 0..hops {
        let to = found.len();
        for at in from..to {
            let part = found[at];
            let up = estate.dependents[part].iter().map(|&link| estate.links[link].from);
            let down = estate.needs[part].iter().map(|&link| estate.links[link].to);
            for other in up.chain(down) {
                if found.len() < 1000 && seen.insert(other) {
                    found.push(other);
                }
            }
        }
        from = to;
    }
    found
}

/// Kinds that noise may befall.
const NOISY: [Kind; 6] = [Kind::Host, Kind::Instance, Kind::Database, Kind::Service, Kind::Switch, Kind::Cache];

#[cfg(test)]
mod tests;
