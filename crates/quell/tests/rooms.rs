//! The walls between the rooms: which of our crates may use which, and which foreign crates a pure room may use.
//!
//! A new arrow or a new room is added here together with a record in `docs/decisions/` that argues for it.
//! Absent on purpose: foreign crates of the rooms that do IO; `docs/decisions/0002-dependencies.md` argues for those.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One of our crates and what it may use.
struct Room {
    name: &'static str,
    /// Our crates it may use.
    ours: &'static [&'static str],
    /// Foreign crates it may use; `None` where the room does IO.
    foreign: Option<&'static [&'static str]>,
}

/// Foreign crates that the tests of a pure room may use.
const PURE_TESTS: &[&str] = &["proptest"];

const ROOMS: &[Room] = &[
    Room { name: "quell-domain", ours: &[], foreign: Some(&["jiff", "thiserror", "xxhash-rust"]) },
    Room { name: "quell-cmdb", ours: &["quell-domain"], foreign: Some(&["petgraph"]) },
    Room {
        name: "quell-forecast",
        ours: &["quell-domain"],
        foreign: Some(&["linfa", "linfa-logistic", "ndarray", "thiserror"]),
    },
    Room { name: "quell-engine", ours: &["quell-cmdb", "quell-domain"], foreign: Some(&["regex"]) },
    Room {
        name: "quell-formats",
        ours: &["quell-engine", "quell-forecast", "quell-cmdb", "quell-domain"],
        foreign: Some(&["csv", "serde", "serde-saphyr", "serde_json", "sha2", "thiserror"]),
    },
    Room { name: "quell-log", ours: &["quell-domain"], foreign: None },
    Room { name: "quell-store", ours: &["quell-engine", "quell-domain"], foreign: None },
    Room { name: "quell-api", ours: &["quell-store", "quell-formats", "quell-cmdb", "quell-domain"], foreign: None },
    Room { name: "quell-notify", ours: &["quell-store", "quell-formats", "quell-domain"], foreign: None },
    Room { name: "quell-sim", ours: &["quell-formats", "quell-engine", "quell-cmdb", "quell-domain"], foreign: None },
    Room {
        name: "quell",
        ours: &[
            "quell-api",
            "quell-notify",
            "quell-store",
            "quell-log",
            "quell-formats",
            "quell-engine",
            "quell-forecast",
            "quell-cmdb",
            "quell-domain",
            // `quell demo` plays the simulator's storm.
            "quell-sim",
        ],
        foreign: None,
    },
    Room {
        name: "quell-benches",
        ours: &[
            "quell",
            "quell-sim",
            "quell-api",
            "quell-notify",
            "quell-store",
            "quell-log",
            "quell-formats",
            "quell-engine",
            "quell-forecast",
            "quell-cmdb",
            "quell-domain",
        ],
        foreign: None,
    },
];

/// A use of one crate by another.
struct Use<'a> {
    from: &'a str,
    to: &'a str,
    ours: bool,
    only_in_tests: bool,
}

/// What is wrong with a use, if anything.
fn fault(found: &Use<'_>) -> Option<String> {
    let Use { from, to, ours, only_in_tests } = *found;
    let Some(room) = ROOMS.iter().find(|room| room.name == from) else {
        return Some(format!("{from} is no room; add it to rooms.rs and argue for it in docs/decisions/"));
    };
    let allowed: Vec<&str> = match (ours, room.foreign) {
        (true, _) if only_in_tests => beneath(room),
        (true, _) => room.ours.to_vec(),
        (false, None) => return None,
        (false, Some(foreign)) if only_in_tests => [foreign, PURE_TESTS].concat(),
        (false, Some(foreign)) => foreign.to_vec(),
    };
    (!allowed.contains(&to)).then(|| format!("{from} uses {to}; allowed: {}", allowed.join(", ")))
}

/// What a room's tests may use: the rooms beneath it, those that it does not see itself included, because the values that
/// its contracts hand over are made of their words.
fn beneath(room: &Room) -> Vec<&'static str> {
    let mut all = room.ours.to_vec();
    for below in ROOMS.iter().filter(|below| room.ours.contains(&below.name)) {
        all.extend(beneath(below));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Every package of the workspace, as Cargo reads it.
fn packages() -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs this test, so it can be run");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("cargo metadata lists packages").clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn every_arrow_is_on_the_map() {
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let mut faults = Vec::new();
    for package in &packages {
        let from = text(package, "name");
        if !ROOMS.iter().any(|room| room.name == from) {
            faults.push(format!("{from} is no room; add it to rooms.rs and argue for it in docs/decisions/"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = text(dependency, "name");
            let only_in_tests = text(dependency, "kind") == "dev";
            faults.extend(fault(&Use { from, to, ours: names.contains(to), only_in_tests }));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let gone: Vec<_> = ROOMS.iter().map(|room| room.name).filter(|name| !names.contains(name)).collect();
    assert!(gone.is_empty(), "rooms on the map that no crate furnishes: {}", gone.join(", "));
}

#[test]
fn no_room_uses_a_room_above_it() {
    // The map lists rooms from the ground up, so an arrow may only point to an earlier line.
    // `quell-sim` stands below `quell`, which plays its storm.
    for (at, room) in ROOMS.iter().enumerate() {
        for used in room.ours {
            let below = ROOMS[..at].iter().any(|lower| lower.name == *used);
            assert!(below, "{} uses {used}, which is not below it", room.name);
        }
    }
}

#[test]
fn a_wrong_arrow_is_found() {
    let check = |from, to, ours, only_in_tests, wanted: Option<&str>| {
        assert_eq!(fault(&Use { from, to, ours, only_in_tests }).as_deref(), wanted);
    };
    check("quell-cmdb", "quell-domain", true, false, None);
    check("quell-domain", "quell-cmdb", true, false, Some("quell-domain uses quell-cmdb; allowed: "));
    check(
        "quell-engine",
        "quell-formats",
        true,
        true,
        Some("quell-engine uses quell-formats; allowed: quell-cmdb, quell-domain"),
    );
    check("quell-engine", "tokio", false, false, Some("quell-engine uses tokio; allowed: regex"));
    check("quell-engine", "proptest", false, false, Some("quell-engine uses proptest; allowed: regex"));
    check("quell-engine", "proptest", false, true, None);
    check("quell-api", "tokio", false, false, None);
    let no_room = "utils is no room; add it to rooms.rs and argue for it in docs/decisions/";
    check("utils", "quell-domain", true, false, Some(no_room));
}
