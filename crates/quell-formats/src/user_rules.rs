//! The operator's own rules and the classes of symptoms, read from files and written to the artefact.
//!
//! Absent on purpose: what they do (the engine), and the other sections (`rules`).

use quell_domain::Severity;
use quell_engine::rules::{Compare, CorrelateBy, MOST, MOST_UNFILED, Matcher, Rule, Rules, Threshold};
use quell_engine::symptoms::{self, Symptom, Symptoms};
use serde_json::{Map, Value, json};

use crate::rules::severity_names;
use crate::tree::{Node, Object, write_duration};

const LABELS: &str = "a list of label names";
const MATCHER: &str =
    "a matcher: LABEL=VALUE, LABEL!=VALUE, LABEL=~PATTERN or LABEL!~PATTERN, the value in quotes or not";

/// Occurrences that a threshold may ask for.
const COUNTS: std::ops::RangeInclusive<u64> = 2..=1000;

/// The section `rules`. `symptoms` are those that a rule may name; `None` where their own section has mistakes.
pub(crate) fn rules(node: &Node<'_>, symptoms: Option<&Symptoms>) -> Vec<Rule> {
    let nodes = node.list();
    if nodes.len() > MOST {
        node.too_many(nodes.len(), &format!("at most {MOST} rules"));
    }
    let mut list: Vec<Rule> = Vec::new();
    for node in &nodes {
        let Some(rule) = rule(node, symptoms) else { continue };
        if list.iter().any(|other| other.name == rule.name) {
            node.wrong_at("name", &rule.name, "a name that no other rule has");
        }
        list.push(rule);
    }
    let unfiled = Rules::new(list.clone(), Symptoms::default()).unfiled();
    if unfiled > MOST_UNFILED {
        let allowed = format!(
            "at most {MOST_UNFILED} rules without a matcher that demands a value (LABEL=VALUE or LABEL=~A|B): those are \
            tried with every alert"
        );
        node.too_many(unfiled, &allowed);
    }
    list
}

fn rule(node: &Node<'_>, symptoms: Option<&Symptoms>) -> Option<Rule> {
    let mut fields = node.object();
    let name = fields.need("name", "what the rule is for").and_then(|node| node.text());
    let matchers = fields.need("match", "a list of matchers, all of which must hold").map(|node| matchers(&node));
    let correlate = fields.get("correlate").map(|node| correlate(&node));
    let apart = fields.get("apart").map(|node| node.flag());
    let threshold = fields.get("threshold").map(|node| threshold(&node));
    let suppress = fields.get("suppress").map(|node| node.text());
    let severity = fields.get("severity").map(|node| node.choice(Severity::from_name, &severity_names()));
    let symptom = fields.get("symptom").map(|node| symptom_name(&node, symptoms));
    fields.end();
    let any = correlate.is_some() || apart.is_some() || threshold.is_some() || suppress.is_some();
    if !any && severity.is_none() && symptom.is_none() {
        node.wrong("at least one of correlate, apart, threshold, suppress, severity, symptom");
    }
    // An action that is there and wrong makes the rule wrong.
    Some(Rule {
        name: name?.to_owned(),
        matchers: matchers?,
        correlate: correlate.map_or(Some(None), |found| found.map(Some))?,
        apart: apart.unwrap_or(Some(false))?,
        threshold: threshold.map_or(Some(None), |found| found.map(Some))?,
        suppress: suppress.map_or(Some(None), |found| found.map(|text| Some(text.to_owned())))?,
        severity: severity.map_or(Some(None), |found| found.map(Some))?,
        symptom: symptom.map_or(Some(None), |found| found.map(Some))?,
    })
}

fn matchers(node: &Node<'_>) -> Vec<Matcher> {
    let list = node.list();
    if list.is_empty() && node.value.is_array() {
        node.wrong("at least one matcher");
    }
    list.iter().filter_map(matcher).collect()
}

/// Reads `alertname=~"Host.*"`.
fn matcher(node: &Node<'_>) -> Option<Matcher> {
    let text = node.text()?;
    let at = text.find(['=', '!']);
    let compare =
        Compare::ALL.into_iter().find(|compare| at.is_some_and(|at| text[at..].starts_with(compare.as_str())));
    let read = at.zip(compare).and_then(|(at, compare)| {
        let label = text[..at].trim();
        let value = unquoted(text[at + compare.as_str().len()..].trim())?;
        (!label.is_empty() && !label.contains(['"', '{', '}', ','])).then_some((label, compare, value))
    });
    let Some((label, compare, value)) = read else {
        node.wrong(MATCHER);
        return None;
    };
    Matcher::new(label, compare, &value).map_err(|why| node.wrong(format!("a regular expression ({why})"))).ok()
}

/// The value of a matcher: as it stands, or in quotes with `\"`, `\\` and `\n`.
fn unquoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else {
        return (!text.contains('"')).then(|| text.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let (mut value, mut letters) = (String::new(), inner.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return None,
            // Anything else after a backslash is a pattern's own escape.
            '\\' => match letters.next()? {
                'n' => value.push('\n'),
                quoted @ ('"' | '\\') => value.push(quoted),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    Some(value)
}

fn labels(fields: &mut Object<'_>, least: usize) -> Option<Vec<String>> {
    let node = fields.need("by", LABELS)?;
    let mut labels = node.texts();
    if labels.len() < least {
        node.wrong("at least one label name");
        return None;
    }
    labels.sort();
    labels.dedup();
    Some(labels)
}

fn correlate(node: &Node<'_>) -> Option<CorrelateBy> {
    let mut fields = node.object();
    let by = labels(&mut fields, 1);
    let window = fields.need("window", "a duration, as 10m").and_then(|node| node.duration());
    fields.end();
    Some(CorrelateBy { by: by?, window: window? })
}

fn threshold(node: &Node<'_>) -> Option<Threshold> {
    let mut fields = node.object();
    let count = fields.need("count", "a whole number of 2 or more").and_then(|node| {
        let count =
            node.value.as_u64().filter(|count| COUNTS.contains(count)).and_then(|count| u32::try_from(count).ok());
        if count.is_none() {
            node.wrong(format!("a whole number from {} to {}", COUNTS.start(), COUNTS.end()));
        }
        count
    });
    let within = fields.need("within", "a duration, as 10m").and_then(|node| {
        let within = node.duration()?;
        if within.is_zero() {
            node.wrong("a duration above 0s");
        }
        Some(within)
    });
    let by = labels(&mut fields, 0);
    fields.end();
    Some(Threshold { count: count?, within: within?, by: by? })
}

fn symptom_name(node: &Node<'_>, symptoms: Option<&Symptoms>) -> Option<String> {
    let name = node.text()?;
    let Some(symptoms) = symptoms else { return Some(name.to_owned()) };
    let names: Vec<&str> = symptoms.list().iter().map(|symptom| symptom.name.as_str()).collect();
    if names.is_empty() {
        node.wrong("none, since the section symptoms names no class");
        return None;
    }
    node.choice(|name| names.contains(&name).then(|| name.to_owned()), &names)
}

/// The section `symptoms`; `None` where it has mistakes.
pub(crate) fn symptoms(node: &Node<'_>) -> Option<Symptoms> {
    let nodes = node.list();
    if nodes.len() > symptoms::MOST {
        node.too_many(nodes.len(), &format!("at most {} classes", symptoms::MOST));
    }
    let mut list: Vec<Symptom> = Vec::new();
    let mut sound = node.value.is_array();
    for node in &nodes {
        let mut fields = node.object();
        let name = fields.need("name", "what the class is called").and_then(|node| node.text());
        let words = fields.need("words", "a list of phrases").map(|node| phrases(&node));
        fields.end();
        match (name, words) {
            (Some(name), Some(Some(words))) if list.iter().all(|other| other.name != name) => {
                list.push(Symptom { name: name.to_owned(), words });
            }
            (Some(name), Some(Some(_))) => {
                node.wrong_at("name", name, "a name that no other class has");
                sound = false;
            }
            _ => sound = false,
        }
    }
    sound.then(|| Symptoms::new(list))
}

fn phrases(node: &Node<'_>) -> Option<Vec<String>> {
    let phrase = |node: &Node<'_>| {
        let text = node.text()?;
        let plain = |word: &str| {
            let word = word.strip_suffix('*').unwrap_or(word);
            !word.is_empty() && word.chars().all(|letter| letter.is_alphanumeric() && !letter.is_uppercase())
        };
        let sound = text.split(' ').all(plain);
        if !sound {
            node.wrong("words in lower case, without signs, one blank between them; a word may end in *");
        }
        sound.then(|| text.to_owned())
    };
    let nodes = node.list();
    let phrases: Vec<String> = nodes.iter().filter_map(phrase).collect();
    (phrases.len() == nodes.len() && node.value.is_array()).then_some(phrases)
}

pub(crate) fn rules_json(rules: &Rules) -> Value {
    rules.list().iter().map(rule_json).collect()
}

fn rule_json(rule: &Rule) -> Value {
    let Rule { name, matchers, correlate, apart, threshold, suppress, severity, symptom } = rule;
    let matchers: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    let mut json = Map::from_iter([("name".to_owned(), json!(name)), ("match".to_owned(), json!(matchers))]);
    let mut put = |key: &str, value: Option<Value>| json.extend(value.map(|value| (key.to_owned(), value)));
    put(
        "correlate",
        correlate.as_ref().map(|CorrelateBy { by, window }| json!({ "by": by, "window": write_duration(*window) })),
    );
    put("apart", apart.then(|| true.into()));
    put(
        "threshold",
        threshold.as_ref().map(
            |Threshold { count, within, by }| json!({ "count": count, "within": write_duration(*within), "by": by }),
        ),
    );
    put("suppress", suppress.as_ref().map(|why| json!(why)));
    put("severity", severity.map(|severity| severity.as_str().into()));
    put("symptom", symptom.as_ref().map(|name| json!(name)));
    Value::Object(json)
}

pub(crate) fn symptoms_json(symptoms: &Symptoms) -> Value {
    let class = |Symptom { name, words }: &Symptom| json!({ "name": name, "words": words });
    symptoms.list().iter().map(class).collect()
}
