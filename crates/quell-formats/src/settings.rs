//! The files under `pipelines/` and `rules/`, compiled to the engine's settings.
//!
//! Absent on purpose: finding files (the shell hands them in) and running their tests (the shell has the engine).

use quell_domain::{Digest, Source};
use quell_engine::Settings;
use quell_engine::rules::{Rule, Rules};
use quell_engine::settings::Pipeline;
use quell_engine::symptoms::Symptoms;
use serde_json::{Value, json};

use crate::mistake::{Mistake, Mistakes};
use crate::tests_in_files::{Test, pipeline_tests, rule_tests};
use crate::tree::{self, Node};
use crate::{pipelines, rules, topology, user_rules};

/// A file that a person wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFile {
    /// Its name, for mistakes: `rules/limits.yaml`.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Files that hold together.
#[derive(Clone, PartialEq, Debug)]
pub struct Compiled {
    /// What the engine reads.
    pub settings: Settings,
    /// The tests the files carry; none when read from an artefact.
    pub tests: Vec<Test>,
    /// The artefact: equal settings give equal bytes.
    pub canonical: Vec<u8>,
    /// Its SHA-256.
    pub digest: Digest,
}

/// The version of the artefact.
const VERSION: u64 = 1;

/// The shipped files.
#[must_use]
pub fn shipped() -> Vec<SourceFile> {
    macro_rules! file {
        ($name:literal) => {
            SourceFile { name: $name.into(), text: include_str!(concat!("../../../", $name)).into() }
        };
    }
    vec![
        file!("pipelines/alertmanager.yaml"),
        file!("pipelines/alertmanager-webhook.yaml"),
        file!("pipelines/pagerduty.yaml"),
        file!("pipelines/pagerduty-change.yaml"),
        file!("rules/correlation.yaml"),
        file!("rules/lifecycle.yaml"),
        file!("rules/priority.yaml"),
        file!("rules/limits.yaml"),
        file!("rules/symptoms.yaml"),
        file!("rules/alerts.yaml"),
    ]
}

/// Settings while their parts are found.
struct Parts {
    pipelines: Vec<(String, Pipeline)>,
    correlation: Option<quell_engine::settings::Correlation>,
    lifecycle: Option<quell_engine::settings::Lifecycle>,
    priorities: Option<quell_engine::settings::PriorityMatrix>,
    limits: Option<quell_engine::settings::Limits>,
    /// `None` where the section has mistakes.
    symptoms: Option<Symptoms>,
    rules: Vec<Rule>,
    /// Every section and pipeline named so far, whether it could be read or not, with its file.
    named: Vec<(String, String)>,
}

/// Compiles files: one pipeline for each source of alerts, one more for changes if wanted, and each section of the rules once.
///
/// # Errors
/// All mistakes of all files at once.
pub fn compile(files: &[SourceFile]) -> Result<Compiled, Vec<Mistake>> {
    let (mut parts, mut tests, mut all) = (Parts::new(), Vec::new(), Vec::new());
    let read: Vec<(&SourceFile, Mistakes, Option<Value>)> = files
        .iter()
        .map(|file| {
            let mistakes = Mistakes::of(&file.name);
            let value = tree::yaml(&file.text, &mistakes);
            (file, mistakes, value)
        })
        .collect();
    // Rules name symptoms, whichever file those stand in.
    for (file, mistakes, value) in &read {
        if let Some(node) = value.as_ref().and_then(|value| Node::top(value, mistakes).field("symptoms")) {
            parts.name("symptoms", &file.name, mistakes);
            parts.read_section("symptoms", &node);
        }
    }
    for (file, mistakes, value) in read {
        if let Some(value) = value {
            read_file(&file.name, &Node::top(&value, &mistakes), &mistakes, &mut parts, &mut tests);
        }
        all.extend(mistakes.into_list());
    }
    let mistakes = Mistakes::of("");
    parts.note_missing(&mistakes);
    all.extend(mistakes.into_list());
    match parts.finish() {
        Some(settings) if all.is_empty() => Ok(compiled(settings, tests)),
        _ => Err(all),
    }
}

fn compiled(settings: Settings, tests: Vec<Test>) -> Compiled {
    let canonical = encode(&settings);
    let digest = topology::digest(&canonical);
    Compiled { settings, tests, canonical, digest }
}

fn read_file(file: &str, top: &Node<'_>, mistakes: &Mistakes, parts: &mut Parts, tests: &mut Vec<Test>) {
    let mut fields = top.object();
    if ["source", "severity", "bind"].iter().any(|name| fields.has(name)) {
        let pipeline = pipelines::pipeline(&mut fields);
        let source = top.value.get("source").and_then(Value::as_str).unwrap_or_default();
        parts.name(&format!("the pipeline of {source}"), file, mistakes);
        if let Some(node) = fields.get("tests") {
            let source = pipeline.as_ref().map(|pipeline| pipeline.source);
            tests.extend(pipeline_tests(file, source, &node, mistakes));
        }
        parts.pipelines.extend(pipeline.map(|pipeline| (file.to_owned(), pipeline)));
    } else {
        _ = fields.get("symptoms");
        for section in rules::SECTIONS.into_iter().chain(["rules"]) {
            if let Some(node) = fields.get(section) {
                parts.name(section, file, mistakes);
                parts.read_section(section, &node);
            }
        }
        if let Some(node) = fields.get("tests") {
            tests.extend(rule_tests(file, &node, parts.symptoms.as_ref(), mistakes));
        }
    }
    fields.end();
}

impl Parts {
    fn new() -> Self {
        Parts {
            pipelines: Vec::new(),
            correlation: None,
            lifecycle: None,
            priorities: None,
            limits: None,
            symptoms: Some(Symptoms::default()),
            rules: Vec::new(),
            named: Vec::new(),
        }
    }

    /// Notes that a file names a part; a part named twice is a mistake.
    fn name(&mut self, part: &str, file: &str, mistakes: &Mistakes) {
        match self.named.iter().find(|(named, _)| named == part) {
            Some((_, first)) => mistakes.add("", format!("{part} a second time (first in {first})"), "each once"),
            None => self.named.push((part.to_owned(), file.to_owned())),
        }
    }

    fn read_section(&mut self, section: &str, node: &Node<'_>) {
        match section {
            "correlation" => self.correlation = rules::correlation(node),
            "lifecycle" => self.lifecycle = rules::lifecycle(node),
            "priority" => self.priorities = rules::priority(node),
            "symptoms" => self.symptoms = user_rules::symptoms(node),
            "rules" => self.rules = user_rules::rules(node, self.symptoms.as_ref()),
            _ => self.limits = rules::limits(node),
        }
    }

    fn note_missing(&self, mistakes: &Mistakes) {
        // That of changes may be left out: then they are bound to nothing.
        let pipelines = Source::ALERTS.map(|source| format!("the pipeline of {source}"));
        for part in pipelines.into_iter().chain(rules::SECTIONS.map(str::to_owned)) {
            if !self.named.iter().any(|(named, _)| *named == part) {
                mistakes.add("", format!("no file with {part}"), "each once");
            }
        }
    }

    fn finish(mut self) -> Option<Settings> {
        self.pipelines.sort_by_key(|(_, pipeline)| pipeline.source);
        Some(Settings {
            pipelines: self.pipelines.into_iter().map(|(_, pipeline)| pipeline).collect(),
            correlation: self.correlation?,
            lifecycle: self.lifecycle?,
            limits: self.limits?,
            priorities: self.priorities?,
            rules: Rules::new(self.rules, self.symptoms?),
        })
    }
}

/// The artefact's bytes.
fn encode(settings: &Settings) -> Vec<u8> {
    let Settings { pipelines, correlation, lifecycle, limits, priorities, rules: own } = settings;
    let pipelines: Vec<Value> = pipelines.iter().map(pipelines::pipeline_json).collect();
    json!({
        "v": VERSION,
        "pipelines": pipelines,
        "correlation": rules::correlation_json(correlation),
        "lifecycle": rules::lifecycle_json(lifecycle),
        "priority": rules::priority_json(priorities),
        "limits": rules::limits_json(limits),
        "symptoms": user_rules::symptoms_json(own.symptoms()),
        "rules": user_rules::rules_json(own),
    })
    .to_string()
    .into_bytes()
}

/// Reads an artefact that [`compile`] made.
///
/// # Errors
/// What does not fit, when the bytes are damaged or of a newer quell.
pub fn decode_artefact(bytes: &[u8]) -> Result<Compiled, Vec<Mistake>> {
    let mistakes = Mistakes::of("rules artefact");
    let mut parts = Parts::new();
    if let Some(value) = tree::json(bytes, &mistakes) {
        let mut top = Node::top(&value, &mistakes).object();
        if let Some(version) = top.need("v", "1")
            && version.value.as_u64() != Some(VERSION)
        {
            version.wrong("1; use a newer quell");
        }
        for node in top.need("pipelines", "a list").map(|node| node.list()).unwrap_or_default() {
            let mut fields = node.object();
            parts.pipelines.extend(pipelines::pipeline(&mut fields).map(|pipeline| (String::new(), pipeline)));
            fields.end();
        }
        for section in rules::SECTIONS {
            if let Some(node) = top.need(section, "a section") {
                parts.read_section(section, &node);
            }
        }
        // Artefacts of before there were such rules have none.
        for section in rules::OPTIONAL {
            if let Some(node) = top.get(section) {
                parts.read_section(section, &node);
            }
        }
        top.end();
    }
    match parts.finish() {
        Some(settings) if !mistakes.any() => Ok(compiled(settings, Vec::new())),
        _ => Err(mistakes.into_list()),
    }
}
