//! The names CIs are known by, and how a monitor's word for one is looked up.
//!
//! Absent on purpose: which labels of an alert to look at; pipelines say that. A name that two CIs share finds
//! neither of them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;

use quell_domain::{Ci, CiId, LabelsRef};

use crate::graph::CiIx;

/// A hasher without a random seed, so that two runs are the same run.
type Fixed = BuildHasherDefault<DefaultHasher>;

/// What of a CI a value is compared with. Everything but ids compares without regard to case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BindBy {
    /// Its id.
    Id,
    /// Its name.
    Name,
    /// One of its aliases.
    Alias,
    /// The host part of `host:port`, as a name or alias.
    Host,
    /// The first part of a fully qualified name, as the first part of a name or alias.
    ShortName,
}

impl BindBy {
    /// Every way.
    pub const ALL: [BindBy; 5] = [BindBy::Id, BindBy::Name, BindBy::Alias, BindBy::Host, BindBy::ShortName];

    /// The name used in files and reasons.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            BindBy::Id => "id",
            BindBy::Name => "name",
            BindBy::Alias => "alias",
            BindBy::Host => "host",
            BindBy::ShortName => "short_name",
        }
    }
}

/// What a look-up found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// No CI.
    None,
    /// Exactly one.
    One(CiIx),
    /// Several: so many. None of them is meant for sure.
    Many(u32),
}

impl Found {
    fn also(self, ix: CiIx) -> Found {
        match self {
            Found::None => Found::One(ix),
            Found::One(same) if same == ix => self,
            Found::One(_) => Found::Many(2),
            Found::Many(n) => Found::Many(n + 1),
        }
    }
}

/// Look-ups by every name a CI has.
#[derive(Debug, Default)]
pub struct Names {
    ids: HashMap<Box<str>, CiIx, Fixed>,
    names: HashMap<Box<str>, Found, Fixed>,
    aliases: HashMap<Box<str>, Found, Fixed>,
    /// Names and aliases together, as a host is known by either.
    hosts: HashMap<Box<str>, Found, Fixed>,
    short: HashMap<Box<str>, Found, Fixed>,
    /// The rarest label of a CI's labels → CIs that have it: so many share a namespace, so few a pod.
    labelled: HashMap<(Box<str>, Box<str>), Vec<CiIx>, Fixed>,
}

impl Names {
    pub(crate) fn new(cis: &[Ci]) -> Self {
        let mut names = Names::default();
        names.ids.reserve(cis.len());
        for (ix, ci) in (0..).map(CiIx).zip(cis) {
            names.add(ix, ci);
        }
        names.labelled = labelled(cis);
        names
    }

    fn add(&mut self, ix: CiIx, ci: &Ci) {
        self.ids.insert(ci.id.as_str().into(), ix);
        let put = |map: &mut HashMap<Box<str>, Found, Fixed>, key: &str| {
            let found = map.entry(key.into()).or_insert(Found::None);
            *found = found.also(ix);
        };
        let name = ci.name.to_lowercase();
        put(&mut self.names, &name);
        put(&mut self.hosts, &name);
        if let Some(short) = short_name(&name) {
            put(&mut self.short, short);
        }
        for alias in &ci.aliases {
            let alias = alias.to_lowercase();
            put(&mut self.aliases, &alias);
            put(&mut self.hosts, &alias);
            if let Some(short) = short_name(host_part(&alias)) {
                put(&mut self.short, short);
            }
        }
    }

    /// The CI of an id.
    pub(crate) fn id(&self, id: &CiId) -> Option<CiIx> {
        self.ids.get(id.as_str()).copied()
    }

    /// Looks a value up one way.
    #[must_use]
    pub fn find(&self, by: BindBy, value: &str) -> Found {
        let lower;
        let key = match by {
            BindBy::Id => return self.ids.get(value).map_or(Found::None, |&ix| Found::One(ix)),
            _ => {
                lower = value.trim().to_lowercase();
                lower.as_str()
            }
        };
        let found = match by {
            BindBy::Id => None,
            BindBy::Name => self.names.get(key),
            BindBy::Alias => self.aliases.get(key),
            BindBy::Host => self.hosts.get(host_part(key)),
            BindBy::ShortName => short_name(host_part(key)).and_then(|short| self.short.get(short)),
        };
        found.copied().unwrap_or(Found::None)
    }

    /// The CI all of whose labels are among `labels`; of several, the one with the most labels.
    #[must_use]
    pub fn find_by_labels(&self, cis: &[Ci], labels: LabelsRef<'_>) -> Found {
        let (mut best, mut most) = (Found::None, 0);
        for (name, value) in labels.iter() {
            let Some(candidates) = self.labelled.get(&(Box::from(name), Box::from(value))) else { continue };
            for &ix in candidates {
                let wanted = &cis[ix.at()].labels;
                if wanted.len() < most || wanted.iter().any(|(n, v)| labels.get(n) != Some(v)) {
                    continue;
                }
                best = if wanted.len() > most { Found::One(ix) } else { best.also(ix) };
                most = wanted.len();
            }
        }
        best
    }
}

/// CIs by the rarest of their labels.
fn labelled(cis: &[Ci]) -> HashMap<(Box<str>, Box<str>), Vec<CiIx>, Fixed> {
    let mut counts: HashMap<(&str, &str), u32, Fixed> = HashMap::default();
    for (name, value) in cis.iter().flat_map(|ci| &ci.labels) {
        *counts.entry((name, value)).or_default() += 1;
    }
    let mut by_rarest: HashMap<(Box<str>, Box<str>), Vec<CiIx>, Fixed> = HashMap::default();
    for (ix, ci) in (0..).map(CiIx).zip(cis) {
        let pairs = ci.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        if let Some((name, value)) = pairs.min_by_key(|pair| counts.get(pair).copied().unwrap_or(0)) {
            by_rarest.entry((name.into(), value.into())).or_default().push(ix);
        }
    }
    by_rarest
}

/// `host` of `host:port`, `[v6]:port` or a bare host. A bare IPv6 address is a host.
fn host_part(text: &str) -> &str {
    if let Some((v6, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return v6;
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => text,
    }
}

/// The first part of a host name; an IP address has none.
fn short_name(host: &str) -> Option<&str> {
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    host.split('.').next().filter(|short| !short.is_empty())
}

#[cfg(test)]
mod tests {
    use quell_domain::Labels;

    use super::*;

    fn ci(id: &str, aliases: &[&str], labels: &[(&str, &str)]) -> Ci {
        Ci {
            name: id.to_uppercase(),
            aliases: aliases.iter().map(ToString::to_string).collect(),
            labels: labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            ..Ci::new(id, "host")
        }
    }

    fn estate() -> Vec<Ci> {
        vec![
            ci("db-1", &["db-1.corp.example", "10.0.0.5", "10.0.0.5:5432"], &[]),
            ci("web-1", &["web-1.corp.example", "10.0.0.6"], &[("app", "web")]),
            ci("web-1b", &["web-1.lab.example"], &[("app", "web"), ("zone", "b")]),
        ]
    }

    #[track_caller]
    fn check(by: BindBy, value: &str, expected: Found) {
        assert_eq!(Names::new(&estate()).find(by, value), expected, "{by:?} {value}");
    }

    #[test]
    fn finds_by_every_name() {
        check(BindBy::Id, "db-1", Found::One(CiIx(0)));
        check(BindBy::Id, "DB-1", Found::None);
        check(BindBy::Name, "Db-1", Found::One(CiIx(0)));
        check(BindBy::Alias, "10.0.0.5:5432", Found::One(CiIx(0)));
        check(BindBy::Alias, "10.0.0.5:9100", Found::None);
        check(BindBy::Host, "10.0.0.5:9100", Found::One(CiIx(0)));
        check(BindBy::Host, "web-1.lab.example:80", Found::One(CiIx(2)));
        check(BindBy::ShortName, "db-1.other.example:9100", Found::One(CiIx(0)));
        check(BindBy::ShortName, "10.0.0.9", Found::None);
    }

    #[test]
    fn a_name_two_cis_share_finds_neither() {
        check(BindBy::ShortName, "web-1.anywhere", Found::Many(2));
    }

    #[test]
    fn the_most_particular_labels_win() {
        let names = Names::new(&estate());
        let find =
            |pairs: &[(&str, &str)]| names.find_by_labels(&estate(), Labels::new(pairs.iter().copied()).as_ref());
        assert_eq!(find(&[("app", "web"), ("zone", "b")]), Found::One(CiIx(2)));
        assert_eq!(find(&[("app", "web"), ("zone", "c")]), Found::One(CiIx(1)));
        assert_eq!(find(&[("zone", "b")]), Found::None);
    }

    #[test]
    fn host_parts() {
        for (text, host) in [("a:1", "a"), ("a", "a"), ("[::1]:9", "::1"), ("::1", "::1"), ("a:b", "a:b")] {
            assert_eq!(host_part(text), host);
        }
    }
}
