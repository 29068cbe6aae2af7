//! Where an incident is: what its alerts say under the label that inputs are shared out by, which is mostly a region.
//!
//! With one shard there is no such label, and nothing is said. Absent on purpose: which shard a value has.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use quell_domain::{Alert, Incident, IncidentId};
use quell_store::AlertQuery;

use crate::App;
use crate::answer::Problem;

/// The newest alerts of an incident that are looked at for a list.
const ALERTS: u32 = 20;
/// Values that are named.
const NAMED: usize = 3;
/// Incidents that are looked up at the same time.
const AT_ONCE: usize = 4;

/// What alerts say under a label, in few words.
pub(crate) fn said(label: &str, alerts: &[Alert]) -> String {
    let mut values: Vec<&str> = alerts.iter().filter_map(|alert| alert.labels.get(label)).collect();
    values.sort_unstable();
    values.dedup();
    let more = if values.len() > NAMED { ", …" } else { "" };
    values.truncate(NAMED);
    format!("{}{more}", values.join(", "))
}

/// The same of each incident of a list.
pub(crate) async fn regions(app: &App, incidents: &[Incident]) -> Result<BTreeMap<IncidentId, String>, Problem> {
    let Some(label) = app.api.sharding.label() else { return Ok(BTreeMap::new()) };
    let ask = |id: IncidentId| {
        let query = AlertQuery { incident: Some(id), limit: ALERTS, ..AlertQuery::default() };
        app.api.store.alerts(app.api.of(id.shard), query)
    };
    let asked: Vec<_> = incidents.iter().map(|incident| ask(incident.id)).collect();
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    let said = incidents.iter().zip(answers).map(|(incident, page)| (incident.id, said(label, &page.items)));
    Ok(said.collect())
}
