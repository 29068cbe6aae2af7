//! An operator's own rules: which alerts they are about, and what is to be done with these.
//!
//! A rule is found by a look-up, not by trying all: each is filed under one value of one label that it demands. Only
//! rules that demand no value at all are tried with every alert, and those are few by a limit. Absent on purpose: YAML
//! (`quell-formats`), and what becomes of an alert that a rule is about (`ruled`, `threshold`).

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use quell_domain::{LabelsRef, Severity};
use regex::{Regex, RegexBuilder};

use crate::symptoms::{SymptomIx, Symptoms};

/// Rules at most.
pub const MOST: usize = 1000;

/// Rules that demand no value of any label at most: these are tried with every new alert.
pub const MOST_UNFILED: usize = 64;

/// Bytes that a compiled pattern may take; enough for hundreds of names.
const PATTERN_BYTES: usize = 1 << 20;

/// How a matcher compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// `=`: the value is this one.
    Equal,
    /// `!=`: it is another.
    NotEqual,
    /// `=~`: the whole value matches the pattern.
    Match,
    /// `!~`: it does not.
    NotMatch,
}

impl Compare {
    /// Every way, those of two characters first, so that the first one found in a text is the right one.
    pub const ALL: [Compare; 4] = [Compare::Match, Compare::NotMatch, Compare::NotEqual, Compare::Equal];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Compare::Equal => "=",
            Compare::NotEqual => "!=",
            Compare::Match => "=~",
            Compare::NotMatch => "!~",
        }
    }
}

/// What one label must be. A label that an alert does not have is compared as an empty text, as in Alertmanager.
#[derive(Clone, Debug)]
pub struct Matcher {
    label: String,
    compare: Compare,
    value: String,
    pattern: Option<Regex>,
}

impl Matcher {
    /// A matcher; patterns are anchored at both ends.
    ///
    /// # Errors
    /// When the pattern is none, or too large; in one line.
    pub fn new(label: &str, compare: Compare, value: &str) -> Result<Self, String> {
        let pattern = match compare {
            Compare::Equal | Compare::NotEqual => None,
            Compare::Match | Compare::NotMatch => {
                let pattern = RegexBuilder::new(&format!("^(?:{value})$")).size_limit(PATTERN_BYTES).build();
                Some(pattern.map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_owned())?)
            }
        };
        Ok(Matcher { label: label.to_owned(), compare, value: value.to_owned(), pattern })
    }

    /// Whether it holds for these labels.
    #[must_use]
    pub fn holds(&self, labels: LabelsRef<'_>) -> bool {
        let value = labels.get(&self.label).unwrap_or_default();
        match (self.compare, &self.pattern) {
            (Compare::Match, Some(pattern)) => pattern.is_match(value),
            (Compare::NotMatch, Some(pattern)) => !pattern.is_match(value),
            (Compare::NotEqual, _) => value != self.value,
            _ => value == self.value,
        }
    }

    /// The values of its label that it demands, where they can be listed: one, or the alternatives of a pattern that
    /// consists of nothing else.
    fn demands(&self) -> Option<Vec<&str>> {
        let plain = |value: &&str| {
            !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:/ @,#%&\"'<>;!~".contains(&b))
        };
        match self.compare {
            Compare::Equal if !self.value.is_empty() => Some(vec![&self.value]),
            Compare::Match => self.value.split('|').map(|value| Some(value).filter(plain)).collect(),
            _ => None,
        }
    }
}

/// As it is written: `severity=~"warning|error"`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{}{}\"{value}\"", self.label, self.compare.as_str())
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.label, self.compare, &self.value) == (&other.label, other.compare, &other.value)
    }
}

/// Alerts with equal values of these labels belong to one incident, whatever the graph says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CorrelateBy {
    /// Label names; a label that an alert does not have counts as empty.
    pub by: Vec<String>,
    /// For this long after the last of them.
    pub window: Duration,
}

/// Alerts open or join an incident only when there are enough of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Threshold {
    /// So many new episodes …
    pub count: u32,
    /// … within this time …
    pub within: Duration,
    /// … that have equal values of these labels.
    pub by: Vec<String>,
}

/// One rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Unique; reasons name it.
    pub name: String,
    /// All of them must hold.
    pub matchers: Vec<Matcher>,
    /// See [`CorrelateBy`].
    pub correlate: Option<CorrelateBy>,
    /// The graph and labels neither join such an alert to an incident nor another alert to its own.
    pub apart: bool,
    /// See [`Threshold`].
    pub threshold: Option<Threshold>,
    /// Such an alert belongs to no incident, for this reason.
    pub suppress: Option<String>,
    /// Takes the place of what the sender claims.
    pub severity: Option<Severity>,
    /// Takes the place of the symptom that its name says.
    pub symptom: Option<String>,
}

/// A rule's place in the list.
pub(crate) type RuleIx = u16;

/// What the rules say of one alert: for each action the first rule that has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Matched {
    pub(crate) correlate: Option<RuleIx>,
    pub(crate) threshold: Option<RuleIx>,
    pub(crate) suppress: Option<RuleIx>,
    pub(crate) apart: bool,
    pub(crate) severity: Option<Severity>,
    pub(crate) symptom: Option<SymptomIx>,
}

type Fixed = BuildHasherDefault<DefaultHasher>;

/// Value → rules that demand it, in order.
type ByValue = HashMap<String, Vec<RuleIx>, Fixed>;

/// All rules, filed.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    list: Vec<Rule>,
    symptoms: Symptoms,
    /// By label.
    filed: Vec<(String, ByValue)>,
    unfiled: Vec<RuleIx>,
}

/// The index is made of the list.
impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        (&self.list, &self.symptoms) == (&other.list, &other.symptoms)
    }
}

impl Rules {
    /// Files rules; those beyond [`MOST`] are left out, which the check of the files refuses.
    #[must_use]
    pub fn new(mut list: Vec<Rule>, symptoms: Symptoms) -> Self {
        list.truncate(MOST);
        let mut rules = Rules { symptoms, ..Rules::default() };
        for (ix, rule) in (0..).zip(&list) {
            // The fewest values: the rule is then tried least often.
            let demanded = rule.matchers.iter().filter_map(|matcher| Some((&matcher.label, matcher.demands()?)));
            match demanded.min_by_key(|(_, values)| values.len()) {
                Some((label, values)) => values.iter().for_each(|value| rules.file(label, value, ix)),
                None => rules.unfiled.push(ix),
            }
        }
        rules.list = list;
        rules
    }

    fn file(&mut self, label: &str, value: &str, ix: RuleIx) {
        let at = self.filed.iter().position(|(known, _)| known == label).unwrap_or_else(|| {
            self.filed.push((label.to_owned(), HashMap::default()));
            self.filed.len() - 1
        });
        let rules = self.filed[at].1.entry(value.to_owned()).or_default();
        if rules.last() != Some(&ix) {
            rules.push(ix);
        }
    }

    /// The rules, in order.
    #[must_use]
    pub fn list(&self) -> &[Rule] {
        &self.list
    }

    /// The classes of symptoms.
    #[must_use]
    pub fn symptoms(&self) -> &Symptoms {
        &self.symptoms
    }

    /// How many rules demand no value of any label.
    #[must_use]
    pub fn unfiled(&self) -> usize {
        self.unfiled.len()
    }

    pub(crate) fn rule(&self, ix: RuleIx) -> &Rule {
        &self.list[usize::from(ix)]
    }

    /// What the rules say of an alert with these labels.
    pub(crate) fn matched(&self, labels: LabelsRef<'_>) -> Matched {
        let mut matched = Matched::default();
        let mut ixs: Vec<RuleIx> = Vec::new();
        for (label, values) in &self.filed {
            ixs.extend(labels.get(label).and_then(|value| values.get(value)).into_iter().flatten());
        }
        ixs.extend(&self.unfiled);
        ixs.sort_unstable();
        for ix in ixs {
            let rule = self.rule(ix);
            if rule.matchers.iter().all(|matcher| matcher.holds(labels)) {
                let Rule { name: _, matchers: _, correlate, apart, threshold, suppress, severity, symptom } = rule;
                matched.correlate = matched.correlate.or(correlate.as_ref().map(|_| ix));
                matched.threshold = matched.threshold.or(threshold.as_ref().map(|_| ix));
                matched.suppress = matched.suppress.or(suppress.as_ref().map(|_| ix));
                matched.apart |= apart;
                matched.severity = matched.severity.or(*severity);
                matched.symptom = matched.symptom.or_else(|| self.symptoms.find(symptom.as_deref()?));
            }
        }
        matched
    }
}

#[cfg(test)]
mod tests {
    use quell_domain::Labels;

    use super::*;

    fn rule(name: &str, matchers: &[(&str, Compare, &str)]) -> Rule {
        let matcher =
            |&(label, compare, value): &(&str, Compare, &str)| Matcher::new(label, compare, value).expect("sound");
        Rule {
            name: name.into(),
            matchers: matchers.iter().map(matcher).collect(),
            correlate: None,
            apart: false,
            threshold: None,
            suppress: Some(name.into()),
            severity: None,
            symptom: None,
        }
    }

    /// The rule that suppresses an alert with these labels.
    #[track_caller]
    fn check(rules: &Rules, labels: &[(&str, &str)], expected: Option<&str>) {
        let matched = rules.matched(Labels::new(labels.iter().copied()).as_ref());
        assert_eq!(matched.suppress.map(|ix| rules.rule(ix).name.as_str()), expected, "{labels:?}");
    }

    #[test]
    fn all_matchers_must_hold_and_the_first_rule_counts() {
        use Compare::{Equal, Match, NotEqual, NotMatch};
        let rules = Rules::new(
            vec![
                rule("no zone", &[("zone", Equal, ""), ("env", Equal, "dev")]),
                rule("dev", &[("env", Equal, "dev"), ("alertname", NotEqual, "Down")]),
                rule("ends", &[("alertname", Match, "Host.*")]),
                rule("words", &[("alertname", Match, "Watchdog|Info Inhibitor"), ("env", NotMatch, "prod-.+")]),
            ],
            Symptoms::default(),
        );
        assert_eq!(rules.unfiled(), 1, "only the pattern that is no list of words is tried with every alert");
        check(&rules, &[("env", "dev"), ("zone", "b"), ("alertname", "Slow")], Some("dev"));
        check(&rules, &[("env", "dev"), ("alertname", "Slow")], Some("no zone"));
        check(&rules, &[("env", "dev"), ("zone", "b"), ("alertname", "Down")], None);
        check(&rules, &[("env", "dev"), ("zone", "b"), ("alertname", "HostDown")], Some("dev"));
        check(&rules, &[("alertname", "HostDown")], Some("ends"));
        check(&rules, &[("alertname", "MyHostDown")], None);
        check(&rules, &[("alertname", "Info Inhibitor")], Some("words"));
        check(&rules, &[("alertname", "Watchdog"), ("env", "prod-1")], None);
        check(&rules, &[("alertname", "Watchdogs")], None);
    }

    #[test]
    fn each_action_comes_from_the_first_rule_that_has_it() {
        let demand = [("env", Compare::Equal, "dev")];
        let severity = Rule { suppress: None, severity: Some(Severity::Info), ..rule("severity", &demand) };
        let apart = Rule { suppress: None, severity: Some(Severity::Error), apart: true, ..rule("apart", &demand) };
        let rules = Rules::new(vec![severity, apart, rule("suppress", &demand)], Symptoms::default());
        let matched = rules.matched(Labels::new([("env", "dev")]).as_ref());
        let expected = Matched { suppress: Some(2), apart: true, severity: Some(Severity::Info), ..Matched::default() };
        assert_eq!(matched, expected);
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong_in_one_line() {
        let error = Matcher::new("a", Compare::Match, "(x").expect_err("not closed");
        assert!(error.contains("unclosed group") && !error.contains('\n'), "{error}");
        let error = Matcher::new("a", Compare::Match, "(x{900}){900}").expect_err("too large");
        assert!(error.contains("size"), "{error}");
    }

    #[test]
    fn a_matcher_is_written_as_it_is_read() {
        let matcher = Matcher::new("path", Compare::NotMatch, "C:\\\\x\"").expect("sound");
        assert_eq!(matcher.to_string(), r#"path!~"C:\\\\x\"""#);
    }

    #[test]
    fn a_thousand_rules_by_name_are_looked_up_not_tried() {
        let name = |n: usize| format!("Alert{n}");
        let rules: Vec<Rule> = (0..MOST).map(|n| rule(&name(n), &[("alertname", Compare::Equal, &name(n))])).collect();
        let rules = Rules::new(rules, Symptoms::default());
        assert_eq!((rules.unfiled(), rules.filed.len()), (0, 1));
        check(&rules, &[("alertname", "Alert999")], Some("Alert999"));
    }
}
