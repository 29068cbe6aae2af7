//! Query parameters, read strictly: every mistake says what was found, where, and what is allowed.
//!
//! Absent on purpose: what the parameters select.

use std::borrow::Cow;
use std::str::FromStr;

use axum::http::Uri;
use quell_domain::Timestamp;

use crate::answer::Problem;

/// Items of a list when nothing is asked.
pub(crate) const DEFAULT_LIMIT: u32 = 50;
/// Items of a list at most.
pub(crate) const MAX_LIMIT: u32 = 1_000;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Params<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Params<'a> {
    /// Reads the query of an address; a name not in `known`, or given twice, is a mistake.
    pub(crate) fn read(uri: &'a Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_ref()) {
                let allowed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::bad("query parameter", name.as_ref(), allowed));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::bad(format!("query parameter {name}"), "two of them", "one"));
            }
        }
        Ok(Params { pairs })
    }

    /// The value of a parameter; an empty one is as good as none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find_map(|(n, value)| (n == name && !value.is_empty()).then_some(value.as_ref()))
    }

    /// The value as one of some words.
    pub(crate) fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)], default: T) -> Result<T, Problem> {
        let Some(found) = self.get(name) else {
            return Ok(default);
        };
        let known = words.iter().find_map(|&(word, meaning)| (word == found).then_some(meaning));
        known.ok_or_else(|| {
            let allowed: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            Problem::bad(format!("query parameter {name}"), found, allowed.join(", "))
        })
    }

    /// The value as an id or a number.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str, allowed: &str) -> Result<Option<T>, Problem> {
        let parse = |found: &str| {
            found.parse().map_err(|_| Problem::bad(format!("query parameter {name}"), found, allowed.to_owned()))
        };
        self.get(name).map(parse).transpose()
    }

    /// An instant.
    pub(crate) fn instant(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let read = |found: &str| {
            let allowed = "an instant, as 2026-01-31T12:00:00Z";
            Timestamp::parse_rfc3339(found)
                .ok_or_else(|| Problem::bad(format!("query parameter {name}"), found, allowed))
        };
        self.get(name).map(read).transpose()
    }

    /// How many items: 1 to `max`.
    pub(crate) fn limit(&self, default: u32, max: u32) -> Result<u32, Problem> {
        let allowed = format!("1 to {max}");
        let limit = self.parsed("limit", &allowed)?.unwrap_or(default);
        if (1..=max).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::bad("query parameter limit", limit.to_string(), allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Result<(u32, Option<bool>), &str>) {
        let uri: Uri = format!("/x?{query}").parse().expect("an address");
        let found = Params::read(&uri, &["limit", "bound"]).and_then(|params| {
            let words = [("true", Some(true)), ("false", Some(false))];
            Ok((params.limit(DEFAULT_LIMIT, MAX_LIMIT)?, params.choice("bound", &words, None)?))
        });
        assert_eq!(found.map_err(|problem| problem.message.to_string()), expected.map_err(str::to_owned), "{query}");
    }

    #[test]
    fn reads_what_is_allowed_and_names_what_is_not() {
        check("", Ok((50, None)));
        check("limit=1000&bound=true", Ok((1000, Some(true))));
        check("limit=&bound=", Ok((50, None)));
        check("limit=0", Err("query parameter limit: found \"0\"; allowed: 1 to 1000"));
        check("limit=1001", Err("query parameter limit: found \"1001\"; allowed: 1 to 1000"));
        check("limit=-1", Err("query parameter limit: found \"-1\"; allowed: 1 to 1000"));
        check("bound=yes", Err("query parameter bound: found \"yes\"; allowed: true, false"));
        check("lmit=5", Err("query parameter: found \"lmit\"; allowed: limit, bound"));
        check("limit=5&limit=6", Err("query parameter limit: found \"two of them\"; allowed: one"));
    }
}
