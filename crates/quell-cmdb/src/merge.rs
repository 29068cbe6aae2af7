//! How an import is combined with the topology in force.
//!
//! Each source owns its CIs and relationships: its next import replaces them. A CI that two sources name belongs to the
//! one that named it first, and the other only fills gaps: the owner, the criticality, aliases and labels that are
//! missing. What was written by hand belongs to nobody's import and is never replaced. Absent on purpose: reading
//! either of the two.

use std::collections::{BTreeMap, BTreeSet};

use quell_domain::{Ci, CiId, Criticality, Redundancy, Relationship, Topology, TopologyFault};

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Merged {
    /// Both together.
    pub topology: Topology,
    /// Relationships of other sources whose CI is gone.
    pub dropped: Vec<Relationship>,
}

/// Replaces what `source` owns in `current` by what it exported now.
///
/// # Errors
/// None that two sound topologies can have; the faults of the result are passed on all the same.
pub fn merge(current: &Topology, imported: &Topology, source: &str) -> Result<Merged, Vec<TopologyFault>> {
    let owned = |of: Option<&str>| of == Some(source);
    let mut cis: BTreeMap<&CiId, Ci> = imported.cis().iter().map(|ci| (&ci.id, ci.clone())).collect();
    for ci in current.cis().iter().filter(|ci| !owned(ci.source.as_deref())) {
        let merged = match cis.get(&ci.id) {
            Some(also) => fill(ci, also),
            None => ci.clone(),
        };
        cis.insert(&ci.id, merged);
    }
    let of_others = current.relationships().iter().filter(|relationship| !owned(relationship.source.as_deref()));
    let there = |r: &&Relationship| cis.contains_key(&r.from) && cis.contains_key(&r.to);
    let (kept, dropped): (Vec<_>, Vec<_>) = of_others.partition(there);
    let relationships: Vec<Relationship> = kept.into_iter().chain(imported.relationships()).cloned().collect();
    let dropped = dropped.into_iter().cloned().collect();
    let redundancies = redundancies(current, imported, &relationships);
    let topology = Topology::new(cis.into_values().collect(), relationships, redundancies)?;
    Ok(Merged { topology, dropped })
}

/// A CI with its gaps filled by what another source says of it.
fn fill(ci: &Ci, also: &Ci) -> Ci {
    let mut filled = ci.clone();
    filled.owner = filled.owner.or_else(|| also.owner.clone());
    if filled.criticality == Criticality::default() {
        filled.criticality = also.criticality;
    }
    for name in also.aliases.iter().chain([&also.name]) {
        if *name != filled.name && !filled.aliases.contains(name) {
            filled.aliases.push(name.clone());
        }
    }
    // Labels identify a CI only all together: to those of one source another's are never added.
    if filled.labels.is_empty() {
        filled.labels.clone_from(&also.labels);
    }
    filled
}

/// How many must be up, the word in force before the import's, as far as there are alternatives left.
fn redundancies(current: &Topology, imported: &Topology, relationships: &[Relationship]) -> Vec<Redundancy> {
    let mut members: BTreeMap<(&CiId, &str), BTreeSet<&CiId>> = BTreeMap::new();
    for relationship in relationships {
        if let Some(name) = &relationship.redundancy {
            members.entry((&relationship.from, name)).or_default().insert(&relationship.to);
        }
    }
    let mut all: BTreeMap<(&CiId, &str), u32> = BTreeMap::new();
    for redundancy in imported.redundancies().iter().chain(current.redundancies()) {
        all.insert((&redundancy.ci, &redundancy.name), redundancy.at_least);
    }
    all.into_iter()
        .filter_map(|((ci, name), at_least)| {
            let most = u32::try_from(members.get(&(ci, name))?.len()).unwrap_or(u32::MAX);
            Some(Redundancy { ci: ci.clone(), name: name.to_owned(), at_least: at_least.min(most) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id@source` or `id` for CIs, `a>b@source` for relationships, `a>b/group` for alternatives.
    fn topology(text: &str) -> Topology {
        let (mut cis, mut relationships) = (Vec::new(), Vec::new());
        for word in text.split_whitespace() {
            let (what, source) =
                word.split_once('@').map_or((word, None), |(what, source)| (what, Some(source.into())));
            match what.split_once('>') {
                None => cis.push(Ci { source, ..Ci::new(what, "host") }),
                Some((from, to)) => {
                    let (to, redundancy) = to.split_once('/').map_or((to, None), |(to, n)| (to, Some(n.to_owned())));
                    let new = Relationship::new(CiId::new(from), CiId::new(to), "depends_on");
                    relationships.push(Relationship { source, redundancy, ..new });
                }
            }
        }
        Topology::new(cis, relationships, vec![]).expect("sound")
    }

    fn shown(topology: &Topology) -> String {
        let at = |source: &Option<std::sync::Arc<str>>| source.as_ref().map(|s| format!("@{s}")).unwrap_or_default();
        let cis = topology.cis().iter().map(|ci| format!("{}{}", ci.id, at(&ci.source)));
        let rest = topology.relationships().iter().map(|r| format!("{}>{}{}", r.from, r.to, at(&r.source)));
        cis.chain(rest).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(current: &str, imported: &str, expected: &str, dropped: usize) {
        let merged = merge(&topology(current), &topology(imported), "new").expect("sound");
        assert_eq!((shown(&merged.topology).as_str(), merged.dropped.len()), (expected, dropped));
        let again = merge(&merged.topology, &topology(imported), "new").expect("sound");
        assert_eq!(again.topology, merged.topology, "importing the same again changes nothing");
    }

    #[test]
    fn a_source_replaces_what_it_owns_and_nothing_else() {
        check("a b@new c@old c>a@old b>a@new", "d@new d>d@new", "a c@old d@new c>a@old d>d@new", 0);
        check("a@old", "a@new b@new b>a@new", "a@old b@new b>a@new", 0);
        check("a@new", "a@new b@new", "a@new b@new", 0);
        check("", "a@new", "a@new", 0);
    }

    #[test]
    fn a_relationship_of_others_goes_with_its_ci() {
        check("a b@new a>b", "", "a", 1);
    }

    #[test]
    fn the_first_to_name_a_ci_keeps_it_and_gaps_are_filled() {
        let mine = Ci { owner: Some("me".into()), source: Some("old".into()), ..Ci::new("a", "host") };
        let labels = BTreeMap::from([("pod".to_owned(), "a".to_owned())]);
        let also = Ci {
            kind: "server".into(),
            name: "A1".into(),
            aliases: vec!["10.0.0.1".into()],
            labels: labels.clone(),
            owner: Some("them".into()),
            criticality: Criticality::High,
            source: Some("new".into()),
            ..Ci::new("a", "")
        };
        let of = |ci: &Ci| Topology::new(vec![ci.clone()], vec![], vec![]).expect("sound");
        let merged = merge(&of(&mine), &of(&also), "new").expect("sound").topology;
        let aliases = vec!["10.0.0.1".to_owned(), "A1".to_owned()];
        assert_eq!(merged.cis(), [Ci { aliases, labels, criticality: Criticality::High, ..mine }]);
    }

    #[test]
    fn what_people_said_of_redundancy_outlives_an_import() {
        let current = topology("s@new a@new b@new c@new s>a/g@new s>b/g@new s>c/g@new");
        let rule = |at_least| Redundancy { ci: CiId::new("s"), name: "g".into(), at_least };
        let (cis, relationships) = (current.cis().to_vec(), current.relationships().to_vec());
        let current = Topology::new(cis, relationships, vec![rule(3)]).expect("sound");
        let fewer = merge(&current, &topology("s@new a@new b@new s>a/g@new s>b/g@new"), "new").expect("sound");
        assert_eq!(fewer.topology.redundancies(), [rule(2)]);
        let gone = merge(&current, &topology("s@new"), "new").expect("sound");
        assert_eq!(gone.topology.redundancies(), []);
    }
}
