//! How well the engine tells storms apart and names their causes, over many seeds, beside what anybody would do first.
//!
//! B³, pairs and the Rand index are over the alert episodes of faults; an episode in no incident is missed; an
//! incident's fault is the one that most of its episodes belong to. Deliberately absent: anything fitted to a seed.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::Graph;
use quell_domain::{AlertId, CiId, Source};

use super::{Options, Storm, files, storm, wire};
use crate::quality::baselines::{self, LONG_WINDOW, Scores, Seen};
use crate::quality::measure::{Filed, PartitionScore, RankScore, most_often, partition, ranking, spoken_for};
use crate::quality::replay::{Replay, Variant};

/// What was measured of one storm.
#[derive(Clone, PartialEq, Debug)]
pub struct StormScore {
    /// How many faults.
    pub faults: usize,
    /// How many episodes.
    pub episodes: usize,
    /// How many of them were noise.
    pub noise: usize,
    /// Where quell filed them in the end.
    pub partition: PartitionScore,
    /// How it named the roots.
    pub causes: RankScore,
    /// Each baseline by name.
    pub baselines: Vec<(&'static str, PartitionScore)>,
}

/// Scores a storm.
#[must_use]
pub fn score(storm: &Storm, variant: &Variant) -> StormScore {
    let (filed, named) = replay(storm, variant);
    let part = |at: usize| &*storm.estate.parts[at].id;
    let seen: Vec<Seen<'_>> = storm
        .episodes
        .iter()
        .map(|episode| Seen { at: wire::instant(episode.starts), entity: part(episode.part), label: episode.name })
        .collect();
    let map = files::map(&storm.cmdb);
    let scored = |incidents: &[u64]| {
        let pairs = storm.episodes.iter().zip(incidents);
        partition(&pairs.map(|(e, &i)| Filed { fault: e.fault, incident: Some(i) }).collect::<Vec<_>>())
    };
    let baselines = vec![
        ("time bucket, 5 min", scored(&baselines::time_bucket(&seen, wire::START, LONG_WINDOW))),
        ("time gap, 60 s", scored(&baselines::time_gap(&seen, baselines::WINDOW))),
        ("same label, 5 min", scored(&baselines::same_label(seen.iter().copied(), LONG_WINDOW))),
        ("topology ≤ 2 hops, 60 s", scored(&baselines::topology(&seen, &map, 2, baselines::WINDOW))),
        ("topology ≤ 2 hops, 5 min", scored(&baselines::topology(&seen, &map, 2, LONG_WINDOW))),
    ];
    let mut candidates: BTreeSet<&str> = storm.cmdb.cis().iter().map(|ci| ci.id.as_str()).collect();
    candidates.extend(storm.faults.iter().map(|fault| part(fault.root)));
    let rankings: Vec<(Scores<'_>, &str)> = storm
        .faults
        .iter()
        .zip(&named)
        .map(|(fault, named)| (named.iter().map(|(ci, score)| (ci.as_str(), *score)).collect(), part(fault.root)))
        .collect();
    StormScore {
        faults: storm.faults.len(),
        episodes: storm.episodes.len(),
        noise: storm.episodes.iter().filter(|episode| episode.fault.is_none()).count(),
        partition: partition(&filed),
        causes: ranking(&candidates, &rankings),
        baselines,
    }
}

/// Where the engine files each episode in the end, and what it names for each fault when that is about to be mended.
fn replay(storm: &Storm, variant: &Variant) -> (Vec<Filed>, Vec<Vec<(CiId, f64)>>) {
    let graph = Arc::new(Graph::new(storm.cmdb.clone()));
    let mut replay = Replay::new(variant, &graph, wire::START);
    let mut ids: Vec<Option<AlertId>> = vec![None; storm.episodes.len()];
    let mut due: Vec<usize> = (0..storm.faults.len()).collect();
    due.sort_by(|&a, &b| storm.faults[b].mended.total_cmp(&storm.faults[a].mended));
    let mut named = vec![Vec::new(); storm.faults.len()];
    let mut changes = wire::changes(storm).peekable();
    for post in wire::posts(storm) {
        while let Some(fault) = due.pop_if(|&mut fault| wire::instant(storm.faults[fault].mended) <= post.at) {
            let mended = wire::instant(storm.faults[fault].mended);
            while let Some((at, body)) = changes.next_if(|(at, _)| *at <= mended) {
                replay.change(at, body.as_bytes());
            }
            replay.pass(mended);
            named[fault] = holds_most(storm, &ids, &replay, fault).map(|i| replay.ranking(i)).unwrap_or_default();
        }
        while let Some((at, body)) = changes.next_if(|(at, _)| *at <= post.at) {
            replay.change(at, body.as_bytes());
        }
        let answered = replay.post(post.at, Source::AlertmanagerApi, post.body.as_bytes());
        for (&episode, id) in post.told.iter().zip(answered) {
            ids[episode] = ids[episode].or(id);
        }
    }
    replay.pass(replay.now() + Duration::from_secs(86_400));
    let incident = |ix: usize| ids[ix].and_then(|id| replay.episode(id)).and_then(|episode| episode.now);
    let filed: Vec<Filed> = storm
        .episodes
        .iter()
        .enumerate()
        .map(|(ix, episode)| Filed { fault: episode.fault, incident: incident(ix) })
        .collect();
    let spoken_for = spoken_for(&filed);
    for (fault, named) in named.iter_mut().enumerate() {
        let own = holds_most(storm, &ids, &replay, fault);
        if own.and_then(|incident| spoken_for.get(&incident)) != Some(&fault) {
            named.clear();
        }
    }
    (filed, named)
}

/// The incident that holds most of a fault's episodes now; of equals the older one.
fn holds_most(storm: &Storm, ids: &[Option<AlertId>], replay: &Replay, fault: usize) -> Option<u64> {
    let own = storm.episodes.iter().zip(ids).filter(|(episode, _)| episode.fault == Some(fault));
    most_often(own.filter_map(|(_, id)| replay.episode((*id)?)?.now))
}

/// One line of figures, as the table shows them.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// B³ F1, ARI, pair precision, pair recall, incidents per fault, noise contamination, compression, missed.
    pub partition: [f64; 8],
    /// AC@1, AC@3, AC@5; `None` for what names no cause.
    pub causes: Option<[f64; 3]>,
}

/// What was measured of many storms of one kind.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// How many storms.
    pub seeds: usize,
    /// Medians of faults, episodes and noise.
    pub sizes: [f64; 3],
    /// Medians of quell's figures.
    pub quell: Figures,
    /// Medians of each baseline's, by name.
    pub baselines: Vec<(&'static str, Figures)>,
    /// Quell's of each storm.
    pub each: Vec<Figures>,
}

impl Summary {
    /// True when neither time alone nor two hops do well: a storm that they tell apart proves nothing.
    #[must_use]
    pub fn counts(&self) -> bool {
        let easy = self.baselines.iter().filter(|(name, _)| !name.starts_with("same label"));
        easy.map(|(_, figures)| figures.partition[0]).all(|b3| b3 <= 0.80)
    }
}

/// Scores the storms of these seeds and takes the median of each figure.
#[must_use]
pub fn run(options: &Options, seeds: Range<u64>, variant: &Variant) -> Summary {
    let scores: Vec<StormScore> =
        seeds.map(|seed| score(&storm(&Options { seed, estate: seed, ..options.clone() }), variant)).collect();
    let partition = |of: &dyn Fn(&StormScore) -> PartitionScore| {
        let rows: Vec<[f64; 8]> = scores.iter().map(|score| figures(&of(score))).collect();
        std::array::from_fn(|at| median(rows.iter().map(|row| row[at]).collect()))
    };
    let causes = |score: &StormScore| [0, 2, 4].map(|k| score.causes.at[k]);
    let each: Vec<Figures> = scores
        .iter()
        .map(|score| Figures { partition: figures(&score.partition), causes: Some(causes(score)) })
        .collect();
    let causes = [0, 1, 2].map(|k| median(scores.iter().map(|score| causes(score)[k]).collect()));
    let names = scores.first().map(|score| score.baselines.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let baselines = names.unwrap_or_default().into_iter().enumerate().map(|(at, name)| {
        (name, Figures { partition: partition(&|score: &StormScore| score.baselines[at].1), causes: None })
    });
    #[expect(clippy::cast_precision_loss, reason = "counts of episodes are far below 2^52")]
    let size = |of: fn(&StormScore) -> usize| median(scores.iter().map(|score| of(score) as f64).collect());
    Summary {
        seeds: scores.len(),
        sizes: [size(|score| score.faults), size(|score| score.episodes), size(|score| score.noise)],
        quell: Figures { partition: partition(&|score: &StormScore| score.partition), causes: Some(causes) },
        baselines: baselines.collect(),
        each,
    }
}

fn figures(score: &PartitionScore) -> [f64; 8] {
    #[expect(clippy::cast_precision_loss, reason = "counts of episodes are far below 2^52")]
    let missed = score.missed as f64;
    let PartitionScore { precision, recall, ari, b3, compression, incidents_per_fault, noise_contamination, .. } =
        *score;
    [b3, ari, precision, recall, incidents_per_fault, noise_contamination, compression, missed]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storms_count_when_neither_time_nor_two_hops_tell_them_apart() {
        let figures = |b3| Figures { partition: [b3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], causes: None };
        let with = |baselines| Summary { seeds: 1, sizes: [0.0; 3], quell: figures(1.0), baselines, each: Vec::new() };
        assert!(with(vec![("time gap, 60 s", figures(0.8)), ("same label, 5 min", figures(0.9))]).counts());
        assert!(!with(vec![("topology ≤ 2 hops, 5 min", figures(0.81))]).counts());
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!([median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0]), median(vec![])], [2.0, 2.5, 0.0]);
    }
}
