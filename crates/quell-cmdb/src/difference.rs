//! What differs between two topologies.
//!
//! Absent on purpose: how it is shown.

use std::cmp::Ordering;

use quell_domain::{Ci, Redundancy, Relationship, Topology};

/// A field that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldChange {
    /// Its name, as in the topology file.
    pub field: &'static str,
    /// What it was; empty for nothing.
    pub before: String,
    /// What it is.
    pub after: String,
}

/// What became of one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another in these fields.
    Changed(Vec<FieldChange>),
}

/// The changes of one kind of things, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// What changed and how.
    pub list: Vec<(String, Change)>,
    /// How many are as they were.
    pub same: u64,
}

impl Changes {
    /// How many were added, removed and changed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let count = |is: fn(&Change) -> bool| self.list.iter().filter(|(_, change)| is(change)).count() as u64;
        (
            count(|change| *change == Change::Added),
            count(|change| *change == Change::Removed),
            count(|change| matches!(change, Change::Changed(_))),
        )
    }
}

/// What differs between two topologies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Of CIs, by id.
    pub cis: Changes,
    /// Of relationships, by their ends, kind, redundancy and source.
    pub relationships: Changes,
    /// Of redundancies, by CI and name.
    pub redundancies: Changes,
    /// Relationships that were only seen anew.
    pub seen_anew: u64,
}

impl Difference {
    /// What leads from one topology to the other.
    #[must_use]
    pub fn between(before: &Topology, after: &Topology) -> Self {
        let mut difference = Difference::default();
        let Difference { cis, relationships, redundancies, seen_anew } = &mut difference;
        let by_id = |a: &Ci, b: &Ci| a.id.cmp(&b.id);
        compare(before.cis(), after.cis(), by_id, |ci| ci.id.to_string(), ci_fields, cis);
        let fields = |a: &Relationship, b: &Relationship| {
            *seen_anew += u64::from(a.last_seen != b.last_seen);
            let ttl = |r: &Relationship| r.ttl.map(|ttl| format!("{ttl:?}")).unwrap_or_default();
            changed([("ttl", ttl(a), ttl(b))])
        };
        compare(before.relationships(), after.relationships(), by_ends, shown, fields, relationships);
        let by_name = |a: &Redundancy, b: &Redundancy| (&a.ci, &a.name).cmp(&(&b.ci, &b.name));
        let name = |r: &Redundancy| format!("{} {}", r.ci, r.name);
        let fields =
            |a: &Redundancy, b: &Redundancy| changed([("at_least", a.at_least.to_string(), b.at_least.to_string())]);
        compare(before.redundancies(), after.redundancies(), by_name, name, fields, redundancies);
        difference
    }
}

fn by_ends(a: &Relationship, b: &Relationship) -> Ordering {
    let key = |r: &Relationship| (r.kind.clone(), r.redundancy.clone(), r.source.clone());
    (&a.from, &a.to).cmp(&(&b.from, &b.to)).then_with(|| key(a).cmp(&key(b)))
}

fn shown(relationship: &Relationship) -> String {
    let Relationship { from, to, kind, redundancy, last_seen: _, ttl: _, source } = relationship;
    let mut text = format!("{from} {kind} {to}");
    if let Some(name) = redundancy {
        text.push_str(&format!(" ({name})"));
    }
    if let Some(source) = source {
        text.push_str(&format!(" [{source}]"));
    }
    text
}

/// Walks two sorted lists side by side.
fn compare<T>(
    before: &[T],
    after: &[T],
    order: impl Fn(&T, &T) -> Ordering,
    name: impl Fn(&T) -> String,
    mut fields: impl FnMut(&T, &T) -> Vec<FieldChange>,
    changes: &mut Changes,
) {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let next = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => order(a, b),
        };
        match next {
            Ordering::Less => changes.list.extend(old.next().map(|item| (name(item), Change::Removed))),
            Ordering::Greater => changes.list.extend(new.next().map(|item| (name(item), Change::Added))),
            Ordering::Equal => {
                let Some((a, b)) = old.next().zip(new.next()) else { return };
                let found = fields(a, b);
                if found.is_empty() {
                    changes.same += 1;
                } else {
                    changes.list.push((name(b), Change::Changed(found)));
                }
            }
        }
    }
}

fn changed<const N: usize>(fields: [(&'static str, String, String); N]) -> Vec<FieldChange> {
    let differ = fields.into_iter().filter(|(_, before, after)| before != after);
    differ.map(|(field, before, after)| FieldChange { field, before, after }).collect()
}

fn ci_fields(before: &Ci, after: &Ci) -> Vec<FieldChange> {
    if before == after {
        return Vec::new();
    }
    let labels = |ci: &Ci| ci.labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ");
    let fields = |ci: &Ci| {
        let Ci { id: _, kind, name, aliases, labels: _, owner, criticality, lifecycle, source } = ci;
        let (owner, source) = (owner.clone().unwrap_or_default(), source.as_deref().unwrap_or_default().to_owned());
        let (criticality, lifecycle) = (criticality.as_str().to_owned(), lifecycle.as_str().to_owned());
        [kind.clone(), name.clone(), aliases.join(" "), labels(ci), owner, criticality, lifecycle, source]
    };
    let names = ["kind", "name", "aliases", "labels", "owner", "criticality", "lifecycle", "source"];
    let mut triples = names.into_iter().zip(fields(before)).zip(fields(after)).map(|((n, b), a)| (n, b, a));
    changed::<8>(std::array::from_fn(|_| triples.next().unwrap_or(("", String::new(), String::new()))))
}

#[cfg(test)]
mod tests {
    use quell_domain::{CiId, Timestamp};

    use super::*;

    #[test]
    fn tells_added_removed_and_changed() {
        let on = |from, to, seen: Option<i64>| Relationship {
            last_seen: seen.map(Timestamp::from_seconds),
            ..Relationship::new(CiId::new(from), CiId::new(to), "calls")
        };
        let ci = |id, owner: Option<&str>| Ci { owner: owner.map(Into::into), ..Ci::new(id, "host") };
        let before = Topology::new(
            vec![ci("a", None), ci("b", None), ci("c", None)],
            vec![on("a", "b", Some(1)), on("b", "c", None)],
            vec![],
        );
        let after = Topology::new(
            vec![ci("a", Some("me")), ci("b", None), ci("d", None)],
            vec![on("a", "b", Some(2)), on("a", "d", None)],
            vec![],
        );
        let found = Difference::between(&before.expect("sound"), &after.expect("sound"));
        let owner = FieldChange { field: "owner", before: String::new(), after: "me".into() };
        let named = |name: &str, change| (name.to_owned(), change);
        assert_eq!(
            found.cis.list,
            [named("a", Change::Changed(vec![owner])), named("c", Change::Removed), named("d", Change::Added)]
        );
        assert_eq!((found.cis.counts(), found.cis.same), ((1, 1, 1), 1));
        assert_eq!(found.relationships.list, [named("a calls d", Change::Added), named("b calls c", Change::Removed)]);
        assert_eq!((found.relationships.same, found.seen_anew), (1, 1));
    }
}
