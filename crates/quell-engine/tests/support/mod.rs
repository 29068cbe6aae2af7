//! A small estate, settings and a way to write storms as text. Absent on purpose: sender formats; batches are built
//! directly.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quell_cmdb::{BindBy, Graph};
use quell_domain::{
    Action, Batch, BatchBuilder, Changes, Ci, CiId, Criticality, Digest, Ending, Input, ItemDraft, Moment, Position,
    Priority, Redundancy, Relationship, Severity, Shard, Source, Timestamp, ToldChange, Topology,
};
use quell_engine::rules::{Compare, CorrelateBy, Matcher, Rule, Rules, Threshold};
use quell_engine::settings::{
    BindStep, Correlation, Lifecycle, Limits, Pipeline, PriorityMatrix, Settings, SeverityMap,
};
use quell_engine::symptoms::{Symptom, Symptoms};
use quell_engine::{Artefact, Engine, Ledger};

pub(crate) fn settings() -> Settings {
    let priority = |number| Priority::new(number).expect("1 to 5");
    let pipeline = |source| Pipeline {
        source,
        severity: SeverityMap {
            labels: vec!["severity".into()],
            words: Severity::ALL.iter().map(|s| (s.as_str().to_owned(), *s)).collect(),
        },
        bind: vec![BindStep::Label {
            labels: vec!["ci".into()],
            by: vec![BindBy::Id, BindBy::Alias, BindBy::Host, BindBy::ShortName],
            confidence: 1.0,
        }],
    };
    Settings {
        rules: Rules::default(),
        pipelines: Source::ALL.map(pipeline).to_vec(),
        correlation: Correlation {
            window: Duration::from_secs(300),
            background: Duration::from_secs(7200),
            max_hops: 4,
            threshold: 0.55,
            unbound_by: vec!["alertname".into(), "job".into()],
        },
        lifecycle: Lifecycle {
            resolve_timeout: Duration::from_secs(300),
            reopen_window: Duration::from_secs(600),
            lateness: Duration::from_secs(30),
            tombstone: Duration::from_secs(600),
            review_after: Duration::from_secs(1),
        },
        limits: Limits { active_alerts: 100_000, walk_cis: 100_000, recent_changes: 1000, ended_alerts: 1000 },
        priorities: PriorityMatrix {
            rows: [
                [priority(5), priority(4), priority(3)],
                [priority(4), priority(3), priority(2)],
                [priority(3), priority(2), priority(1)],
            ],
        },
    }
}

/// The same with rules that have every action: `mail` and what hangs on it is held back until there are `count` alerts
/// within so many seconds, `Errors` of the shop are one trouble, `Slow` of the switch is suppressed, `pay` stays apart.
pub(crate) fn ruled(count: u32, within: u64) -> Settings {
    let rule = |name: &str, matchers: &[(&str, Compare, &str)]| Rule {
        name: name.into(),
        matchers: matchers.iter().map(|&(l, c, v)| Matcher::new(l, c, v).expect("a sound matcher")).collect(),
        correlate: None,
        apart: false,
        threshold: None,
        suppress: None,
        severity: None,
        symptom: None,
    };
    let threshold = Threshold { count, within: Duration::from_secs(within), by: vec!["alertname".into()] };
    let correlate = CorrelateBy { by: vec!["alertname".into()], window: Duration::from_secs(within) };
    let rules = vec![
        Rule { threshold: Some(threshold), ..rule("mail", &[("ci", Compare::Match, "mx|h3")]) },
        Rule {
            correlate: Some(correlate),
            ..rule("shop", &[("alertname", Compare::Equal, "Errors"), ("ci", Compare::Match, "shop|h1|no.*")])
        },
        Rule {
            suppress: Some("known".into()),
            ..rule("switch", &[("alertname", Compare::Equal, "Slow"), ("ci", Compare::Equal, "sw")])
        },
        Rule { apart: true, severity: Some(Severity::Info), ..rule("pay", &[("ci", Compare::Match, "p.y")]) },
    ];
    Settings { rules: Rules::new(rules, symptoms()), ..settings() }
}

/// Two classes, as the storms' names have them.
pub(crate) fn symptoms() -> Symptoms {
    let class = |name: &str, words: &[&str]| Symptom {
        name: name.into(),
        words: words.iter().map(ToString::to_string).collect(),
    };
    Symptoms::new(vec![class("down", &["down", "unreachable"]), class("slow", &["slow", "a"])])
}

/// `a>b` a depends on b; `a>b/pair` as an alternative; a leading `*` makes a service, `**` a critical one.
pub(crate) fn topology(text: &str) -> Topology {
    let mut cis: BTreeMap<String, Ci> = BTreeMap::new();
    let mut relationships = Vec::new();
    let mut declare = |word: &str| {
        let stars = word.len() - word.trim_start_matches('*').len();
        let id = word.trim_start_matches('*');
        let ci = cis.entry(id.to_owned()).or_insert_with(|| Ci::new(id, "host"));
        if stars > 0 {
            ci.kind = "service".into();
            ci.criticality = if stars > 1 { Criticality::Critical } else { Criticality::Medium };
        }
        CiId::new(id)
    };
    for word in text.split_whitespace() {
        let Some((from, to)) = word.split_once('>') else {
            declare(word);
            continue;
        };
        let (to, redundancy) = to.split_once('/').map_or((to, None), |(to, name)| (to, Some(name.to_owned())));
        let (from, to) = (declare(from), declare(to));
        relationships.push(Relationship { redundancy, ..Relationship::new(from, to, "depends_on") });
    }
    Topology::new(cis.into_values().collect(), relationships, Vec::<Redundancy>::new()).expect("a sound topology")
}

/// One item of a storm. `ends` of `None` leaves the end to the timeout or to an explicit resolve.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) source: Source,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) summary: String,
    pub(crate) action: Action,
    pub(crate) starts: Option<i64>,
    pub(crate) ends: Option<i64>,
}

pub(crate) fn alert(name: &str, ci: &str) -> Told {
    let mut labels = vec![("alertname".to_owned(), name.to_owned())];
    if !ci.is_empty() {
        labels.push(("ci".to_owned(), ci.to_owned()));
    }
    Told {
        source: Source::AlertmanagerApi,
        labels,
        summary: String::new(),
        action: Action::Fire,
        starts: None,
        ends: None,
    }
}

impl Told {
    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }
    pub(crate) fn says(mut self, summary: &str) -> Self {
        self.summary = summary.into();
        self
    }
    pub(crate) fn by(mut self, source: Source) -> Self {
        self.source = source;
        self
    }
    pub(crate) fn starts(mut self, seconds: i64) -> Self {
        self.starts = Some(seconds);
        self
    }
    pub(crate) fn ends(mut self, seconds: i64) -> Self {
        self.ends = Some(seconds);
        self
    }
    pub(crate) fn resolves(mut self) -> Self {
        self.action = Action::Resolve;
        self
    }
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

/// A change of a CI, told without a time of its own unless it is given one; the summary is its identity.
pub(crate) fn change(summary: &str, ci: &str, starts: Option<i64>) -> Changes {
    let told = ToldChange {
        fingerprint: quell_domain::batch::fingerprint(
            Source::PagerDutyChange,
            Some(&format!("{summary}/{ci}/{starts:?}")),
            &[],
        ),
        summary: summary.into(),
        by: "ci-bot".into(),
        link: None,
        labels: quell_domain::Labels::new([("ci", ci)]),
        starts_at: starts.map(at),
        ends_at: None,
    };
    Changes { source: Source::PagerDutyChange, items: vec![told], rejects: vec![] }
}

pub(crate) fn batch(items: &[Told]) -> Batch {
    let source = items.first().map_or(Source::AlertmanagerApi, |item| item.source);
    let mut builder = BatchBuilder::new(source, 256);
    for item in items {
        let key: String = item.labels.iter().map(|(n, v)| format!("{n}={v};")).collect();
        let mut labels = item.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut annotations = vec![("summary", item.summary.as_str())];
        let api = source == Source::AlertmanagerApi;
        let draft = ItemDraft {
            dedup_key: (!api).then_some(key.as_str()),
            action: item.action,
            ending: if api { Ending::Expires } else { Ending::Explicit },
            starts_at: item.starts.map(at),
            ends_at: item.ends.map(at),
            severity: Severity::Unknown,
        };
        builder.push(draft, &mut labels, &mut annotations);
    }
    builder.finish()
}

/// An engine with its ledger and a log that counts positions.
pub(crate) struct Desk {
    pub(crate) engine: Engine,
    pub(crate) ledger: Ledger,
    pub(crate) position: u64,
    pub(crate) commands: u64,
}

impl Desk {
    pub(crate) fn new(estate: &str) -> Self {
        Desk::with(estate, settings())
    }

    pub(crate) fn with(estate: &str, settings: Settings) -> Self {
        let engine = Engine::new(Shard::FIRST, Arc::new(settings));
        let mut desk = Desk { engine, ledger: Ledger::default(), position: 0, commands: 0 };
        if !estate.is_empty() {
            desk.install(0, topology(estate));
        }
        desk
    }

    pub(crate) fn install(&mut self, seconds: i64, topology: Topology) {
        let digest = Digest([7; 32]);
        self.engine.shelve(digest, Artefact::Topology(Arc::new(Graph::new(topology))));
        let kind = quell_domain::ArtefactKind::Topology;
        self.input(seconds, &Input::Activate(quell_domain::Activation { kind, digest }));
    }

    pub(crate) fn input(&mut self, seconds: i64, input: &Input) -> quell_engine::Disposed {
        self.position += 1;
        let effects =
            self.engine.on_input(Moment { position: Position(self.position), received_at: at(seconds) }, input);
        let disposed = effects.disposed;
        self.ledger.apply(effects);
        disposed
    }

    pub(crate) fn tell(&mut self, seconds: i64, items: &[Told]) -> quell_engine::Disposed {
        self.input(seconds, &Input::Alerts(batch(items)))
    }

    pub(crate) fn change(&mut self, seconds: i64, summary: &str, ci: &str, starts: Option<i64>) {
        self.input(seconds, &Input::Changes(change(summary, ci, starts)));
    }

    pub(crate) fn tick(&mut self, seconds: i64) {
        self.input(seconds, &Input::Tick);
    }

    pub(crate) fn command(
        &mut self,
        seconds: i64,
        incident: u64,
        kind: quell_domain::CommandKind,
    ) -> quell_domain::Verdict {
        self.commands += 1;
        let incident = quell_domain::IncidentId { shard: 0, number: incident };
        let command = quell_domain::Command { incident, actor: "ana".into(), kind };
        let moment = Moment { position: Position(self.commands), received_at: at(seconds) };
        let effects = self.engine.on_input(moment, &Input::Command(command));
        self.ledger.apply(effects);
        self.ledger.outcomes.last().expect("every command has an outcome").verdict
    }

    pub(crate) fn ask(&mut self, seconds: i64, ask: quell_domain::ProblemAsk) -> quell_domain::Verdict {
        self.commands += 1;
        let command = quell_domain::ProblemCommand { actor: "ana".into(), ask };
        let moment = Moment { position: Position(self.commands), received_at: at(seconds) };
        let effects = self.engine.on_input(moment, &Input::Problem(command));
        self.ledger.apply(effects);
        self.ledger.outcomes.last().expect("every command has an outcome").verdict
    }

    /// The incidents as text, one a line: `INC-1 open P3 [alert@ci …] <- cause`.
    pub(crate) fn incidents(&self) -> Vec<String> {
        let members = self.ledger.members();
        self.ledger
            .incidents
            .values()
            .map(|incident| {
                let alerts: Vec<String> = members
                    .get(&incident.id)
                    .into_iter()
                    .flatten()
                    .map(|alert| match alert.labels.get("ci") {
                        Some(ci) => format!("{}@{ci}", alert.name()),
                        None => alert.name().to_owned(),
                    })
                    .collect();
                let cause = incident.causes.first().map_or(String::new(), |cause| format!(" <- {}", cause.ci));
                format!("{} {} [{}]{cause}", incident.id, incident.state.as_str(), alerts.join(" "))
            })
            .collect()
    }
}
