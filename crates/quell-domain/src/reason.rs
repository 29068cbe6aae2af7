//! Reasons as data: every automatic act carries one, and API, console and CLI are views of it.
//!
//! Absent on purpose: JSON and markup; a reason is a code and ordered facts, and one sentence made of them.

use std::borrow::Cow;
use std::fmt;

use crate::time::Timestamp;

/// One fact of a reason.
#[derive(Clone, PartialEq, Debug)]
pub enum Fact {
    /// A name, an id, a label's value.
    Text(String),
    /// A count.
    Count(u64),
    /// A measure; its unit is in the fact's name (`_seconds`, `_hops`, `_share`).
    Number(f64),
    /// An instant.
    Time(Timestamp),
    /// Several names.
    List(Vec<String>),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Text(text) => f.write_str(text),
            Fact::Count(count) => count.fmt(f),
            Fact::Number(number) => write!(f, "{number:.2}"),
            Fact::Time(at) => at.fmt(f),
            Fact::List(names) => f.write_str(&names.join(", ")),
        }
    }
}

/// Why something was done. The code names the kind of reason; the template says it in words.
#[derive(Clone, PartialEq, Debug)]
pub struct Reason {
    /// A stable name in snake case: what programs compare.
    pub code: Cow<'static, str>,
    /// A sentence with `{fact}` where a fact goes.
    pub template: Cow<'static, str>,
    /// The facts, in the order they are best read.
    pub facts: Vec<(Cow<'static, str>, Fact)>,
}

impl Reason {
    /// A reason without facts yet.
    #[must_use]
    pub const fn new(code: &'static str, template: &'static str) -> Self {
        Reason { code: Cow::Borrowed(code), template: Cow::Borrowed(template), facts: Vec::new() }
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, name: &'static str, text: impl Into<String>) -> Self {
        self.with(name, Fact::Text(text.into()))
    }

    /// Adds a count.
    #[must_use]
    pub fn count(self, name: &'static str, count: u64) -> Self {
        self.with(name, Fact::Count(count))
    }

    /// Adds a measure.
    #[must_use]
    pub fn number(self, name: &'static str, number: f64) -> Self {
        self.with(name, Fact::Number(number))
    }

    /// Adds an instant.
    #[must_use]
    pub fn time(self, name: &'static str, at: Timestamp) -> Self {
        self.with(name, Fact::Time(at))
    }

    /// Adds several names.
    #[must_use]
    pub fn list(self, name: &'static str, names: Vec<String>) -> Self {
        self.with(name, Fact::List(names))
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: Fact) -> Self {
        self.facts.push((Cow::Borrowed(name), fact));
        self
    }

    /// The fact of that name.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&Fact> {
        self.facts.iter().find_map(|(n, fact)| (n == name).then_some(fact))
    }
}

/// The sentence: the template with its facts put in. A fact's own text is never read as a template.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest: &str = &self.template;
        while let Some((before, after)) = rest.split_once('{') {
            f.write_str(before)?;
            let Some((name, after)) = after.split_once('}') else {
                return f.write_str(after);
            };
            match self.fact(name) {
                Some(fact) => fact.fmt(f)?,
                None => write!(f, "?{name}?")?,
            }
            rest = after;
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_facts_into_the_sentence() {
        let reason = Reason::new("same_ci", "on {ci}, {apart_seconds} s after {alert}")
            .text("ci", "db-{alert}")
            .number("apart_seconds", 2.5)
            .text("alert", "Down");
        assert_eq!(reason.to_string(), "on db-{alert}, 2.50 s after Down");
    }

    #[test]
    fn a_missing_fact_shows() {
        assert_eq!(Reason::new("x", "no {fact} here").to_string(), "no ?fact? here");
    }
}
