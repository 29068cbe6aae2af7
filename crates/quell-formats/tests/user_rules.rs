//! The operator's own rules: what is read, what is refused, and that an artefact says the same as the files.

use quell_formats::settings::{SourceFile, compile, decode_artefact, shipped};

/// The shipped files with `rules` in the place of the shipped rules.
fn with(rules: &str) -> Vec<SourceFile> {
    let mut files = shipped();
    files.retain(|file| file.name != "rules/alerts.yaml");
    files.push(SourceFile { name: "rules/own.yaml".into(), text: rules.into() });
    files
}

/// Mistakes of one list of rules.
#[track_caller]
fn check(rules: &str, expected: &[&str]) {
    let mistakes = compile(&with(rules)).expect_err("there are mistakes");
    let found: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

const ALL: &str = r#"
rules:
  - name: everything
    match: ['alertname=~"Host.*|C:\\\\x"', env!=prod, 'zone = "a b"', job!~x, 'path="C:\\"']
    correlate: {by: [queue, env, queue], window: 90s}
    apart: true
    threshold: {count: 3, within: 10m, by: []}
    suppress: known
    severity: info
    symptom: disk
  - {name: other, match: [a=b], apart: true}
"#;

#[test]
fn an_artefact_says_what_the_files_say() {
    let compiled = compile(&with(ALL)).expect("sound");
    let again = decode_artefact(&compiled.canonical).expect("an artefact");
    assert_eq!((again.settings, again.digest), (compiled.settings.clone(), compiled.digest));
    let rule = &compiled.settings.rules.list()[0];
    let matchers: Vec<String> = rule.matchers.iter().map(ToString::to_string).collect();
    let expected =
        [r#"alertname=~"Host.*|C:\\\\x""#, r#"env!="prod""#, r#"zone="a b""#, r#"job!~"x""#, r#"path="C:\\""#];
    assert_eq!(matchers, expected);
    assert_eq!(rule.correlate.as_ref().map(|rule| rule.by.clone()), Some(vec!["env".into(), "queue".into()]));
    let other = compile(&with("rules: []")).expect("sound");
    assert_ne!(other.digest, compiled.digest);
}

#[test]
fn an_artefact_of_before_there_were_rules_is_read() {
    let text = String::from_utf8(compile(&with("rules: []")).expect("sound").canonical).expect("JSON");
    let mut artefact: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let fields = artefact.as_object_mut().expect("an object");
    assert!(fields.remove("rules").is_some() && fields.remove("symptoms").is_some());
    let read = decode_artefact(artefact.to_string().as_bytes()).expect("still an artefact");
    assert_eq!((read.settings.rules.list().len(), read.settings.rules.symptoms().list().len()), (0, 0));
}

#[test]
fn every_mistake_is_found_at_once() {
    check(
        r#"
rules:
  - match: [=x, a, '{a="b"}', 'a="b', 'a="b"c"', a=~(x]
    apart: yes please
  - {name: two, match: [], severity: bad, symptom: moody}
  - {name: two, match: [a=b], threshold: {count: 1, within: 0s, by: env}, correlate: {by: [], windo: 5m}}
  - {name: three, match: [a=b]}
  - {name: four, match: [a=b], apart: true}
  - {name: four, match: [a=b], apart: true, dance: true}
"#,
        &[
            "rules/own.yaml: rules[0].name: found nothing; allowed: what the rule is for",
            "rules/own.yaml: rules[0].match[0]: found \"=x\"; allowed: a matcher: LABEL=VALUE, LABEL!=VALUE, \
             LABEL=~PATTERN or LABEL!~PATTERN, the value in quotes or not",
            "rules/own.yaml: rules[0].match[1]: found \"a\"; allowed: a matcher: LABEL=VALUE, LABEL!=VALUE, \
             LABEL=~PATTERN or LABEL!~PATTERN, the value in quotes or not",
            "rules/own.yaml: rules[0].match[2]: found \"{a=\\\"b\\\"}\"; allowed: a matcher: LABEL=VALUE, \
             LABEL!=VALUE, LABEL=~PATTERN or LABEL!~PATTERN, the value in quotes or not",
            "rules/own.yaml: rules[0].match[3]: found \"a=\\\"b\"; allowed: a matcher: LABEL=VALUE, LABEL!=VALUE, \
             LABEL=~PATTERN or LABEL!~PATTERN, the value in quotes or not",
            "rules/own.yaml: rules[0].match[4]: found \"a=\\\"b\\\"c\\\"\"; allowed: a matcher: LABEL=VALUE, \
             LABEL!=VALUE, LABEL=~PATTERN or LABEL!~PATTERN, the value in quotes or not",
            "rules/own.yaml: rules[0].match[5]: found \"a=~(x\"; allowed: a regular expression (error: unclosed group)",
            "rules/own.yaml: rules[0].apart: found \"yes please\"; allowed: true or false",
            "rules/own.yaml: rules[1].match: found an empty list; allowed: at least one matcher",
            "rules/own.yaml: rules[1].severity: found \"bad\"; allowed: one of unknown, info, warning, error, critical",
            "rules/own.yaml: rules[1].symptom: found \"moody\"; allowed: one of certificate, backup, replication, \
             restart, down, deploy, memory, disk, cpu, network, latency, errors, backlog, clock",
            "rules/own.yaml: rules[2].correlate.by: found an empty list; allowed: at least one label name",
            "rules/own.yaml: rules[2].correlate.window: found nothing; allowed: a duration, as 10m",
            "rules/own.yaml: rules[2].correlate.windo: found an unknown key; allowed: by, window",
            "rules/own.yaml: rules[2].threshold.count: found 1; allowed: a whole number from 2 to 1000",
            "rules/own.yaml: rules[2].threshold.within: found \"0s\"; allowed: a duration above 0s",
            "rules/own.yaml: rules[2].threshold.by: found \"env\"; allowed: a list",
            "rules/own.yaml: rules[3]: found an object; allowed: at least one of correlate, apart, threshold, \
             suppress, severity, symptom",
            "rules/own.yaml: rules[5].dance: found an unknown key; allowed: name, match, correlate, apart, threshold, \
             suppress, severity, symptom",
            "rules/own.yaml: rules[5].name: found \"four\"; allowed: a name that no other rule has",
        ],
    );
}

#[test]
fn rules_that_are_tried_with_every_alert_are_few() {
    let rule = |n: usize, matcher: &str| format!("  - {{name: r{n}, match: ['{matcher}'], apart: true}}\n");
    let text = |matcher: &str, count| (0..count).fold("rules:\n".to_owned(), |text, n| text + &rule(n, matcher));
    check(
        &text("a!=b", 65),
        &["rules/own.yaml: rules: found 65; allowed: at most 64 rules without a matcher that demands a value \
           (LABEL=VALUE or LABEL=~A|B): those are tried with every alert"],
    );
    check(&text("a=b", 1001), &["rules/own.yaml: rules: found 1001; allowed: at most 1000 rules"]);
    compile(&with(&text("a=~b|c", 1000))).expect("as many as may be");
    compile(&with(&text("a=~b.*", 64))).expect("as many as may be");
}

#[test]
fn classes_of_symptoms_are_checked() {
    let mut files = shipped();
    files.retain(|file| file.name != "rules/symptoms.yaml");
    let text = "symptoms:\n  - {name: down, words: [Down, 'a  b', not*ready, 'un*', 5xx]}\n  - {name: down, words: []}\n  \
                - {name: down, words: [x]}\n";
    files.push(SourceFile { name: "rules/own.yaml".into(), text: text.into() });
    let found: Vec<String> = compile(&files).expect_err("mistakes").iter().map(ToString::to_string).collect();
    let allowed = "words in lower case, without signs, one blank between them; a word may end in *";
    let expected = [
        format!("rules/own.yaml: symptoms[0].words[0]: found \"Down\"; allowed: {allowed}"),
        format!("rules/own.yaml: symptoms[0].words[1]: found \"a  b\"; allowed: {allowed}"),
        format!("rules/own.yaml: symptoms[0].words[2]: found \"not*ready\"; allowed: {allowed}"),
        "rules/own.yaml: symptoms[2].name: found \"down\"; allowed: a name that no other class has".to_owned(),
    ];
    assert_eq!(found, expected);
}
