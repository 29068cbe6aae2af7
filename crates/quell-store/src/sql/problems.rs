//! Rows of problems, signatures and recognitions. Absent on purpose: what is in their JSON (`problem_json`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use quell_domain::{
    CiId, IncidentId, KnownSignature, Outage, Priority, Problem, ProblemEntry, ProblemId, Recognition, Shard,
    SignatureId, Timestamp,
};
use quell_engine::{ProblemEffects, ProblemRow, ProblemSnapshot, RecognitionRow, SignatureRow};

use super::commit::{Upsert, by_number, last_of, upsert};
use super::read::page;
use super::rows::{Cells, number};
use super::statement::{Query, Table, put_rows, with_given, within, write_rows};
use super::{Backend, Row, Session, outbox};
use crate::contract::{Answer, Page, StoreError};
use crate::problems::{
    INVOLVED, Involved, ProblemDelivery, ProblemDetail, ProblemQuery, ProblemStore, RecognisedQuery,
};
use crate::{json, problem_json};

const COMMIT: &str = "commit";
const RECOGNITION: &str = "incident, signature, likeness, novel, opened_at, ended_at, how, alerts, priority, cause, \
    service, dependents, traits, workaround";

static SIGNATURES: Upsert =
    LazyLock::new(|| upsert("signatures", &["number", "last_at", "merged_into", "body", "in_hand"], &["number"]));
static RECOGNITIONS: Upsert =
    LazyLock::new(|| upsert("recognitions", &RECOGNITION.split(", ").collect::<Vec<_>>(), &["incident"]));
static PROBLEMS: Upsert = LazyLock::new(|| upsert("problems", &["number", "state", "body", "in_hand"], &["number"]));

static OUTAGES: Upsert = LazyLock::new(|| upsert("outages", &["from_at", "to_at"], &["from_at"]));

/// Writes the last version of each row, then what became of rows that are not written.
pub(super) async fn write<S: Session>(
    session: &mut S,
    shard: Shard,
    effects: &ProblemEffects,
) -> Result<(), StoreError> {
    let ProblemEffects { signatures, recognitions, problems, timeline, outages, tally: _ } = effects;
    write_signatures(session, shard, signatures).await?;
    write_recognitions(session, shard, recognitions).await?;
    write_problems(session, shard, problems).await?;
    write_outages(session, shard, outages).await?;
    let table = Table { name: "problem_timeline", columns: &["problem", "at", "actor", "reason"] };
    put_rows(session, (COMMIT, shard), (table, ""), timeline, |query, entry| {
        let ProblemEntry { problem, at, actor, reason } = entry;
        let query = query.bind(problem.number.cast_signed()).bind(at.micros());
        query.bind(actor.clone()).bind(json::write_reason(reason))
    })
    .await
}

async fn write_outages<S: Session>(session: &mut S, shard: Shard, outages: &[Outage]) -> Result<(), StoreError> {
    let (head, tail) = &*OUTAGES;
    let rows = last_of(outages, |outage| outage.from);
    write_rows(session, (COMMIT, shard), (head, 2, tail), &rows, |query, outage| {
        let Outage { from, to } = outage;
        query.bind(from.micros()).bind(to.micros())
    })
    .await
    .map(drop)
}

async fn write_signatures<S: Session>(session: &mut S, shard: Shard, rows: &[SignatureRow]) -> Result<(), StoreError> {
    let mut last: BTreeMap<u64, &KnownSignature> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    for row in rows {
        match row {
            SignatureRow::Put(row) => _ = (last.insert(row.id.number, row), gone.remove(&row.id.number)),
            SignatureRow::LetGo(id) => _ = gone.insert(id.number),
        }
    }
    let (head, tail) = &*SIGNATURES;
    let rows: Vec<&KnownSignature> = last.into_values().collect();
    write_rows(session, (COMMIT, shard), (head, 5, tail), &rows, |query, row| {
        let query = query.bind(row.id.number.cast_signed()).bind(row.last_at.micros());
        let query = query.bind(row.merged_into.map(|id| id.number.cast_signed()));
        query.bind(problem_json::write_signature(row)).bind(1_i32)
    })
    .await?;
    let gone: Vec<i64> = gone.into_iter().map(u64::cast_signed).collect();
    by_number(session, shard, ("UPDATE signatures SET in_hand = 0 WHERE", "number", ""), &gone).await
}

async fn write_recognitions<S: Session>(
    session: &mut S,
    shard: Shard,
    rows: &[RecognitionRow],
) -> Result<(), StoreError> {
    let mut last: BTreeMap<u64, Option<&Recognition>> = BTreeMap::new();
    for row in rows {
        match row {
            RecognitionRow::Put(row) => {
                number(COMMIT, shard, row.incident)?;
                last.insert(row.incident.number, Some(row));
            }
            RecognitionRow::Void(id) => _ = last.insert(id.number, None),
            RecognitionRow::Moved(..) => {}
        }
    }
    let (head, tail) = &*RECOGNITIONS;
    let puts: Vec<&Recognition> = last.values().copied().flatten().collect();
    write_rows(session, (COMMIT, shard), (head, 14, tail), &puts, |query, row| bind(query, row)).await?;
    let void = last.iter().filter(|(_, row)| row.is_none()).map(|(number, _)| number.cast_signed());
    let void: Vec<i64> = void.collect();
    by_number(session, shard, ("DELETE FROM recognitions WHERE", "incident", ""), &void).await?;
    write_moved(session, shard, rows).await
}

/// A row that was written after it was moved says where it belongs by itself.
async fn write_moved<S: Session>(session: &mut S, shard: Shard, rows: &[RecognitionRow]) -> Result<(), StoreError> {
    let mut moved: BTreeMap<u64, u64> = BTreeMap::new();
    for row in rows {
        match row {
            RecognitionRow::Moved(incident, to) => _ = moved.insert(incident.number, to.number),
            RecognitionRow::Put(row) => _ = moved.remove(&row.incident.number),
            RecognitionRow::Void(id) => _ = moved.remove(&id.number),
        }
    }
    let moved: Vec<(u64, u64)> = moved.into_iter().collect();
    let statement = "UPDATE recognitions SET signature = given.signature FROM given WHERE recognitions.tenant = given.tenant \
        AND recognitions.shard = given.shard AND recognitions.incident = given.incident";
    let given: (&[&str], &str) = (&["incident", "signature"], statement);
    with_given(session, (COMMIT, shard), given, &moved, |query, (incident, to)| {
        query.bind(incident.cast_signed()).bind(to.cast_signed())
    })
    .await
}

async fn write_problems<S: Session>(session: &mut S, shard: Shard, rows: &[ProblemRow]) -> Result<(), StoreError> {
    let mut last: BTreeMap<u64, &Problem> = BTreeMap::new();
    for row in rows {
        if let ProblemRow::Put(row) = row {
            last.insert(row.id.number, row);
        }
    }
    let (head, tail) = &*PROBLEMS;
    let puts: Vec<&Problem> = last.into_values().collect();
    write_rows(session, (COMMIT, shard), (head, 4, tail), &puts, |query, row| {
        let query = query.bind(row.id.number.cast_signed()).bind(row.state as u8);
        query.bind(problem_json::write_problem(row)).bind(1_i32)
    })
    .await?;
    let let_go = |row: &ProblemRow| match row {
        ProblemRow::LetGo(id) => Some(id.number.cast_signed()),
        ProblemRow::Put(_) => None,
    };
    let let_go: Vec<i64> = rows.iter().filter_map(let_go).collect();
    by_number(session, shard, ("UPDATE problems SET in_hand = 0 WHERE", "number", ""), &let_go).await
}

fn bind(query: Query, row: &Recognition) -> Query {
    let Recognition {
        incident,
        signature,
        likeness,
        novel,
        traits,
        opened_at,
        ended_at,
        how,
        alerts,
        priority,
        service,
        dependents,
        workaround,
    } = row;
    query
        .bind(incident.number.cast_signed())
        .bind(signature.map(|id| id.number.cast_signed()))
        .bind(*likeness)
        .bind(*novel)
        .bind(opened_at.micros())
        .bind(ended_at.map(Timestamp::micros))
        .bind(how.clone())
        .bind(alerts.cast_signed())
        .bind(priority.number())
        .bind(traits.cause.as_ref().map(ToString::to_string))
        .bind(service.as_ref().map(ToString::to_string))
        .bind(dependents.cast_signed())
        .bind(problem_json::write_traits(traits))
        .bind(workaround.as_ref().map(problem_json::write_attached))
}

fn read_recognition<R: Row>(operation: &'static str, shard: Shard, row: &R) -> Result<Recognition, StoreError> {
    let mut row = Cells::new(operation, "recognition", row);
    row.id = row.unsigned()?;
    let incident = IncidentId { shard: shard.number, number: row.id };
    let signature = row.optional()?;
    let signature = signature.map(|number| SignatureId { shard: shard.number, number: number.cast_unsigned() });
    let (likeness, novel) = (row.next()?, row.next()?);
    let (opened_at, ended_at) = (row.time()?, row.optional()?.map(Timestamp::from_micros));
    let (how, alerts) = (row.next()?, row.unsigned()?);
    let priority = row.code(|code| Priority::new(u8::try_from(code).ok()?))?;
    let _cause: Option<Cow<'_, str>> = row.next()?;
    let service: Option<Cow<'_, str>> = row.next()?;
    let service = service.map(|ci| CiId::new(&ci));
    let dependents = row.unsigned()?;
    let traits = row.json(problem_json::read_traits)?;
    let workaround = row.optional_json(|text| problem_json::read_attached(text, shard.number))?;
    Ok(Recognition {
        incident,
        signature,
        likeness,
        novel,
        traits,
        opened_at,
        ended_at,
        how,
        alerts,
        priority,
        service,
        dependents,
        workaround,
    })
}

const SELECT_SIGNATURES: &str = "SELECT number, last_at, merged_into, body FROM signatures";
const SELECT_PROBLEMS: &str = "SELECT number, state, body FROM problems";

fn read_signature<R: Row>(operation: &'static str, shard: Shard, row: &R) -> Result<KnownSignature, StoreError> {
    let mut row = Cells::new(operation, "signature", row);
    row.id = row.unsigned()?;
    let of = |number| SignatureId { shard: shard.number, number };
    let (id, last_at) = (of(row.id), row.time()?);
    let merged_into = row.optional()?.map(|number| of(number.cast_unsigned()));
    row.json(|text| problem_json::read_signature(text, id, last_at, merged_into))
}

fn read_problem<R: Row>(operation: &'static str, shard: Shard, row: &R) -> Result<Problem, StoreError> {
    let mut row = Cells::new(operation, "problem", row);
    row.id = row.unsigned()?;
    let id = ProblemId { shard: shard.number, number: row.id };
    let state = row.code(problem_json::state)?;
    row.json(|text| problem_json::read_problem(text, id, state))
}

/// What an engine starts from.
pub(super) async fn in_hand<S: Session>(
    session: &mut S,
    shard: Shard,
    operation: &'static str,
) -> Result<ProblemSnapshot, StoreError> {
    let mut sql = within(SELECT_SIGNATURES, shard, "");
    sql.push(" AND in_hand = 1 ORDER BY number");
    let signatures = session.collect(operation, sql, |row| read_signature(operation, shard, row)).await?;
    let select = format!("SELECT {RECOGNITION} FROM recognitions");
    let mut sql = within(&select, shard, "");
    sql.push(" AND incident IN (SELECT number FROM incidents WHERE tenant = ").push_bind(shard.tenant);
    sql.push(" AND shard = ").push_bind(shard.number).push(" AND in_hand = 1) ORDER BY incident");
    let recognitions = session.collect(operation, sql, |row| read_recognition(operation, shard, row)).await?;
    let mut sql = within(SELECT_PROBLEMS, shard, "");
    sql.push(" AND in_hand = 1 ORDER BY number");
    let problems = session.collect(operation, sql, |row| read_problem(operation, shard, row)).await?;
    let last_signature = greatest(session, shard, "signatures").await?;
    let last_problem = greatest(session, shard, "problems").await?;
    Ok(ProblemSnapshot { signatures, recognitions, problems, last_signature, last_problem })
}

async fn greatest<S: Session>(session: &mut S, shard: Shard, table: &str) -> Result<u64, StoreError> {
    let select = format!("SELECT number FROM {table}");
    let mut sql = within(&select, shard, "");
    sql.push(" ORDER BY number DESC LIMIT 1");
    let found = session.collect("take over", sql, |row| Cells::new("take over", "number", row).unsigned());
    Ok(found.await?.pop().unwrap_or(0))
}

/// The signatures that count with some, and those themselves.
fn group(shard: Shard, roots: &[SignatureId]) -> Query {
    let mut sql = Query::new("WITH RECURSIVE wanted (number) AS (SELECT number FROM signatures WHERE tenant = ");
    sql.push_bind(shard.tenant).push(" AND shard = ").push_bind(shard.number).push(" AND number IN (");
    sql.push_list(roots.iter().map(|id| id.number.cast_signed()));
    sql.push(") UNION SELECT s.number FROM signatures s JOIN wanted w ON s.merged_into = w.number WHERE s.tenant = ");
    sql.push_bind(shard.tenant).push(" AND s.shard = ").push_bind(shard.number).push(") ");
    sql
}

/// The session reads everything of one instant.
async fn problem<S: Session>(
    session: &mut S,
    shard: Shard,
    id: ProblemId,
) -> Result<Option<ProblemDetail>, StoreError> {
    const PROBLEM: &str = "problem";
    if id.shard != shard.number {
        return Ok(None);
    }
    let mut sql = within(SELECT_PROBLEMS, shard, "");
    sql.push(" AND number = ").push_bind(id.number.cast_signed());
    let read = |row: &S::Row| read_problem(PROBLEM, shard, row);
    let Some(problem) = session.collect(PROBLEM, sql, read).await?.pop() else { return Ok(None) };
    let mut sql = within("SELECT at, actor, reason FROM problem_timeline", shard, "");
    sql.push(" AND problem = ").push_bind(id.number.cast_signed()).push(" ORDER BY id");
    let timeline = session.collect(PROBLEM, sql, |row| {
        let mut row = Cells::new(PROBLEM, "timeline of problem", row);
        row.id = id.number;
        Ok(ProblemEntry { problem: id, at: row.time()?, actor: row.next()?, reason: row.json(json::read_reason)? })
    });
    let timeline = timeline.await?;
    let mut sql = group(shard, &problem.signatures);
    sql.push(SELECT_SIGNATURES).push(" WHERE tenant = ").push_bind(shard.tenant);
    sql.push(" AND shard = ").push_bind(shard.number);
    sql.push(" AND number IN (SELECT number FROM wanted) ORDER BY number");
    let signatures = session.collect(PROBLEM, sql, |row| read_signature(PROBLEM, shard, row)).await?;
    let mut sql = group(shard, &problem.signatures);
    sql.push("SELECT count(*) FROM recognitions r JOIN outbox o ON o.tenant = r.tenant AND o.shard = r.shard ");
    sql.push("AND o.incident = r.incident AND o.state = 1 AND o.transition < 32 WHERE r.tenant = ")
        .push_bind(shard.tenant);
    sql.push(" AND r.shard = ").push_bind(shard.number);
    sql.push(" AND r.signature IN (SELECT number FROM wanted)");
    let told = session.collect(PROBLEM, sql, |row| Cells::new(PROBLEM, "count", row).unsigned());
    let told = told.await?.pop().unwrap_or(0);
    let involved = involved(session, shard, &problem.signatures).await?;
    Ok(Some(ProblemDetail { problem, timeline, signatures, told, involved }))
}

/// Who worked on the last incidents of these signatures, and from when on; not what another node or a rule did.
async fn involved<S: Session>(
    session: &mut S,
    shard: Shard,
    signatures: &[SignatureId],
) -> Result<Vec<Involved>, StoreError> {
    let mut sql = group(shard, signatures);
    sql.push("SELECT t.incident, t.actor, min(t.at) FROM recognitions r JOIN timeline t ON t.tenant = r.tenant ");
    sql.push("AND t.shard = r.shard AND t.incident = r.incident WHERE r.tenant = ").push_bind(shard.tenant);
    sql.push(" AND r.shard = ").push_bind(shard.number);
    sql.push(" AND r.signature IN (SELECT number FROM wanted) AND t.actor <> 'quell' ");
    sql.push("GROUP BY t.incident, t.actor ORDER BY t.incident DESC, t.actor LIMIT ").push_bind(i64::from(INVOLVED));
    session
        .collect("problem", sql, |row| {
            let mut row = Cells::new("problem", "person involved", row);
            let incident = IncidentId { shard: shard.number, number: row.unsigned()? };
            Ok(Involved { incident, person: row.next()?, since: row.time()? })
        })
        .await
}

async fn problems<S: Session>(
    session: &mut S,
    shard: Shard,
    query: ProblemQuery,
) -> Result<Page<Problem, ProblemId>, StoreError> {
    const PROBLEMS: &str = "problems";
    let ProblemQuery { states, before, limit } = query;
    let mut sql = within(SELECT_PROBLEMS, shard, "");
    if !states.is_empty() {
        sql.push(" AND state IN (").push_list(states.into_iter().map(|state| state as u8)).push(")");
    }
    if let Some(before) = before {
        sql.push(" AND number < ").push_bind(before.number.cast_signed());
    }
    sql.push(" ORDER BY number DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let items = session.collect(PROBLEMS, sql, |row| read_problem(PROBLEMS, shard, row)).await?;
    Ok(page(items, limit, |problem| problem.id))
}

async fn signatures<S: Session>(
    session: &mut S,
    shard: Shard,
    (below, through, limit): (Option<u64>, Option<u64>, u32),
) -> Result<Vec<KnownSignature>, StoreError> {
    const SIGNATURES: &str = "signatures";
    let mut sql = within(SELECT_SIGNATURES, shard, "");
    if let Some(below) = below {
        sql.push(" AND number < ").push_bind(below.cast_signed());
    }
    if let Some(only) = through {
        sql.push(" AND number = ").push_bind(only.cast_signed());
    }
    sql.push(" ORDER BY number DESC LIMIT ").push_bind(i64::from(limit));
    session.collect(SIGNATURES, sql, |row| read_signature(SIGNATURES, shard, row)).await
}

async fn recognised<S: Session>(
    session: &mut S,
    shard: Shard,
    query: RecognisedQuery,
) -> Result<Vec<Recognition>, StoreError> {
    const RECOGNISED: &str = "recognised";
    let RecognisedQuery { signatures, cause, over, before, limit } = query;
    let select = format!("SELECT {RECOGNITION} FROM recognitions");
    let mut sql = within(&select, shard, "");
    if let Some(signatures) = signatures {
        sql.push(" AND signature IN (");
        sql.push_list(signatures.into_iter().map(|id| id.number.cast_signed())).push(")");
    }
    if let Some(cause) = cause {
        sql.push(" AND cause = ").push_bind(cause.to_string());
    }
    match over {
        Some(true) => sql.push(" AND ended_at IS NOT NULL"),
        Some(false) => sql.push(" AND ended_at IS NULL"),
        None => &mut sql,
    };
    if let Some(before) = before {
        sql.push(" AND incident < ").push_bind(number(RECOGNISED, shard, before)?);
    }
    sql.push(" ORDER BY incident DESC LIMIT ").push_bind(i64::from(limit));
    session.collect(RECOGNISED, sql, |row| read_recognition(RECOGNISED, shard, row)).await
}

impl<B: Backend> ProblemStore for B {
    fn problems_due<'a>(
        &'a self,
        shard: Shard,
        sink: &'a str,
        now: Timestamp,
        limit: u32,
    ) -> Answer<'a, Vec<ProblemDelivery>> {
        Box::pin(async move {
            let mut reader = self.reader("problems due").await?;
            outbox::problems_due(&mut *reader, shard, sink, now, limit).await
        })
    }

    fn problems(&self, shard: Shard, query: ProblemQuery) -> Answer<'_, Page<Problem, ProblemId>> {
        Box::pin(async move { problems(&mut *self.reader("problems").await?, shard, query).await })
    }

    fn problem(&self, shard: Shard, id: ProblemId) -> Answer<'_, Option<ProblemDetail>> {
        Box::pin(async move { problem(&mut *self.snapshot("problem").await?, shard, id).await })
    }

    fn signature(&self, shard: Shard, id: SignatureId) -> Answer<'_, Option<KnownSignature>> {
        Box::pin(async move {
            if id.shard != shard.number {
                return Ok(None);
            }
            let mut reader = self.reader("signature").await?;
            Ok(signatures(&mut *reader, shard, (None, Some(id.number), 1)).await?.pop())
        })
    }

    fn signatures(
        &self,
        shard: Shard,
        before: Option<SignatureId>,
        limit: u32,
    ) -> Answer<'_, Page<KnownSignature, SignatureId>> {
        Box::pin(async move {
            let below = before.map(|id| id.number);
            let mut reader = self.reader("signatures").await?;
            let items = signatures(&mut *reader, shard, (below, None, limit.saturating_add(1))).await?;
            Ok(page(items, limit, |row| row.id))
        })
    }

    fn recognition(&self, shard: Shard, incident: IncidentId) -> Answer<'_, Option<Recognition>> {
        Box::pin(async move {
            if incident.shard != shard.number {
                return Ok(None);
            }
            let select = format!("SELECT {RECOGNITION} FROM recognitions");
            let mut sql = within(&select, shard, "");
            sql.push(" AND incident = ").push_bind(incident.number.cast_signed());
            let mut reader = self.reader("recognition").await?;
            let found = reader.collect("recognition", sql, |row| read_recognition("recognition", shard, row));
            Ok(found.await?.pop())
        })
    }

    fn recognised(&self, shard: Shard, query: RecognisedQuery) -> Answer<'_, Vec<Recognition>> {
        Box::pin(async move { recognised(&mut *self.reader("recognised").await?, shard, query).await })
    }

    fn recognised_since(&self, shard: Shard) -> Answer<'_, Option<Timestamp>> {
        Box::pin(async move {
            let mut sql = within("SELECT opened_at FROM recognitions", shard, "");
            sql.push(" ORDER BY incident LIMIT 1");
            let mut reader = self.reader("recognised").await?;
            let found = reader.collect("recognised", sql, |row| Cells::new("recognised", "recognition", row).time());
            Ok(found.await?.pop())
        })
    }

    fn outages(&self, shard: Shard, after: Timestamp) -> Answer<'_, Vec<Outage>> {
        Box::pin(async move {
            let mut sql = within("SELECT from_at, to_at FROM outages", shard, "");
            sql.push(" AND to_at > ").push_bind(after.micros()).push(" ORDER BY from_at");
            let mut reader = self.reader("outages").await?;
            let found = reader.collect("outages", sql, |row| {
                let mut row = Cells::new("outages", "outage", row);
                Ok(Outage { from: row.time()?, to: row.time()? })
            });
            found.await
        })
    }
}
