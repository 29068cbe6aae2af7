//! The `tests:` that pipelines and rules carry, as values.
//!
//! Absent on purpose: running them; the shell does that with the engine itself.

use std::time::Duration;

use quell_domain::{IncidentState, Priority, Severity, Source, Timestamp, Topology};
use quell_engine::rules::Rule;
use quell_engine::symptoms::Symptoms;
use serde_json::Value;

use crate::mistake::Mistakes;
use crate::rules::{priority_from_name, severity_names};
use crate::tree::{Node, Object};
use crate::{topology, user_rules};

/// Second 0 of every test: 2026-01-01T00:00:00Z.
pub const TEST_EPOCH: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// A test that a file carries.
#[derive(Clone, PartialEq, Debug)]
pub struct Test {
    /// The file.
    pub file: String,
    /// What it shows.
    pub name: String,
    /// The estate it plays in; an empty one where none is given.
    pub topology: Topology,
    /// What is done and expected.
    pub kind: TestKind,
}

/// What a test does and expects.
#[derive(Clone, PartialEq, Debug)]
pub enum TestKind {
    /// One body is read and its first alert bound.
    Pipeline(PipelineTest),
    /// Bodies are played over time and the incidents looked at.
    Rules(RulesTest),
}

/// Reads one body and looks at its first item.
#[derive(Clone, PartialEq, Debug)]
pub struct PipelineTest {
    /// The contract it comes by.
    pub source: Source,
    /// The body as its sender posts it.
    pub payload: Vec<u8>,
    /// What is expected; what is `None` is not looked at.
    pub expect: ExpectedAlert,
}

/// What a pipeline makes of an alert; `None` is not looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExpectedAlert {
    /// Its severity.
    pub severity: Option<Severity>,
    /// Its name ([`quell_domain::Alert::name`]).
    pub name: Option<String>,
    /// The id of the CI it is bound to.
    pub ci: Option<String>,
    /// True: it must be unbound; false: bound.
    pub unbound: Option<bool>,
    /// How many items of the body are refused.
    pub rejects: Option<usize>,
}

/// Plays bodies and looks at the incidents at `until`.
#[derive(Clone, PartialEq, Debug)]
pub struct RulesTest {
    /// Rules that stand before those of the files, in this test only.
    pub rules: Vec<Rule>,
    /// The bodies, in the order of their times.
    pub alerts: Vec<PlayedBody>,
    /// When to look, after [`TEST_EPOCH`]; where not given, 10 s after the last body.
    pub until: Duration,
    /// Exactly these incidents, in the order they were opened.
    pub incidents: Vec<ExpectedIncident>,
    /// How many alerts belong to no incident, since a rule suppresses or holds them back; `None` is not looked at.
    pub suppressed: Option<u64>,
}

/// One body at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlayedBody {
    /// When, after [`TEST_EPOCH`].
    pub at: Duration,
    /// The contract it comes by.
    pub source: Source,
    /// The body as its sender posts it.
    pub payload: Vec<u8>,
}

/// What an incident must be; `None` is not looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExpectedIncident {
    /// Open or resolved.
    pub state: Option<IncidentState>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// The CI of its first cause.
    pub cause: Option<String>,
    /// How many alert episodes are in it.
    pub alerts: Option<u64>,
    /// The CIs of its alerts, each once, by id.
    pub cis: Option<Vec<String>>,
    /// The services in its blast radius, each once, by id.
    pub services: Option<Vec<String>>,
    /// How often it came back.
    pub reopened: Option<u32>,
}

/// The tests of a pipeline's file. `source` is missing when the pipeline has mistakes.
pub(crate) fn pipeline_tests(file: &str, source: Option<Source>, node: &Node<'_>, mistakes: &Mistakes) -> Vec<Test> {
    let read = |node: &Node<'_>| {
        let mut fields = node.object();
        let name = name(&mut fields);
        let topology = estate(&mut fields, mistakes);
        let payload = fields.need("payload", PAYLOAD).map(|node| payload(&node));
        let expect = fields.need("expect", "what the pipeline must make of it").map(|node| expected_alert(&node));
        fields.end();
        let kind = TestKind::Pipeline(PipelineTest { source: source?, payload: payload?, expect: expect? });
        Some(Test { file: file.to_owned(), name: name?, topology: topology?, kind })
    };
    node.list().iter().filter_map(read).collect()
}

/// The tests of a file of rules.
pub(crate) fn rule_tests(file: &str, node: &Node<'_>, symptoms: Option<&Symptoms>, mistakes: &Mistakes) -> Vec<Test> {
    let read = |node: &Node<'_>| {
        let mut fields = node.object();
        let name = name(&mut fields);
        let topology = estate(&mut fields, mistakes);
        let rules = fields.get("rules").map(|node| user_rules::rules(&node, symptoms)).unwrap_or_default();
        let bodies =
            fields.need("alerts", "a list of bodies with `at`, `source` and `payload`").map(|node| node.list());
        let alerts: Vec<PlayedBody> = bodies.iter().flatten().filter_map(played_body).collect();
        let until = fields.get("until").map(|node| node.duration());
        let expect = fields.need("expect", "`incidents`, a list").map(|node| expected(&node));
        fields.end();
        let last = alerts.iter().map(|body| body.at).max().unwrap_or_default();
        let until = until.unwrap_or(Some(last + Duration::from_secs(10)))?;
        let (incidents, suppressed) = expect?;
        let kind = TestKind::Rules(RulesTest { rules, alerts, until, incidents, suppressed });
        Some(Test { file: file.to_owned(), name: name?, topology: topology?, kind })
    };
    node.list().iter().filter_map(read).collect()
}

const PAYLOAD: &str = "a body as its sender posts it, as text or as YAML";

fn name(fields: &mut Object<'_>) -> Option<String> {
    fields.need("name", "what the test shows")?.text().map(str::to_owned)
}

fn estate(fields: &mut Object<'_>, mistakes: &Mistakes) -> Option<Topology> {
    fields.get("topology").map_or_else(|| Some(Topology::default()), |node| topology::read(&node, mistakes))
}

/// A text is the body itself; anything else is written as JSON.
fn payload(node: &Node<'_>) -> Vec<u8> {
    match node.value {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

fn expected_alert(node: &Node<'_>) -> ExpectedAlert {
    let mut fields = node.object();
    let text = |node: Node<'_>| node.text().map(str::to_owned);
    let expect = ExpectedAlert {
        severity: fields.get("severity").and_then(|node| node.choice(Severity::from_name, &severity_names())),
        name: fields.get("name").and_then(text),
        ci: fields.get("ci").and_then(text),
        unbound: fields.get("unbound").and_then(|node| node.flag()),
        rejects: fields.get("rejects").and_then(|node| node.count(0)).and_then(|count| usize::try_from(count).ok()),
    };
    fields.end();
    if expect == ExpectedAlert::default() {
        node.wrong("at least one of severity, name, ci, unbound, rejects");
    }
    expect
}

fn played_body(node: &Node<'_>) -> Option<PlayedBody> {
    let mut fields = node.object();
    let at = fields.need("at", "a duration after the test begins, as 90s").and_then(|node| node.duration());
    let names = Source::ALL.map(Source::as_str);
    let source = fields.need("source", &format!("one of {}", names.join(", ")));
    let source = source.and_then(|node| node.choice(Source::from_name, &names));
    let payload = fields.need("payload", PAYLOAD).map(|node| payload(&node));
    fields.end();
    Some(PlayedBody { at: at?, source: source?, payload: payload? })
}

fn expected(node: &Node<'_>) -> (Vec<ExpectedIncident>, Option<u64>) {
    let mut fields = node.object();
    let list = fields.need("incidents", "a list").map(|node| node.list()).unwrap_or_default();
    let suppressed = fields.get("suppressed").and_then(|node| node.count(0));
    fields.end();
    (list.iter().map(expected_incident).collect(), suppressed)
}

fn expected_incident(node: &Node<'_>) -> ExpectedIncident {
    let mut fields = node.object();
    let states = [IncidentState::Open, IncidentState::Resolved];
    let state = |name: &str| states.into_iter().find(|state| state.as_str() == name);
    let sorted = |node: Node<'_>| {
        let mut texts = node.texts();
        texts.sort();
        texts.dedup();
        texts
    };
    let expect = ExpectedIncident {
        state: fields.get("state").and_then(|node| node.choice(state, &states.map(IncidentState::as_str))),
        priority: fields
            .get("priority")
            .and_then(|node| node.choice(priority_from_name, &["P1", "P2", "P3", "P4", "P5"])),
        cause: fields.get("cause").and_then(|node| node.text().map(str::to_owned)),
        alerts: fields.get("alerts").and_then(|node| node.count(1)),
        cis: fields.get("cis").map(sorted),
        services: fields.get("services").map(sorted),
        reopened: fields.get("reopened").and_then(|node| node.count(0)).and_then(|count| u32::try_from(count).ok()),
    };
    fields.end();
    expect
}
