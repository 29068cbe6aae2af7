//! `quell hygiene`: what should be put right so that alerts find their CIs, as a running quell tells it.
//!
//! Absent on purpose: making the list; `quell-api` does.

use std::fmt::Write as _;

use serde_json::Value;

use crate::import::Running;

/// Asks; what to print.
///
/// # Errors
/// Whatever the running quell says.
pub(crate) async fn run(url: &str, list: u32) -> anyhow::Result<String> {
    let body = Running::at(url)?.get(&format!("/api/v1/hygiene?limit={list}")).await?;
    Ok(tell(&serde_json::from_slice(&body)?))
}

fn tell(told: &Value) -> String {
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let number = |of: &Value, field: &str| of[field].as_u64().unwrap_or(0);
    let mut report = String::new();
    let more = if told["alerts_cut"] == Value::Bool(true) { ", and there are more" } else { "" };
    let (looked_at, unbound) = (number(told, "alerts_looked_at"), number(told, "unbound_alerts"));
    _ = writeln!(report, "{looked_at} alerts looked at{more}; {unbound} are bound to no CI");
    section(&mut report, "kinds of unbound alerts", &told["unbound"], |one| {
        let (name, source, why) = (text(one, "name"), text(one, "source"), text(one, "why"));
        format!("{} × {name} from {source}: {why}; the newest: {}", number(one, "alerts"), text(one, "example"))
    });
    section(&mut report, "retired CIs that alert", &told["retired_that_alert"], |one| {
        format!("{}: {} alerts, the last {}", text(one, "ci"), number(one, "alerts"), text(one, "last_seen"))
    });
    section(&mut report, "names of several CIs", &told["duplicates"], |one| {
        let cis: Vec<&str> = one["cis"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("{}: {} CIs: {}", text(one, "name"), number(one, "count"), cis.join(", "))
    });
    section(&mut report, "CIs that nobody answers for", &told["ownerless"], |one| {
        one.as_str().unwrap_or_default().to_owned()
    });
    section(&mut report, "stale relationships", &told["stale_relationships"], |one| {
        let (from, kind, to) = (text(one, "from"), text(one, "kind"), text(one, "to"));
        format!("{from} {kind} {to}, last seen {}", text(one, "last_seen"))
    });
    report
}

fn section(report: &mut String, what: &str, part: &Value, show: impl Fn(&Value) -> String) {
    let (total, first) = (part["total"].as_u64().unwrap_or(0), part["first"].as_array());
    let first = first.map_or(&[][..], Vec::as_slice);
    _ = writeln!(report, "\n{total} {what}");
    for one in first {
        _ = writeln!(report, "  {}", show(one));
    }
    if let Some(rest) = total.checked_sub(first.len() as u64).filter(|rest| *rest > 0) {
        _ = writeln!(report, "  … and {rest} more; --list shows more");
    }
}
