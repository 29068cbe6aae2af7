//! Rows of changes told of. Absent on purpose: changes of incidents, which is another word (`Change` of the contract).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use quell_domain::{Binding, Change, ChangeId, CiId, Fingerprint, Position, Shard, Source, Timestamp};
use quell_engine::ChangeRow;

use super::commit::upsert;
use super::read::page;
use super::rows::Cells;
use super::statement::{Query, with_given, within, write_rows};
use super::{Row, Session};
use crate::contract::{ChangeQuery, Page, StoreError};
use crate::json;

const COMMIT: &str = "commit";

static CHANGES: LazyLock<(String, String)> = LazyLock::new(|| {
    let columns: Vec<&str> = COLUMNS.split(", ").chain(["in_hand"]).collect();
    upsert("change_events", &columns, &["position", "ordinal"])
});

const COLUMNS: &str = "position, ordinal, fingerprint, source, summary, told_by, link, labels, ci, confidence, \
    bound_because, unbound_because, starts_at, ends_at, received_at";

/// Writes the last version of each change, then lets go.
pub(super) async fn write<S: Session>(session: &mut S, shard: Shard, changes: &[ChangeRow]) -> Result<(), StoreError> {
    let mut last: BTreeMap<ChangeId, &Change> = BTreeMap::new();
    for change in changes {
        if let ChangeRow::Put(row) = change {
            last.insert(row.id, row);
        }
    }
    let (head, tail) = &*CHANGES;
    let rows: Vec<&Change> = last.into_values().collect();
    write_rows(session, (COMMIT, shard), (head, 16, tail), &rows, |query, row| bind(query, row)).await?;
    let let_go = |change: &ChangeRow| match change {
        ChangeRow::LetGo(id) => Some(*id),
        ChangeRow::Put(_) => None,
    };
    let let_go: Vec<ChangeId> = changes.iter().filter_map(let_go).collect();
    let statement = "UPDATE change_events SET in_hand = 0 WHERE (tenant, shard, position, ordinal) IN \
        (SELECT tenant, shard, position, ordinal FROM given)";
    let given: (&[&str], &str) = (&["position", "ordinal"], statement);
    with_given(session, (COMMIT, shard), given, &let_go, |query, ChangeId { position, ordinal }| {
        query.bind(position.0.cast_signed()).bind(*ordinal)
    })
    .await
}

fn bind(query: Query, change: &Change) -> Query {
    let Change {
        id: ChangeId { position, ordinal },
        fingerprint,
        source,
        summary,
        by,
        link,
        labels,
        binding,
        unbound,
        starts_at,
        ends_at,
        received_at,
    } = change;
    let (ci, confidence, because) = match binding {
        Some(Binding { ci, confidence, reason }) => (Some(ci.to_string()), Some(*confidence), Some(reason)),
        None => (None, None, None),
    };
    query
        .bind(position.0.cast_signed())
        .bind(*ordinal)
        .bind(fingerprint.0.to_be_bytes().to_vec())
        .bind(*source as u8)
        .bind(summary.clone())
        .bind(by.clone())
        .bind(link.clone())
        .bind(json::write(&json::LabelsOut(labels)))
        .bind(ci)
        .bind(confidence)
        .bind(because.map(json::write_reason))
        .bind(unbound.as_ref().map(json::write_reason))
        .bind(starts_at.micros())
        .bind(ends_at.map(Timestamp::micros))
        .bind(received_at.micros())
        .bind(1_i32)
}

fn select() -> String {
    format!("SELECT {COLUMNS} FROM change_events")
}

fn read<R: Row>(operation: &'static str, row: &R) -> Result<Change, StoreError> {
    let mut row = Cells::new(operation, "change of record", row);
    let position = Position(row.unsigned()?);
    row.id = position.0;
    let id = ChangeId { position, ordinal: row.small()? };
    let fingerprint: &[u8] = row.next()?;
    let fingerprint = fingerprint.try_into().map_err(|_| row.wrong("its fingerprint is not 16 bytes"))?;
    let fingerprint = Fingerprint(u128::from_be_bytes(fingerprint));
    let source = row.code(|code| Source::from_code(u8::try_from(code).ok()?))?;
    let (summary, by, link) = (row.next()?, row.next()?, row.next()?);
    let labels = row.json(json::read::<json::LabelsIn>)?.0;
    let (ci, confidence): (Option<Cow<'_, str>>, Option<f64>) = (row.next()?, row.next()?);
    let because = row.optional_json(json::read_reason)?;
    let unbound = row.optional_json(json::read_reason)?;
    let (starts_at, ends_at) = (row.time()?, row.optional()?.map(Timestamp::from_micros));
    let received_at = row.time()?;
    let binding = match (ci, confidence, because) {
        (Some(ci), Some(confidence), Some(reason)) => Some(Binding { ci: CiId::new(&ci), confidence, reason }),
        (None, None, None) => None,
        _ => return Err(row.wrong("its binding is incomplete")),
    };
    Ok(Change { id, fingerprint, source, summary, by, link, labels, binding, unbound, starts_at, ends_at, received_at })
}

/// Those in hand, by id.
pub(super) async fn in_hand<S: Session>(
    session: &mut S,
    shard: Shard,
    operation: &'static str,
) -> Result<Vec<Change>, StoreError> {
    let select = select();
    let mut sql = within(&select, shard, "");
    sql.push(" AND in_hand = 1 ORDER BY position, ordinal");
    session.collect(operation, sql, |row| read(operation, row)).await
}

/// See [`crate::Store::change_events`].
pub(super) async fn change_events<S: Session>(
    session: &mut S,
    shard: Shard,
    query: ChangeQuery,
) -> Result<Page<Change, ChangeId>, StoreError> {
    const CHANGE_EVENTS: &str = "change events";
    let ChangeQuery { ci, fingerprint, bound, from, to, before, limit } = query;
    let select = select();
    let mut sql = within(&select, shard, "");
    if let Some(ci) = ci {
        sql.push(" AND ci = ").push_bind(ci.to_string());
    }
    if let Some(fingerprint) = fingerprint {
        sql.push(" AND fingerprint = ").push_bind(fingerprint.0.to_be_bytes().to_vec());
    }
    match bound {
        Some(true) => sql.push(" AND ci IS NOT NULL"),
        Some(false) => sql.push(" AND ci IS NULL"),
        None => &mut sql,
    };
    if let Some(from) = from {
        sql.push(" AND starts_at >= ").push_bind(from.micros());
    }
    if let Some(to) = to {
        sql.push(" AND starts_at < ").push_bind(to.micros());
    }
    if let Some(ChangeId { position, ordinal }) = before {
        sql.push(" AND (position, ordinal) < (").push_bind(position.0.cast_signed());
        sql.push(", ").push_bind(ordinal).push(")");
    }
    sql.push(" ORDER BY position DESC, ordinal DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let items = session.collect(CHANGE_EVENTS, sql, |row| read(CHANGE_EVENTS, row)).await?;
    Ok(page(items, limit, |change| change.id))
}
