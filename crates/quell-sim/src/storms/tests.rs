//! A storm is the same for each seed, holds together, is awkward, and comes back from its folder as it was written.

use quell_engine::Part;

use super::*;
use crate::quality::replay::Variant;

fn small(seed: u64) -> Storm {
    storm(&Options::usual(seed, 600))
}

#[test]
fn the_same_seed_gives_the_same_storm() {
    assert_eq!(small(3).episodes, small(3).episodes);
    assert_eq!(small(3).cmdb, small(3).cmdb);
    assert_ne!(small(3).episodes, small(4).episodes);
}

#[test]
fn an_estate_has_the_wanted_size_and_whatever_fails_in_it() {
    for cis in [100, 1_000, 10_000] {
        let estate = Estate::new(cis, &mut Rng::new(1));
        let count = estate.parts.len();
        assert!((cis * 3 / 4..cis * 5 / 4).contains(&count), "{count} CIs for {cis}");
        for kind in FaultKind::ALL {
            assert!(!estate.of(kind.befalls()).is_empty(), "{} in {cis}", kind.word());
        }
        let ids: BTreeSet<&str> = estate.parts.iter().map(|part| &*part.id).collect();
        assert_eq!(ids.len(), count);
    }
}

#[test]
fn every_fault_is_told_of_and_no_alert_fires_twice_at_once() {
    for seed in 0..5 {
        let storm = small(seed);
        assert!(storm.faults.len() >= 8, "{} faults", storm.faults.len());
        for fault in 0..storm.faults.len() {
            assert!(storm.episodes.iter().any(|episode| episode.fault == Some(fault)));
        }
        let mut last = std::collections::BTreeMap::new();
        for Episode { part, name, starts, ends, .. } in &storm.episodes {
            assert!(starts < ends);
            let before = last.insert((part, name), ends);
            assert!(before.is_none_or(|before| before < starts), "{name} fires twice");
        }
    }
}

#[test]
fn gaps_take_away_a_tenth() {
    let options = Options::usual(5, 4_000).with_gaps();
    let storm = storm(&options);
    let (known, there) = (storm.cmdb.cis().len(), storm.estate.parts.len());
    assert!(known < there * 93 / 100 && known > there * 87 / 100, "{known} of {there}");
}

#[test]
fn a_plain_cmdb_knows_the_same_relationships_by_one_word() {
    let (known, plain) = (small(1).cmdb, storm(&Options { plain: true, ..Options::usual(1, 600) }).cmdb);
    assert_eq!(known.relationships().len(), plain.relationships().len());
    assert!(!known.redundancies().is_empty() && plain.redundancies().is_empty());
    assert!(plain.relationships().iter().all(|r| r.kind == "depends_on" && r.redundancy.is_none()));
}

#[test]
fn posts_carry_each_episode_from_start_to_end() {
    let storm = small(1);
    let mut told = vec![0; storm.episodes.len()];
    for post in wire::posts(&storm) {
        let batch = quell_formats::alertmanager::decode_api(post.body.as_bytes());
        assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
        assert_eq!(batch.items().len(), post.told.len());
        post.told.iter().for_each(|&episode| told[episode] += 1);
    }
    assert!(told.iter().all(|&times| times >= 2), "told at the start and at the end");
}

#[test]
fn changes_are_told_as_events_and_most_bad_releases_have_one() {
    let (mut bad, mut told, mut all) = (0, 0, 0);
    for seed in 0..20 {
        let storm = storm(&Options { kinds: vec![FaultKind::Deploy], ..Options::usual(seed, 600) });
        bad += storm.faults.len();
        all += storm.changes.len();
        for change in storm.changes.iter().filter(|change| change.fault.is_some()) {
            let fault = &storm.faults[change.fault.expect("filtered")];
            assert!(change.part == fault.root && change.at < fault.begins, "{change:?}");
            told += 1;
        }
        assert!(storm.changes.is_sorted_by(|a, b| a.told <= b.told));
        let read = |(_, body): (_, String)| quell_formats::pagerduty::change::decode(body.as_bytes());
        assert!(wire::changes(&storm).map(read).all(|changes| changes.rejects.is_empty()));
    }
    assert!((75..95).contains(&(told * 100 / bad)), "{told} of {bad} bad releases");
    assert!(all > 5 * told, "{all} changes, {told} of them bad: a change alone would prove something");
}

#[test]
fn a_folder_that_was_written_can_be_scored() {
    let folder = std::env::temp_dir().join(format!("quell-storm-{}", std::process::id()));
    let storm = small(2);
    files::write(&storm, &folder).expect("a folder can be written");
    let scored = crate::quality::measure(&folder, None, &Variant::shipped()).expect("a whole folder");
    std::fs::remove_dir_all(&folder).expect("it was made");
    let [(_, crate::quality::Scored::Correlation(found)), (_, crate::quality::Scored::Cause(causes))] =
        scored.as_slice()
    else {
        panic!("which incident and which cause: {scored:?}")
    };
    assert_eq!((found.alerts, found.faults), (storm.episodes.len(), storm.faults.len()));
    assert_eq!(causes.faults, storm.faults.len());
    assert_eq!(found.last.rows.missed, 0);
}

#[test]
fn every_episode_is_filed() {
    let score = score::score(&small(1), &Variant::shipped());
    assert_eq!(score.partition.missed, 0);
    assert_eq!(score.causes.faults, score.faults);
    assert!(score.partition.b3 > 0.0 && score.noise > 0);
}

#[test]
fn what_is_left_out_is_missed() {
    let (storm, all) = (small(1), Variant::shipped());
    let whole = score::score(&storm, &all).partition;
    for part in [Part::Together, Part::History] {
        let without = score::score(&storm, &all.without(part)).partition;
        assert!(without.b3 < whole.b3, "without {}: {} and not less than {}", part.words(), without.b3, whole.b3);
    }
}
