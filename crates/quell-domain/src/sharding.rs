//! How one tenant's inputs are shared out: by the value of one label, among a number of shards that never changes.
//!
//! What is shared out again later (a record that is decoded anew, a replay, another node) must fall into the same parts,
//! so a part is a function of the input and the sharding alone. Absent on purpose: the graph (whatever may belong together
//! has the same label), and where a shard's log lies.

use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Action, Batch, Item};
use crate::change::Changes;
use crate::command::{Command, CommandKind};
use crate::ids::Shard;
use crate::input::Input;
use crate::labels::LabelsRef;
use crate::problem::{ProblemAsk, ProblemCommand};

/// The tenant of an installation that has one.
const TENANT: u32 = 0;

/// How a tenant's inputs are shared out; fixed when the installation is created.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sharding {
    label: Option<String>,
    count: u32,
}

/// A label or a count that cannot share anything out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadSharding {
    /// Without a name there is no label.
    #[error("shards: the label has no name")]
    NoLabel,
    /// Too few or too many.
    #[error("shards: found {found}; allowed: 2 to {}", Sharding::MOST)]
    Count {
        /// How many were asked for.
        found: u32,
    },
}

impl Default for Sharding {
    fn default() -> Self {
        Sharding::ONE
    }
}

impl Sharding {
    /// One shard for everything.
    pub const ONE: Sharding = Sharding { label: None, count: 1 };

    /// The most shards that there may be: each costs every node a log, an engine and their threads.
    pub const MOST: u32 = 64;

    /// Shares out by a label.
    ///
    /// # Errors
    /// [`BadSharding`], when the label has no name or the count is not from 2 to [`Sharding::MOST`].
    pub fn by(label: &str, count: u32) -> Result<Sharding, BadSharding> {
        match (label, count) {
            ("", _) => Err(BadSharding::NoLabel),
            (_, 2..=Sharding::MOST) => Ok(Sharding { label: Some(label.to_owned()), count }),
            (_, found) => Err(BadSharding::Count { found }),
        }
    }

    /// The label whose value says the shard; `None` where there is one shard.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// How many shards there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Every shard, the first one first.
    pub fn shards(&self) -> impl Iterator<Item = Shard> + use<> {
        (0..self.count).map(|number| Shard { tenant: TENANT, number })
    }

    /// The number of the shard that labels name: XXH3-64 of the label's value, modulo the count. `None` where there is no
    /// such label.
    #[must_use]
    pub fn named(&self, labels: LabelsRef<'_>) -> Option<u32> {
        let Some(label) = &self.label else { return Some(0) };
        let value = labels.get(label)?;
        let number = xxh3_64(value.as_bytes()) % u64::from(self.count);
        u32::try_from(number).ok()
    }

    /// The number of the shard of a set of labels; the first one's where the label is missing.
    #[must_use]
    pub fn of(&self, labels: LabelsRef<'_>) -> u32 {
        self.named(labels).unwrap_or(0)
    }

    /// The parts of an input, by the number of the shard that each is for; at least one. What is for a whole tenant is for
    /// every shard.
    #[must_use]
    pub fn split(&self, input: Input) -> Vec<(u32, Input)> {
        let Some(places) = self.places(&input) else {
            return (0..self.count).map(|number| (number, input.clone())).collect();
        };
        match *self.concerned(&places) {
            [only] => vec![(only, input)],
            ref numbers => numbers.iter().map(|&number| (number, keep(&input, &places, number, numbers))).collect(),
        }
    }

    /// One shard's part of an input: what [`Sharding::split`] gives for it. Nothing of alerts and changes where the shard
    /// is not concerned.
    #[must_use]
    pub fn part(&self, number: u32, input: Input) -> Input {
        if self.count == 1 {
            return input;
        }
        let Some(places) = self.places(&input) else { return input };
        match *self.concerned(&places) {
            [only] if only == number => input,
            ref numbers => keep(&input, &places, number, numbers),
        }
    }

    /// Where each item of alerts or changes goes: [`None`] is every shard. None of what is for a whole tenant.
    fn places(&self, input: &Input) -> Option<Vec<Option<u32>>> {
        match input {
            Input::Alerts(batch) => Some(batch.items().iter().map(|item| self.place(batch, item)).collect()),
            Input::Changes(told) => Some(told.items.iter().map(|told| self.named(told.labels.as_ref())).collect()),
            Input::Command(_) | Input::Problem(_) | Input::Tick | Input::Outage { .. } | Input::Activate(_) => None,
        }
    }

    /// Where an item goes. What ends or is acknowledged without the label may be known to any shard, since its sender need
    /// not say again what it said when it fired.
    fn place(&self, batch: &Batch, item: &Item) -> Option<u32> {
        let named = self.named(batch.labels(item));
        match item.action {
            Action::Fire => Some(named.unwrap_or(0)),
            Action::Resolve | Action::Acknowledge => named,
        }
    }

    /// The shards that have a part, in order; the first shard where nothing says another.
    fn concerned(&self, places: &[Option<u32>]) -> Vec<u32> {
        let bits = places.iter().fold(0_u64, |bits, place| bits | place.map_or(u64::MAX, |number| 1 << number));
        let found: Vec<u32> = (0..self.count).filter(|number| bits & 1 << number != 0).collect();
        if found.is_empty() { vec![0] } else { found }
    }
}

/// What of an input is for a shard; refused parts are kept by the first one that has a part.
fn keep(input: &Input, places: &[Option<u32>], number: u32, concerned: &[u32]) -> Input {
    let here = |at: usize| places[at].is_none_or(|place| place == number);
    let first = concerned.first() == Some(&number);
    match input {
        Input::Alerts(batch) => Input::Alerts(batch.part(here, first)),
        Input::Changes(Changes { source, items, rejects }) => Input::Changes(Changes {
            source: *source,
            items: items.iter().enumerate().filter(|(at, _)| here(*at)).map(|(_, told)| told.clone()).collect(),
            rejects: if first { rejects.clone() } else { Vec::new() },
        }),
        whole => whole.clone(),
    }
}

/// A command that names things of two shards, which no engine has both of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it names things of shard {one} and of shard {other}; allowed: things of one shard")]
pub struct TwoShards {
    /// The shard of the first thing named.
    pub one: u32,
    /// Another one.
    pub other: u32,
}

impl Command {
    /// The number of the shard whose engine is asked.
    ///
    /// # Errors
    /// [`TwoShards`], when it names things of two.
    pub fn shard(&self) -> Result<u32, TwoShards> {
        let Command { incident, actor: _, kind } = self;
        match kind {
            CommandKind::Merge { into } => same(incident.shard, [into.shard]),
            CommandKind::Acknowledge
            | CommandKind::Resolve { .. }
            | CommandKind::Comment { .. }
            | CommandKind::Split { .. }
            | CommandKind::WrongGroup { .. }
            | CommandKind::WrongCause { .. }
            | CommandKind::Undo => Ok(incident.shard),
        }
    }
}

impl ProblemCommand {
    /// See [`Command::shard`].
    ///
    /// # Errors
    /// [`TwoShards`], when it names things of two.
    pub fn shard(&self) -> Result<u32, TwoShards> {
        match &self.ask {
            ProblemAsk::Draft(id) | ProblemAsk::PartSignature(id) => Ok(id.shard),
            ProblemAsk::Of(id, _) => Ok(id.shard),
            ProblemAsk::MergeSignatures { from, into } => same(from.shard, [into.shard]),
            ProblemAsk::SplitSignature { from, incidents } => {
                same(from.shard, incidents.iter().map(|incident| incident.shard))
            }
            ProblemAsk::Helped { incident, helped: _ } => Ok(incident.shard),
        }
    }
}

fn same(one: u32, others: impl IntoIterator<Item = u32>) -> Result<u32, TwoShards> {
    match others.into_iter().find(|other| *other != one) {
        Some(other) => Err(TwoShards { one, other }),
        None => Ok(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Ending, Severity, Source};
    use crate::batch::{BatchBuilder, ItemDraft};
    use crate::change::ToldChange;
    use crate::ids::{Fingerprint, IncidentId};
    use crate::labels::Labels;

    const US: (&str, &str) = ("region", "us-1");
    const EU: (&str, &str) = ("region", "eu-1");

    fn sharding() -> Sharding {
        Sharding::by("region", 4).expect("a label and a count")
    }

    /// An item: its key, what it says, and its labels.
    type Told<'a> = (&'a str, Action, &'a [(&'a str, &'a str)]);

    /// The number of the shard of a region.
    fn of(region: (&str, &str)) -> u32 {
        sharding().of(Labels::new([region]).as_ref())
    }

    fn batch(items: &[Told<'_>], rejects: &[u32]) -> Batch {
        let mut builder = BatchBuilder::new(Source::PagerDuty, 64);
        for (key, action, labels) in items {
            let draft = ItemDraft {
                dedup_key: Some(key),
                action: *action,
                ending: Ending::Explicit,
                starts_at: None,
                ends_at: None,
                severity: Severity::Unknown,
            };
            builder.push(draft, &mut labels.to_vec(), &mut vec![("summary", key)]);
        }
        for ordinal in rejects {
            builder.reject(Some(*ordinal), "why".into(), "raw");
        }
        builder.finish()
    }

    /// The parts of a batch in words: the shard, the summaries of its items with their places, and its refused parts.
    fn split(whole: &Batch) -> Vec<String> {
        let parts = sharding().split(Input::Alerts(whole.clone()));
        let said = parts.into_iter().map(|(number, part)| {
            assert_eq!(part, sharding().part(number, Input::Alerts(whole.clone())), "decoded again");
            let Input::Alerts(part) = part else { panic!("alerts stay alerts") };
            let items = part.items().iter().zip(part.places());
            let items = items
                .map(|(item, place)| format!(" {}@{place}", part.annotations(item).get("summary").unwrap_or_default()));
            format!("{number}:{} {}", items.collect::<String>(), part.rejects.len())
        });
        said.collect()
    }

    fn check(items: &[Told<'_>], rejects: &[u32], expected: &[String]) {
        assert_eq!(split(&batch(items, rejects)), expected);
    }

    #[test]
    fn each_item_goes_to_the_shard_of_its_label() {
        let (us, eu) = (of(US), of(EU));
        assert!(us < eu && us > 0, "the regions of these tests lie in two shards that are not the first: {us}, {eu}");
        check(&[("a", Action::Fire, &[US])], &[], &[format!("{us}: a@0 0")]);
        check(
            &[("a", Action::Fire, &[EU]), ("b", Action::Fire, &[US, ("x", "y")]), ("c", Action::Resolve, &[EU])],
            &[],
            &[format!("{us}: b@1 0"), format!("{eu}: a@0 c@2 0")],
        );
        // Without the label: the first shard.
        check(&[("a", Action::Fire, &[("x", "y")])], &[], &["0: a@0 0".into()]);
        check(&[], &[], &["0: 0".into()]);
    }

    #[test]
    fn an_end_without_the_label_goes_to_every_shard() {
        for action in [Action::Resolve, Action::Acknowledge] {
            check(&[("a", action, &[])], &[], &(0..4).map(|number| format!("{number}: a@0 0")).collect::<Vec<_>>());
        }
    }

    #[test]
    fn refused_parts_are_kept_once_and_places_count_them() {
        let (us, eu) = (of(US), of(EU));
        check(
            &[("a", Action::Fire, &[EU]), ("b", Action::Fire, &[US])],
            &[0, 2],
            &[format!("{us}: b@3 2"), format!("{eu}: a@1 0")],
        );
        check(&[], &[0], &["0: 1".into()]);
    }

    #[test]
    fn every_item_is_somewhere_and_one_shard_has_it_all() {
        let whole = batch(&[("a", Action::Fire, &[EU]), ("b", Action::Resolve, &[]), ("c", Action::Fire, &[US])], &[1]);
        let one = Sharding::ONE.split(Input::Alerts(whole.clone()));
        assert_eq!(one, vec![(0, Input::Alerts(whole.clone()))]);
        assert_eq!(Sharding::ONE.part(0, Input::Alerts(whole.clone())), Input::Alerts(whole));
    }

    #[test]
    fn changes_go_as_alerts_do_and_what_is_for_a_tenant_goes_everywhere() {
        let told = |labels: &[(&str, &str)]| ToldChange {
            fingerprint: Fingerprint(1),
            summary: "deployed".into(),
            by: String::new(),
            link: None,
            labels: Labels::new(labels.iter().copied()),
            starts_at: None,
            ends_at: None,
        };
        let changes = |items: Vec<ToldChange>| {
            Input::Changes(Changes { source: Source::PagerDutyChange, items, rejects: Vec::new() })
        };
        let numbers = |input: Input| sharding().split(input).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(numbers(changes(vec![told(&[EU])])), [of(EU)]);
        assert_eq!(numbers(changes(vec![told(&[])])), [0, 1, 2, 3]);
        assert_eq!(numbers(changes(vec![])), [0]);
        assert_eq!(numbers(Input::Tick), [0, 1, 2, 3]);
    }

    #[test]
    fn the_shard_of_a_label_never_changes() {
        // Kept by every installation: another number would part an alert from its end.
        let numbers = ["eu-1", "us-1", "ap-2", "a", ""].map(|value| xxh3_64(value.as_bytes()) % 64);
        assert_eq!(numbers, [23, 54, 18, 31, 2]);
    }

    #[test]
    fn a_sharding_has_a_label_and_a_count_that_is_allowed() {
        assert_eq!(Sharding::by("", 4), Err(BadSharding::NoLabel));
        for count in [0, 1, 65] {
            let error = Sharding::by("region", count).expect_err("refused");
            assert_eq!(error.to_string(), format!("shards: found {count}; allowed: 2 to 64"));
        }
        assert_eq!(Sharding::by("region", 64).map(|sharding| sharding.shards().count()), Ok(64));
        assert_eq!(Sharding::ONE.shards().collect::<Vec<_>>(), [Shard::FIRST]);
    }

    #[test]
    fn a_command_is_for_one_shard() {
        let (here, there) = (IncidentId { shard: 2, number: 7 }, IncidentId { shard: 1, number: 7 });
        let merge = |into| Command { incident: here, actor: "ana".into(), kind: CommandKind::Merge { into } };
        assert_eq!(merge(here).shard(), Ok(2));
        let error = merge(there).shard().expect_err("two shards");
        assert_eq!(error.to_string(), "it names things of shard 2 and of shard 1; allowed: things of one shard");
    }
}
