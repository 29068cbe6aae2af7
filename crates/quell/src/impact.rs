//! `quell impact --change CI[,CI]`: what a change risks, as a running quell tells it.
//!
//! Absent on purpose: working it out; `quell-api` and `quell-cmdb` do.

use std::fmt::Write as _;

use serde_json::Value;

use crate::import::Running;

/// Dependents printed at most.
const SHOWN: usize = 20;

/// Asks; what to print.
///
/// # Errors
/// Whatever the running quell says.
pub(crate) async fn run(url: &str, change: &str) -> anyhow::Result<String> {
    // Only to spell the query.
    let asked = reqwest::Url::parse_with_params("http://quell/api/v1/impact", [("ci", change)])?;
    let path = format!("{}?{}", asked.path(), asked.query().unwrap_or_default());
    let body = Running::at(url)?.get(&path).await?;
    Ok(tell(&serde_json::from_slice(&body)?))
}

fn list(told: &Value) -> &[Value] {
    told.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

fn tell(told: &Value) -> String {
    let mut report = String::new();
    let changed: Vec<&str> = list(&told["changed"]).iter().filter_map(Value::as_str).collect();
    let more = if told["partial"] == Value::Bool(true) { ", or more" } else { "" };
    let services = list(&told["services"]);
    _ = writeln!(
        report,
        "If {} fails, {} CIs may degrade{more}; {} of them are services.",
        changed.join(" and "),
        told["cis"],
        services.len()
    );
    for service in services.iter().take(SHOWN) {
        let owner = service["owner"].as_str().unwrap_or("nobody");
        _ = writeln!(report, "  {} ({}), {owner} answers for it", text(service, "name"), text(service, "criticality"));
    }
    let lost = list(&told["redundancy_lost"]);
    _ = writeln!(report, "\nRedundancy lost: {} dependents have fewer alternatives.", told["redundancy_lost_total"]);
    for one in lost.iter().take(SHOWN) {
        let what = match (&one["falls"], &one["one_more_failure_fells_it"]) {
            (Value::Bool(true), _) => ": it falls",
            (_, Value::Bool(true)) => ": one more failure and it falls",
            _ => "",
        };
        _ = writeln!(
            report,
            "  {}: {} of {} left, {} needed{what}",
            text(one, "ci"),
            one["left"],
            one["alternatives"],
            one["at_least"]
        );
    }
    _ = writeln!(report, "\nAfter earlier changes:");
    for one in list(&told["after_changes"]) {
        let hours = one["within_seconds"].as_u64().unwrap_or(0) / 3600;
        let named: Vec<&str> = list(&one["incidents"]).iter().filter_map(Value::as_str).collect();
        _ = writeln!(
            report,
            "  {}: {} of the last {} changes were followed by an incident of it within {hours} h; by chance {} would be{}{}",
            text(one, "ci"),
            one["followed_by_an_incident"],
            one["changes"],
            one["expected_by_chance"],
            if named.is_empty() { "" } else { ": " },
            named.join(", ")
        );
    }
    report
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_falls_and_what_hangs_by_a_thread() {
        let told = json!({
            "changed": ["web1"], "cis": 2, "partial": false,
            "services": [{"name": "Shop", "criticality": "critical", "owner": null}],
            "redundancy_lost_total": 2,
            "redundancy_lost": [
                {"ci": "pay", "left": 0, "alternatives": 1, "at_least": 1, "falls": true, "one_more_failure_fells_it": false},
                {"ci": "shop", "left": 1, "alternatives": 2, "at_least": 1, "falls": false, "one_more_failure_fells_it": true},
            ],
            "after_changes": [{"ci": "web1", "changes": 4, "followed_by_an_incident": 3, "expected_by_chance": 0.2,
                "within_seconds": 14400, "incidents": ["INC-7"]}],
        });
        assert_eq!(
            tell(&told),
            "If web1 fails, 2 CIs may degrade; 1 of them are services.\n  Shop (critical), nobody answers for it\n\n\
             Redundancy lost: 2 dependents have fewer alternatives.\n  pay: 0 of 1 left, 1 needed: it falls\n  \
             shop: 1 of 2 left, 1 needed: one more failure and it falls\n\nAfter earlier changes:\n  \
             web1: 3 of the last 4 changes were followed by an incident of it within 4 h; by chance 0.2 would be: INC-7\n"
        );
    }
}
