//! `quell replay --compare`: recorded traffic under two configurations, and what the other one would have changed.
//!
//! Absent on purpose: running the engine (`replay`), reading traffic (`traffic`) and finding the difference
//! (`difference`); this chooses the settings and writes the report.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use quell_domain::IncidentId;
use quell_engine::{Ledger, Settings};
use serde_json::{Value, json};

use crate::difference::{Change, Difference, Kind, Why, difference};
use crate::settings;
use crate::traffic::Traffic;

/// Changes of one kind that the text shows; JSON has all of them.
const SHOWN: usize = 20;

/// Incidents of one change that the text names; JSON has all of them.
const NAMED: usize = 8;

/// Both runs and their difference.
#[derive(Debug)]
pub struct Compared {
    /// Bodies of alerts played.
    pub records: u64,
    /// What the first configuration remembers.
    pub before: Ledger,
    /// What the other one remembers.
    pub after: Ledger,
    /// The difference.
    pub difference: Difference,
}

/// The settings of another directory of rules: its files, or those of its folders `rules` and `pipelines`; what it does
/// not have is as in `pipelines`, or as shipped.
///
/// # Errors
/// All mistakes in them.
pub fn other_settings(directory: &Path, pipelines: Option<&Path>) -> anyhow::Result<Arc<Settings>> {
    let (rules, own) = (directory.join("rules"), directory.join("pipelines"));
    let rules = if rules.is_dir() { rules } else { directory.to_owned() };
    let pipelines = if own.is_dir() { Some(own.as_path()) } else { pipelines };
    let files = settings::files(Some(&rules), pipelines)?;
    Ok(Arc::new(settings::compile(&files)?.settings))
}

/// Plays the traffic twice.
///
/// # Errors
/// When it cannot be read or understood.
pub async fn run(
    traffic: &Traffic,
    before: Arc<Settings>,
    after: Arc<Settings>,
    truth: &str,
) -> anyhow::Result<Compared> {
    let (replay, records) = traffic.play(before).await?;
    let before = replay.finish();
    let (replay, _) = traffic.play(after).await?;
    let after = replay.finish();
    let difference = difference(&before, &after, Some(truth));
    Ok(Compared { records, before, after, difference })
}

/// The report for people.
#[must_use]
pub fn text(compared: &Compared) -> String {
    let Compared { records, before, after, difference } = compared;
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("writing to a string does not fail");
    line(format_args!(
        "{records} records, {} alerts received: {} incidents before, {} after",
        before.disposed.received,
        before.incidents.len(),
        after.incidents.len()
    ));
    let counts: Vec<String> =
        Kind::ALL.iter().map(|&kind| format!("{} {}", kind.as_str(), difference.count(kind))).collect();
    line(format_args!("{}", counts.join(", ")));
    let agreement = difference.agreement;
    line(format_args!(
        "both agree on {:.4} of all pairs of alerts; ARI between both {:.4}",
        agreement.pairs, agreement.ari
    ));
    if let Some(truth) = &difference.truth {
        line(format_args!(
            "against the label {} of {} alerts: ARI {:.4} before, {:.4} after",
            truth.label, truth.alerts, truth.before, truth.after
        ));
    }
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Equal) {
        let all: Vec<&Change> = difference.changes.iter().filter(|change| change.kind == kind).collect();
        for change in all.iter().take(SHOWN) {
            line(format_args!("\n{}", one(compared, change).trim_end()));
        }
        if all.len() > SHOWN {
            line(format_args!("\n… {} more {}; --json names all of them", all.len() - SHOWN, kind.as_str()));
        }
    }
    out
}

fn one(compared: &Compared, change: &Change) -> String {
    let names = |ids: &[IncidentId]| match ids {
        [] => "nothing".to_owned(),
        ids => {
            let named = ids.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let more = ids.len().saturating_sub(NAMED);
            if more > 0 { format!("{named} and {more} more") } else { named }
        }
    };
    let mut out = format!(
        "{}: {} -> {} (alerts: {}{})\n",
        change.kind.as_str(),
        names(&change.before),
        names(&change.after),
        change.alerts,
        match change.later_seconds {
            Some(seconds) if seconds > 0.0 => format!(", opened {seconds:.0} s later"),
            Some(seconds) if seconds < 0.0 => format!(", opened {:.0} s earlier", -seconds),
            _ => String::new(),
        }
    );
    let mut line = |text: String| writeln!(out, "  {text}").expect("writing to a string does not fail");
    for (when, ledger, ids) in [("before", &compared.before, &change.before), ("after", &compared.after, &change.after)]
    {
        for incident in ids.iter().take(NAMED).filter_map(|id| ledger.incidents.get(id)) {
            let cause =
                incident.causes.first().map_or_else(|| "no cause".to_owned(), |cause| format!("cause {}", cause.ci));
            line(format!("{when:6} {} {} {}; {cause}", incident.id, incident.priority, incident.title));
        }
    }
    for Why { alerts, from, to, example, before, after } in &change.why {
        let word = |code: &str| if code.is_empty() { "none".to_owned() } else { code.to_owned() };
        line(format!("why    {} -> {} (alerts: {alerts}), as {example}: {before} -> {after}", word(from), word(to)));
    }
    out
}

/// The report for programs; what is equal is counted and not listed.
#[must_use]
pub fn report(compared: &Compared) -> Value {
    let Compared { records, before, after, difference } = compared;
    let heads = |ledger: &Ledger, ids: &[IncidentId]| -> Vec<Value> {
        let incidents = ids.iter().filter_map(|id| ledger.incidents.get(id));
        let head = |incident: &quell_domain::Incident| {
            json!({
                "id": incident.id.to_string(),
                "title": incident.title,
                "priority": incident.priority.to_string(),
                "opened_at": incident.opened_at.to_string(),
                "alerts": incident.alerts,
                "cause": incident.causes.first().map(|cause| cause.ci.to_string()),
            })
        };
        incidents.map(head).collect()
    };
    let change = |change: &Change| {
        let why = |why: &Why| {
            let Why { alerts, from, to, example, before, after } = why;
            json!({"alerts": alerts, "from": from, "to": to, "example": example, "before": before, "after": after})
        };
        json!({
            "kind": change.kind.as_str(),
            "before": heads(before, &change.before),
            "after": heads(after, &change.after),
            "alerts": change.alerts,
            "later_seconds": change.later_seconds,
            "why": change.why.iter().map(why).collect::<Vec<_>>(),
        })
    };
    let counts: serde_json::Map<String, Value> =
        Kind::ALL.iter().map(|&kind| (kind.as_str().to_owned(), json!(difference.count(kind)))).collect();
    let listed = difference.changes.iter().filter(|change| change.kind != Kind::Equal);
    json!({
        "records": records,
        "alerts": before.disposed.received,
        "incidents": {"before": before.incidents.len(), "after": after.incidents.len()},
        "counts": counts,
        "agreement": {"pairs": difference.agreement.pairs, "ari": difference.agreement.ari},
        "truth": difference.truth.as_ref().map(|truth| json!({
            "label": truth.label,
            "alerts": truth.alerts,
            "ari_before": truth.before,
            "ari_after": truth.after,
        })),
        "changes": listed.map(change).collect::<Vec<_>>(),
    })
}
