//! The shards of a tenant as one: whose a thing is, and one list made of the lists of all shards.
//!
//! Each shard counts for itself and keeps an order of its own, so a list is merged: of the rows that come next in each
//! shard, the newest is next. A cursor names for each shard the row before which it goes on; it says so even of a shard
//! that has none yet, so that what comes later appears in no later part. With one shard everything is that shard's own.
//!
//! Absent on purpose: what the lists show, and which shard an input is for (`quell_domain::Sharding`).

use std::cmp::{Ordering, Reverse};
use std::collections::VecDeque;
use std::fmt::Display;

use futures::{StreamExt, TryStreamExt, stream};
use quell_domain::{
    Alert, AlertId, Change, ChangeId, Incident, IncidentId, KnownSignature, Position, Problem as ProblemRow, ProblemId,
    Shard, Sharding, SignatureId, Timestamp,
};
use quell_store::contract::Answer;
use quell_store::{Page, StoreError};
use serde_json::Value;

use crate::Api;
use crate::answer::Problem;
use crate::params::Params;

/// Shards that are asked at the same time.
const AT_ONCE: usize = 4;
/// Rows that a shard is asked for at least: fewer cost as much.
const PIECE: u32 = 16;

impl Api {
    /// Whether there is one shard, which nothing needs to name.
    pub(crate) fn is_one(&self) -> bool {
        self.sharding.count() == 1
    }

    /// The shard that knows what is the same for all of them.
    pub(crate) fn first(&self) -> Shard {
        Shard::FIRST
    }

    /// The shard of a thing that is there.
    pub(crate) fn of(&self, number: u32) -> Shard {
        Shard { number, ..self.first() }
    }

    /// Whether there is a shard with that number.
    pub(crate) fn has(&self, number: u32) -> bool {
        number < self.sharding.count()
    }
}

/// What finds a row within its shard; greater ones are newer.
pub(crate) trait Key: Copy + Display + Send + Sync {
    /// Before it, a shard has nothing.
    fn start(shard: u32) -> Self;
    /// Before it, a shard has this row and all older ones.
    fn newer(self) -> Self;
    /// As `Display` writes it, of that shard.
    fn read(text: &str, shard: u32) -> Option<Self>;
}

macro_rules! numbered {
    ($($id:ident),*) => {
        $(impl Key for $id {
            fn start(shard: u32) -> Self {
                $id { shard, number: 0 }
            }

            fn newer(self) -> Self {
                $id { number: self.number.saturating_add(1), ..self }
            }

            fn read(text: &str, shard: u32) -> Option<Self> {
                text.parse().ok().filter(|id: &$id| id.shard == shard)
            }
        })*
    };
}

numbered!(IncidentId, ProblemId, SignatureId);

impl Key for AlertId {
    fn start(_: u32) -> Self {
        AlertId(0)
    }

    fn newer(self) -> Self {
        AlertId(self.0.saturating_add(1))
    }

    fn read(text: &str, _: u32) -> Option<Self> {
        text.parse().ok().map(AlertId)
    }
}

impl Key for ChangeId {
    fn start(_: u32) -> Self {
        ChangeId { position: Position::START, ordinal: 0 }
    }

    fn newer(self) -> Self {
        ChangeId { ordinal: self.ordinal.saturating_add(1), ..self }
    }

    fn read(text: &str, _: u32) -> Option<Self> {
        text.parse().ok()
    }
}

/// A row of a list that is newest first.
pub(crate) trait Row: Send {
    /// What finds it.
    type Key: Key;
    /// See [`Row::Key`].
    fn key(&self) -> Self::Key;
    /// When it came up: what rows of two shards are ordered by.
    fn at(&self) -> Timestamp;
    /// False of a row that an earlier shard shows.
    fn is_shown(&self, _: Shard, _: &Sharding) -> bool {
        true
    }
}

macro_rules! rows {
    ($($row:ident by $key:ident at $at:ident),*) => {
        $(impl Row for $row {
            type Key = $key;

            fn key(&self) -> $key {
                self.id
            }

            fn at(&self) -> Timestamp {
                self.$at
            }
        })*
    };
}

rows!(
    Incident by IncidentId at opened_at,
    Alert by AlertId at first_seen,
    ProblemRow by ProblemId at opened_at,
    KnownSignature by SignatureId at first_at
);

impl Row for Change {
    type Key = ChangeId;

    fn key(&self) -> ChangeId {
        self.id
    }

    fn at(&self) -> Timestamp {
        self.received_at
    }

    /// What does not say its shard is told to all of them.
    fn is_shown(&self, shard: Shard, sharding: &Sharding) -> bool {
        shard == Shard::FIRST || sharding.named(self.labels.as_ref()).is_some()
    }
}

/// Where a list goes on: for each shard, in order, the row before which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cursor<K>(Vec<K>);

impl<K: Key> Cursor<K> {
    fn read(text: &str, shards: u32) -> Option<Self> {
        let mut parts = text.split(',');
        let keys = (0..shards).map(|shard| K::read(parts.next()?, shard)).collect::<Option<Vec<K>>>()?;
        parts.next().is_none().then_some(Cursor(keys))
    }

    fn write(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Reads `cursor=`.
pub(crate) fn cursor<K: Key>(
    sharding: &Sharding,
    params: &Params<'_>,
    allowed: &str,
) -> Result<Option<Cursor<K>>, Problem> {
    let Some(text) = params.get("cursor") else { return Ok(None) };
    let cursor = Cursor::read(text, sharding.count());
    cursor.map(Some).ok_or_else(|| Problem::bad("query parameter cursor", text, allowed))
}

/// A part of the list of all shards.
#[derive(Debug)]
pub(crate) struct Listed<R> {
    /// Each row with its shard.
    pub(crate) rows: Vec<(Shard, R)>,
    /// The cursor of the next part; `None` at the end.
    pub(crate) next: Option<String>,
}

impl<R> Listed<R> {
    /// The rows that say themselves whose they are.
    pub(crate) fn items(self) -> Vec<R> {
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// One shard's part of a list while it is merged.
struct Part<R: Row> {
    shard: Shard,
    /// Read and not taken yet, the newest first.
    rows: VecDeque<R>,
    /// Where its next piece begins; `None` at its end.
    ahead: Option<Option<R::Key>>,
    /// The cursor after what was taken.
    before: Option<R::Key>,
}

impl<R: Row> Part<R> {
    fn place(&self) -> R::Key {
        let head = || self.rows.front().map_or_else(|| R::Key::start(self.shard.number), |row| row.key().newer());
        self.before.unwrap_or_else(head)
    }
}

/// A part of a list over all shards. `ask` gives a part of one shard's list.
pub(crate) async fn page<'a, R: Row>(
    sharding: &Sharding,
    cursor: Option<Cursor<R::Key>>,
    limit: u32,
    ask: impl Fn(Shard, Option<R::Key>, u32) -> Answer<'a, Page<R, R::Key>>,
) -> Result<Listed<R>, StoreError> {
    let from = |shard: Shard| cursor.as_ref().and_then(|Cursor(keys)| keys.get(shard.number as usize).copied());
    if sharding.count() == 1 {
        let shard = Shard::FIRST;
        let Page { items, next } = ask(shard, from(shard), limit).await?;
        let rows = items.into_iter().map(|row| (shard, row)).collect();
        return Ok(Listed { rows, next: next.map(|next| Cursor(vec![next]).write()) });
    }
    let begin = |shard| Part { shard, rows: VecDeque::new(), ahead: Some(from(shard)), before: from(shard) };
    let mut parts: Vec<Part<R>> = sharding.shards().map(begin).collect();
    let piece = limit.saturating_mul(2).div_ceil(sharding.count()).max(PIECE).min(limit);
    let mut rows = Vec::new();
    loop {
        fill(&mut parts, piece, &ask).await?;
        if rows.len() >= limit as usize {
            break;
        }
        let heads = parts.iter_mut().filter_map(|part| part.rows.front().map(Row::at).map(|at| (at, part)));
        let Some((_, part)) = heads.min_by_key(|(at, part)| (Reverse(*at), part.shard)) else { break };
        let Some(row) = part.rows.pop_front() else { break };
        part.before = Some(row.key());
        if row.is_shown(part.shard, sharding) {
            rows.push((part.shard, row));
        }
    }
    let more = parts.iter().any(|part| !part.rows.is_empty());
    let next = more.then(|| Cursor(parts.iter().map(Part::place).collect()).write());
    Ok(Listed { rows, next })
}

/// Reads the next piece of every shard of which nothing is left.
async fn fill<'a, R: Row>(
    parts: &mut [Part<R>],
    piece: u32,
    ask: &impl Fn(Shard, Option<R::Key>, u32) -> Answer<'a, Page<R, R::Key>>,
) -> Result<(), StoreError> {
    let (mut asked, mut empty) = (Vec::new(), Vec::new());
    for part in parts.iter_mut().filter(|part| part.rows.is_empty()) {
        if let Some(from) = part.ahead.take() {
            asked.push(ask(part.shard, from, piece));
            empty.push(part);
        }
    }
    let pages: Vec<Page<R, R::Key>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    for (Page { items, next }, part) in pages.into_iter().zip(empty) {
        part.rows = items.into();
        part.ahead = next.map(Some);
    }
    Ok(())
}

/// Rows of all shards in a list without a cursor, which `order` puts into its order. With one shard, as they are.
pub(crate) async fn merged<'a, R: Send>(
    sharding: &Sharding,
    limit: u32,
    ask: impl Fn(Shard, u32) -> Answer<'a, Vec<R>>,
    order: impl Fn(&R, &R) -> Ordering,
) -> Result<Vec<(Shard, R)>, StoreError> {
    let asked: Vec<Answer<'a, Vec<R>>> = sharding.shards().map(|shard| ask(shard, limit)).collect();
    let answers: Vec<Vec<R>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    let named = |(shard, rows): (Shard, Vec<R>)| rows.into_iter().map(move |row| (shard, row));
    let mut rows: Vec<(Shard, R)> = sharding.shards().zip(answers).flat_map(named).collect();
    if sharding.count() > 1 {
        // Stable: what is alike stays in the order of its shard, and shards in theirs.
        rows.sort_by(|(_, a), (_, b)| order(a, b));
        rows.truncate(limit as usize);
    }
    Ok(rows)
}

/// What is shown of something whose id does not say its shard: with its shard, where there are several.
pub(crate) fn name(sharding: &Sharding, shard: Shard, mut shown: Value) -> Value {
    if let (2.., Some(fields)) = (sharding.count(), shown.as_object_mut()) {
        fields.insert("shard".into(), shard.number.into());
    }
    shown
}

/// The numbers of the shards of things, each once, in order.
pub(crate) fn concerned(numbers: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = numbers.into_iter().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Two things of one command that no engine has both of.
pub(crate) fn two_shards(error: quell_domain::TwoShards, found: &str) -> Problem {
    let problem = Problem::bad("the command", found, "things of one shard: their ids begin with the same number");
    Problem { code: "two_shards", message: format!("{found}: {error}").into(), ..problem }
}

/// A command's name: `C-5` in the first shard, `C-2.5` in shard 2.
pub(crate) fn command_name(shard: u32, position: Position) -> String {
    match shard {
        0 => format!("C-{position}"),
        shard => format!("C-{shard}.{position}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of a list; `told` is false of one that another shard shows.
    #[derive(Clone, PartialEq, Debug)]
    struct Told {
        id: IncidentId,
        at: Timestamp,
        told: bool,
    }

    impl Row for Told {
        type Key = IncidentId;

        fn key(&self) -> IncidentId {
            self.id
        }

        fn at(&self) -> Timestamp {
            self.at
        }

        fn is_shown(&self, _: Shard, _: &Sharding) -> bool {
            self.told
        }
    }

    /// `SplitMix64`, below a bound.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % bound
        }
    }

    fn sharding(count: u32) -> Sharding {
        if count == 1 { Sharding::ONE } else { Sharding::by("region", count).expect("a count that is allowed") }
    }

    /// Rows of each shard, the oldest first; many at the same instant.
    fn rows(chance: &mut Chance, shards: u32) -> Vec<Vec<Told>> {
        let of = |chance: &mut Chance, shard| {
            let (count, mut seconds) = (chance.below(40), 0);
            let next = |number| {
                seconds += chance.below(3);
                let at = Timestamp::from_seconds(i64::try_from(seconds).expect("small"));
                Told { id: IncidentId { shard, number }, at, told: shards == 1 || chance.below(8) > 0 }
            };
            (1..=count).map(next).collect()
        };
        (0..shards).map(|shard| of(chance, shard)).collect()
    }

    /// What a store answers.
    fn part(rows: &[Told], before: Option<IncidentId>, limit: u32) -> Page<Told, IncidentId> {
        let mut items: Vec<Told> =
            rows.iter().rev().filter(|row| before.is_none_or(|before| row.id < before)).cloned().collect();
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().map(|row| row.id).filter(|_| more);
        Page { items, next }
    }

    #[tokio::test]
    async fn paging_visits_every_row_once_and_in_order() {
        for seed in 0..500 {
            let mut chance = Chance(seed);
            let shards = 1 + u32::try_from(chance.below(6)).expect("small");
            let (sharding, mut rows) = (sharding(shards), rows(&mut chance, shards));
            let mut expected: Vec<Told> = rows.iter().flatten().filter(|row| row.told).cloned().collect();
            expected.sort_by_key(|row| (Reverse(row.at), row.id.shard, Reverse(row.id.number)));
            let (mut visited, mut cursor) = (Vec::new(), None);
            loop {
                let limit = 1 + u32::try_from(chance.below(30)).expect("small");
                let ask = |shard: Shard, before, limit| -> Answer<'static, Page<Told, IncidentId>> {
                    let page = part(&rows[shard.number as usize], before, limit);
                    Box::pin(async move { Ok(page) })
                };
                let Listed { rows: some, next } = page(&sharding, cursor, limit, ask).await.expect("answers");
                assert!(some.len() <= limit as usize && some.iter().all(|(shard, row)| shard.number == row.id.shard));
                visited.extend(some.into_iter().map(|(_, row)| row));
                let Some(next) = next else { break };
                cursor = Some(Cursor::read(&next, shards).expect("a cursor that was given is one"));
                // What comes meanwhile is newer, and is of no later part.
                let (shard, at) = (chance.below(shards.into()), Timestamp::from_seconds(1_000));
                let own = &mut rows[usize::try_from(shard).expect("small")];
                let id = IncidentId { shard: u32::try_from(shard).expect("small"), number: own.len() as u64 + 1 };
                own.push(Told { id, at, told: true });
            }
            assert_eq!(visited, expected, "seed {seed}");
        }
    }

    #[test]
    fn a_cursor_names_every_shard() {
        let check = |text: &str, shards, expected: bool| {
            let read = Cursor::<IncidentId>::read(text, shards);
            assert_eq!(read.map(|cursor| cursor.write()).as_deref(), expected.then_some(text), "{text} of {shards}");
        };
        check("INC-7", 1, true);
        check("INC-7,INC-1.0,INC-2.12", 3, true);
        for (text, shards) in [("", 1), ("7", 1), ("INC-2.7", 1), ("INC-7,INC-1.0", 1), ("INC-7", 2), ("INC-7,", 2)] {
            check(text, shards, false);
        }
        check("INC-1.7,INC-0", 2, false);
        assert_eq!(Cursor::<AlertId>::read("4,0", 2), Some(Cursor(vec![AlertId(4), AlertId(0)])));
        assert_eq!(Cursor::<ChangeId>::read("4.1", 2), None);
    }
}
