//! Rows of forecasts, models and incidents of other systems. Absent on purpose: what is in a model's text.

use std::borrow::Cow;
use std::sync::LazyLock;

use quell_domain::{
    Came, CiId, Digest, HistoricIncident, KeptForecast, KeptModel, Priority, Shard, Signature, Subject, Timestamp,
};

use super::commit::{Upsert, last_of, upsert};
use super::rows::Cells;
use super::statement::{Query, with_given, within, write_rows};
use super::{Backend, Lease as _, Row, Session as _};
use crate::contract::{Answer, StoreError};
use crate::forecasts::{ForecastStore, MODELS, Which};

const KEEP: &str = "keep forecasts";
const FORECASTS: &str = "forecasts";
const HISTORY: &str = "history";
/// Rows that one transaction writes, so that no commit waits long behind it.
const PIECE: usize = 2_000;

const COLUMNS: &str = "subject, horizon, at, name, ci, probability, low, high, rank, ewma, last_window, base_rate, \
    rests_on, abstains, early, middle, late, seen, dependents, minutes, model, scored, marked, first_at, \
    fewest_dependents, most_dependents, fewest_minutes, most_minutes";

static FORECAST: Upsert = LazyLock::new(|| {
    let key = ["subject", "horizon", "at", "name"];
    upsert("forecasts", &COLUMNS.split(", ").collect::<Vec<_>>(), &key)
});
static MODEL: Upsert = LazyLock::new(|| {
    let columns = ["subject", "horizon", "at", "incidents", "digest", "body"];
    upsert("forecast_models", &columns, &["subject", "horizon", "at"])
});

fn bind(query: Query, row: &KeptForecast) -> Query {
    let KeptForecast {
        at,
        horizon,
        subject,
        name,
        ci,
        probability,
        interval: [low, high],
        rank,
        baselines: [ewma, last_window, base_rate],
        rests_on,
        abstains,
        window: [early, middle, late],
        seen,
        dependents,
        dependents_between,
        minutes,
        minutes_between,
        model,
        scored,
        outcome,
    } = row;
    let bound = |between: &Option<[f64; 2]>, at: usize| between.map(|between| between[at]);
    let instant = |at: &Option<Timestamp>| at.map(Timestamp::micros);
    query
        .bind(*subject as u8)
        .bind(*horizon)
        .bind(at.micros())
        .bind(name.clone())
        .bind(ci.as_ref().map(ToString::to_string))
        .bind(*probability)
        .bind(*low)
        .bind(*high)
        .bind(*rank)
        .bind(*ewma)
        .bind(*last_window)
        .bind(*base_rate)
        .bind(rests_on.clone())
        .bind(abstains.clone())
        .bind(instant(early))
        .bind(instant(middle))
        .bind(instant(late))
        .bind(seen.cast_signed())
        .bind(*dependents)
        .bind(*minutes)
        .bind(model.0.to_vec())
        .bind(i32::from(*scored))
        .bind(i32::from(outcome.is_some()))
        .bind(outcome.and_then(|came| came.first_at).map(Timestamp::micros))
        .bind(bound(dependents_between, 0))
        .bind(bound(dependents_between, 1))
        .bind(bound(minutes_between, 0))
        .bind(bound(minutes_between, 1))
}

fn subject(code: i64) -> Option<Subject> {
    Subject::ALL.into_iter().find(|known| *known as i64 == code)
}

fn digest<R: Row>(row: &mut Cells<'_, R>) -> Result<Digest, StoreError> {
    let bytes: &[u8] = row.next()?;
    bytes.try_into().map(Digest).map_err(|_| row.wrong("a digest is not 32 bytes"))
}

fn read<R: Row>(row: &R) -> Result<KeptForecast, StoreError> {
    let mut row = Cells::new(FORECASTS, "forecast", row);
    let (subject, horizon, at) = (row.code(subject)?, row.small()?, row.time()?);
    let name = row.next()?;
    let ci: Option<Cow<'_, str>> = row.next()?;
    let ci = ci.map(|ci| CiId::new(&ci));
    let probability = row.next()?;
    let interval = [row.next()?, row.next()?];
    let rank = row.next()?;
    let baselines = [row.next()?, row.next()?, row.next()?];
    let (rests_on, abstains) = (row.next()?, row.next()?);
    let mut instant = || Ok::<_, StoreError>(row.optional()?.map(Timestamp::from_micros));
    let window = [instant()?, instant()?, instant()?];
    let seen = row.unsigned()?;
    let (dependents, minutes) = (row.next()?, row.next()?);
    let model = digest(&mut row)?;
    let (scored, marked) = (row.next::<i64>()? != 0, row.next::<i64>()? != 0);
    let first_at = row.optional()?.map(Timestamp::from_micros);
    let outcome = marked.then_some(Came { first_at });
    let mut between =
        || Ok::<_, StoreError>(row.next::<Option<f64>>()?.zip(row.next()?).map(|(low, high)| [low, high]));
    let (dependents_between, minutes_between) = (between()?, between()?);
    Ok(KeptForecast {
        at,
        horizon,
        subject,
        name,
        ci,
        probability,
        interval,
        rank,
        baselines,
        rests_on,
        abstains,
        window,
        seen,
        dependents,
        dependents_between,
        minutes,
        minutes_between,
        model,
        scored,
        outcome,
    })
}

fn bind_history(query: Query, incident: &HistoricIncident) -> Query {
    let HistoricIncident { opened_at, closed_at, signature, ci, service, priority } = incident;
    // A missing CI is an empty one here, so that the same incident is the same row.
    let text = |ci: &Option<CiId>| ci.as_ref().map(ToString::to_string).unwrap_or_default();
    let query = query.bind(opened_at.micros()).bind(closed_at.map(Timestamp::micros));
    let query = query.bind(signature.as_str().to_owned()).bind(text(ci)).bind(text(service));
    query.bind(priority.map(|priority| i64::from(priority.number())))
}

fn read_history<R: Row>(row: &R) -> Result<(u64, HistoricIncident), StoreError> {
    let mut row = Cells::new(HISTORY, "imported incident", row);
    row.id = row.unsigned()?;
    let (opened_at, closed_at) = (row.time()?, row.optional()?.map(Timestamp::from_micros));
    let signature: Cow<'_, str> = row.next()?;
    let signature = Signature::new(&signature).ok_or_else(|| row.wrong("its signature is blank"))?;
    let mut ci =
        || Ok::<_, StoreError>(Some(row.next::<Cow<'_, str>>()?).filter(|ci| !ci.is_empty()).map(|ci| CiId::new(&ci)));
    let (ci, service) = (ci()?, ci()?);
    let priority = row.optional()?.and_then(|number| Priority::new(u8::try_from(number).ok()?));
    Ok((row.id, HistoricIncident { opened_at, closed_at, signature, ci, service, priority }))
}

impl<B: Backend> ForecastStore for B {
    fn keep_forecasts<'a>(&'a self, shard: Shard, rows: &'a [KeptForecast]) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(first) = rows.first() else { return Ok(()) };
            let mut lease = self.lease(KEEP).await?;
            lease.begin().await?;
            let sql =
                "DELETE FROM forecasts WHERE tenant = ? AND shard = ? AND subject = ? AND horizon = ? AND scored = 0";
            let query = Query::new(sql).bind(shard.tenant).bind(shard.number);
            lease.session().execute(KEEP, query.bind(first.subject as u8).bind(first.horizon)).await?;
            let (head, tail) = &*FORECAST;
            let rows = last_of(rows, |row| (row.subject as u8, row.horizon, row.at, &*row.name));
            write_rows(lease.session(), (KEEP, shard), (head, 28, tail), &rows, |query, row| bind(query, row)).await?;
            lease.commit().await?;
            lease.keep(rows.len());
            Ok(())
        })
    }

    fn forecasts(
        &self,
        shard: Shard,
        subject: Subject,
        horizon: u32,
        which: Which,
        limit: u32,
    ) -> Answer<'_, Vec<KeptForecast>> {
        Box::pin(async move {
            let select = format!("SELECT {COLUMNS} FROM forecasts");
            let mut sql = within(&select, shard, "");
            sql.push(" AND subject = ").push_bind(subject as u8).push(" AND horizon = ").push_bind(horizon);
            match which {
                Which::Latest => {
                    sql.push(" AND at = (SELECT max(at) FROM forecasts WHERE tenant = ").push_bind(shard.tenant);
                    sql.push(" AND shard = ").push_bind(shard.number).push(" AND subject = ").push_bind(subject as u8);
                    sql.push(" AND horizon = ").push_bind(horizon).push(") ORDER BY rank DESC, name");
                }
                Which::Due(now) => {
                    let before = now.micros() - i64::from(horizon) * 1_000_000;
                    sql.push(" AND scored = 1 AND marked = 0 AND at <= ").push_bind(before);
                    sql.push(" ORDER BY at, name");
                }
                Which::Marked => _ = sql.push(" AND marked = 1 ORDER BY at DESC, name"),
            }
            sql.push(" LIMIT ").push_bind(i64::from(limit));
            self.reader(FORECASTS).await?.collect(FORECASTS, sql, read).await
        })
    }

    fn forecasts_of<'a>(
        &'a self,
        shard: Shard,
        subject: Subject,
        horizon: u32,
        names: &'a [String],
        limit: u32,
    ) -> Answer<'a, Vec<KeptForecast>> {
        Box::pin(async move {
            let mut found: Vec<KeptForecast> = Vec::new();
            // Few names, and an index by name: one question for each.
            for name in names {
                let select = format!("SELECT {COLUMNS} FROM forecasts");
                let mut sql = within(&select, shard, "");
                sql.push(" AND subject = ").push_bind(subject as u8).push(" AND horizon = ").push_bind(horizon);
                sql.push(" AND name = ").push_bind(name.clone()).push(" AND scored = 1 ORDER BY at DESC LIMIT ");
                sql.push_bind(i64::from(limit));
                found.extend(self.reader(FORECASTS).await?.collect(FORECASTS, sql, read).await?);
            }
            found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.name.cmp(&b.name)));
            found.truncate(limit as usize);
            Ok(found)
        })
    }

    fn mark_forecasts<'a>(&'a self, shard: Shard, rows: &'a [KeptForecast]) -> Answer<'a, ()> {
        Box::pin(async move {
            let statement = "UPDATE forecasts SET marked = given.marked, first_at = given.first_at FROM given \
                WHERE forecasts.tenant = given.tenant AND forecasts.shard = given.shard \
                AND forecasts.subject = given.subject AND forecasts.horizon = given.horizon \
                AND forecasts.at = given.at AND forecasts.name = given.name";
            for piece in rows.chunks(PIECE) {
                let mut lease = self.lease(FORECASTS).await?;
                let given: (&[&str], &str) = (&["subject", "horizon", "at", "name", "marked", "first_at"], statement);
                with_given(lease.session(), (FORECASTS, shard), given, piece, |query, row| {
                    let KeptForecast { at, horizon, subject, name, outcome, .. } = row;
                    let first = outcome.and_then(|came| came.first_at).map(Timestamp::micros);
                    let query = query.bind(*subject as u8).bind(*horizon).bind(at.micros()).bind(name.clone());
                    query.bind(i32::from(outcome.is_some())).bind(first)
                })
                .await?;
                lease.keep(piece.len());
            }
            Ok(())
        })
    }

    fn put_model<'a>(&'a self, shard: Shard, model: &'a KeptModel) -> Answer<'a, ()> {
        Box::pin(async move {
            const PUT: &str = "put model";
            let KeptModel { subject, horizon, at, incidents, digest, text } = model;
            let mut lease = self.lease(PUT).await?;
            lease.begin().await?;
            let (head, tail) = &*MODEL;
            write_rows(lease.session(), (PUT, shard), (head, 6, tail), &[model], |query, _| {
                let query = query.bind(*subject as u8).bind(*horizon).bind(at.micros());
                query.bind(incidents.cast_signed()).bind(digest.0.to_vec()).bind(text.clone())
            })
            .await?;
            let sql = "DELETE FROM forecast_models WHERE tenant = ?1 AND shard = ?2 AND subject = ?3 AND horizon = ?4 AND at \
                NOT IN (SELECT at FROM forecast_models WHERE tenant = ?1 AND shard = ?2 AND subject = ?3 AND horizon = ?4 \
                ORDER BY at DESC LIMIT ?5)";
            let query = Query::new(sql).bind(shard.tenant).bind(shard.number).bind(*subject as u8).bind(*horizon);
            lease.session().execute(PUT, query.bind(MODELS)).await?;
            lease.commit().await?;
            lease.keep(text.len() / 1024);
            Ok(())
        })
    }

    fn model(&self, shard: Shard, wanted: Subject, horizon: u32) -> Answer<'_, Option<KeptModel>> {
        Box::pin(async move {
            let select = "SELECT subject, horizon, at, incidents, digest, body FROM forecast_models";
            let mut sql = within(select, shard, "");
            sql.push(" AND subject = ").push_bind(wanted as u8).push(" AND horizon = ").push_bind(horizon);
            sql.push(" ORDER BY at DESC LIMIT 1");
            let mut reader = self.reader("model").await?;
            let found = reader.collect("model", sql, |row| {
                let mut row = Cells::new("model", "model", row);
                let (subject, horizon, at) = (row.code(subject)?, row.small()?, row.time()?);
                let (incidents, digest) = (row.unsigned()?, digest(&mut row)?);
                Ok(KeptModel { subject, horizon, at, incidents, digest, text: row.next()? })
            });
            Ok(found.await?.pop())
        })
    }

    fn add_history<'a>(&'a self, shard: Shard, incidents: &'a [HistoricIncident]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut new = 0;
            for piece in incidents.chunks(PIECE) {
                let mut lease = self.lease(HISTORY).await?;
                lease.begin().await?;
                let columns = "opened_at, closed_at, signature, ci, service, priority";
                let head = format!("INSERT INTO imported_incidents (tenant, shard, {columns})");
                let rows = (&*head, 6, "ON CONFLICT DO NOTHING");
                new += write_rows(lease.session(), (HISTORY, shard), rows, piece, bind_history).await?;
                lease.commit().await?;
                lease.keep(piece.len());
            }
            Ok(new)
        })
    }

    fn history(&self, shard: Shard, after: u64, limit: u32) -> Answer<'_, Vec<(u64, HistoricIncident)>> {
        Box::pin(async move {
            let select = "SELECT id, opened_at, closed_at, signature, ci, service, priority FROM imported_incidents";
            let mut sql = within(select, shard, "");
            sql.push(" AND id > ").push_bind(after.cast_signed()).push(" ORDER BY id LIMIT ");
            sql.push_bind(i64::from(limit));
            self.reader(HISTORY).await?.collect(HISTORY, sql, read_history).await
        })
    }
}
