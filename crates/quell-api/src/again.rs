//! What recurs of incidents, in a few words beside them: how often their like came lately, and the chance of it again.
//!
//! Absent on purpose: what they were taken for, in full (`problems`), and the forecasts themselves (`forecasts`).

use std::collections::BTreeMap;
use std::time::Duration;

use quell_domain::{HORIZONS, Incident, IncidentId, Recognition, Shard, Subject};
use quell_store::{RecognisedQuery, Which};

use crate::App;
use crate::answer::Problem;
use crate::shards::concerned;

/// How far back their like are counted, in days.
const DAYS: u64 = 14;
/// Recognitions that are looked through, from the newest of the incidents on.
const RECOGNISED: u32 = 1_000;
/// Forecasts that are looked through: as many as are kept.
const FORECASTS: u32 = 2_000;

/// A few words on each of these incidents; none where there is nothing to say. Each shard recognises for itself.
pub(crate) async fn again(app: &App, incidents: &[Incident]) -> Result<BTreeMap<IncidentId, String>, Problem> {
    let mut said = BTreeMap::new();
    for number in concerned(incidents.iter().map(|incident| incident.id.shard)) {
        let own = incidents.iter().filter(|incident| incident.id.shard == number);
        said.extend(of(app, app.api.of(number), own.collect()).await?);
    }
    Ok(said)
}

/// The same of some incidents of one shard.
async fn of(app: &App, shard: Shard, incidents: Vec<&Incident>) -> Result<BTreeMap<IncidentId, String>, Problem> {
    let Some(newest) = incidents.iter().map(|incident| incident.id).max() else { return Ok(BTreeMap::new()) };
    let store = &app.api.store;
    let before = Some(IncidentId { number: newest.number.saturating_add(1), ..newest });
    let query = RecognisedQuery { before, limit: RECOGNISED, ..RecognisedQuery::default() };
    let known = store.recognised(shard, query).await?;
    let said = store.forecasts(shard, Subject::Signature, HORIZONS[1], Which::Latest, FORECASTS).await?;
    let said = said.into_iter().filter(|row| row.abstains.is_none());
    let chances: BTreeMap<String, f64> = said.map(|row| (row.name, row.probability)).collect();
    let shown: BTreeMap<IncidentId, &Recognition> = known.iter().map(|row| (row.incident, row)).collect();
    let words = |incident: &Incident| {
        let row = shown.get(&incident.id)?;
        let text = words(row, &known, |name| chances.get(name).copied());
        (!text.is_empty()).then_some((incident.id, text))
    };
    Ok(incidents.into_iter().filter_map(words).collect())
}

fn words(row: &Recognition, known: &[Recognition], chance: impl Fn(&str) -> Option<f64>) -> String {
    let Some(signature) = row.signature else {
        return if row.novel { "nothing like it is known".into() } else { "".into() };
    };
    let from = row.opened_at - Duration::from_secs(DAYS * 86_400);
    let like = |other: &&Recognition| {
        other.signature == Some(signature) && from <= other.opened_at && other.opened_at <= row.opened_at
    };
    let times = known.iter().filter(like).count();
    let mut words = Vec::new();
    if times > 1 {
        words.push(format!("{times} times in {DAYS} d"));
    }
    if let Some(chance) = chance(&signature.to_string()) {
        words.push(format!("{:.0} % again within 7 d", chance * 100.0));
    }
    words.join(", ")
}
