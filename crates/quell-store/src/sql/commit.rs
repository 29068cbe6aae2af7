//! One commit: effects, positions, flush and outbox in one transaction. Absent on purpose: the transaction itself.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use quell_domain::{Activation, Alert, ArtefactKind, Incident, IncidentId, Shard, Timestamp};
use quell_engine::{AlertChange, Checkpoint, Effects, Fold};

use super::rows::{ALERT_COLUMNS, Cells, INCIDENT_COLUMNS, VERDICTS, bind_alert, bind_fold, bind_incident, number};
use super::statement::{Query, Table, put_rows, with_given, write_rows};
use super::{Session, change_events, outbox, problems};
use crate::contract::{Change, Commit, Committed, Flush, StoreError, Version};
use crate::{json, said};

const COMMIT: &str = "commit";

const TIMELINE: Table = Table { name: "timeline", columns: &["incident", "at", "actor", "reason"] };

/// What stands before and after the rows of an upsert.
pub(super) type Upsert = LazyLock<(String, String)>;

const ALERTS: Table = Table { name: "alerts", columns: &ALERT_COLUMNS };
const INCIDENTS: Table = Table { name: "incidents", columns: &INCIDENT_COLUMNS };
const FOLDS: Table = Table {
    name: "folds",
    columns: &["alert", "count", "starts_at", "ends_at", "timed_out", "last_seen", "folded_through"],
};

/// What is done where a row is there already.
type Again = LazyLock<String>;

static ALERTS_AGAIN: Again = LazyLock::new(|| again(ALERTS, &["id"]));
static INCIDENTS_AGAIN: Again = LazyLock::new(|| again(INCIDENTS, &["number"]));
static FOLDS_AGAIN: Again = LazyLock::new(|| again(FOLDS, &["alert"]));
static PARKED: Upsert = LazyLock::new(|| {
    let columns = ["position", "ordinal", "item", "source", "received_at", "reason", "raw"];
    upsert("parked", &columns, &["position", "ordinal"])
});
static OUTCOMES: Upsert = LazyLock::new(|| upsert("command_outcomes", &["command", "after", "verdict"], &["command"]));
static FEEDBACK: Upsert =
    LazyLock::new(|| upsert("feedback", &["command", "incident", "at", "actor", "standing", "said"], &["command"]));
static ACTIVATIONS: Upsert =
    LazyLock::new(|| upsert("activations", &["kind", "at", "position", "digest"], &["kind", "at", "position"]));
/// What stands before and after the rows of an upsert. Of one key there may be one row only: neither database promises
/// which of two would hold.
pub(super) fn upsert(table: &str, columns: &[&str], key: &[&str]) -> (String, String) {
    let head = format!("INSERT INTO {table} (tenant, shard, {})", columns.join(", "));
    (head, over(table, columns, key))
}

/// The same, behind the rows of a table.
fn again(table: Table, key: &[&str]) -> String {
    over(table.name, table.columns, key)
}

/// The new row takes the place of the one that is there.
fn over(table: &str, columns: &[&str], key: &[&str]) -> String {
    let set: Vec<String> = columns
        .iter()
        .filter(|column| !key.contains(column))
        .map(|column| format!("{column} = {}", kept(table, column)))
        .collect();
    format!("ON CONFLICT (tenant, shard, {}) DO UPDATE SET {}", key.join(", "), set.join(", "))
}

/// The last item of each key, in the order of the keys.
pub(super) fn last_of<'a, I, K: Ord>(items: &'a [I], key: impl Fn(&'a I) -> K) -> Vec<&'a I> {
    items.iter().map(|item| (key(item), item)).collect::<BTreeMap<K, &'a I>>().into_values().collect()
}

/// The value a column has after an upsert: the new one, but for an alert's reasons. A version that gives none of them
/// anew keeps those that were remembered; a binding and the reason for having none replace each other.
fn kept(table: &str, column: &str) -> String {
    const BOUND: &str = "(excluded.bound_because IS NULL AND excluded.unbound_because IS NULL)";
    match (table, column) {
        ("alerts", "ci" | "confidence" | "bound_because" | "unbound_because") => {
            format!("CASE WHEN {BOUND} THEN {table}.{column} ELSE excluded.{column} END")
        }
        ("alerts", "member_because") => format!("coalesce(excluded.{column}, {table}.{column})"),
        _ => format!("excluded.{column}"),
    }
}

/// About how many rows a commit writes.
pub(super) fn weight(commit: &Commit<'_>) -> usize {
    let Effects { alerts, incidents, timeline, notices, parked, changes, .. } = commit.effects;
    let folds = commit.flush.map_or(0, |flush| flush.folds.len() / 16);
    alerts.len() + incidents.len() + timeline.len() + notices.len() + parked.len() + changes.len() + folds
}

/// The place of a commit among all commits of its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claimed {
    /// The first number that its changes may have.
    first_change: u64,
    /// The last one: it is greater with each commit that is made.
    pub(crate) last_change: u64,
}

impl Claimed {
    /// Where it stands after all earlier ones: the last number of theirs.
    pub(crate) fn after(self) -> u64 {
        self.first_change - 1
    }
}

/// Moves the shard's positions if the epoch is still ours. The first statement of the transaction: a writer that lost
/// the shard does no work and leaves no trace, and whoever takes the shard over waits for one that has not.
pub(super) async fn claim<S: Session>(session: &mut S, commit: &Commit<'_>) -> Result<Claimed, StoreError> {
    let Commit { shard, epoch, applied, commands, checkpoint, effects, activations: _, problem_sinks: _, flush } =
        commit;
    let Checkpoint { now, last_alert, last_incident, topology: _, rules: _, learned: _ } = *checkpoint;
    let digest = |kind| checkpoint.artefact(kind).map(|digest| digest.0.to_vec());
    // At least one, so that no two commits have the same last number.
    let changes = i64::try_from(last_incidents(effects).len()).unwrap_or(i64::MAX).max(1);
    let sql = "UPDATE shards SET applied = ?1, commands = ?2, folded = CASE WHEN ?3 THEN ?1 ELSE folded END, \
        engine_now = ?4, last_alert = ?5, last_incident = ?6, topology = ?7, rules = ?8, learned = ?9, \
        changes = changes + ?10 WHERE tenant = ?11 AND shard = ?12 AND epoch = ?13 RETURNING changes";
    let query = Query::new(sql)
        .bind(applied.0.cast_signed())
        .bind(commands.0.cast_signed())
        .bind(flush.is_some())
        .bind(now.map(Timestamp::micros))
        .bind(last_alert.cast_signed())
        .bind(last_incident.cast_signed())
        .bind(digest(ArtefactKind::Topology))
        .bind(digest(ArtefactKind::Rules))
        .bind(digest(ArtefactKind::Learned))
        .bind(changes)
        .bind(shard.tenant)
        .bind(shard.number)
        .bind(epoch.cast_signed());
    let after = session.collect(COMMIT, query, |row| Cells::new(COMMIT, "shard", row).unsigned()).await?;
    let fenced = || StoreError::Fenced { operation: COMMIT, epoch: *epoch };
    let last_change = after.first().copied().ok_or_else(fenced)?;
    Ok(Claimed { first_change: last_change - changes.cast_unsigned() + 1, last_change })
}

fn last_incidents(effects: &Effects) -> BTreeMap<u64, &Incident> {
    effects.incidents.iter().map(|incident| (incident.id.number, incident)).collect()
}

/// Writes everything of a commit that is claimed.
pub(super) async fn write<S: Session>(
    session: &mut S,
    commit: &Commit<'_>,
    sinks: &[String],
    claimed: Claimed,
) -> Result<Committed, StoreError> {
    let shard = commit.shard;
    let Effects {
        alerts,
        incidents: _,
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
    write_alerts(session, shard, alerts).await?;
    let changes = write_incidents(session, shard, &last_incidents(commit.effects), claimed.first_change).await?;
    write_history(session, shard, commit.effects).await?;
    change_events::write(session, shard, told).await?;
    problems::write(session, shard, of_problems).await?;
    write_activations(session, shard, commit.activations).await?;
    outbox::add(session, shard, notices, sinks).await?;
    let entries = &of_problems.timeline;
    outbox::add_problems(session, shard, entries, commit.problem_sinks, claimed.last_change).await?;
    if let Some(Flush { folds }) = commit.flush {
        write_folds(session, shard, folds).await?;
    }
    forget_alerts(session, shard, alerts).await?;
    let_go_of_alerts(session, shard, alerts).await?;
    let_go_of_incidents(session, shard, forgotten).await?;
    Ok(Committed { changes })
}

/// Incidents that are over become history, with their ended alerts.
async fn let_go_of_incidents<S: Session>(
    session: &mut S,
    shard: Shard,
    forgotten: &[IncidentId],
) -> Result<(), StoreError> {
    let numbers: Vec<i64> = forgotten.iter().map(|&id| number(COMMIT, shard, id)).collect::<Result<_, _>>()?;
    let let_go = "SET in_hand = 0 WHERE";
    by_number(session, shard, (&format!("UPDATE incidents {let_go}"), "number", ""), &numbers).await?;
    by_number(session, shard, (&format!("UPDATE alerts {let_go}"), "incident", " AND state = 1"), &numbers).await
}

/// Writes the last version of each alert; what repeats had changed of it is contained in that.
async fn write_alerts<S: Session>(session: &mut S, shard: Shard, changes: &[AlertChange]) -> Result<(), StoreError> {
    let opened: BTreeSet<u64> = changes.iter().filter_map(opened).collect();
    let last = last_changes(changes).into_values().flatten();
    let (new, puts): (Vec<_>, Vec<_>) = last.partition(|alert| opened.contains(&alert.id.0));
    for incident in new.iter().chain(&puts).filter_map(|alert| alert.incident) {
        number(COMMIT, shard, incident)?;
    }
    let bind = |query, alert: &Cow<'_, Alert>| bind_alert(query, alert);
    put_rows(session, (COMMIT, shard), (ALERTS, ""), &new, bind).await?;
    put_rows(session, (COMMIT, shard), (ALERTS, &ALERTS_AGAIN), &puts, bind).await?;
    let ids: Vec<i64> = puts.iter().map(|alert| alert.id.0.cast_signed()).collect();
    by_number(session, shard, ("DELETE FROM folds WHERE", "alert", ""), &ids).await
}

/// The episode that a change opened: there is no row of it yet, and no repeat.
fn opened(change: &AlertChange) -> Option<u64> {
    match change {
        AlertChange::Open(alert) => Some(alert.id.0),
        AlertChange::Put(_) | AlertChange::Forget(_) | AlertChange::LetGo(_) => None,
    }
}

/// The last change of each alert, by id, with the reasons that only earlier ones gave; `None` for one to be forgotten.
fn last_changes(changes: &[AlertChange]) -> BTreeMap<u64, Option<Cow<'_, Alert>>> {
    let mut last: BTreeMap<u64, Option<Cow<'_, Alert>>> = BTreeMap::new();
    for change in changes {
        match change {
            AlertChange::Open(alert) | AlertChange::Put(alert) => {
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

async fn forget_alerts<S: Session>(session: &mut S, shard: Shard, changes: &[AlertChange]) -> Result<(), StoreError> {
    let gone: Vec<i64> = last_changes(changes)
        .into_iter()
        .filter(|(_, alert)| alert.is_none())
        .map(|(id, _)| id.cast_signed())
        .collect();
    by_number(session, shard, ("DELETE FROM alerts WHERE", "id", ""), &gone).await?;
    by_number(session, shard, ("DELETE FROM folds WHERE", "alert", ""), &gone).await
}

/// Ended alerts of no incident become history.
async fn let_go_of_alerts<S: Session>(
    session: &mut S,
    shard: Shard,
    changes: &[AlertChange],
) -> Result<(), StoreError> {
    let let_go = |change: &AlertChange| match change {
        AlertChange::LetGo(id) => Some(id.0.cast_signed()),
        AlertChange::Open(_) | AlertChange::Put(_) | AlertChange::Forget(_) => None,
    };
    let ids: Vec<i64> = changes.iter().filter_map(let_go).collect();
    by_number(session, shard, ("UPDATE alerts SET in_hand = 0 WHERE", "id", ""), &ids).await
}

/// Runs a statement over the rows of the shard that have one of these numbers in a column.
pub(super) async fn by_number<S: Session>(
    session: &mut S,
    shard: Shard,
    (statement, column, more): (&str, &str, &str),
    numbers: &[i64],
) -> Result<(), StoreError> {
    let statement = format!("{statement} (tenant, shard, {column}) IN (SELECT tenant, shard, number FROM given){more}");
    with_given(session, (COMMIT, shard), (&["number"], &statement), numbers, |query, number| query.bind(*number)).await
}

/// Writes the last version of each incident and numbers the changes.
async fn write_incidents<S: Session>(
    session: &mut S,
    shard: Shard,
    incidents: &BTreeMap<u64, &Incident>,
    first_change: u64,
) -> Result<Vec<Change>, StoreError> {
    let numbered: Vec<(u64, &Incident)> = (first_change..).zip(incidents.values().copied()).collect();
    for (_, incident) in &numbered {
        number(COMMIT, shard, incident.id)?;
    }
    let bind = |query, &(change, incident): &(u64, &Incident)| bind_incident(query, incident, change);
    put_rows(session, (COMMIT, shard), (INCIDENTS, &INCIDENTS_AGAIN), &numbered, bind).await?;
    let change = |(number, &Incident { id, state, .. }): (u64, &Incident)| Change { number, incident: id, state };
    Ok(numbered.into_iter().map(change).collect())
}

/// Writes what is only ever added: timeline entries, parked parts, outcomes and what operators said.
async fn write_history<S: Session>(session: &mut S, shard: Shard, effects: &Effects) -> Result<(), StoreError> {
    for entry in &effects.timeline {
        number(COMMIT, shard, entry.incident)?;
    }
    put_rows(session, (COMMIT, shard), (TIMELINE, ""), &effects.timeline, |query, entry| {
        let quell_domain::TimelineEntry { incident, at, actor, reason } = entry;
        let query = query.bind(incident.number.cast_signed()).bind(at.micros());
        query.bind(actor.clone()).bind(json::write_reason(reason))
    })
    .await?;
    let (head, tail) = &*PARKED;
    let parked = last_of(&effects.parked, |parked| (parked.position, parked.ordinal));
    write_rows(session, (COMMIT, shard), (head, 7, tail), &parked, |query, parked| {
        let quell_engine::Parked { position, ordinal, item, source, received_at, reason, raw } = parked;
        let query = query.bind(position.0.cast_signed()).bind(*ordinal).bind(*item).bind(*source as i32);
        query.bind(received_at.micros()).bind(reason.clone()).bind(raw.clone())
    })
    .await?;
    let (head, tail) = &*OUTCOMES;
    let outcomes = last_of(&effects.outcomes, |outcome| outcome.command);
    write_rows(session, (COMMIT, shard), (head, 3, tail), &outcomes, |query, outcome| {
        let quell_domain::Outcome { command, after, verdict } = outcome;
        let verdict = VERDICTS.iter().position(|known| known == verdict).map(|at| at as i64);
        query.bind(command.0.cast_signed()).bind(after.0.cast_signed()).bind(verdict)
    })
    .await?;
    for said in &effects.feedback {
        number(COMMIT, shard, said.incident)?;
    }
    let (head, tail) = &*FEEDBACK;
    let feedback = last_of(&effects.feedback, |feedback| feedback.command);
    write_rows(session, (COMMIT, shard), (head, 6, tail), &feedback, |query, feedback| {
        let quell_domain::Feedback { command, incident, actor, at, said, standing } = feedback;
        let query = query.bind(command.0.cast_signed()).bind(incident.number.cast_signed()).bind(at.micros());
        query.bind(actor.clone()).bind(*standing as i32).bind(said::write_said(said))
    })
    .await
    .map(drop)
}

/// Writes what came into force; a record decided again after a restart changes nothing.
async fn write_activations<S: Session>(
    session: &mut S,
    shard: Shard,
    activations: &[Version],
) -> Result<(), StoreError> {
    let (head, tail) = &*ACTIVATIONS;
    let versions = last_of(activations, |version| (version.activation.kind as u8, version.at, version.position));
    write_rows(session, (COMMIT, shard), (head, 4, tail), &versions, |query, version| {
        let Version { position, at, activation: Activation { kind, digest } } = version;
        query.bind(*kind as u8).bind(at.micros()).bind(position.0.cast_signed()).bind(digest.0.to_vec())
    })
    .await
    .map(drop)
}

/// Writes what repeats changed: the narrow part of every alert, and the text of those that said something new.
async fn write_folds<S: Session>(session: &mut S, shard: Shard, folds: &[Fold]) -> Result<(), StoreError> {
    let sorted = last_of(folds, |fold| fold.alert);
    put_rows(session, (COMMIT, shard), (FOLDS, &FOLDS_AGAIN), &sorted, |query, fold| bind_fold(query, fold)).await?;
    let said: Vec<_> = sorted.iter().filter_map(|fold| Some((fold.alert, fold.said.as_ref()?))).collect();
    let statement = "UPDATE alerts SET severity = given.severity, annotations = given.annotations, content = given.content \
        FROM given WHERE alerts.tenant = given.tenant AND alerts.shard = given.shard AND alerts.id = given.id";
    let given: (&[&str], &str) = (&["id", "severity", "annotations", "content"], statement);
    with_given(session, (COMMIT, shard), given, &said, |query, (alert, (severity, annotations, content))| {
        let query = query.bind(alert.0.cast_signed()).bind(*severity as i32);
        query.bind(json::write(&json::LabelsOut(annotations))).bind(content.cast_signed())
    })
    .await
}
