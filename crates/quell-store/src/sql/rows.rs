//! Values to rows and back, column by column. Values are taken apart exhaustively, so that a new field cannot be
//! forgotten here. Absent on purpose: which rows are read or written when.

use std::borrow::Cow;

use quell_domain::{
    Alert, AlertId, AlertState, Binding, CiId, Ending, Fingerprint, Impact, Incident, IncidentId, IncidentState,
    Position, Priority, Severity, Shard, Source, Timestamp, Transition, Urgency, Verdict,
};
use quell_engine::Fold;

use super::statement::Query;
use super::{Row, damaged};
use crate::contract::StoreError;
use crate::{json, said};

/// The columns of an alert after tenant and shard, in the order of [`bind_alert`].
pub(super) const ALERT_COLUMNS: [&str; 28] = [
    "id",
    "in_hand",
    "fingerprint",
    "source",
    "state",
    "severity",
    "content",
    "ci",
    "confidence",
    "incident",
    "starts_at",
    "ends_at",
    "ending",
    "timed_out",
    "count",
    "first_seen",
    "began_at",
    "last_seen",
    "opened_position",
    "opened_ordinal",
    "closed_position",
    "folded_through",
    "labels",
    "annotations",
    "bound_because",
    "unbound_because",
    "member_because",
    "twin_of",
];

/// Reads alerts with what repeats changed since; followed by `WHERE`. Columns in the order of [`read_alert`].
pub(super) const SELECT_ALERTS: &str = "SELECT a.id, a.fingerprint, a.source, a.state, a.severity, a.content, a.ci, \
    a.confidence, a.incident, coalesce(f.starts_at, a.starts_at), \
    CASE WHEN f.alert IS NULL THEN a.ends_at ELSE f.ends_at END, a.ending, coalesce(f.timed_out, a.timed_out), \
    coalesce(f.count, a.count), a.first_seen, a.began_at, coalesce(f.last_seen, a.last_seen), a.opened_position, \
    a.opened_ordinal, a.closed_position, coalesce(f.folded_through, a.folded_through), a.labels, \
    a.annotations, a.bound_because, a.unbound_because, a.member_because, a.twin_of FROM alerts a \
    LEFT JOIN folds f ON f.tenant = a.tenant AND f.shard = a.shard AND f.alert = a.id";

/// An id of this shard as its number: rows of a shard hold only what it opened.
pub(super) fn number(operation: &'static str, shard: Shard, id: IncidentId) -> Result<i64, StoreError> {
    if id.shard != shard.number {
        return Err(damaged(operation, id.to_string(), "it belongs to another shard"));
    }
    Ok(id.number.cast_signed())
}

/// Binds an alert's row; its incident's shard was checked.
pub(super) fn bind_alert(query: Query, alert: &Alert) -> Query {
    let Alert {
        id,
        fingerprint,
        source,
        state,
        severity,
        labels,
        annotations,
        content,
        binding,
        unbound,
        incident,
        membership,
        twin_of,
        starts_at,
        ends_at,
        ending,
        timed_out,
        count,
        first_seen,
        began_at,
        last_seen,
        opened_position,
        opened_ordinal,
        closed_position,
        folded_through,
    } = alert;
    let (ci, confidence, because) = match binding {
        Some(Binding { ci, confidence, reason }) => (Some(ci.as_str().to_owned()), Some(*confidence), Some(reason)),
        None => (None, None, None),
    };
    query
        .bind(id.0.cast_signed())
        .bind(1_i32)
        .bind(fingerprint.0.to_be_bytes().to_vec())
        .bind(*source as i32)
        .bind(*state as i32)
        .bind(*severity as i32)
        .bind(content.cast_signed())
        .bind(ci)
        .bind(confidence)
        .bind(incident.map(|id| id.number.cast_signed()))
        .bind(starts_at.micros())
        .bind(ends_at.map(Timestamp::micros))
        .bind(*ending as i32)
        .bind(*timed_out)
        .bind(count.cast_signed())
        .bind(first_seen.micros())
        .bind(began_at.micros())
        .bind(last_seen.micros())
        .bind(opened_position.0.cast_signed())
        .bind(*opened_ordinal)
        .bind(closed_position.map(|position| position.0.cast_signed()))
        .bind(folded_through.0.cast_signed())
        .bind(json::write(&json::LabelsOut(labels)))
        .bind(json::write(&json::LabelsOut(annotations)))
        .bind(because.map(json::write_reason))
        .bind(unbound.as_ref().map(json::write_reason))
        .bind(membership.as_ref().map(json::write_reason))
        .bind(twin_of.map(|id| id.0.cast_signed()))
}

/// Reads a row of [`SELECT_ALERTS`].
pub(super) fn read_alert<R: Row>(operation: &'static str, shard: Shard, row: &R) -> Result<Alert, StoreError> {
    let mut row = Cells::new(operation, "alert", row);
    let id = AlertId(row.unsigned()?);
    row.id = id.0;
    let fingerprint: &[u8] = row.next()?;
    let fingerprint = fingerprint.try_into().map_err(|_| row.wrong("its fingerprint is not 16 bytes"))?;
    let fingerprint = Fingerprint(u128::from_be_bytes(fingerprint));
    let source = row.code(|code| Source::ALL.into_iter().find(|known| *known as i64 == code))?;
    let state = [AlertState::Firing, AlertState::Ended, AlertState::Stale];
    let state = row.code(|code| state.into_iter().find(|known| *known as i64 == code))?;
    let severity = row.code(|code| Severity::ALL.into_iter().find(|known| *known as i64 == code))?;
    let content = row.unsigned()?;
    let (ci, confidence): (Option<Cow<'_, str>>, Option<f64>) = (row.next()?, row.next()?);
    let incident = row.optional()?.map(|number| IncidentId { shard: shard.number, number: number.cast_unsigned() });
    let (starts_at, ends_at) = (row.time()?, row.optional()?.map(Timestamp::from_micros));
    let ending = [Ending::Expires, Ending::Explicit];
    let ending = row.code(|code| ending.into_iter().find(|known| *known as i64 == code))?;
    let (timed_out, count) = (row.next()?, row.unsigned()?);
    let (first_seen, began_at, last_seen) = (row.time()?, row.time()?, row.time()?);
    let (opened_position, opened_ordinal) = (Position(row.unsigned()?), row.small()?);
    let closed_position = row.optional()?.map(|position| Position(position.cast_unsigned()));
    let folded_through = Position(row.unsigned()?);
    let labels = row.json(json::read::<json::LabelsIn>)?.0;
    let annotations = row.json(json::read::<json::LabelsIn>)?.0;
    let because = row.optional_json(json::read_reason)?;
    let unbound = row.optional_json(json::read_reason)?;
    let membership = row.optional_json(json::read_reason)?;
    let twin_of = row.optional()?.map(|id| AlertId(id.cast_unsigned()));
    let binding = match (ci, confidence, because) {
        (Some(ci), Some(confidence), Some(reason)) => Some(Binding { ci: CiId::new(&ci), confidence, reason }),
        (None, None, None) => None,
        _ => return Err(row.wrong("its binding is incomplete")),
    };
    Ok(Alert {
        id,
        fingerprint,
        source,
        state,
        severity,
        labels,
        annotations,
        content,
        binding,
        unbound,
        incident,
        membership,
        twin_of,
        starts_at,
        ends_at,
        ending,
        timed_out,
        count,
        first_seen,
        began_at,
        last_seen,
        opened_position,
        opened_ordinal,
        closed_position,
        folded_through,
    })
}

/// Binds what a repeat changed, without what was said; the columns of `folds` after tenant and shard.
pub(super) fn bind_fold(query: Query, fold: &Fold) -> Query {
    let Fold { alert, count, starts_at, ends_at, timed_out, last_seen, folded_through, said: _ } = fold;
    query
        .bind(alert.0.cast_signed())
        .bind(count.cast_signed())
        .bind(starts_at.micros())
        .bind(ends_at.map(Timestamp::micros))
        .bind(*timed_out)
        .bind(last_seen.micros())
        .bind(folded_through.0.cast_signed())
}

/// The columns of an incident after tenant and shard, in the order of [`bind_incident`].
pub(super) const INCIDENT_COLUMNS: [&str; 31] = [
    "number",
    "in_hand",
    "change",
    "state",
    "title",
    "priority",
    "impact",
    "urgency",
    "opened_position",
    "opened_ordinal",
    "opened_at",
    "started_at",
    "last_fired_at",
    "resolved_at",
    "resolved_by",
    "acknowledged_at",
    "acknowledged_by",
    "reopened",
    "alerts",
    "firing",
    "causes",
    "blast_radius",
    "review_at",
    "transitions",
    "merged_into",
    "moved",
    "split_from",
    "verdicts",
    "acts",
    "held_apart",
    "looked_at",
];

/// Reads incidents; followed by `WHERE`. Columns in the order of [`read_incident`].
pub(super) const SELECT_INCIDENTS: &str = "SELECT number, state, title, priority, impact, urgency, opened_position, \
    opened_ordinal, opened_at, started_at, last_fired_at, resolved_at, resolved_by, acknowledged_at, acknowledged_by, \
    reopened, alerts, firing, causes, blast_radius, review_at, transitions, merged_into, moved, \
    split_from, verdicts, acts, held_apart, looked_at FROM incidents";

/// Binds an incident's row with the number of its change; its shard was checked.
pub(super) fn bind_incident(query: Query, incident: &Incident, change: u64) -> Query {
    let Incident {
        id,
        state,
        title,
        priority,
        impact,
        urgency,
        opened_position,
        opened_ordinal,
        opened_at,
        started_at,
        last_fired_at,
        resolved_at,
        resolved_by,
        acknowledged_at,
        acknowledged_by,
        reopened,
        alerts,
        firing,
        causes,
        blast_radius,
        review_at,
        transitions,
        merged_into,
        moved,
        split_from,
        verdicts,
        acts,
        held_apart,
        looked_at,
    } = incident;
    query
        .bind(id.number.cast_signed())
        .bind(1_i32)
        .bind(change.cast_signed())
        .bind(*state as i32)
        .bind(title.clone())
        .bind(priority.number())
        .bind(*impact as i32)
        .bind(*urgency as i32)
        .bind(opened_position.0.cast_signed())
        .bind(*opened_ordinal)
        .bind(opened_at.micros())
        .bind(started_at.micros())
        .bind(last_fired_at.micros())
        .bind(resolved_at.map(Timestamp::micros))
        .bind(resolved_by.clone())
        .bind(acknowledged_at.map(Timestamp::micros))
        .bind(acknowledged_by.clone())
        .bind(*reopened)
        .bind(alerts.cast_signed())
        .bind(firing.cast_signed())
        .bind(json::write_causes(causes))
        .bind(json::write_blast(blast_radius))
        .bind(review_at.map(Timestamp::micros))
        .bind(*transitions)
        .bind(merged_into.map(|id| id.number.cast_signed()))
        .bind(json::write(&moved.iter().map(|id| id.0).collect::<Vec<_>>()))
        .bind(split_from.map(|id| id.number.cast_signed()))
        .bind(said::write_verdicts(verdicts))
        .bind(said::write_acts(acts))
        .bind(*held_apart)
        .bind(*looked_at)
}

/// Reads a row of [`SELECT_INCIDENTS`].
pub(super) fn read_incident<R: Row>(operation: &'static str, shard: Shard, row: &R) -> Result<Incident, StoreError> {
    let mut row = Cells::new(operation, "incident", row);
    let id = IncidentId { shard: shard.number, number: row.unsigned()? };
    row.id = id.number;
    let other = |number: i64| IncidentId { shard: shard.number, number: number.cast_unsigned() };
    let state = row.code(read_state)?;
    let title = row.next()?;
    let priority = row.code(read_priority)?;
    let impact = row.code(|code| by_order(&[Impact::Low, Impact::Medium, Impact::High], code))?;
    let urgency = row.code(|code| by_order(&[Urgency::Low, Urgency::Medium, Urgency::High], code))?;
    Ok(Incident {
        id,
        state,
        title,
        priority,
        impact,
        urgency,
        opened_position: Position(row.unsigned()?),
        opened_ordinal: row.small()?,
        opened_at: row.time()?,
        started_at: row.time()?,
        last_fired_at: row.time()?,
        resolved_at: row.optional()?.map(Timestamp::from_micros),
        resolved_by: row.next()?,
        acknowledged_at: row.optional()?.map(Timestamp::from_micros),
        acknowledged_by: row.next()?,
        reopened: row.small()?,
        alerts: row.unsigned()?,
        firing: row.unsigned()?,
        causes: row.json(json::read_causes)?,
        blast_radius: row.json(json::read_blast)?,
        review_at: row.optional()?.map(Timestamp::from_micros),
        transitions: row.small()?,
        merged_into: row.optional()?.map(other),
        moved: row.json(json::read::<Vec<u64>>)?.into_iter().map(AlertId).collect(),
        split_from: row.optional()?.map(other),
        verdicts: row.json(said::read_verdicts)?,
        acts: row.json(|text| said::read_acts(text, shard.number))?,
        held_apart: row.next()?,
        looked_at: row.small()?,
    })
}

/// The state with that number.
pub(super) fn read_state(code: i64) -> Option<IncidentState> {
    [IncidentState::Open, IncidentState::Resolved].into_iter().find(|known| *known as i64 == code)
}

/// The priority with that number.
pub(super) fn read_priority(code: i64) -> Option<Priority> {
    Priority::new(u8::try_from(code).ok()?)
}

/// The transition with that number.
pub(super) fn read_transition(code: i64) -> Option<Transition> {
    by_order(&Transition::ALL, code)
}

/// Every verdict; its place here is what is stored.
pub(super) const VERDICTS: [Verdict; 4] = [Verdict::Done, Verdict::Unchanged, Verdict::NotFound, Verdict::Refused];

/// What stands at a stored place.
pub(super) fn by_order<T: Copy>(all: &[T], code: i64) -> Option<T> {
    all.get(usize::try_from(code).ok()?).copied()
}

/// The cells of a row, read from left to right.
pub(super) struct Cells<'r, R> {
    operation: &'static str,
    noun: &'static str,
    /// Names the row in errors, once it is read.
    pub(super) id: u64,
    row: &'r R,
    at: usize,
}

impl<'r, R: Row> Cells<'r, R> {
    pub(super) fn new(operation: &'static str, noun: &'static str, row: &'r R) -> Self {
        Cells { operation, noun, id: 0, row, at: 0 }
    }

    /// The next cell as it is.
    pub(super) fn next<T: FromCell<'r>>(&mut self) -> Result<T, StoreError> {
        let at = self.at;
        self.at += 1;
        T::read(self.row, at).map_err(|error| R::fault(self.operation, error))
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, StoreError> {
        self.next::<i64>().map(i64::cast_unsigned)
    }

    pub(super) fn small(&mut self) -> Result<u32, StoreError> {
        let value = self.next::<i64>()?;
        u32::try_from(value).map_err(|_| self.wrong("a number is out of range"))
    }

    pub(super) fn optional(&mut self) -> Result<Option<i64>, StoreError> {
        self.next()
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.next().map(Timestamp::from_micros)
    }

    pub(super) fn code<T>(&mut self, known: impl Fn(i64) -> Option<T>) -> Result<T, StoreError> {
        let code = self.next::<i64>()?;
        known(code).ok_or_else(|| self.wrong(&format!("code {code} in column {} is unknown", self.at - 1)))
    }

    pub(super) fn json<T>(&mut self, read: impl Fn(&str) -> Result<T, String>) -> Result<T, StoreError> {
        let text = self.next()?;
        read(text).map_err(|why| self.wrong(&why))
    }

    pub(super) fn optional_json<T>(
        &mut self,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<&str> = self.next()?;
        text.map(read).transpose().map_err(|why| self.wrong(&why))
    }

    pub(super) fn wrong(&self, why: &str) -> StoreError {
        damaged(self.operation, format!("{} {}", self.noun, self.id), why)
    }
}

/// What a cell can be read as.
pub(crate) trait FromCell<'r>: Sized {
    /// Reads a cell.
    fn read<R: Row>(row: &'r R, at: usize) -> Result<Self, sqlx::Error>;
}

macro_rules! from_cells {
    ($($kind:ty => |$row:ident, $at:ident| $read:expr;)*) => {
        $(
            impl<'r> FromCell<'r> for Option<$kind> {
                fn read<R: Row>($row: &'r R, $at: usize) -> Result<Self, sqlx::Error> {
                    $read
                }
            }

            impl<'r> FromCell<'r> for $kind {
                fn read<R: Row>(row: &'r R, at: usize) -> Result<Self, sqlx::Error> {
                    let value: Option<$kind> = FromCell::read(row, at)?;
                    value.ok_or_else(|| sqlx::Error::Decode(format!("column {at} has no value").into()))
                }
            }
        )*
    };
}

// A text that is borrowed as it lies in the database can be JSON only: it says everything unusual by escapes of its own.
from_cells! {
    i64 => |row, at| row.integer(at);
    f64 => |row, at| row.real(at);
    bool => |row, at| row.truth(at);
    &'r str => |row, at| row.text(at);
    &'r [u8] => |row, at| row.bytes(at);
    Vec<u8> => |row, at| Ok(row.bytes(at)?.map(<[u8]>::to_vec));
    Cow<'r, str> => |row, at| Ok(row.text(at)?.map(R::plain));
    String => |row, at| Ok(row.text(at)?.map(|text| R::plain(text).into_owned()));
    u32 => |row, at| {
        let value = row.integer(at)?.map(u32::try_from).transpose();
        value.map_err(|error| sqlx::Error::Decode(error.into()))
    };
}
