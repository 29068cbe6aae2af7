//! How inputs are shared out among shards: kept once, and never changed. Absent on purpose: sharing them out.

use quell_domain::{Shard, Sharding};

use super::rows::Cells;
use super::statement::Query;
use super::{Session, damaged};
use crate::contract::StoreError;

const KEEP: &str = "keep the sharding";

/// See [`crate::Store::sharding`].
pub(super) async fn kept<S: Session>(session: &mut S) -> Result<Option<Sharding>, StoreError> {
    let query = Query::new("SELECT label, shards FROM sharding WHERE tenant = ?").bind(Shard::FIRST.tenant);
    let rows = session.collect(KEEP, query, |row| {
        let mut row = Cells::new(KEEP, "sharding", row);
        let (label, count): (Option<String>, u32) = (row.next()?, row.small()?);
        Ok((label, count))
    });
    let Some((label, count)) = rows.await?.pop() else { return Ok(None) };
    match label {
        None if count == 1 => Ok(Some(Sharding::ONE)),
        None => Err(damaged(KEEP, "the sharding", format!("it has {count} shards and no label"))),
        Some(label) => {
            Sharding::by(&label, count).map(Some).map_err(|error| damaged(KEEP, "the sharding", error.to_string()))
        }
    }
}

/// See [`crate::Store::keep_sharding`].
pub(super) async fn keep<S: Session>(session: &mut S, sharding: &Sharding) -> Result<Sharding, StoreError> {
    let sql = "INSERT INTO sharding (tenant, label, shards) VALUES (?, ?, ?) ON CONFLICT (tenant) DO NOTHING";
    let query = Query::new(sql).bind(Shard::FIRST.tenant).bind(sharding.label().map(str::to_owned));
    session.execute(KEEP, query.bind(sharding.count())).await?;
    kept(session).await?.ok_or_else(|| damaged(KEEP, "the sharding", "it has no row"))
}
