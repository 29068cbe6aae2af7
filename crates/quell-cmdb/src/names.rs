//! The names CIs are known by, and how a monitor's word for one is looked up.
//!
//! Absent on purpose: which labels of an alert to look at; pipelines say that. And any choice between CIs that share a
//! name: the look-up says which ones do.

use std::borrow::Cow;
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
    /// One more.
    fn and(self, ix: CiIx) -> Found {
        match self {
            Found::None => Found::One(ix),
            Found::One(_) => Found::Many(2),
            Found::Many(n) => Found::Many(n + 1),
        }
    }
}

/// A value of a label → CIs that have it.
type ByValue = HashMap<Box<str>, Vec<CiIx>, Fixed>;

/// CIs of one shared name that are listed; beyond them it only says how many there are.
pub const LISTED: usize = 8;

/// A monitor's word for a CI, made ready to be looked up in several ways.
#[derive(Clone, Debug)]
pub struct Word<'a> {
    raw: &'a str,
    canonical: Cow<'a, str>,
}

impl<'a> Word<'a> {
    /// From a label's value.
    #[must_use]
    pub fn new(raw: &'a str) -> Self {
        Word { raw, canonical: canonical(raw) }
    }

    /// What kind of word it is when it was found this way: finer than [`BindBy`], for people.
    #[must_use]
    pub fn kind(&self, by: BindBy) -> &'static str {
        let host = host_part(&self.canonical);
        let port = host.len() < self.canonical.len();
        match by {
            BindBy::Id | BindBy::ShortName => by.as_str(),
            _ if host.parse::<IpAddr>().is_ok() => match (by, port) {
                (BindBy::Host, true) => "ip without its port",
                (_, true) => "ip and port",
                (_, false) => "ip",
            },
            _ if mac(&self.canonical).is_some() => "mac",
            BindBy::Host if port => "host without its port",
            BindBy::Alias | BindBy::Host if host.contains('.') => "fqdn",
            _ => by.as_str(),
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
    /// The first [`LISTED`] CIs of every name that several share.
    several: HashMap<(BindBy, Box<str>), Vec<CiIx>, Fixed>,
    /// Name and value of the rarest of a CI's labels → CIs that have it: so many share a namespace, so few a pod.
    labelled: HashMap<Box<str>, ByValue, Fixed>,
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
        let name = canonical(&ci.name);
        let mut keys = vec![(BindBy::Name, name.as_ref()), (BindBy::Host, &name)];
        keys.extend(short_name(&name).map(|short| (BindBy::ShortName, short)));
        let aliases: Vec<Cow<'_, str>> = ci.aliases.iter().map(|alias| canonical(alias)).collect();
        for alias in &aliases {
            keys.extend([(BindBy::Alias, alias.as_ref()), (BindBy::Host, alias)]);
            keys.extend(short_name(host_part(alias)).map(|short| (BindBy::ShortName, short)));
        }
        // Known by one name twice, it is still one CI.
        keys.sort_unstable();
        keys.dedup();
        for (by, key) in keys {
            self.put(by, key, ix);
        }
    }

    fn put(&mut self, by: BindBy, key: &str, ix: CiIx) {
        let map = match by {
            BindBy::Id => return,
            BindBy::Name => &mut self.names,
            BindBy::Alias => &mut self.aliases,
            BindBy::Host => &mut self.hosts,
            BindBy::ShortName => &mut self.short,
        };
        let found = map.entry(key.into()).or_insert(Found::None);
        let before = std::mem::replace(found, found.and(ix));
        if before != Found::None {
            let list = self.several.entry((by, key.into())).or_default();
            if let Found::One(first) = before {
                list.push(first);
            }
            if list.len() < LISTED {
                list.push(ix);
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
        self.find_word(by, &Word::new(value))
    }

    /// The same with a word that is looked up in several ways.
    #[must_use]
    pub fn find_word(&self, by: BindBy, word: &Word<'_>) -> Found {
        let key: &str = &word.canonical;
        let found = match by {
            BindBy::Id => return self.ids.get(word.raw).map_or(Found::None, |&ix| Found::One(ix)),
            BindBy::Name => self.names.get(key),
            BindBy::Alias => self.aliases.get(key),
            BindBy::Host => self.hosts.get(host_part(key)),
            BindBy::ShortName => short_name(host_part(key)).and_then(|short| self.short.get(short)),
        };
        found.copied().unwrap_or(Found::None)
    }

    /// The first [`LISTED`] of the CIs that share a word, where [`Names::find_word`] found many; none otherwise.
    #[must_use]
    pub fn sharing(&self, by: BindBy, word: &Word<'_>) -> &[CiIx] {
        let key: &str = &word.canonical;
        let key = match by {
            BindBy::Id => return &[],
            BindBy::Name | BindBy::Alias => key,
            BindBy::Host => host_part(key),
            BindBy::ShortName => short_name(host_part(key)).unwrap_or_default(),
        };
        self.several.get(&(by, key.into())).map_or(&[], Vec::as_slice)
    }

    /// The CI all of whose labels are among `labels`; of several, the one with the most labels. Where several have
    /// equally many, the first [`LISTED`] of them are left in `sharing`, which is empty otherwise.
    #[must_use]
    pub fn find_by_labels(&self, cis: &[Ci], labels: LabelsRef<'_>, sharing: &mut Vec<CiIx>) -> Found {
        let (mut best, mut most) = (Found::None, 0);
        sharing.clear();
        if self.labelled.is_empty() {
            return best;
        }
        for (name, value) in labels.iter() {
            let Some(candidates) = self.labelled.get(name).and_then(|values| values.get(value)) else { continue };
            for &ix in candidates {
                let wanted = &cis[ix.at()].labels;
                if wanted.len() < most || wanted.iter().any(|(n, v)| labels.get(n) != Some(v)) {
                    continue;
                }
                if wanted.len() > most {
                    (best, most) = (Found::One(ix), wanted.len());
                    sharing.clear();
                } else {
                    best = best.and(ix);
                }
                if sharing.len() < LISTED {
                    sharing.push(ix);
                }
            }
        }
        if !matches!(best, Found::Many(_)) {
            sharing.clear();
        }
        best
    }
}

/// CIs by the rarest of their labels.
fn labelled(cis: &[Ci]) -> HashMap<Box<str>, ByValue, Fixed> {
    let mut counts: HashMap<(&str, &str), u32, Fixed> = HashMap::default();
    for (name, value) in cis.iter().flat_map(|ci| &ci.labels) {
        *counts.entry((name, value)).or_default() += 1;
    }
    let mut by_rarest: HashMap<Box<str>, ByValue, Fixed> = HashMap::default();
    for (ix, ci) in (0..).map(CiIx).zip(cis) {
        let pairs = ci.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        if let Some((name, value)) = pairs.min_by_key(|pair| counts.get(pair).copied().unwrap_or(0)) {
            by_rarest.entry(name.into()).or_default().entry(value.into()).or_default().push(ix);
        }
    }
    by_rarest
}

/// The one spelling that names are compared in: no blanks around it, lower case, and IPv6 and MAC addresses as their
/// standards write them.
fn canonical(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.contains(':')
        && let Ok(ip) = text.parse::<std::net::Ipv6Addr>()
    {
        return Cow::Owned(ip.to_string());
    }
    if let Some(mac) = mac(text) {
        return Cow::Owned(mac);
    }
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.to_lowercase())
}

/// `aa:bb:cc:dd:ee:ff` of a MAC address in any of its spellings: six pairs with `:` or `-`, or three fours with `.`.
fn mac(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let separated = match bytes.len() {
        17 => (b":-".contains(&bytes[2])) && (2..17).step_by(3).all(|at| bytes[at] == bytes[2]),
        14 => bytes[4] == b'.' && bytes[9] == b'.',
        _ => return None,
    };
    let digits: Vec<u8> = bytes.iter().filter(|byte| byte.is_ascii_hexdigit()).map(u8::to_ascii_lowercase).collect();
    let pairs = || digits.as_chunks::<2>().0.iter().map(|&[a, b]| [char::from(a), char::from(b)].iter().collect());
    (separated && digits.len() == 12).then(|| pairs().collect::<Vec<String>>().join(":"))
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
            ci("db-1", &["db-1.corp.example", "10.0.0.5", "10.0.0.5:5432", "00-1A-2b-3C-4d-5E"], &[]),
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
        for mac in ["00:1a:2b:3c:4d:5e", "001A.2B3C.4D5E", "00-1a-2b-3c-4d-5e"] {
            check(BindBy::Alias, mac, Found::One(CiIx(0)));
        }
        check(BindBy::Alias, "00:1a-2b:3c:4d:5e", Found::None);
        check(BindBy::Alias, "001a2b3c4d5e", Found::None);
    }

    #[test]
    fn says_what_kind_of_word_it_was() {
        let check = |by, value, expected| assert_eq!(Word::new(value).kind(by), expected, "{by:?} {value}");
        check(BindBy::Id, "10.0.0.5", "id");
        check(BindBy::Name, "db-1", "name");
        check(BindBy::Alias, "db-1.corp.example", "fqdn");
        check(BindBy::Alias, "10.0.0.5:5432", "ip and port");
        check(BindBy::Alias, "001A.2B3C.4D5E", "mac");
        check(BindBy::Host, "10.0.0.5:9100", "ip without its port");
        check(BindBy::Host, "[::1]:9100", "ip without its port");
        check(BindBy::Host, "::1", "ip");
        check(BindBy::Host, "db-1:9100", "host without its port");
        check(BindBy::ShortName, "db-1.other.example:9100", "short_name");
    }

    #[test]
    fn a_name_two_cis_share_says_which() {
        check(BindBy::ShortName, "web-1.anywhere", Found::Many(2));
        let names = Names::new(&estate());
        assert_eq!(names.sharing(BindBy::ShortName, &Word::new("web-1.anywhere")), [CiIx(1), CiIx(2)]);
        assert_eq!(names.sharing(BindBy::Name, &Word::new("db-1")), []);
    }

    #[test]
    fn a_name_many_cis_share_lists_the_first() {
        let estate: Vec<Ci> = (0..20).map(|n| ci(&format!("n{n}"), &["pool", "POOL", "pool.example"], &[])).collect();
        let names = Names::new(&estate);
        for (by, value) in [(BindBy::Alias, "Pool"), (BindBy::ShortName, "pool.x")] {
            assert_eq!(names.find(by, value), Found::Many(20));
            assert_eq!(names.sharing(by, &Word::new(value)), (0..8).map(CiIx).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_most_particular_labels_win() {
        let names = Names::new(&estate());
        let find = |pairs: &[(&str, &str)]| {
            names.find_by_labels(&estate(), Labels::new(pairs.iter().copied()).as_ref(), &mut Vec::new())
        };
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
