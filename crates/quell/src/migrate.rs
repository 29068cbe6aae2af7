//! `quell migrate`: an installation of one machine becomes one on Kafka and PostgreSQL.
//!
//! First the log, record by record at its own position, then the store in one transaction: whoever is broken off begins
//! again with the same words, and nothing counts until the store is there. The old data directory is only read. Absent on
//! purpose: the way back.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use quell_domain::{Input, Position, Shard, Sharding};
use quell_log::embedded::EmbeddedLog;
use quell_log::kafka::{self, KafkaLog};
use quell_log::{Append, Clock, Draft, Read, Stream};
use quell_store::{PostgresStore, SqliteStore, Store};

use crate::clock::SystemClock;
use crate::{logs, settings, stores};

/// Moves what lies in a data directory to where a config says; what was moved, in words.
pub(crate) async fn run(from: &Path, to: &Path) -> anyhow::Result<String> {
    let config = settings::config(Some(to))?;
    let (Some(_), Some(database)) = (&config.log, &config.store) else {
        bail!("{}: `log` and `store` must name a Kafka and a PostgreSQL database to move to", to.display());
    };
    let same = from.canonicalize().ok().zip(config.data_dir.canonicalize().ok());
    ensure!(
        same.is_none_or(|(from, to)| from != to),
        "the nodes' data directory must be another one than {}",
        from.display()
    );
    let _held = EmbeddedLog::hold(from).context("nobody may write to what is moved")?;
    let file = from.join("store.db");
    ensure!(file.is_file(), "{} holds no store", from.display());
    // Brings an older schema up to date, as a start would.
    let source = SqliteStore::open(&file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let kept = source.sharding().await?.unwrap_or_default();
    let mut known = Vec::new();
    for shard in kept.shards() {
        known.push((shard, source.position(shard).await?.0));
    }
    source.close().await;
    ensure!(
        kept == config.shards,
        "{}: `shards` must be as {} was created with: {} shards by the label {:?}",
        to.display(),
        from.display(),
        kept.count(),
        kept.label().unwrap_or_default()
    );
    let target = PostgresStore::open(&stores::options(database)?).await;
    let target = target.with_context(|| format!("cannot use {}", database.url))?;
    let (taken, _) = target.position(Shard::FIRST).await?;
    ensure!(
        taken == Default::default(),
        "the store at {} is in use already: only an empty one is moved to",
        database.url
    );

    let mut said = String::new();
    for (shard, positions) in &known {
        let reader = EmbeddedLog::read_only(&logs::directory(from, *shard))?;
        let filled = KafkaLog::fill(&logs::options(&config, *shard)?, &reader).await?;
        reader.close().await;
        for (stream, reached) in [(Stream::Main, positions.applied), (Stream::Commands, positions.commands)] {
            let last = filled[stream as usize].last;
            ensure!(
                reached <= last,
                "the store knows {reached} of {stream:?}, and the log ends at {last}: it lost its end"
            );
        }
        tell(&mut said, *shard, &kept, filled)?;
    }
    let rows = quell_store::transfer(&file, &target).await?;
    let mut longest = std::time::Duration::ZERO;
    for (shard, _) in &known {
        longest = longest.max(away(from, &config, *shard).await?);
    }
    target.close().await;

    for (table, rows) in rows.iter().filter(|(_, rows)| *rows > 0) {
        writeln!(said, "store {table}: {rows} rows")?;
    }
    writeln!(said, "nothing was received for {longest:?}, which is noted on the log")?;
    writeln!(
        said,
        "start nodes with {}; {} is as it was, and must not be started again",
        to.display(),
        from.display()
    )?;
    Ok(said)
}

/// What was moved of a shard's log, in words.
fn tell(said: &mut String, shard: Shard, kept: &Sharding, filled: [kafka::Filled; 2]) -> std::fmt::Result {
    let whose = if kept.count() == 1 { String::new() } else { format!(" of shard {}", shard.number) };
    for (stream, filled) in [("main", filled[0]), ("commands", filled[1])] {
        let kafka::Filled { records, stand_ins, last } = filled;
        writeln!(
            said,
            "log {stream}{whose}: {records} records moved and compared, up to {last}; {stand_ins} were kept no longer"
        )?;
    }
    Ok(())
}

/// Puts the time since the last record onto a shard's log, so that the first node takes no silence for an end.
async fn away(
    from: &Path,
    config: &quell_formats::config::Config,
    shard: Shard,
) -> anyhow::Result<std::time::Duration> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let reader = EmbeddedLog::read_only(&logs::directory(from, shard))?;
    let (spool, options) = (logs::spool(config, shard), logs::options(config, shard)?);
    let opened = KafkaLog::open::<Input>(&spool, options, Arc::clone(&clock), crate::serve::outage).await?;
    let (now, last) = (clock.now(), opened.last[Stream::Main as usize]);
    let newest = Read::<Input>::read_one(&reader, Stream::Main, last).await?;
    let from = newest.map_or(now, |record| record.stamp.received_at);
    let body = crate::serve::outage(from, now).into();
    let (kind, context) = (quell_domain::RecordKind::Outage, Default::default());
    if last > Position::START {
        opened.appender.append(Draft { stream: Stream::Main, kind, body, carry: None, context }).await?;
    }
    opened.appender.close().await;
    reader.close().await;
    Ok(now.since(from))
}
