//! Everything that is read. Absent on purpose: the outbox.

use quell_domain::{
    Activation, Alert, AlertId, AlertState, ArtefactKind, Digest, Feedback, Fingerprint, Incident, IncidentId, Outcome,
    Position, Shard, Source, Standing, TimelineEntry, Timestamp,
};
use quell_engine::{Checkpoint, Parked, Snapshot};

use super::rows::{
    Cells, SELECT_ALERTS, SELECT_INCIDENTS, VERDICTS, by_order, number, read_alert, read_incident, read_state,
};
use super::statement::{Query, within};
use super::{Row, Session, change_events, damaged, problems};
use crate::contract::{
    AlertQuery, Change, IncidentDetail, IncidentQuery, Page, Positions, RELATED, Restored, StoreError, Version,
};
use crate::{json, said};

const TAKE_OVER: &str = "take over";

/// Raises a shard's epoch: from now on no other writer commits.
pub(super) async fn raise_epoch<S: Session>(session: &mut S, shard: Shard) -> Result<u64, StoreError> {
    let sql = "INSERT INTO shards (tenant, shard, epoch, applied, folded, commands, changes, last_alert, last_incident) \
        VALUES (?, ?, 1, 0, 0, 0, 0, 0, 0) ON CONFLICT (tenant, shard) DO UPDATE SET epoch = shards.epoch + 1 \
        RETURNING epoch";
    let query = Query::new(sql).bind(shard.tenant).bind(shard.number);
    let epochs = session.collect(TAKE_OVER, query, |row| Cells::new(TAKE_OVER, "shard", row).unsigned()).await?;
    epochs.first().copied().ok_or_else(|| damaged(TAKE_OVER, "the shard", "it has no row"))
}

/// What an engine starts from under an epoch.
pub(super) async fn restore<S: Session>(session: &mut S, shard: Shard, epoch: u64) -> Result<Restored, StoreError> {
    let (positions, checkpoint) = position(session, shard).await?;
    let mut sql = within(SELECT_ALERTS, shard, "a.");
    sql.push(" AND a.in_hand = 1 ORDER BY a.id");
    let alerts = session.collect(TAKE_OVER, sql, |row| read_alert(TAKE_OVER, shard, row)).await?;
    let mut sql = within(SELECT_INCIDENTS, shard, "");
    sql.push(" AND in_hand = 1 ORDER BY number");
    let incidents = session.collect(TAKE_OVER, sql, |row| read_incident(TAKE_OVER, shard, row)).await?;
    let mut sql = within(SELECT_FEEDBACK, shard, "");
    sql.push(" AND standing = 0 ORDER BY command");
    let feedback = session.collect(TAKE_OVER, sql, |row| read_feedback(shard, row)).await?;
    let changes = change_events::in_hand(session, shard, TAKE_OVER).await?;
    let problems = problems::in_hand(session, shard, TAKE_OVER).await?;
    let snapshot = Snapshot { checkpoint, alerts, incidents, feedback, changes, problems };
    Ok(Restored { epoch, positions, snapshot })
}

/// See [`crate::Store::position`].
pub(super) async fn position<S: Session>(session: &mut S, shard: Shard) -> Result<(Positions, Checkpoint), StoreError> {
    const POSITION: &str = "position";
    let sql = "SELECT applied, folded, commands, engine_now, last_alert, last_incident, topology, rules, learned \
        FROM shards";
    let found = session.collect(POSITION, within(sql, shard, ""), |row| {
        let mut row = Cells::new(POSITION, "shard", row);
        let mut next = || row.unsigned().map(Position);
        let positions = Positions { applied: next()?, folded: next()?, commands: next()? };
        let checkpoint = Checkpoint {
            now: row.optional()?.map(Timestamp::from_micros),
            last_alert: row.unsigned()?,
            last_incident: row.unsigned()?,
            topology: digest(&mut row)?,
            rules: digest(&mut row)?,
            learned: digest(&mut row)?,
        };
        Ok((positions, checkpoint))
    });
    Ok(found.await?.pop().unwrap_or_default())
}

fn digest<R: Row>(row: &mut Cells<'_, R>) -> Result<Option<Digest>, StoreError> {
    let bytes: Option<&[u8]> = row.next()?;
    let digest = bytes.map(|bytes| bytes.try_into().map(Digest));
    digest.transpose().map_err(|_| row.wrong("a digest is not 32 bytes"))
}

/// See [`crate::Store::incidents`].
pub(super) async fn incidents<S: Session>(
    session: &mut S,
    shard: Shard,
    query: IncidentQuery,
) -> Result<Page<Incident, IncidentId>, StoreError> {
    const INCIDENTS: &str = "incidents";
    let IncidentQuery { state, before, limit } = query;
    let mut sql = within(SELECT_INCIDENTS, shard, "");
    if let Some(state) = state {
        sql.push(" AND state = ").push_bind(state as i32);
    }
    if let Some(before) = before {
        sql.push(" AND number < ").push_bind(number(INCIDENTS, shard, before)?);
    }
    sql.push(" ORDER BY number DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let items = session.collect(INCIDENTS, sql, |row| read_incident(INCIDENTS, shard, row)).await?;
    Ok(page(items, limit, |incident| incident.id))
}

/// See [`crate::Store::incident`]. The session reads everything of one instant.
pub(super) async fn incident<S: Session>(
    session: &mut S,
    shard: Shard,
    id: IncidentId,
    alerts: u32,
) -> Result<Option<IncidentDetail>, StoreError> {
    const INCIDENT: &str = "incident";
    if id.shard != shard.number {
        return Ok(None);
    }
    let number = id.number.cast_signed();
    let mut sql = within(SELECT_INCIDENTS, shard, "");
    sql.push(" AND number = ").push_bind(number);
    let found = session.collect(INCIDENT, sql, |row| read_incident(INCIDENT, shard, row)).await?;
    let Some(incident) = found.into_iter().next() else {
        return Ok(None);
    };
    let mut sql = within(SELECT_ALERTS, shard, "a.");
    sql.push(" AND a.incident = ").push_bind(number).push(" ORDER BY a.id LIMIT ").push_bind(alerts);
    let alerts = session.collect(INCIDENT, sql, |row| read_alert(INCIDENT, shard, row)).await?;
    let mut sql = within("SELECT at, actor, reason FROM timeline", shard, "");
    sql.push(" AND incident = ").push_bind(number).push(" ORDER BY id");
    let timeline = session.collect(INCIDENT, sql, |row| {
        let mut row = Cells::new(INCIDENT, "timeline of incident", row);
        row.id = id.number;
        Ok(TimelineEntry { incident: id, at: row.time()?, actor: row.next()?, reason: row.json(json::read_reason)? })
    });
    let timeline = timeline.await?;
    let merged = related(session, shard, "merged_into", id).await?;
    let split = related(session, shard, "split_from", id).await?;
    Ok(Some(IncidentDetail { incident, alerts, timeline, merged, split }))
}

/// The incidents that name another one in a column.
async fn related<S: Session>(
    session: &mut S,
    shard: Shard,
    column: &str,
    to: IncidentId,
) -> Result<Vec<IncidentId>, StoreError> {
    let mut sql = within("SELECT number FROM incidents", shard, "");
    sql.push(" AND ").push(column).push(" = ").push_bind(to.number.cast_signed());
    sql.push(" ORDER BY number LIMIT ").push_bind(RELATED);
    let read = |row: &S::Row| {
        let number = Cells::new("incident", "incident", row).unsigned()?;
        Ok(IncidentId { shard: shard.number, number })
    };
    session.collect("incident", sql, read).await
}

/// See [`crate::Store::alerts`].
pub(super) async fn alerts<S: Session>(
    session: &mut S,
    shard: Shard,
    query: AlertQuery,
) -> Result<Page<Alert, AlertId>, StoreError> {
    const ALERTS: &str = "alerts";
    let AlertQuery { firing, bound, incident, fingerprint, before, limit } = query;
    let mut sql = within(SELECT_ALERTS, shard, "a.");
    match firing {
        // What fires is in hand, so the index of those finds it however long the history is.
        Some(true) => sql.push(" AND a.in_hand = 1 AND a.state = 0"),
        Some(false) => sql.push(" AND a.state = 1"),
        None => sql.push(" AND a.state <> ").push_bind(AlertState::Stale as i32),
    };
    match bound {
        Some(true) => sql.push(" AND a.ci IS NOT NULL"),
        Some(false) => sql.push(" AND a.ci IS NULL"),
        None => &mut sql,
    };
    if let Some(incident) = incident {
        sql.push(" AND a.incident = ").push_bind(number(ALERTS, shard, incident)?);
    }
    if let Some(fingerprint) = fingerprint {
        sql.push(" AND a.fingerprint = ").push_bind(fingerprint.0.to_be_bytes().to_vec());
    }
    if let Some(before) = before {
        sql.push(" AND a.id < ").push_bind(before.0.cast_signed());
    }
    sql.push(" ORDER BY a.id DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let items = session.collect(ALERTS, sql, |row| read_alert(ALERTS, shard, row)).await?;
    Ok(page(items, limit, |alert| alert.id))
}

/// See [`crate::Store::latest_alerts`].
pub(super) async fn latest_alerts<S: Session>(
    session: &mut S,
    shard: Shard,
    before: Option<AlertId>,
    limit: u32,
) -> Result<Vec<Alert>, StoreError> {
    const LATEST: &str = "latest alerts";
    let mut sql = within(SELECT_ALERTS, shard, "a.");
    if let Some(before) = before {
        sql.push(" AND a.id < ").push_bind(before.0.cast_signed());
    }
    sql.push(" ORDER BY a.id DESC LIMIT ").push_bind(limit);
    session.collect(LATEST, sql, |row| read_alert(LATEST, shard, row)).await
}

/// See [`crate::Store::last_alert`]. Reads back from the newest, so that it takes as long as there are later ones.
pub(super) async fn last_alert<S: Session>(
    session: &mut S,
    shard: Shard,
    through: Position,
) -> Result<Option<AlertId>, StoreError> {
    let mut sql = within("SELECT id FROM alerts", shard, "");
    sql.push(" AND opened_position <= ").push_bind(through.0.cast_signed()).push(" ORDER BY id DESC LIMIT 1");
    let read = |row: &S::Row| Ok(AlertId(Cells::new("last alert", "alert", row).unsigned()?));
    Ok(session.collect("last alert", sql, read).await?.pop())
}

/// See [`crate::Store::episodes`].
pub(super) async fn episodes<S: Session>(
    session: &mut S,
    shard: Shard,
    fingerprint: Fingerprint,
    through: Position,
) -> Result<Vec<Alert>, StoreError> {
    const EPISODES: &str = "episodes";
    let mut sql = within(SELECT_ALERTS, shard, "a.");
    sql.push(" AND a.fingerprint = ").push_bind(fingerprint.0.to_be_bytes().to_vec());
    sql.push(" AND a.opened_position <= ").push_bind(through.0.cast_signed());
    sql.push(" ORDER BY a.opened_position DESC, a.id DESC");
    session.collect(EPISODES, sql, |row| read_alert(EPISODES, shard, row)).await
}

const SELECT_PARKED: &str = "SELECT position, ordinal, item, source, received_at, reason, raw FROM parked";

/// See [`crate::Store::versions`].
pub(super) async fn versions<S: Session>(
    session: &mut S,
    shard: Shard,
    kind: ArtefactKind,
    at: Timestamp,
    limit: u32,
) -> Result<Vec<Version>, StoreError> {
    const VERSIONS: &str = "versions";
    let mut sql = within("SELECT position, at, digest FROM activations", shard, "");
    sql.push(" AND kind = ").push_bind(kind as u8).push(" AND at <= ").push_bind(at.micros());
    sql.push(" ORDER BY at DESC, position DESC LIMIT ").push_bind(limit);
    let read = |row: &S::Row| {
        let mut row = Cells::new(VERSIONS, "activation", row);
        let position = Position(row.unsigned()?);
        row.id = position.0;
        let at = row.time()?;
        let digest = digest(&mut row)?.ok_or_else(|| row.wrong("there is no digest"))?;
        Ok(Version { position, at, activation: Activation { kind, digest } })
    };
    session.collect(VERSIONS, sql, read).await
}

/// See [`crate::Store::parked_of`].
pub(super) async fn parked_of<S: Session>(
    session: &mut S,
    shard: Shard,
    position: Position,
) -> Result<Vec<Parked>, StoreError> {
    let mut sql = within(SELECT_PARKED, shard, "");
    sql.push(" AND position = ").push_bind(position.0.cast_signed()).push(" ORDER BY ordinal");
    session.collect("parked", sql, read_parked).await
}

/// See [`crate::Store::parked`].
pub(super) async fn parked<S: Session>(session: &mut S, shard: Shard, limit: u32) -> Result<Vec<Parked>, StoreError> {
    let mut sql = within(SELECT_PARKED, shard, "");
    sql.push(" ORDER BY position DESC, ordinal DESC LIMIT ").push_bind(limit);
    session.collect("parked", sql, read_parked).await
}

fn read_parked<R: Row>(row: &R) -> Result<Parked, StoreError> {
    let mut row = Cells::new("parked", "parked part of record", row);
    let position = Position(row.unsigned()?);
    row.id = position.0;
    let (ordinal, item) = (row.small()?, row.next()?);
    let source = row.code(|code| Source::from_code(u8::try_from(code).ok()?))?;
    let (received_at, reason, raw) = (row.time()?, row.next()?, row.next()?);
    Ok(Parked { position, ordinal, item, source, received_at, reason, raw })
}

const SELECT_FEEDBACK: &str = "SELECT command, incident, at, actor, standing, said FROM feedback";

/// See [`crate::Store::feedback`].
pub(super) async fn feedback<S: Session>(
    session: &mut S,
    shard: Shard,
    limit: u32,
) -> Result<Vec<Feedback>, StoreError> {
    let mut sql = within(SELECT_FEEDBACK, shard, "");
    sql.push(" ORDER BY command DESC LIMIT ").push_bind(limit);
    session.collect("feedback", sql, |row| read_feedback(shard, row)).await
}

fn read_feedback<R: Row>(shard: Shard, row: &R) -> Result<Feedback, StoreError> {
    let mut row = Cells::new("feedback", "feedback of command", row);
    let command = Position(row.unsigned()?);
    row.id = command.0;
    let incident = IncidentId { shard: shard.number, number: row.unsigned()? };
    let (at, actor) = (row.time()?, row.next()?);
    let standing = [Standing::InForce, Standing::Undone, Standing::CrowdedOut];
    let standing = row.code(|code| standing.into_iter().find(|known| *known as i64 == code))?;
    Ok(Feedback { command, incident, actor, at, said: row.json(said::read_said)?, standing })
}

/// See [`crate::Store::changes_since`].
pub(super) async fn changes_since<S: Session>(
    session: &mut S,
    shard: Shard,
    after: u64,
    limit: u32,
) -> Result<Vec<Change>, StoreError> {
    const CHANGES: &str = "changes";
    let mut sql = within("SELECT change, number, state FROM incidents", shard, "");
    sql.push(" AND change > ").push_bind(after.cast_signed()).push(" ORDER BY change LIMIT ").push_bind(limit);
    session
        .collect(CHANGES, sql, |row| {
            let mut row = Cells::new(CHANGES, "change", row);
            let number = row.unsigned()?;
            row.id = number;
            let incident = IncidentId { shard: shard.number, number: row.unsigned()? };
            Ok(Change { number, incident, state: row.code(read_state)? })
        })
        .await
}

/// See [`crate::Store::newest_change`].
pub(super) async fn newest_change<S: Session>(session: &mut S, shard: Shard) -> Result<u64, StoreError> {
    const NEWEST: &str = "newest change";
    let sql = within("SELECT changes FROM shards", shard, "");
    let found = session.collect(NEWEST, sql, |row| Cells::new(NEWEST, "shard", row).unsigned());
    Ok(found.await?.pop().unwrap_or(0))
}

/// See [`crate::Store::outcomes`].
pub(super) async fn outcomes<S: Session>(
    session: &mut S,
    shard: Shard,
    after: Position,
    limit: u32,
) -> Result<Vec<Outcome>, StoreError> {
    const OUTCOMES: &str = "outcomes";
    let mut sql = within("SELECT command, after, verdict FROM command_outcomes", shard, "");
    sql.push(" AND command > ").push_bind(after.0.cast_signed()).push(" ORDER BY command LIMIT ").push_bind(limit);
    session
        .collect(OUTCOMES, sql, |row| {
            let mut row = Cells::new(OUTCOMES, "outcome of command", row);
            let command = Position(row.unsigned()?);
            row.id = command.0;
            let after = Position(row.unsigned()?);
            Ok(Outcome { command, after, verdict: row.code(|code| by_order(&VERDICTS, code))? })
        })
        .await
}

/// Cuts a list that was read one item longer than asked for.
pub(super) fn page<T, K>(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> K) -> Page<T, K> {
    let limit = limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(key) } else { None };
    Page { items, next }
}
