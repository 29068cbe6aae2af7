//! What sinks are still to be told: of incidents, and to those that want it of problems. Absent on purpose: telling them.
//!
//! Both kinds share a table: what is told of a problem has [`PROBLEM`] as its transition and the problem's number in the
//! place of the incident's.

use std::borrow::Cow;
use std::time::Duration;

use quell_domain::{CiId, IncidentId, Notice, ProblemEntry, ProblemId, Shard, Timestamp};

use super::Session;
use super::rows::{Cells, number, read_priority, read_transition};
use super::statement::{Query, write_rows};
use crate::contract::{Delivery, StoreError};
use crate::json;
use crate::problems::ProblemDelivery;

/// The transition of what is told of problems; those of incidents are less.
pub(super) const PROBLEM: i32 = 32;

const HEAD: &str = "INSERT INTO outbox (tenant, shard, id, sink, incident, number, transition, at, title, priority, cause, \
    alerts, reason, state, attempts, due_at)";
/// The same notice again is the same delivery, whatever became of it.
const TAIL: &str = "ON CONFLICT (id) DO NOTHING";

/// Adds one delivery for each notice and sink; due at once.
pub(super) async fn add<S: Session>(
    session: &mut S,
    shard: Shard,
    notices: &[Notice],
    sinks: &[String],
) -> Result<(), StoreError> {
    for notice in notices {
        number("commit", shard, notice.incident)?;
    }
    let rows: Vec<(&Notice, &String)> =
        notices.iter().flat_map(|notice| sinks.iter().map(move |sink| (notice, sink))).collect();
    write_rows(session, ("commit", shard), (HEAD, 14, TAIL), &rows, |query, &(notice, sink)| {
        let Notice { incident, number, transition, at, title, priority, cause, alerts, reason } = notice;
        let id = format!("{}.{}-{}-{number}-{sink}", shard.tenant, shard.number, incident.number);
        query
            .bind(id)
            .bind(sink.clone())
            .bind(incident.number.cast_signed())
            .bind(*number)
            .bind(*transition as i32)
            .bind(at.micros())
            .bind(title.clone())
            .bind(priority.number())
            .bind(cause.as_ref().map(|ci| ci.as_str().to_owned()))
            .bind(alerts.cast_signed())
            .bind(json::write_reason(reason))
            .bind(0_i32)
            .bind(0_i32)
            .bind(Timestamp::MIN.micros())
    })
    .await
    .map(drop)
}

/// Adds one delivery for each entry of a problem's timeline and sink; due at once. `commit` is greater with each commit.
pub(super) async fn add_problems<S: Session>(
    session: &mut S,
    shard: Shard,
    entries: &[ProblemEntry],
    sinks: &[String],
    commit: u64,
) -> Result<(), StoreError> {
    let numbered = entries.iter().enumerate().map(|(at, entry)| (commit << 16 | at.min(0xffff) as u64, entry));
    let rows: Vec<(u64, &ProblemEntry, &String)> =
        numbered.flat_map(|(number, entry)| sinks.iter().map(move |sink| (number, entry, sink))).collect();
    write_rows(session, ("commit", shard), (HEAD, 14, TAIL), &rows, |query, &(number, entry, sink)| {
        let ProblemEntry { problem, at, actor, reason } = entry;
        let id = format!("{}.{}-{problem}-{number}-{sink}", shard.tenant, shard.number);
        query
            .bind(id)
            .bind(sink.clone())
            .bind(problem.number.cast_signed())
            .bind(number.cast_signed())
            .bind(PROBLEM)
            .bind(at.micros())
            .bind(actor.clone())
            .bind(0_i32)
            .bind(None::<String>)
            .bind(0_i64)
            .bind(json::write_reason(reason))
            .bind(0_i32)
            .bind(0_i32)
            .bind(Timestamp::MIN.micros())
    })
    .await
    .map(drop)
}

/// See [`crate::ProblemStore::problems_due`].
pub(super) async fn problems_due<S: Session>(
    session: &mut S,
    shard: Shard,
    sink: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<ProblemDelivery>, StoreError> {
    let sql = "SELECT id, attempts, shard, incident, at, title, reason FROM outbox o \
        WHERE sink = ?1 AND tenant = ?5 AND shard = ?6 AND state = 0 AND transition = ?2 AND due_at <= ?3 \
        AND NOT EXISTS (SELECT 1 FROM outbox e \
        WHERE e.sink = o.sink AND e.state = 0 AND e.tenant = o.tenant AND e.shard = o.shard \
        AND e.incident = o.incident AND e.transition = ?2 AND e.number < o.number) ORDER BY seq LIMIT ?4";
    let query = Query::new(sql).bind(sink.to_owned()).bind(PROBLEM).bind(now.micros()).bind(limit);
    let query = query.bind(shard.tenant).bind(shard.number);
    session
        .collect("problems due", query, |row| {
            let mut row = Cells::new("problems due", "delivery of problem", row);
            let (id, attempts) = (row.next()?, row.small()?);
            let problem = ProblemId { shard: row.small()?, number: row.unsigned()? };
            row.id = problem.number;
            let entry =
                ProblemEntry { problem, at: row.time()?, actor: row.next()?, reason: row.json(json::read_reason)? };
            Ok(ProblemDelivery { id, entry, attempts })
        })
        .await
}

/// See [`crate::Store::due`].
pub(super) async fn due<S: Session>(
    session: &mut S,
    shard: Shard,
    sink: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Delivery>, StoreError> {
    let sql = "SELECT id, attempts, shard, incident, number, transition, at, title, priority, cause, alerts, reason \
        FROM outbox o WHERE sink = ?1 AND tenant = ?5 AND shard = ?6 AND state = 0 AND transition < ?2 \
        AND due_at <= ?3 AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.sink = o.sink AND e.state = 0 AND e.tenant = o.tenant AND e.shard = o.shard \
        AND e.incident = o.incident AND e.transition < ?2 AND e.number < o.number) ORDER BY seq LIMIT ?4";
    let query = Query::new(sql).bind(sink.to_owned()).bind(PROBLEM).bind(now.micros()).bind(limit);
    let query = query.bind(shard.tenant).bind(shard.number);
    session
        .collect("due", query, |row| {
            let mut row = Cells::new("due", "delivery of incident", row);
            let (id, attempts) = (row.next()?, row.small()?);
            let incident = IncidentId { shard: row.small()?, number: row.unsigned()? };
            row.id = incident.number;
            let notice = Notice {
                incident,
                number: row.small()?,
                transition: row.code(read_transition)?,
                at: row.time()?,
                title: row.next()?,
                priority: row.code(read_priority)?,
                cause: row.next::<Option<Cow<'_, str>>>()?.map(|ci| CiId::new(&ci)),
                alerts: row.unsigned()?,
                reason: row.json(json::read_reason)?,
            };
            Ok(Delivery { id, notice, attempts })
        })
        .await
}

/// See [`crate::Store::delivered`].
pub(super) async fn delivered<S: Session>(session: &mut S, id: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET state = 1, attempts = attempts + 1, done_at = ?, last_error = NULL \
        WHERE id = ? AND state = 0";
    session.execute("delivered", Query::new(sql).bind(at.micros()).bind(id.to_owned())).await.map(drop)
}

/// See [`crate::Store::failed`].
pub(super) async fn failed<S: Session>(
    session: &mut S,
    id: &str,
    at: Timestamp,
    why: &str,
    retry_in: Option<Duration>,
) -> Result<(), StoreError> {
    let (state, due_at) = match retry_in {
        Some(wait) => (0_i32, at + wait),
        None => (2, at),
    };
    let sql = "UPDATE outbox SET state = ?1, attempts = attempts + 1, due_at = ?2, \
        done_at = CASE WHEN ?1 = 0 THEN NULL ELSE ?3 END, last_error = ?4 WHERE id = ?5 AND state = 0";
    let query = Query::new(sql).bind(state).bind(due_at.micros()).bind(at.micros());
    session.execute("failed", query.bind(why.to_owned()).bind(id.to_owned())).await.map(drop)
}
