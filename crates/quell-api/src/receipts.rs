//! What became of each item of a request, worked out from the record and the rows; nothing of it is stored.
//!
//! Absent on purpose: routes and JSON, and the fates of changes (`changes`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use quell_domain::{
    Action, Alert, AlertId, AlertState, Batch, Changes, Ending, Fingerprint, IncidentId, Item, Position, ReceiptId,
    Reject, Shard, Timestamp,
};
use quell_store::{Store, StoreError};

use crate::changes;
use crate::ports::{Held, Received};

/// Everything known of one request.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Receipt {
    pub(crate) receipt: ReceiptId,
    pub(crate) received_at: Timestamp,
    /// False while the engine has not reached the record.
    pub(crate) decided: bool,
    pub(crate) items: Vec<ItemFate>,
}

/// What became of one item.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ItemFate {
    /// Its place in the request, refused ones counted; `None` for a body that did not parse.
    pub(crate) item: Option<u32>,
    pub(crate) fate: Fate,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) alert: Option<AlertId>,
    pub(crate) incident: Option<IncidentId>,
    pub(crate) reason: String,
}

/// The ways of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Opened,
    Correlated,
    Deduplicated,
    Resolved,
    Stale,
    Suppressed,
    Overflowed,
    Rejected,
    Waiting,
    /// A change of a CI.
    Bound,
    /// A change of nothing that is known.
    Unbound,
    /// The same change again.
    Repeated,
}

impl Fate {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Fate::Opened => "opened",
            Fate::Correlated => "correlated",
            Fate::Deduplicated => "deduplicated",
            Fate::Resolved => "resolved",
            Fate::Stale => "stale",
            Fate::Suppressed => "suppressed",
            Fate::Overflowed => "overflowed",
            Fate::Rejected => "rejected",
            Fate::Waiting => "waiting",
            Fate::Bound => "bound",
            Fate::Unbound => "unbound",
            Fate::Repeated => "repeated",
        }
    }
}

/// Works out a receipt from its record.
pub(crate) async fn explain(
    store: &dyn Store,
    shard: Shard,
    receipt: ReceiptId,
    received: &Received,
) -> Result<Receipt, StoreError> {
    let (positions, _) = store.position(shard).await?;
    let decided = receipt.position <= positions.applied;
    let mut items = match &received.held {
        Held::Alerts(batch) => alerts(store, shard, receipt, received.received_at, batch, decided).await?,
        Held::Changes(told) if decided => {
            let mut items = refused(&told.rejects);
            items.extend(changes::fates(store, shard, receipt, told).await?);
            items
        }
        Held::Changes(told) => waiting(told),
    };
    items.sort_by_key(|item| item.item);
    Ok(Receipt { receipt, received_at: received.received_at, decided, items })
}

/// The fates of changes that the engine has not reached.
fn waiting(told: &Changes) -> Vec<ItemFate> {
    let mut items = refused(&told.rejects);
    let wait = |(ordinal, change): (u32, &quell_domain::ToldChange)| {
        ItemFate::of_change(ordinal, change.fingerprint, Fate::Waiting, NOT_REACHED.to_owned())
    };
    items.extend((0..).zip(&told.items).map(wait));
    items
}

const NOT_REACHED: &str = "the engine has not reached it yet";

async fn alerts(
    store: &dyn Store,
    shard: Shard,
    receipt: ReceiptId,
    received_at: Timestamp,
    batch: &Batch,
    decided: bool,
) -> Result<Vec<ItemFate>, StoreError> {
    let mut items = refused(&batch.rejects);
    let numbers = batch.places();
    let mut episodes: HashMap<Fingerprint, Vec<Alert>> = HashMap::new();
    let mut openings: HashMap<IncidentId, Option<(Position, u32)>> = HashMap::new();
    for ((ordinal, item), number) in (0u32..).zip(batch.items()).zip(numbers) {
        let fingerprint = item.fingerprint;
        if !decided {
            items.push(fate_of(number, fingerprint, Fate::Waiting, None, NOT_REACHED.to_owned()));
            continue;
        }
        let rows = match episodes.entry(fingerprint) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(store.episodes(shard, fingerprint, receipt.position).await?),
        };
        let (fate, row) = judge(item, ordinal, receipt.position, received_at, rows);
        let fate = match row.and_then(|row| row.incident) {
            Some(incident) if fate == Fate::Correlated => {
                let opening = match openings.entry(incident) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(free) => {
                        let detail = store.incident(shard, incident, 0).await?;
                        *free.insert(detail.map(|d| (d.incident.opened_position, d.incident.opened_ordinal)))
                    }
                };
                if opening == Some((receipt.position, ordinal)) { Fate::Opened } else { Fate::Correlated }
            }
            _ => fate,
        };
        items.push(fate_of(number, fingerprint, fate, row, sentence(fate, row)));
    }
    Ok(items)
}

impl ItemFate {
    /// Of a change, which belongs to no alert.
    pub(crate) fn of_change(ordinal: u32, fingerprint: Fingerprint, fate: Fate, reason: String) -> Self {
        fate_of(ordinal, fingerprint, fate, None, reason)
    }
}

fn fate_of(number: u32, fingerprint: Fingerprint, fate: Fate, row: Option<&Alert>, reason: String) -> ItemFate {
    let (alert, incident) = (row.map(|row| row.id), row.and_then(|row| row.incident));
    ItemFate { item: Some(number), fate, fingerprint: Some(fingerprint), alert, incident, reason }
}

fn refused(rejects: &[Reject]) -> Vec<ItemFate> {
    let refused = rejects.iter().map(|reject| ItemFate {
        item: reject.ordinal,
        fate: Fate::Rejected,
        fingerprint: None,
        alert: None,
        incident: None,
        reason: reject.reason.clone(),
    });
    refused.collect()
}

/// A first opinion: a new row is "correlated" here; whether it opened its incident, the incident knows.
fn judge<'a>(
    item: &Item,
    ordinal: u32,
    position: Position,
    received_at: Timestamp,
    rows: &'a [Alert],
) -> (Fate, Option<&'a Alert>) {
    let own = rows.iter().find(|row| (row.opened_position, row.opened_ordinal) == (position, ordinal));
    if let Some(row) = own {
        let fate = match (row.incident, row.state) {
            (Some(_), _) => Fate::Correlated,
            (None, AlertState::Stale) => Fate::Stale,
            (None, _) => Fate::Suppressed,
        };
        return (fate, Some(row));
    }
    let before = |row: &&Alert| (row.opened_position, row.opened_ordinal) < (position, ordinal);
    let latest = rows.iter().filter(before).max_by_key(|row| (row.opened_position, row.opened_ordinal));
    let ends = match item.ending {
        Ending::Expires => item.ends_at.is_some_and(|at| at <= received_at),
        Ending::Explicit => item.action == Action::Resolve,
    };
    let closed_here = rows.iter().filter(before).find(|row| row.closed_position == Some(position));
    let over = |row: &Alert| row.closed_position.is_some_and(|closed| closed <= position);
    match latest {
        None if ends || item.action == Action::Acknowledge => (Fate::Stale, None),
        None => (Fate::Overflowed, None),
        Some(row) if row.state == AlertState::Stale => (Fate::Stale, latest),
        Some(_) if ends && closed_here.is_some() => (Fate::Resolved, closed_here),
        // The resolve is sent again; one that began after the end is of an episode that was never seen.
        Some(row) if ends => {
            let newer = item.starts_at.zip(row.ends_at).is_some_and(|(start, end)| start > end);
            let again = over(row) && !newer;
            (if again { Fate::Deduplicated } else { Fate::Stale }, latest)
        }
        Some(row) if item.action == Action::Acknowledge && over(row) => (Fate::Stale, latest),
        Some(_) => (Fate::Deduplicated, latest),
    }
}

fn sentence(fate: Fate, row: Option<&Alert>) -> String {
    let why = row.and_then(|row| row.membership.as_ref()).map(ToString::to_string);
    match (fate, row) {
        (Fate::Opened, _) => why.unwrap_or_else(|| "it opened an incident".into()),
        (Fate::Correlated, _) => why.unwrap_or_else(|| "it joined an incident".into()),
        (Fate::Suppressed, _) => why.unwrap_or_else(|| "it belongs to no incident".into()),
        (Fate::Deduplicated, Some(row)) => format!("the same alert as {}, received {} times", row.id, row.count),
        (Fate::Resolved, Some(row)) => format!("it ended alert {}", row.id),
        (Fate::Stale, Some(row)) => format!("alert {} was already over", row.id),
        (Fate::Stale, None) => "it ended nothing that was known".into(),
        (Fate::Overflowed, _) => "over the limit of alerts in hand, so it was only counted; or forgotten since".into(),
        (Fate::Deduplicated | Fate::Resolved | Fate::Rejected | Fate::Waiting, _)
        | (Fate::Bound | Fate::Unbound | Fate::Repeated, _) => String::new(),
    }
}
