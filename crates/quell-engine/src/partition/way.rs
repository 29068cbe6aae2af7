//! The way that failures take: which alert came of which, as a forest.
//!
//! A failure passes from a CI to what hangs on it, and from there on. So each CI that alerts hangs on the likeliest one
//! that alerts among what it depends on, by how surely the failure passes and how long it takes; on a place that is
//! silent, because nobody watches it, if enough hangs on that to be worth one more trouble; or on nothing, and then a
//! trouble struck it. Each tree is one trouble. This sees chains that a place with all its dependents does not, and it
//! is local: what alerts far off changes nothing.
//!
//! Absent on purpose: what becomes of the trees (`partition` explains all alerts by them).

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::LazyLock;

use super::{Fade, LATEST, Offer, STEP, Sight, Tie};
use crate::strikes::Strikes;

/// How long after what it hangs on a CI alerts: shares and means in seconds. Rules wait for minutes.
const AFTER: [(f64, f64); 2] = [(0.3, 100.0), (0.2, 400.0)];

/// As often it alerts first, because its own rule waits less; so long before, in the mean.
const BEFORE: (f64, f64) = (0.5, 60.0);

/// Nothing comes so many seconds before.
const EARLIEST: usize = 600;

/// How much less often a failure passes for each CI on the way that may not have been hit.
const SILENT: f64 = 0.2;

/// What is silent explains what hangs on it over so many relationships at the most.
const HOPS: u32 = 2;

/// The share of the CIs that hang directly on what failed which alert, at the least.
const ALERT_TOO: f64 = 0.4;

/// Alerts of one CI that are so many seconds apart are not of one trouble.
const APART: f64 = 600.0;

/// What a place is on the way.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Spot {
    /// A CI that alerts, by the number that it has in its sights.
    Alerts(u32),
    /// A CI that does not: how many hang directly on it, and the places that it hangs on itself.
    Silent { direct: f64, on: Vec<Tie> },
    /// No CI.
    None,
}

/// What a CI hangs on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Up {
    /// Nothing: a trouble struck it.
    Nothing,
    Node(u32),
    Silent(u32),
}

/// A CI that alerts, and its alerts.
struct Node<'a> {
    at: f64,
    chance: f64,
    sights: Vec<u32>,
    ties: &'a [Tie],
    up: Up,
    /// How likely that is, as a logarithm.
    likely: f64,
}

struct Forest<'a> {
    spots: &'a [Spot],
    strikes: &'a Strikes,
    nodes: Vec<Node<'a>>,
    /// The nodes of each CI.
    of: Vec<Vec<u32>>,
    /// What each silent one that was taken hangs on.
    silent: Vec<Up>,
}

/// How much better each alert is explained that would hang on a silent place, on average.
struct Gain {
    gain: f64,
    onset: f64,
    up: Up,
}

/// How likely it is that so many seconds lie between what fails and what hangs on it.
static DELAY: LazyLock<Fade> = LazyLock::new(|| {
    let falls = |(share, mean): (f64, f64), by: f64| share / mean * (-by / mean).exp();
    Fade::new(EARLIEST, LATEST, |passed| match passed < 0.0 {
        true => falls(BEFORE, -passed).ln(),
        false => AFTER.iter().map(|&after| falls(after, passed)).sum::<f64>().ln(),
    })
});

/// The alerts of each tree of several CIs, in the order of their first ones.
pub(super) fn trees(sights: &[Sight], spots: &[Spot], strikes: &Strikes) -> Vec<Vec<u32>> {
    let mut forest = Forest::new(sights, spots, strikes);
    forest.hang();
    forest.cut_circles();
    forest.hang_on_silent();
    forest.trees()
}

impl<'a> Forest<'a> {
    fn new(sights: &'a [Sight], spots: &'a [Spot], strikes: &'a Strikes) -> Forest<'a> {
        let cis = sights.iter().map(|sight| sight.ci + 1).max().unwrap_or(0);
        let mut of: Vec<Vec<u32>> = vec![Vec::new(); cis as usize];
        let mut nodes: Vec<Node<'_>> = Vec::new();
        let mut last = vec![f64::NEG_INFINITY; of.len()];
        for (number, sight) in (0..).zip(sights) {
            let Sight { at, ci, chance, .. } = *sight;
            let of = &mut of[ci as usize];
            match of.last() {
                Some(&node) if at - last[ci as usize] < APART => {
                    let node = &mut nodes[node as usize];
                    node.sights.push(number);
                    node.chance = node.chance.min(chance);
                }
                _ => {
                    of.push(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
                    let likely = strikes.often();
                    let sights = vec![number];
                    nodes.push(Node { at, chance, sights, ties: &sight.places, up: Up::Nothing, likely });
                }
            }
            last[ci as usize] = at;
        }
        Forest { spots, strikes, nodes, of, silent: Vec::new() }
    }

    /// How likely a failure passes over this tie and takes so long, as a logarithm.
    fn passes(&self, tie: &Tie, passed: f64) -> f64 {
        let between = tie.hops.saturating_sub(1).cast_signed();
        (tie.strength * SILENT.powi(between)).ln() + DELAY.at(passed)
    }

    /// The likeliest node among what these ties lead to, for what was hit at `at`.
    fn best(&self, ties: &[Tie], at: f64) -> Option<(f64, u32)> {
        let mut best: Option<(f64, u32)> = None;
        for tie in ties.iter().filter(|tie| tie.hops > 0) {
            let Some(Spot::Alerts(ci)) = self.spots.get(tie.place as usize) else { continue };
            for &node in &self.of[*ci as usize] {
                let likely = self.passes(tie, at - self.nodes[node as usize].at);
                if best.is_none_or(|(known, _)| likely > known) {
                    best = Some((likely, node));
                }
            }
        }
        best
    }

    fn hang(&mut self) {
        for at in 0..self.nodes.len() {
            let Node { at: when, ties, likely, .. } = self.nodes[at];
            if let Some((more, node)) = self.best(ties, when).filter(|(more, _)| *more > likely) {
                (self.nodes[at].likely, self.nodes[at].up) = (more, Up::Node(node));
            }
        }
    }

    /// What hangs on itself by others is struck where that costs least.
    fn cut_circles(&mut self) {
        let mut seen = vec![0; self.nodes.len()];
        for (pass, start) in (1..).zip(0..self.nodes.len()) {
            let mut at = start;
            while seen[at] == 0 {
                seen[at] = pass;
                let Up::Node(up) = self.nodes[at].up else { break };
                at = up as usize;
            }
            let round = seen[at] == pass && self.nodes[at].up != Up::Nothing;
            if !round {
                continue;
            }
            let (mut least, mut next) = (at, self.nodes[at].up);
            while let Up::Node(up) = next {
                if up as usize == at {
                    break;
                }
                if self.nodes[up as usize].likely < self.nodes[least].likely {
                    least = up as usize;
                }
                next = self.nodes[up as usize].up;
            }
            (self.nodes[least].likely, self.nodes[least].up) = (self.strikes.often(), Up::Nothing);
        }
    }

    /// Takes the silent place that explains best what hangs on it, again and again.
    fn hang_on_silent(&mut self) {
        let mut below: Vec<Vec<(u32, Tie)>> = vec![Vec::new(); self.spots.len()];
        for (number, node) in (0..).zip(&self.nodes) {
            for tie in node.ties.iter().filter(|tie| tie.hops <= HOPS) {
                below[tie.place as usize].push((number, *tie));
            }
        }
        let mut offers = BinaryHeap::new();
        for (place, below) in (0..).zip(&below) {
            if below.len() > 1
                && let Some(Gain { gain, .. }) = self.gain(place, below)
            {
                offers.push(Offer(gain, place));
            }
        }
        while let Some(Offer(_, place)) = offers.pop() {
            let Some(Gain { gain, onset, up }) = self.gain(place, &below[place as usize]) else { continue };
            if offers.peek().is_some_and(|next| next.0 > gain) {
                offers.push(Offer(gain, place));
                continue;
            }
            let number = u32::try_from(self.silent.len()).unwrap_or(u32::MAX);
            self.silent.push(up);
            let mut taken = false;
            for (node, tie) in &below[place as usize] {
                let likely = self.passes(tie, self.nodes[*node as usize].at - onset);
                if likely > self.nodes[*node as usize].likely && !self.leads_to(up, *node) {
                    let node = &mut self.nodes[*node as usize];
                    (node.likely, node.up) = (likely, Up::Silent(number));
                    taken = true;
                }
            }
            // It may have been struck twice.
            if taken {
                offers.push(Offer(gain, place));
            }
        }
    }

    /// What is better explained if this silent place was struck or reached, and when; `None` if nothing is.
    fn gain(&self, place: u32, below: &[(u32, Tie)]) -> Option<Gain> {
        let Some(Spot::Silent { direct, on }) = self.spots.get(place as usize) else { return None };
        let mut best: Option<Gain> = None;
        let mut tried = f64::NEG_INFINITY;
        for &(first, _) in below {
            let onset = self.nodes[first as usize].at;
            if onset - tried < STEP {
                continue;
            }
            tried = onset;
            let known = self.strikes.at(place, onset);
            let struck = (self.strikes.often() + known, Up::Nothing);
            let reached = self.best(on, onset).map(|(likely, node)| (likely + known.min(0.0), Up::Node(node)));
            let (mut gain, up) = reached.filter(|(likely, _)| *likely > struck.0).unwrap_or(struck);
            let (mut alert, mut more) = (0.0, 0_u32);
            for (node, tie) in below.iter().filter(|(node, _)| Up::Node(*node) != up) {
                let Node { at, likely, .. } = self.nodes[*node as usize];
                let here = self.passes(tie, at - onset);
                alert += f64::from(u8::from(tie.hops == 1 && here.is_finite()));
                if here > likely {
                    gain += here - likely;
                    more += 1;
                }
            }
            gain += (direct - alert).max(0.0) * (1.0 - ALERT_TOO).ln();
            let gain = gain / f64::from(more);
            if more > 1 && gain > 0.0 && best.as_ref().is_none_or(|best| gain > best.gain) {
                best = Some(Gain { gain, onset, up });
            }
        }
        best
    }

    fn up(&self, at: Up) -> Up {
        match at {
            Up::Nothing => Up::Nothing,
            Up::Node(node) => self.nodes[node as usize].up,
            Up::Silent(silent) => self.silent[silent as usize],
        }
    }

    /// True when the way from here up leads to this node.
    fn leads_to(&self, from: Up, node: u32) -> bool {
        let mut at = from;
        while at != Up::Nothing && at != Up::Node(node) {
            at = self.up(at);
        }
        at != Up::Nothing
    }

    /// What stands at the top of the way up from this node.
    fn top(&self, node: u32) -> Up {
        let (mut at, mut up) = (Up::Node(node), self.up(Up::Node(node)));
        while up != Up::Nothing {
            (at, up) = (up, self.up(up));
        }
        at
    }

    fn trees(&self) -> Vec<Vec<u32>> {
        let mut holds = vec![0_u32; self.nodes.len()];
        for up in self.nodes.iter().map(|node| node.up).chain(self.silent.iter().copied()) {
            if let Up::Node(up) = up {
                holds[up as usize] += 1;
            }
        }
        let mut trees: BTreeMap<Up, Vec<u32>> = BTreeMap::new();
        for number in 0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX) {
            trees.entry(self.top(number)).or_default().push(number);
        }
        let mut found: Vec<Vec<u32>> =
            trees.into_iter().filter_map(|(top, nodes)| self.tree(nodes, top, &mut holds)).collect();
        found.sort_unstable();
        found
    }

    /// The alerts of a tree without the leaves that chance explains better; `None` when it explains better all.
    fn tree(&self, mut nodes: Vec<u32>, top: Up, holds: &mut [u32]) -> Option<Vec<u32>> {
        loop {
            let before = nodes.len();
            nodes.retain(|&number| {
                let node = &self.nodes[number as usize];
                let stays = holds[number as usize] > 0 || node.up == Up::Nothing || node.likely >= node.chance;
                if let (false, Up::Node(up)) = (stays, node.up) {
                    holds[up as usize] -= 1;
                }
                stays
            });
            if nodes.len() == before {
                break;
            }
        }
        let surer = |&number: &u32| self.nodes[number as usize].likely - self.nodes[number as usize].chance;
        let struck = if let Up::Silent(_) = top { self.strikes.often() } else { 0.0 };
        let surer = nodes.iter().map(surer).sum::<f64>() + struck;
        let mut sights: Vec<u32> =
            nodes.iter().flat_map(|&number| &self.nodes[number as usize].sights).copied().collect();
        sights.sort_unstable();
        (nodes.len() > 1 && surer >= 0.0).then_some(sights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relationships as `who>on`, alerts as `ci@seconds`, each by chance so many times a day; trees as their alerts.
    #[track_caller]
    fn check(chance: f64, relationships: &str, alerts: &str, expected: &[&str]) {
        let on: Vec<(&str, &str)> = relationships.split(' ').filter_map(|text| text.split_once('>')).collect();
        let mut names: Vec<&str> = on.iter().flat_map(|&(who, on)| [who, on]).collect();
        names.sort_unstable();
        names.dedup();
        let place = |name: &str| names.iter().position(|known| *known == name).expect("a CI") as u32;
        // Itself, and what it hangs on over one relationship and two.
        let ties = |name: &str| {
            let over = |names: &[u32]| -> Vec<u32> {
                let of = |&from: &u32| on.iter().filter(move |(who, _)| place(who) == from).map(|(_, on)| place(on));
                names.iter().flat_map(of).collect()
            };
            let own = vec![place(name)];
            let (first, second) = (over(&own), over(&over(&own)));
            let all = [own, first, second];
            let mut ties: Vec<Tie> = Vec::new();
            for (hops, place) in (0..).zip(&all).flat_map(|(hops, places)| places.iter().map(move |&p| (hops, p))) {
                if ties.iter().all(|tie| tie.place != place) {
                    ties.push(Tie { place, share: 0.0, hops, strength: 1.0 });
                }
            }
            ties
        };
        let mut alerting: Vec<&str> = Vec::new();
        let mut sights: Vec<Sight> = Vec::new();
        for (ci, at) in alerts.split(' ').filter_map(|word| word.split_once('@')) {
            let number = alerting.iter().position(|known| *known == ci).unwrap_or_else(|| {
                alerting.push(ci);
                alerting.len() - 1
            }) as u32;
            let (at, chance) = (at.parse().expect("seconds"), (chance / 86_400.0).ln());
            sights.push(Sight { at, ci: number, kind: number, chance, stray: 0.0, places: ties(ci) });
        }
        let spots: Vec<Spot> = names
            .iter()
            .map(|name| match alerting.iter().position(|known| known == name) {
                Some(number) => Spot::Alerts(number as u32),
                None => {
                    let direct = on.iter().filter(|(_, on)| on == name).count() as f64;
                    Spot::Silent { direct, on: ties(name) }
                }
            })
            .collect();
        let words: Vec<&str> = alerts.split(' ').collect();
        let found: Vec<String> = trees(&sights, &spots, &Strikes::new(0.001, 1_000))
            .iter()
            .map(|tree| tree.iter().map(|&at| words[at as usize]).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(found, expected, "{alerts}");
    }

    #[test]
    fn a_chain_is_one_tree_and_another_beside_it_is_another() {
        let others: Vec<String> = (0..60).map(|number| format!("{number}>dns")).collect();
        let relationships = &format!("web>app app>db api>bus bus>mq web>dns api>dns {}", others.join(" "));
        let alerts = "db@0 mq@20 app@60 bus@70 web@100 api@130";
        check(1.0, relationships, alerts, &["db@0 app@60 web@100", "mq@20 bus@70 api@130"]);
    }

    #[test]
    fn what_hangs_on_one_silent_place_is_one_tree() {
        let few = "a>sw b>sw c>sw";
        check(1.0, few, "a@0 b@20 c@40", &["a@0 b@20 c@40"]);
        let many: Vec<String> = (0..60).map(|number| format!("{number}>sw")).collect();
        check(1.0, &format!("{few} {}", many.join(" ")), "a@0 b@20 c@40", &[]);
    }

    #[test]
    fn what_silent_places_hang_on_joins_them() {
        let relationships = "a>vm1 b>vm1 c>vm1 d>vm2 e>vm2 f>vm2";
        let alerts = "a@10 d@15 b@20 e@25 c@30 f@35";
        check(1.0, relationships, alerts, &["a@10 b@20 c@30", "d@15 e@25 f@35"]);
        let (racked, alerts) = (&format!("{relationships} vm1>rack vm2>rack rack>host"), &format!("host@0 {alerts}"));
        check(1.0, racked, alerts, &[alerts]);
    }

    #[test]
    fn what_hangs_on_itself_by_others_is_one_tree() {
        check(1.0, "a>b b>c c>a", "a@0 b@10 c@20", &["a@0 b@10 c@20"]);
    }

    #[test]
    fn what_a_silent_place_was_reached_from_does_not_hang_on_it() {
        check(1.0, "x>s y>s z>s s>w w>x", "x@0 w@20 y@40 z@60", &["x@0 w@20 y@40 z@60"]);
    }

    #[test]
    fn what_comes_by_chance_more_often_is_no_part_of_it() {
        let (relationships, alerts) = ("app>db api>db bus>app web>app", "db@0 app@30 api@40 bus@60 web@1500");
        check(1.0, relationships, alerts, &[alerts]);
        check(10.0, relationships, alerts, &["db@0 app@30 api@40 bus@60"]);
        check(100.0, relationships, alerts, &[]);
    }
}
