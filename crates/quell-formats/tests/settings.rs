//! Pipelines and rules: the shipped files, the artefact, and every mistake at once.

use std::time::Duration;

use quell_domain::{Impact, Priority, Severity, Source, Urgency};
use quell_engine::settings::{BindBy, BindStep};
use quell_formats::mistake::Mistake;
use quell_formats::settings::{SourceFile, compile, decode_artefact, shipped};
use quell_formats::tests_in_files::TestKind;

#[test]
fn the_shipped_files_hold_together() {
    let compiled = compile(&shipped()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let settings = &compiled.settings;
    let sources: Vec<Source> = settings.pipelines.iter().map(|pipeline| pipeline.source).collect();
    assert_eq!(sources, Source::ALL);
    assert_eq!(settings.correlation.window, Duration::from_secs(300));
    assert_eq!(settings.correlation.unbound_by, ["alertname", "cluster", "namespace", "service", "job"]);
    assert_eq!(settings.lifecycle.reopen_window, Duration::from_secs(600));
    assert_eq!(settings.limits.active_alerts, 250_000);
    assert_eq!((settings.limits.recent_changes, settings.limits.ended_alerts), (20_000, 1_000));
    let priority = |impact, urgency| settings.priorities.priority(impact, urgency);
    assert_eq!(Priority::new(1), Some(priority(Impact::High, Urgency::High)));
    assert_eq!(Priority::new(3), Some(priority(Impact::High, Urgency::Low)));
    assert_eq!(Priority::new(5), Some(priority(Impact::Low, Urgency::Low)));
    let api = settings.pipeline(Source::AlertmanagerApi).expect("shipped");
    let labels = quell_domain::Labels::new([("severity", "PAGE")]);
    assert_eq!(api.severity.read(labels.as_ref()), Some(Severity::Critical));
    let BindStep::Label { labels, by, confidence } = &api.bind[0] else { panic!("{:?}", api.bind[0]) };
    assert_eq!((labels[0].as_str(), &by[..]), ("ci", &[BindBy::Id, BindBy::Name, BindBy::Alias][..]));
    assert!((confidence - 1.0).abs() < f64::EPSILON);
}

fn rejects(source: Source, payload: &[u8]) -> Vec<quell_domain::Reject> {
    let kind = quell_domain::RecordKind::Alerts(source);
    match quell_formats::record::decode(kind, payload).expect("what was posted never fails") {
        quell_domain::Input::Alerts(batch) => batch.rejects,
        quell_domain::Input::Changes(changes) => changes.rejects,
        other => unreachable!("neither alerts nor changes: {other:?}"),
    }
}

#[test]
fn the_shipped_files_carry_tests_whose_bodies_are_read() {
    let compiled = compile(&shipped()).expect("shipped");
    let (mut pipelines, mut rules) = (0, 0);
    for test in &compiled.tests {
        match &test.kind {
            TestKind::Pipeline(test) => {
                pipelines += 1;
                let rejects = rejects(test.source, &test.payload);
                assert_eq!(rejects.len(), test.expect.rejects.unwrap_or(0), "{rejects:?}");
            }
            TestKind::Rules(test) => {
                rules += 1;
                for body in &test.alerts {
                    assert!(body.at <= test.until);
                    assert_eq!(rejects(body.source, &body.payload), []);
                }
            }
        }
    }
    assert!(pipelines >= 10 && rules >= 10, "{pipelines} and {rules}");
}

#[test]
fn the_artefact_gives_the_settings_back_and_equal_settings_equal_bytes() {
    let compiled = compile(&shipped()).expect("shipped");
    let again = decode_artefact(&compiled.canonical).expect("own bytes");
    assert_eq!(again.settings, compiled.settings);
    assert_eq!((again.canonical, again.digest), (compiled.canonical.clone(), compiled.digest));
    let mut reordered = shipped();
    reordered.reverse();
    for file in &mut reordered {
        file.text.insert_str(0, "# a remark\n");
        file.text = file.text.replace("window: 5m", "window: 300s");
    }
    assert_eq!(compile(&reordered).expect("the same").digest, compiled.digest);
}

fn with(name: &str, old: &str, new: &str) -> Vec<SourceFile> {
    let mut files = shipped();
    for file in files.iter_mut().filter(|file| file.name == name) {
        assert!(file.text.contains(old), "{old}");
        file.text = file.text.replacen(old, new, 1);
    }
    files
}

fn check(files: &[SourceFile], expected: &[&str]) {
    let mistakes = compile(files).expect_err("has mistakes");
    let texts: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    assert_eq!(texts, expected);
}

#[test]
fn mistakes_say_file_place_found_and_allowed() {
    let rules = "rules/correlation.yaml";
    check(
        &with(rules, "window: 5m", "windov: 5m"),
        &[
            "rules/correlation.yaml: correlation.window: found nothing; allowed: a duration, as 5m",
            "rules/correlation.yaml: correlation.windov: found an unknown key; allowed: window, background, max_hops, threshold, \
             unbound_by",
        ],
    );
    check(
        &with(rules, "threshold: 0.65", "threshold: 35"),
        &["rules/correlation.yaml: correlation.threshold: found 35; allowed: a number from 0 to 1"],
    );
    check(
        &with("rules/priority.yaml", "medium: P3, low: P4", "medium: p3, low: P6"),
        &[
            "rules/priority.yaml: priority.medium.low: found \"P6\"; allowed: one of P1, P2, P3, P4, P5",
            "rules/priority.yaml: priority.medium.medium: found \"p3\"; allowed: one of P1, P2, P3, P4, P5",
        ],
    );
    check(
        &with("pipelines/pagerduty.yaml", "ci_labels: true", "ci_label: true"),
        &[
            "pipelines/pagerduty.yaml: bind[3].ci_label: found an unknown key; allowed: ci_labels, labels, by, \
             confidence",
            "pipelines/pagerduty.yaml: bind[3]: found an object; allowed: either `labels` and `by`, neither of them \
             empty, or `ci_labels: true`",
        ],
    );
    check(
        &with("pipelines/pagerduty.yaml", "    expect: {severity: info", "    expects: {severity: info"),
        &[
            "pipelines/pagerduty.yaml: tests[2].expect: found nothing; allowed: what the pipeline must make of it",
            "pipelines/pagerduty.yaml: tests[2].expects: found an unknown key; allowed: name, topology, payload, \
             expect",
        ],
    );
}

#[test]
fn parts_are_needed_once() {
    let mut files = shipped();
    files.push(SourceFile { name: "more.yaml".into(), text: "limits: {active_alerts: 1, walk_cis: 0}".into() });
    check(
        &files,
        &[
            "more.yaml: found limits a second time (first in rules/limits.yaml); allowed: each once",
            "more.yaml: limits.walk_cis: found 0; allowed: a whole number of 1 or more",
        ],
    );
    let files: Vec<SourceFile> =
        shipped().into_iter().filter(|file| !file.name.starts_with("rules/")).skip(1).collect();
    check(
        &files,
        &[
            "found no file with the pipeline of alertmanager; allowed: each once",
            "found no file with correlation; allowed: each once",
            "found no file with lifecycle; allowed: each once",
            "found no file with priority; allowed: each once",
            "found no file with limits; allowed: each once",
        ],
    );
}

#[test]
fn what_is_no_yaml_is_a_mistake_and_bombs_do_not_go_off() {
    let bomb = (1..30).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let before = format!("*a{},", n - 1).repeat(9);
        format!("{text}a{n}: &a{n} [{before}]\n")
    });
    for text in ["limits: [", "a: 1\na: 2\n", "", "- 1", &bomb, &"[".repeat(100_000)] {
        let mut files = shipped();
        files.push(SourceFile { name: "bad.yaml".into(), text: text.into() });
        let mistakes = compile(&files).expect_err("bad");
        assert!(mistakes.iter().all(|mistake| mistake.file == "bad.yaml"), "{mistakes:?}");
    }
}

#[test]
fn a_damaged_artefact_is_refused() {
    assert!(decode_artefact(b"{}").is_err());
    assert!(decode_artefact(b"\xff").is_err());
    let newer = String::from_utf8(compile(&shipped()).expect("shipped").canonical).expect("JSON");
    let newer = newer.replace("\"v\":1", "\"v\":2");
    let mistakes = decode_artefact(newer.as_bytes()).expect_err("newer");
    assert_eq!(mistakes[0].to_string(), "rules artefact: v: found 2; allowed: 1; use a newer quell");
}
