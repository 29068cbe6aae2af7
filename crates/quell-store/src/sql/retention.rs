//! Deletes old history in pieces, and artefacts that nothing needs any more. Absent on purpose: how long history is
//! kept.

use quell_domain::{ArtefactKind, Position, Shard, Timestamp};

use super::Session;
use super::commit::by_number;
use super::rows::Cells;
use super::statement::Query;
use crate::contract::StoreError;

/// Rows of each table that one piece deletes, so that no commit waits long behind it.
const PIECE: i64 = 500;
const FORGET: &str = "forget";

/// One piece of forgetting.
pub(super) struct Piece {
    pub(super) rows: u64,
    pub(super) more: bool,
}

/// Deletes a piece of what is older than `before`.
pub(super) async fn forget_piece<S: Session>(
    session: &mut S,
    shard: Shard,
    before: Timestamp,
) -> Result<Piece, StoreError> {
    let mut piece = Piece { rows: 0, more: false };
    for (sql, dependent) in KINDS {
        let query = Query::new(sql).bind(shard.tenant).bind(shard.number).bind(before.micros()).bind(PIECE);
        let gone: Vec<i64> = session.collect(FORGET, query, |row| Cells::new(FORGET, "row", row).next()).await?;
        piece.more |= gone.len() as i64 == PIECE;
        piece.rows += gone.len() as u64;
        if let Some((statement, column)) = dependent {
            by_number(session, shard, (statement, column, ""), &gone).await?;
        }
    }
    Ok(piece)
}

/// See [`crate::Store::drop_superseded`]. Artefacts are shared by their digest, so every shard is asked.
pub(super) async fn drop_superseded<S: Session>(
    session: &mut S,
    shard: Shard,
    kind: ArtefactKind,
    before: Position,
) -> Result<u64, StoreError> {
    const DROP: &str = "drop superseded";
    let sql = "DELETE FROM activations WHERE tenant = ?1 AND shard = ?2 AND kind = ?3 AND position < (SELECT \
        max(position) FROM activations WHERE tenant = ?1 AND shard = ?2 AND kind = ?3 AND position <= ?4) \
        RETURNING digest";
    let query = Query::new(sql).bind(shard.tenant).bind(shard.number).bind(kind as u8);
    let query = query.bind(before.0.cast_signed());
    let gone: Vec<Vec<u8>> = session.collect(DROP, query, |row| Cells::new(DROP, "activation", row).next()).await?;
    let column = match kind {
        ArtefactKind::Topology => "topology",
        ArtefactKind::Rules => "rules",
        ArtefactKind::Learned => "learned",
    };
    let mut sql = Query::new("DELETE FROM artefacts WHERE kind = ");
    sql.push_bind(kind as u8).push(" AND NOT EXISTS (SELECT 1 FROM activations WHERE kind = artefacts.kind ");
    sql.push("AND digest = artefacts.digest) AND NOT EXISTS (SELECT 1 FROM shards WHERE ").push(column);
    // What nothing names may wait to be put in force in another shard.
    sql.push(" = artefacts.digest) AND (NOT EXISTS (SELECT 1 FROM sharding WHERE shards > 1) OR digest IN (");
    sql.push_list(gone).push("))");
    session.execute(DROP, sql).await
}

/// What deletes the oldest rows of each kind, and what goes with each of them.
const KINDS: [(&str, Option<(&str, &str)>); 10] = [
    (
        "DELETE FROM alerts WHERE tenant = ?1 AND shard = ?2 AND id IN (SELECT id FROM alerts WHERE tenant = ?1 \
        AND shard = ?2 AND in_hand = 0 AND ends_at < ?3 AND state = 1 ORDER BY ends_at LIMIT ?4) RETURNING id",
        Some(("DELETE FROM folds WHERE", "alert")),
    ),
    (
        "DELETE FROM incidents WHERE tenant = ?1 AND shard = ?2 AND number IN (SELECT number FROM incidents \
        WHERE tenant = ?1 AND shard = ?2 AND in_hand = 0 AND resolved_at < ?3 AND state = 1 \
        ORDER BY resolved_at LIMIT ?4) RETURNING number",
        Some(("DELETE FROM timeline WHERE", "incident")),
    ),
    (
        "DELETE FROM parked WHERE tenant = ?1 AND shard = ?2 AND (position, ordinal) IN (SELECT position, ordinal \
        FROM parked WHERE tenant = ?1 AND shard = ?2 AND received_at < ?3 ORDER BY received_at LIMIT ?4) \
        RETURNING position",
        None,
    ),
    (
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE tenant = ?1 AND shard = ?2 AND state <> 0 \
        AND done_at < ?3 ORDER BY done_at LIMIT ?4) RETURNING seq",
        None,
    ),
    (
        "DELETE FROM feedback WHERE tenant = ?1 AND shard = ?2 AND command IN (SELECT command FROM feedback \
        WHERE tenant = ?1 AND shard = ?2 AND standing <> 0 AND at < ?3 ORDER BY at LIMIT ?4) RETURNING command",
        None,
    ),
    (
        "DELETE FROM change_events WHERE tenant = ?1 AND shard = ?2 AND (position, ordinal) IN (SELECT position, \
        ordinal FROM change_events WHERE tenant = ?1 AND shard = ?2 AND in_hand = 0 AND received_at < ?3 \
        ORDER BY received_at LIMIT ?4) RETURNING position",
        None,
    ),
    // What recurrence is learned from is kept beyond its time, half a million of them; of signatures the newest stays,
    // because the next one is numbered after it.
    (
        "DELETE FROM recognitions WHERE tenant = ?1 AND shard = ?2 AND incident IN (SELECT incident FROM recognitions \
        WHERE tenant = ?1 AND shard = ?2 AND incident <= (SELECT max(incident) FROM recognitions WHERE tenant = ?1 \
        AND shard = ?2) - 500000 AND opened_at < ?3 ORDER BY incident LIMIT ?4) RETURNING incident",
        None,
    ),
    (
        "DELETE FROM signatures WHERE tenant = ?1 AND shard = ?2 AND number IN (SELECT number FROM signatures \
        WHERE tenant = ?1 AND shard = ?2 AND in_hand = 0 AND last_at < ?3 AND number < (SELECT max(number) \
        FROM signatures WHERE tenant = ?1 AND shard = ?2) ORDER BY last_at LIMIT ?4) RETURNING number",
        None,
    ),
    // A quarter of scorecards is enough to trust a forecast or not.
    (
        "DELETE FROM forecasts WHERE tenant = ?1 AND shard = ?2 AND (subject, horizon, at, name) IN (SELECT subject, \
        horizon, at, name FROM forecasts WHERE tenant = ?1 AND shard = ?2 AND marked = 1 AND at < ?3 LIMIT ?4) \
        RETURNING at",
        None,
    ),
    // The test of a fix looks half a year back and as far forward as it takes: ten thousand of them are kept.
    (
        "DELETE FROM outages WHERE tenant = ?1 AND shard = ?2 AND from_at IN (SELECT from_at FROM outages WHERE tenant = ?1 \
        AND shard = ?2 AND to_at < ?3 AND from_at < (SELECT min(from_at) FROM (SELECT from_at FROM outages \
        WHERE tenant = ?1 AND shard = ?2 ORDER BY from_at DESC LIMIT 10000) AS newest) ORDER BY from_at LIMIT ?4) \
        RETURNING from_at",
        None,
    ),
];
