//! Keeping house: old records, old history.
//!
//! Absent on purpose: what is old; the config says that, and the engine's positions say what is still needed.

use std::sync::Arc;
use std::time::Duration;

use quell_domain::{Position, Shard};
use quell_formats::config::Config;
use quell_log::{Clock, Retention};
use quell_store::Store;

use crate::intake::Door;
use crate::live::Published;

/// How often old things are looked for.
const ROUND: Duration = Duration::from_secs(60);

/// How often the store is asked whether it answers.
const LOOK: Duration = Duration::from_secs(5);

/// Asks the store whether it answers, for ever: while nothing is received, nothing else does.
pub(crate) async fn watch(store: Arc<dyn Store>, shards: Vec<Arc<Published>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let answer = store.position(Shard::FIRST).await;
        if let Err(error) = &answer
            && shards.iter().any(|published| !published.is_store_silent())
        {
            tracing::warn!(error = %crate::serve::chain(error), "the store does not answer");
        }
        shards.iter().for_each(|published| published.store_silent(answer.is_err()));
    }
}

/// Drops what is kept no longer, for ever.
pub(crate) async fn run(door: Arc<Door>, store: Arc<dyn Store>, clock: Arc<dyn Clock>, shard: Shard, config: Config) {
    loop {
        tokio::time::sleep(ROUND).await;
        let now = clock.now();
        let positions = match store.position(shard).await {
            Ok((positions, _)) => positions,
            Err(error) => {
                tracing::warn!(error = %crate::serve::chain(&error), "old records are kept: the store does not answer");
                continue;
            }
        };
        let retention = Retention {
            needed: [positions.folded.next(), Position(positions.commands.0 + 1)],
            before: Some(now - config.retention.age),
            max_bytes: Some(config.retention.bytes),
        };
        if let Err(error) = door.appender.trim(retention).await {
            tracing::warn!(error = %crate::serve::chain(&error), "old records could not be dropped");
        }
        if let Err(error) = store.forget_before(shard, now - config.history_age).await {
            tracing::warn!(error = %crate::serve::chain(&error), "old history could not be dropped");
        }
    }
}
