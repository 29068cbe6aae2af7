//! `quell check`: are rules and pipelines sound, and do they do what their own tests say?
//!
//! Works offline. Absent on purpose: the checks of form (`quell-formats`); this runs the tests with the engine itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quell_domain::{Alert, AlertState, Incident};
use quell_engine::rules::Rules;
use quell_engine::{Ledger, Settings};
use quell_formats::tests_in_files::{
    ExpectedAlert, ExpectedIncident, PipelineTest, RulesTest, TEST_EPOCH, Test, TestKind,
};

use crate::replay::Replay;
use crate::{settings, streams};

/// What was checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Files read.
    pub files: usize,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed: file, name, and what differs.
    pub failed: Vec<String>,
}

/// Checks the config, if one is named, and the rules and pipelines it names or the shipped ones.
///
/// # Errors
/// All mistakes of form at once.
pub fn run(config: Option<&Path>, rules: Option<PathBuf>, pipelines: Option<PathBuf>) -> anyhow::Result<Checked> {
    let config = settings::config(config)?;
    streams::check(&config)?;
    let rules = rules.or(config.rules_dir);
    let pipelines = pipelines.or(config.pipelines_dir);
    let files = settings::files(rules.as_deref(), pipelines.as_deref())?;
    let compiled = settings::compile(&files)?;
    let settings = Arc::new(compiled.settings);
    let mut checked = Checked { files: files.len(), ..Checked::default() };
    for test in &compiled.tests {
        let wrong = run_test(&settings, test);
        if wrong.is_empty() {
            checked.passed += 1;
        } else {
            checked.failed.push(format!("{}: {}: {}", test.file, test.name, wrong.join("; ")));
        }
    }
    Ok(checked)
}

fn run_test(settings: &Arc<Settings>, test: &Test) -> Vec<String> {
    let mut replay = Replay::new(settings_of(settings, test), test.topology.clone());
    match &test.kind {
        TestKind::Pipeline(PipelineTest { source, payload, expect }) => {
            replay.play(TEST_EPOCH, *source, payload);
            compare_alert(&replay.finish(), expect)
        }
        TestKind::Rules(RulesTest { rules: _, alerts, until, incidents, suppressed }) => {
            for body in alerts {
                replay.play(TEST_EPOCH + body.at, body.source, &body.payload);
            }
            replay.input(TEST_EPOCH + *until, &quell_domain::Input::Tick);
            let ledger = replay.finish();
            let mut wrong = compare_incidents(&ledger, incidents);
            let unplaced = |alert: &&Alert| alert.incident.is_none() && alert.state != AlertState::Stale;
            let found = ledger.alerts.values().filter(unplaced).count() as u64;
            differs(&mut wrong, "suppressed", suppressed.as_ref(), &found);
            wrong
        }
    }
}

/// The settings of the files, with the rules that the test puts before theirs.
fn settings_of(settings: &Arc<Settings>, test: &Test) -> Arc<Settings> {
    match &test.kind {
        TestKind::Rules(RulesTest { rules, .. }) if !rules.is_empty() => {
            let list = rules.iter().chain(settings.rules.list()).cloned().collect();
            let rules = Rules::new(list, settings.rules.symptoms().clone());
            Arc::new(Settings { rules, ..Settings::clone(settings) })
        }
        TestKind::Rules(_) | TestKind::Pipeline(_) => Arc::clone(settings),
    }
}

fn differs<T: PartialEq + std::fmt::Debug>(wrong: &mut Vec<String>, what: &str, expected: Option<&T>, found: &T) {
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        wrong.push(format!("{what}: expected {expected:?}, found {found:?}"));
    }
}

fn compare_alert(ledger: &Ledger, expect: &ExpectedAlert) -> Vec<String> {
    let ExpectedAlert { severity, name, ci, unbound, rejects } = expect;
    let mut wrong = Vec::new();
    differs(&mut wrong, "rejects", rejects.as_ref(), &ledger.parked.len());
    let asked = severity.is_some() || name.is_some() || ci.is_some() || unbound.is_some();
    let (name_found, binding) = match (ledger.alerts.values().next(), ledger.changes.values().next()) {
        (Some(alert), _) => {
            differs(&mut wrong, "severity", severity.as_ref(), &alert.severity);
            (alert.name().to_owned(), &alert.binding)
        }
        (None, Some(change)) => (change.summary.clone(), &change.binding),
        (None, None) => {
            if asked {
                wrong.push("neither an alert nor a change came of it".to_owned());
            }
            return wrong;
        }
    };
    differs(&mut wrong, "name", name.as_ref(), &name_found);
    let bound = binding.as_ref().map(|binding| binding.ci.to_string());
    differs(&mut wrong, "ci", ci.clone().map(Some).as_ref(), &bound);
    differs(&mut wrong, "unbound", unbound.as_ref(), &bound.is_none());
    wrong
}

fn compare_incidents(ledger: &Ledger, expected: &[ExpectedIncident]) -> Vec<String> {
    let mut wrong = Vec::new();
    differs(&mut wrong, "incidents", Some(&expected.len()), &ledger.incidents.len());
    let members = ledger.members();
    for (incident, expect) in ledger.incidents.values().zip(expected) {
        let alerts = members.get(&incident.id).map_or(&[][..], Vec::as_slice);
        compare_incident(&mut wrong, incident, alerts, expect);
    }
    wrong
}

fn compare_incident(wrong: &mut Vec<String>, incident: &Incident, alerts: &[Alert], expect: &ExpectedIncident) {
    let ExpectedIncident { state, priority, cause, alerts: count, cis, services, reopened } = expect;
    let id = incident.id;
    differs(wrong, &format!("{id} state"), state.as_ref(), &incident.state);
    differs(wrong, &format!("{id} priority"), priority.as_ref(), &incident.priority);
    let first = incident.causes.first().map(|cause| cause.ci.to_string());
    differs(wrong, &format!("{id} cause"), cause.clone().map(Some).as_ref(), &first);
    differs(wrong, &format!("{id} alerts"), count.as_ref(), &incident.alerts);
    let bound = alerts.iter().filter_map(|alert| alert.binding.as_ref()).map(|binding| binding.ci.to_string());
    let bound: Vec<String> = bound.collect::<BTreeSet<_>>().into_iter().collect();
    differs(wrong, &format!("{id} cis"), cis.as_ref(), &bound);
    let at_risk = incident.blast_radius.services.iter().map(|service| service.ci.to_string());
    let at_risk: Vec<String> = at_risk.collect::<BTreeSet<_>>().into_iter().collect();
    differs(wrong, &format!("{id} services"), services.as_ref(), &at_risk);
    differs(wrong, &format!("{id} reopened"), reopened.as_ref(), &incident.reopened);
}
