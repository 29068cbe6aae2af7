//! The rules: how alerts are correlated, how incidents live, what priority they get, and the limits.
//!
//! Absent on purpose: how alerts are read and bound (`pipelines`), and defaults; those are the shipped files.

use quell_domain::{Priority, Severity};
use quell_engine::settings::{Correlation, Lifecycle, Limits, PriorityMatrix};
use serde_json::{Value, json};

use crate::tree::{Node, write_duration};

/// The sections that rules must consist of, in the order they are written.
pub(crate) const SECTIONS: [&str; 4] = ["correlation", "lifecycle", "priority", "limits"];

/// Those that may be left out. Symptoms come first, since rules name them.
pub(crate) const OPTIONAL: [&str; 2] = ["symptoms", "rules"];

/// Recent changes in hand where nothing is said; as shipped.
const RECENT_CHANGES: u64 = 20_000;

/// The same for `ended_alerts`.
const ENDED_ALERTS: u64 = 1_000;

const DURATION: &str = "a duration, as 5m";

pub(crate) fn correlation(node: &Node<'_>) -> Option<Correlation> {
    let mut fields = node.object();
    let window = fields.need("window", DURATION).and_then(|node| node.duration());
    let background = fields.need("background", DURATION).and_then(|node| node.duration());
    let max_hops = fields.need("max_hops", "a whole number").and_then(|node| small(&node));
    let threshold = fields.need("threshold", "a number from 0 to 1").and_then(|node| node.share());
    let unbound_by = fields.need("unbound_by", "a list of label names").map(|node| node.texts());
    fields.end();
    Some(Correlation {
        window: window?,
        background: background?,
        max_hops: max_hops?,
        threshold: threshold?,
        unbound_by: unbound_by?,
    })
}

fn small(node: &Node<'_>) -> Option<u32> {
    let count = node.count(0)?;
    let small = u32::try_from(count).ok();
    if small.is_none() {
        node.wrong("a whole number below 4294967296");
    }
    small
}

pub(crate) fn lifecycle(node: &Node<'_>) -> Option<Lifecycle> {
    let mut fields = node.object();
    let mut duration = |name| fields.need(name, DURATION).and_then(|node| node.duration());
    let resolve_timeout = duration("resolve_timeout");
    let reopen_window = duration("reopen_window");
    let lateness = duration("lateness");
    let tombstone = duration("tombstone");
    let review_after = duration("review_after");
    fields.end();
    Some(Lifecycle {
        resolve_timeout: resolve_timeout?,
        reopen_window: reopen_window?,
        lateness: lateness?,
        tombstone: tombstone?,
        review_after: review_after?,
    })
}

/// Lowest first, as [`PriorityMatrix`] has them.
const LEVELS: [&str; 3] = ["low", "medium", "high"];

pub(crate) fn priority(node: &Node<'_>) -> Option<PriorityMatrix> {
    let mut fields = node.object();
    let rows = LEVELS.map(|impact| {
        let mut row = fields.need(impact, "a priority for each urgency: low, medium, high")?.object();
        let cells = LEVELS.map(|urgency| {
            let node = row.need(urgency, "P1 to P5")?;
            node.choice(priority_from_name, &["P1", "P2", "P3", "P4", "P5"])
        });
        row.end();
        let [low, medium, high] = cells;
        Some([low?, medium?, high?])
    });
    fields.end();
    let [low, medium, high] = rows;
    Some(PriorityMatrix { rows: [low?, medium?, high?] })
}

/// The priority of that name, `P1` to `P5`.
pub(crate) fn priority_from_name(name: &str) -> Option<Priority> {
    let priority = Priority::new(name.strip_prefix('P')?.parse().ok()?)?;
    (priority.to_string() == name).then_some(priority)
}

pub(crate) fn limits(node: &Node<'_>) -> Option<Limits> {
    let mut fields = node.object();
    let active_alerts = fields.need("active_alerts", "a whole number").and_then(|node| node.count(1));
    let walk_cis = fields.need("walk_cis", "a whole number").and_then(|node| node.count(1));
    // Files and artefacts of before changes were told of do not name it.
    let recent_changes = fields.get("recent_changes").map_or(Some(RECENT_CHANGES), |node| node.count(1));
    // Nor did they name this one.
    let ended_alerts = fields.get("ended_alerts").map_or(Some(ENDED_ALERTS), |node| node.count(1));
    fields.end();
    let (active_alerts, walk_cis) = (active_alerts?, walk_cis?);
    Some(Limits { active_alerts, walk_cis, recent_changes: recent_changes?, ended_alerts: ended_alerts? })
}

pub(crate) fn correlation_json(correlation: &Correlation) -> Value {
    let Correlation { window, background, max_hops, threshold, unbound_by } = correlation;
    json!({
        "window": write_duration(*window),
        "background": write_duration(*background),
        "max_hops": max_hops,
        "threshold": threshold,
        "unbound_by": unbound_by,
    })
}

pub(crate) fn lifecycle_json(lifecycle: &Lifecycle) -> Value {
    let Lifecycle { resolve_timeout, reopen_window, lateness, tombstone, review_after } = lifecycle;
    json!({
        "resolve_timeout": write_duration(*resolve_timeout),
        "reopen_window": write_duration(*reopen_window),
        "lateness": write_duration(*lateness),
        "tombstone": write_duration(*tombstone),
        "review_after": write_duration(*review_after),
    })
}

pub(crate) fn priority_json(matrix: &PriorityMatrix) -> Value {
    let PriorityMatrix { rows } = matrix;
    let [low, medium, high] = rows.map(
        |[low, medium, high]| json!({ "low": low.to_string(), "medium": medium.to_string(), "high": high.to_string() }),
    );
    json!({ "low": low, "medium": medium, "high": high })
}

pub(crate) fn limits_json(limits: &Limits) -> Value {
    let Limits { active_alerts, walk_cis, recent_changes, ended_alerts } = limits;
    json!({
        "active_alerts": active_alerts,
        "walk_cis": walk_cis,
        "recent_changes": recent_changes,
        "ended_alerts": ended_alerts,
    })
}

/// Names of severities, mildest first.
pub(crate) fn severity_names() -> [&'static str; 5] {
    Severity::ALL.map(Severity::as_str)
}
