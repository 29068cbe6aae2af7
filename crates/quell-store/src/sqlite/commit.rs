//! One commit: effects, positions, flush and outbox in one transaction. Absent on purpose: the transaction itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use quell_domain::{Activation, Alert, ArtefactKind, Incident, Shard, Timestamp};
use quell_engine::{AlertChange, Checkpoint, Effects, Fold};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::error::fault;
use super::rows::{ALERT_COLUMNS, INCIDENT_COLUMNS, VERDICTS, bind_alert, bind_fold, bind_incident, number};
use super::statement::{number_set, pieces, write_rows};
use super::{change_events, outbox, problems};
use crate::contract::{Change, Commit, Committed, Flush, StoreError, Version};
use crate::{json, said};

const COMMIT: &str = "commit";

static ALERTS: LazyLock<(String, String)> = LazyLock::new(|| upsert("alerts", &ALERT_COLUMNS, "id"));
static INCIDENTS: LazyLock<(String, String)> = LazyLock::new(|| upsert("incidents", &INCIDENT_COLUMNS, "number"));

/// What stands before and after the rows of an upsert.
fn upsert(table: &str, columns: &[&str], key: &str) -> (String, String) {
    let head = format!("INSERT INTO {table} (tenant, shard, {})", columns.join(", "));
    let set: Vec<String> = columns
        .iter()
        .filter(|column| **column != key)
        .map(|column| format!("{column} = {}", kept(table, column)))
        .collect();
    (head, format!("ON CONFLICT (tenant, shard, {key}) DO UPDATE SET {}", set.join(", ")))
}

/// The value a column has after an upsert: the new one, but for an alert's reasons. A version that gives none of them
/// anew keeps those that were remembered; a binding and the reason for having none replace each other.
fn kept(table: &str, column: &str) -> String {
    const BOUND: &str = "(excluded.bound_because IS NULL AND excluded.unbound_because IS NULL)";
    match (table, column) {
        ("alerts", "ci" | "confidence" | "bound_because" | "unbound_because") => {
            format!("iif({BOUND}, {table}.{column}, excluded.{column})")
        }
        ("alerts", "member_because") => format!("ifnull(excluded.{column}, {table}.{column})"),
        _ => format!("excluded.{column}"),
    }
}

/// About how many rows a commit writes.
pub(super) fn weight(commit: &Commit<'_>) -> usize {
    let Effects { alerts, incidents, timeline, notices, parked, changes, .. } = commit.effects;
    let folds = commit.flush.map_or(0, |flush| flush.folds.len() / 16);
    alerts.len() + incidents.len() + timeline.len() + notices.len() + parked.len() + changes.len() + folds
}

/// Writes everything of a commit.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    commit: Commit<'_>,
    sinks: &[String],
) -> Result<Committed, StoreError> {
    let shard = commit.shard;
    let Effects {
        alerts,
        incidents,
        timeline: _,
        forgotten,
        notices,
        parked: _,
        outcomes: _,
        feedback: _,
        changes: told,
        problems: of_problems,
        disposed: _,
        altered: _,
    } = commit.effects;
    let incidents: BTreeMap<u64, &Incident> = incidents.iter().map(|incident| (incident.id.number, incident)).collect();
    let first_change = claim(connection, &commit, incidents.len()).await?;
    write_alerts(connection, shard, alerts).await?;
    let changes = write_incidents(connection, shard, &incidents, first_change).await?;
    write_history(connection, shard, commit.effects).await?;
    change_events::write(connection, shard, told).await?;
    problems::write(connection, shard, of_problems).await?;
    write_activations(connection, shard, commit.activations).await?;
    outbox::add(connection, shard, notices, sinks).await?;
    if let Some(Flush { folds }) = commit.flush {
        write_folds(connection, shard, folds).await?;
    }
    forget_alerts(connection, shard, alerts).await?;
    let_go_of_alerts(connection, shard, alerts).await?;
    for &id in forgotten {
        let incident = number(COMMIT, shard, id)?;
        let sql = "UPDATE incidents SET in_hand = 0 WHERE tenant = ? AND shard = ? AND number = ?";
        let query = sqlx::query(sql).bind(shard.tenant).bind(shard.number).bind(incident);
        query.execute(&mut *connection).await.map_err(fault(COMMIT))?;
        let sql = "UPDATE alerts SET in_hand = 0 WHERE tenant = ? AND shard = ? AND incident = ? AND state = 1";
        let query = sqlx::query(sql).bind(shard.tenant).bind(shard.number).bind(incident);
        query.execute(&mut *connection).await.map_err(fault(COMMIT))?;
    }
    Ok(Committed { changes })
}

/// Moves the shard's positions if the epoch is still ours; returns the number of the first change. The first statement
/// of the transaction: a writer that lost the shard does no work and leaves no trace.
async fn claim(connection: &mut SqliteConnection, commit: &Commit<'_>, changes: usize) -> Result<u64, StoreError> {
    let Commit { shard, epoch, applied, commands, checkpoint, effects: _, activations: _, flush } = commit;
    let Checkpoint { now, last_alert, last_incident, topology: _, rules: _, learned: _ } = *checkpoint;
    let digest = |kind| checkpoint.artefact(kind).map(|digest| digest.0.to_vec());
    let sql = "UPDATE shards SET applied = ?1, commands = ?2, folded = iif(?3, ?1, folded), engine_now = ?4, \
        last_alert = ?5, last_incident = ?6, topology = ?7, rules = ?8, learned = ?9, changes = changes + ?10 \
        WHERE tenant = ?11 AND shard = ?12 AND epoch = ?13 RETURNING changes";
    let after: Option<i64> = sqlx::query_scalar(sql)
        .bind(applied.0.cast_signed())
        .bind(commands.0.cast_signed())
        .bind(flush.is_some())
        .bind(now.map(Timestamp::micros))
        .bind(last_alert.cast_signed())
        .bind(last_incident.cast_signed())
        .bind(digest(ArtefactKind::Topology))
        .bind(digest(ArtefactKind::Rules))
        .bind(digest(ArtefactKind::Learned))
        .bind(i64::try_from(changes).unwrap_or(i64::MAX))
        .bind(shard.tenant)
        .bind(shard.number)
        .bind(epoch.cast_signed())
        .fetch_optional(&mut *connection)
        .await
        .map_err(fault(COMMIT))?;
    let after = after.ok_or(StoreError::Fenced { operation: COMMIT, epoch: *epoch })?;
    Ok(after.cast_unsigned() - changes as u64 + 1)
}

/// Writes the last version of each alert; what repeats had changed of it is contained in that.
async fn write_alerts(
    connection: &mut SqliteConnection,
    shard: Shard,
    changes: &[AlertChange],
) -> Result<(), StoreError> {
    let puts: Vec<Cow<'_, Alert>> = last_changes(changes).into_values().flatten().collect();
    for alert in &puts {
        if let Some(incident) = alert.incident {
            number(COMMIT, shard, incident)?;
        }
    }
    let (head, tail) = &*ALERTS;
    let bind = |query, alert: &Cow<'_, Alert>| bind_alert(query, alert);
    write_rows(connection, (COMMIT, shard), (head, ALERT_COLUMNS.len(), tail), &puts, bind).await?;
    let ids: Vec<i64> = puts.iter().map(|alert| alert.id.0.cast_signed()).collect();
    delete_by_number(connection, shard, ("folds", "alert"), &ids).await
}

/// The last change of each alert, by id, with the reasons that only earlier ones gave; `None` for one to be forgotten.
fn last_changes(changes: &[AlertChange]) -> BTreeMap<u64, Option<Cow<'_, Alert>>> {
    let mut last: BTreeMap<u64, Option<Cow<'_, Alert>>> = BTreeMap::new();
    for change in changes {
        match change {
            AlertChange::Put(alert) => {
                let mut alert = Cow::Borrowed(&**alert);
                if let Some(Some(earlier)) = last.remove(&alert.id.0) {
                    if alert.binding.is_none()
                        && alert.unbound.is_none()
                        && (earlier.binding.is_some() || earlier.unbound.is_some())
                    {
                        let alert = alert.to_mut();
                        alert.binding.clone_from(&earlier.binding);
                        alert.unbound.clone_from(&earlier.unbound);
                    }
                    if alert.membership.is_none() && earlier.membership.is_some() {
                        alert.to_mut().membership.clone_from(&earlier.membership);
                    }
                }
                last.insert(alert.id.0, Some(alert));
            }
            AlertChange::Forget(id) => _ = last.insert(id.0, None),
            // Its last row is written first; see `let_go_of_alerts`.
            AlertChange::LetGo(_) => {}
        }
    }
    last
}

async fn forget_alerts(
    connection: &mut SqliteConnection,
    shard: Shard,
    changes: &[AlertChange],
) -> Result<(), StoreError> {
    let gone: Vec<i64> = last_changes(changes)
        .into_iter()
        .filter(|(_, alert)| alert.is_none())
        .map(|(id, _)| id.cast_signed())
        .collect();
    delete_by_number(connection, shard, ("alerts", "id"), &gone).await?;
    delete_by_number(connection, shard, ("folds", "alert"), &gone).await
}

/// Ended alerts of no incident become history.
async fn let_go_of_alerts(
    connection: &mut SqliteConnection,
    shard: Shard,
    changes: &[AlertChange],
) -> Result<(), StoreError> {
    let let_go = |change: &AlertChange| match change {
        AlertChange::LetGo(id) => Some(id.0.cast_signed()),
        AlertChange::Put(_) | AlertChange::Forget(_) => None,
    };
    let ids: Vec<i64> = changes.iter().filter_map(let_go).collect();
    for piece in pieces(ids.len()) {
        let set = number_set(piece.len());
        let sql = format!("UPDATE alerts SET in_hand = 0 WHERE tenant = ? AND shard = ? AND id IN {set}");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(shard.tenant).bind(shard.number);
        for id in &ids[piece] {
            query = query.bind(*id);
        }
        query.execute(&mut *connection).await.map_err(fault(COMMIT))?;
    }
    Ok(())
}

async fn delete_by_number(
    connection: &mut SqliteConnection,
    shard: Shard,
    (table, column): (&str, &str),
    numbers: &[i64],
) -> Result<(), StoreError> {
    for piece in pieces(numbers.len()) {
        let set = number_set(piece.len());
        let sql = format!("DELETE FROM {table} WHERE tenant = ? AND shard = ? AND {column} IN {set}");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(shard.tenant).bind(shard.number);
        for id in &numbers[piece] {
            query = query.bind(*id);
        }
        query.execute(&mut *connection).await.map_err(fault(COMMIT))?;
    }
    Ok(())
}

/// Writes the last version of each incident and numbers the changes.
async fn write_incidents(
    connection: &mut SqliteConnection,
    shard: Shard,
    incidents: &BTreeMap<u64, &Incident>,
    first_change: u64,
) -> Result<Vec<Change>, StoreError> {
    let numbered: Vec<(u64, &Incident)> = (first_change..).zip(incidents.values().copied()).collect();
    for (_, incident) in &numbered {
        number(COMMIT, shard, incident.id)?;
    }
    let (head, tail) = &*INCIDENTS;
    let bind = |query, &(change, incident): &(u64, &Incident)| bind_incident(query, incident, change);
    write_rows(connection, (COMMIT, shard), (head, INCIDENT_COLUMNS.len(), tail), &numbered, bind).await?;
    let change = |(number, &Incident { id, state, .. }): (u64, &Incident)| Change { number, incident: id, state };
    Ok(numbered.into_iter().map(change).collect())
}

/// Writes what is only ever added: timeline entries, parked parts, outcomes and what operators said.
async fn write_history(connection: &mut SqliteConnection, shard: Shard, effects: &Effects) -> Result<(), StoreError> {
    for entry in &effects.timeline {
        number(COMMIT, shard, entry.incident)?;
    }
    let head = "INSERT INTO timeline (tenant, shard, incident, at, actor, reason)";
    write_rows(connection, (COMMIT, shard), (head, 4, ""), &effects.timeline, |query, entry| {
        let quell_domain::TimelineEntry { incident, at, actor, reason } = entry;
        let query = query.bind(incident.number.cast_signed()).bind(at.micros());
        query.bind(actor.clone()).bind(json::write_reason(reason))
    })
    .await?;
    let head =
        "INSERT OR REPLACE INTO parked (tenant, shard, position, ordinal, item, source, received_at, reason, raw)";
    write_rows(connection, (COMMIT, shard), (head, 7, ""), &effects.parked, |query, parked| {
        let quell_engine::Parked { position, ordinal, item, source, received_at, reason, raw } = parked;
        let query = query.bind(position.0.cast_signed()).bind(*ordinal).bind(*item).bind(*source as i32);
        query.bind(received_at.micros()).bind(reason.clone()).bind(raw.clone())
    })
    .await?;
    let head = "INSERT OR REPLACE INTO command_outcomes (tenant, shard, command, after, verdict)";
    write_rows(connection, (COMMIT, shard), (head, 3, ""), &effects.outcomes, |query, outcome| {
        let quell_domain::Outcome { command, after, verdict } = outcome;
        let verdict = VERDICTS.iter().position(|known| known == verdict).map(|at| at as i64);
        query.bind(command.0.cast_signed()).bind(after.0.cast_signed()).bind(verdict)
    })
    .await?;
    for said in &effects.feedback {
        number(COMMIT, shard, said.incident)?;
    }
    let head = "INSERT OR REPLACE INTO feedback (tenant, shard, command, incident, at, actor, standing, said)";
    write_rows(connection, (COMMIT, shard), (head, 6, ""), &effects.feedback, |query, feedback| {
        let quell_domain::Feedback { command, incident, actor, at, said, standing } = feedback;
        let query = query.bind(command.0.cast_signed()).bind(incident.number.cast_signed()).bind(at.micros());
        query.bind(actor.clone()).bind(*standing as i32).bind(said::write_said(said))
    })
    .await
}

/// Writes what came into force; a record decided again after a restart changes nothing.
async fn write_activations(
    connection: &mut SqliteConnection,
    shard: Shard,
    activations: &[Version],
) -> Result<(), StoreError> {
    for Version { position, at, activation: Activation { kind, digest } } in activations {
        let sql =
            "INSERT OR REPLACE INTO activations (tenant, shard, kind, at, position, digest) VALUES (?, ?, ?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(shard.tenant).bind(shard.number).bind(*kind as u8).bind(at.micros());
        let query = query.bind(position.0.cast_signed()).bind(digest.0.to_vec());
        query.execute(&mut *connection).await.map_err(fault(COMMIT))?;
    }
    Ok(())
}

/// Writes what repeats changed: the narrow part of every alert, and the text of those that said something new.
async fn write_folds(connection: &mut SqliteConnection, shard: Shard, folds: &[Fold]) -> Result<(), StoreError> {
    let mut sorted: Vec<&Fold> = folds.iter().collect();
    sorted.sort_by_key(|fold| fold.alert);
    let head = "INSERT OR REPLACE INTO folds \
        (tenant, shard, alert, count, starts_at, ends_at, timed_out, last_seen, folded_through)";
    write_rows(connection, (COMMIT, shard), (head, 7, ""), &sorted, |query, fold| bind_fold(query, fold)).await?;
    let said: Vec<&Fold> = sorted.into_iter().filter(|fold| fold.said.is_some()).collect();
    for piece in pieces(said.len()) {
        let rows = vec!["(?,?,?,?)"; piece.len()].join(",");
        let sql = format!(
            "WITH said (id, severity, annotations, content) AS (VALUES {rows}) UPDATE alerts SET \
            severity = said.severity, annotations = said.annotations, content = said.content FROM said \
            WHERE alerts.tenant = ? AND alerts.shard = ? AND alerts.id = said.id"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for fold in &said[piece] {
            if let Some((severity, annotations, content)) = &fold.said {
                let annotations = json::write(&json::LabelsOut(annotations));
                query = query.bind(fold.alert.0.cast_signed()).bind(*severity as i32);
                query = query.bind(annotations).bind(content.cast_signed());
            }
        }
        let query = query.bind(shard.tenant).bind(shard.number);
        query.execute(&mut *connection).await.map_err(fault(COMMIT))?;
    }
    Ok(())
}
