//! Rows of forecasts, models and incidents of other systems. Absent on purpose: what is in a model's text.

use quell_domain::{
    Came, CiId, Digest, HistoricIncident, KeptForecast, KeptModel, Priority, Shard, Signature, Subject, Timestamp,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::error::fault;
use super::read::{collect, within};
use super::rows::Cells;
use super::statement::{Query, write_rows};
use crate::contract::{Answer, StoreError};
use crate::forecasts::{ForecastStore, MODELS, Which};

const KEEP: &str = "keep forecasts";
const FORECASTS: &str = "forecasts";
const HISTORY: &str = "history";
/// Rows that one transaction writes, so that no commit waits long behind it.
const PIECE: usize = 2_000;

const COLUMNS: &str = "subject, horizon, at, name, ci, probability, low, high, rank, ewma, last_window, base_rate, \
    rests_on, abstains, early, middle, late, seen, dependents, minutes, model, scored, marked, first_at";

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
        minutes,
        model,
        scored,
        outcome,
    } = row;
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
        .bind(*scored)
        .bind(outcome.is_some())
        .bind(outcome.and_then(|came| came.first_at).map(Timestamp::micros))
}

fn subject(code: i64) -> Option<Subject> {
    Subject::ALL.into_iter().find(|known| *known as i64 == code)
}

fn digest(row: &mut Cells<'_>) -> Result<Digest, StoreError> {
    let bytes: &[u8] = row.next()?;
    bytes.try_into().map(Digest).map_err(|_| row.wrong("a digest is not 32 bytes"))
}

fn read(row: &SqliteRow) -> Result<KeptForecast, StoreError> {
    let mut row = Cells::new(FORECASTS, "forecast", row);
    let (subject, horizon, at) = (row.code(subject)?, row.small()?, row.time()?);
    let name = row.next()?;
    let ci: Option<&str> = row.next()?;
    let ci = ci.map(CiId::new);
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
    let (scored, marked): (bool, bool) = (row.next()?, row.next()?);
    let first_at = row.optional()?.map(Timestamp::from_micros);
    let outcome = marked.then_some(Came { first_at });
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
        minutes,
        model,
        scored,
        outcome,
    })
}

async fn change(connection: &mut SqliteConnection, operation: &'static str, query: Query) -> Result<u64, StoreError> {
    Ok(query.execute(connection).await.map_err(fault(operation))?.rows_affected())
}

/// One row of other systems' incidents; true when it was new.
async fn add(connection: &mut SqliteConnection, shard: Shard, incident: &HistoricIncident) -> Result<u64, StoreError> {
    let HistoricIncident { opened_at, closed_at, signature, ci, service, priority } = incident;
    // A missing CI is an empty one here, so that the same incident is the same row.
    let text = |ci: &Option<CiId>| ci.as_ref().map(ToString::to_string).unwrap_or_default();
    let query = sqlx::query(
        "INSERT INTO imported_incidents (tenant, shard, opened_at, closed_at, signature, ci, service, priority) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    );
    let query = query.bind(shard.tenant).bind(shard.number).bind(opened_at.micros());
    let query = query.bind(closed_at.map(Timestamp::micros)).bind(signature.as_str().to_owned());
    let query = query.bind(text(ci)).bind(text(service)).bind(priority.map(Priority::number));
    change(connection, HISTORY, query).await
}

fn read_history(row: &SqliteRow) -> Result<(u64, HistoricIncident), StoreError> {
    let mut row = Cells::new(HISTORY, "imported incident", row);
    row.id = row.unsigned()?;
    let (opened_at, closed_at) = (row.time()?, row.optional()?.map(Timestamp::from_micros));
    let signature: &str = row.next()?;
    let signature = Signature::new(signature).ok_or_else(|| row.wrong("its signature is blank"))?;
    let mut ci = || Ok::<_, StoreError>(Some(row.next::<&str>()?).filter(|ci| !ci.is_empty()).map(CiId::new));
    let (ci, service) = (ci()?, ci()?);
    let priority = row.optional()?.and_then(|number| Priority::new(u8::try_from(number).ok()?));
    Ok((row.id, HistoricIncident { opened_at, closed_at, signature, ci, service, priority }))
}

impl ForecastStore for SqliteStore {
    fn keep_forecasts<'a>(&'a self, shard: Shard, rows: &'a [KeptForecast]) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(first) = rows.first() else { return Ok(()) };
            let mut lease = self.lease(KEEP).await?;
            let mut transaction = lease.begin().await?;
            let sql =
                "DELETE FROM forecasts WHERE tenant = ? AND shard = ? AND subject = ? AND horizon = ? AND scored = 0";
            let query = sqlx::query(sql).bind(shard.tenant).bind(shard.number);
            change(&mut transaction, KEEP, query.bind(first.subject as u8).bind(first.horizon)).await?;
            let head = format!("INSERT OR REPLACE INTO forecasts (tenant, shard, {COLUMNS})");
            write_rows(&mut transaction, (KEEP, shard), (&head, 24, ""), rows, bind).await?;
            transaction.commit().await.map_err(fault(KEEP))?;
            lease.keep();
            self.wrote(rows.len());
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
            collect(sql.build(), &self.inner.readers, FORECASTS, read).await
        })
    }

    fn mark_forecasts<'a>(&'a self, shard: Shard, rows: &'a [KeptForecast]) -> Answer<'a, ()> {
        Box::pin(async move {
            for piece in rows.chunks(PIECE) {
                let mut lease = self.lease(FORECASTS).await?;
                let mut transaction = lease.begin().await?;
                for KeptForecast { at, horizon, subject, name, outcome, .. } in piece {
                    let sql = "UPDATE forecasts SET marked = ?, first_at = ? WHERE tenant = ? AND shard = ? AND subject = ? \
                        AND horizon = ? AND at = ? AND name = ?";
                    let first = outcome.and_then(|came| came.first_at).map(Timestamp::micros);
                    let query = sqlx::query(sql).bind(outcome.is_some()).bind(first).bind(shard.tenant);
                    let query = query.bind(shard.number).bind(*subject as u8).bind(*horizon);
                    change(&mut transaction, FORECASTS, query.bind(at.micros()).bind(name.clone())).await?;
                }
                transaction.commit().await.map_err(fault(FORECASTS))?;
                lease.keep();
                self.wrote(piece.len());
            }
            Ok(())
        })
    }

    fn put_model<'a>(&'a self, shard: Shard, model: &'a KeptModel) -> Answer<'a, ()> {
        Box::pin(async move {
            const PUT: &str = "put model";
            let KeptModel { subject, horizon, at, incidents, digest, text } = model;
            let mut lease = self.lease(PUT).await?;
            let mut transaction = lease.begin().await?;
            let sql = "INSERT OR REPLACE INTO forecast_models (tenant, shard, subject, horizon, at, incidents, digest, body) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
            let query = sqlx::query(sql).bind(shard.tenant).bind(shard.number).bind(*subject as u8).bind(*horizon);
            let query = query.bind(at.micros()).bind(incidents.cast_signed()).bind(digest.0.to_vec());
            change(&mut transaction, PUT, query.bind(text.clone())).await?;
            let sql = "DELETE FROM forecast_models WHERE tenant = ?1 AND shard = ?2 AND subject = ?3 AND horizon = ?4 AND at \
                NOT IN (SELECT at FROM forecast_models WHERE tenant = ?1 AND shard = ?2 AND subject = ?3 AND horizon = ?4 \
                ORDER BY at DESC LIMIT ?5)";
            let query = sqlx::query(sql).bind(shard.tenant).bind(shard.number).bind(*subject as u8).bind(*horizon);
            change(&mut transaction, PUT, query.bind(MODELS)).await?;
            transaction.commit().await.map_err(fault(PUT))?;
            lease.keep();
            self.wrote(text.len() / 1024);
            Ok(())
        })
    }

    fn model(&self, shard: Shard, wanted: Subject, horizon: u32) -> Answer<'_, Option<KeptModel>> {
        Box::pin(async move {
            let select = "SELECT subject, horizon, at, incidents, digest, body FROM forecast_models";
            let mut sql = within(select, shard, "");
            sql.push(" AND subject = ").push_bind(wanted as u8).push(" AND horizon = ").push_bind(horizon);
            sql.push(" ORDER BY at DESC LIMIT 1");
            let read = |row: &SqliteRow| {
                let mut row = Cells::new("model", "model", row);
                let (subject, horizon, at) = (row.code(subject)?, row.small()?, row.time()?);
                let (incidents, digest) = (row.unsigned()?, digest(&mut row)?);
                Ok(KeptModel { subject, horizon, at, incidents, digest, text: row.next()? })
            };
            Ok(collect(sql.build(), &self.inner.readers, "model", read).await?.pop())
        })
    }

    fn add_history<'a>(&'a self, shard: Shard, incidents: &'a [HistoricIncident]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut new = 0;
            for piece in incidents.chunks(PIECE) {
                let mut lease = self.lease(HISTORY).await?;
                let mut transaction = lease.begin().await?;
                for incident in piece {
                    new += add(&mut transaction, shard, incident).await?;
                }
                transaction.commit().await.map_err(fault(HISTORY))?;
                lease.keep();
                self.wrote(piece.len());
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
            collect(sql.build(), &self.inner.readers, HISTORY, read_history).await
        })
    }
}
