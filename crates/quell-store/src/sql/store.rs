//! The contract over either database. Absent on purpose: what is written and read; see the modules beside this one.

use std::time::Duration;

use quell_domain::{
    Alert, AlertId, ArtefactKind, ChangeId, Digest, Feedback, Fingerprint, Incident, IncidentId, Outcome, Position,
    Shard, Sharding, Timestamp,
};
use quell_engine::{Checkpoint, Parked};

use super::rows::Cells;
use super::statement::Query;
use super::{Backend, Lease as _, Session as _, change_events, commit, outbox, read, retention, sharding};
use crate::contract::{
    AlertQuery, Answer, Change, ChangeQuery, Commit, Committed, Delivery, IncidentDetail, IncidentQuery, Page,
    Positions, Restored, Store, Version,
};

/// Reads with a connection of the readers.
macro_rules! read {
    ($self:ident, $operation:literal, $($module:ident)::+($($arg:expr),*)) => {
        Box::pin(async move { $($module)::+(&mut *$self.reader($operation).await?, $($arg),*).await })
    };
}

impl<B: Backend> Store for B {
    fn sharding(&self) -> Answer<'_, Option<Sharding>> {
        read!(self, "sharding", sharding::kept())
    }

    fn keep_sharding<'a>(&'a self, sharding: &'a Sharding) -> Answer<'a, Sharding> {
        Box::pin(async move {
            let mut lease = self.lease("keep the sharding").await?;
            let kept = sharding::keep(lease.session(), sharding).await?;
            lease.keep(1);
            Ok(kept)
        })
    }

    fn take_over(&self, shard: Shard) -> Answer<'_, Restored> {
        Box::pin(async move {
            let mut lease = self.lease("take over").await?;
            lease.begin().await?;
            self.is_current(lease.session()).await?;
            let epoch = read::raise_epoch(lease.session(), shard).await?;
            // The shard is ours from here on, so what is read next does not change, and nobody waits while it is read.
            lease.commit().await?;
            lease.freeze().await?;
            let restored = read::restore(lease.session(), shard, epoch).await?;
            lease.commit().await?;
            lease.keep(0);
            Ok(restored)
        })
    }

    fn commit<'a>(&'a self, commit: Commit<'a>, sinks: &'a [String]) -> Answer<'a, Committed> {
        Box::pin(async move {
            let mut lease = self.lease("commit").await?;
            lease.begin().await?;
            let claimed = commit::claim(lease.session(), &commit).await?;
            if let Some(committed) = self.made_before(&commit, claimed)? {
                return Ok(committed);
            }
            let committed = commit::write(lease.session(), &commit, sinks, claimed).await?;
            self.making(&commit, claimed, &committed);
            let outcome = lease.commit().await;
            self.settled(&commit, &outcome);
            outcome?;
            lease.keep(commit::weight(&commit));
            Ok(committed)
        })
    }

    fn put_artefact<'a>(&'a self, kind: ArtefactKind, digest: Digest, bytes: &'a [u8]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut lease = self.lease("put artefact").await?;
            let sql = "INSERT INTO artefacts (kind, digest, bytes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
            let query = Query::new(sql).bind(kind as u8).bind(digest.0.to_vec()).bind(bytes.to_vec());
            lease.session().execute("put artefact", query).await?;
            lease.keep(bytes.len() / 1024);
            Ok(())
        })
    }

    fn artefact(&self, kind: ArtefactKind, digest: Digest) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            let query = Query::new("SELECT bytes FROM artefacts WHERE kind = ? AND digest = ?");
            let query = query.bind(kind as u8).bind(digest.0.to_vec());
            let mut reader = self.reader("artefact").await?;
            let found = reader.collect("artefact", query, |row| Cells::new("artefact", "artefact", row).next());
            Ok(found.await?.pop())
        })
    }

    fn versions(&self, shard: Shard, kind: ArtefactKind, at: Timestamp, limit: u32) -> Answer<'_, Vec<Version>> {
        read!(self, "versions", read::versions(shard, kind, at, limit))
    }

    fn drop_superseded(&self, shard: Shard, kind: ArtefactKind, before: Position) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut lease = self.lease("drop superseded").await?;
            lease.begin().await?;
            let gone = retention::drop_superseded(lease.session(), shard, kind, before).await?;
            lease.commit().await?;
            lease.keep(0);
            Ok(gone)
        })
    }

    fn position(&self, shard: Shard) -> Answer<'_, (Positions, Checkpoint)> {
        read!(self, "position", read::position(shard))
    }

    fn incidents(&self, shard: Shard, query: IncidentQuery) -> Answer<'_, Page<Incident, IncidentId>> {
        read!(self, "incidents", read::incidents(shard, query))
    }

    fn incident(&self, shard: Shard, id: IncidentId, alerts: u32) -> Answer<'_, Option<IncidentDetail>> {
        Box::pin(async move { read::incident(&mut *self.snapshot("incident").await?, shard, id, alerts).await })
    }

    fn alerts(&self, shard: Shard, query: AlertQuery) -> Answer<'_, Page<Alert, AlertId>> {
        read!(self, "alerts", read::alerts(shard, query))
    }

    fn latest_alerts(&self, shard: Shard, before: Option<AlertId>, limit: u32) -> Answer<'_, Vec<Alert>> {
        read!(self, "latest alerts", read::latest_alerts(shard, before, limit))
    }

    fn last_alert(&self, shard: Shard, through: Position) -> Answer<'_, Option<AlertId>> {
        read!(self, "last alert", read::last_alert(shard, through))
    }

    fn episodes(&self, shard: Shard, fingerprint: Fingerprint, through: Position) -> Answer<'_, Vec<Alert>> {
        read!(self, "episodes", read::episodes(shard, fingerprint, through))
    }

    fn parked_of(&self, shard: Shard, position: Position) -> Answer<'_, Vec<Parked>> {
        read!(self, "parked", read::parked_of(shard, position))
    }

    fn parked(&self, shard: Shard, limit: u32) -> Answer<'_, Vec<Parked>> {
        read!(self, "parked", read::parked(shard, limit))
    }

    fn outcomes(&self, shard: Shard, after: Position, limit: u32) -> Answer<'_, Vec<Outcome>> {
        read!(self, "outcomes", read::outcomes(shard, after, limit))
    }

    fn feedback(&self, shard: Shard, limit: u32) -> Answer<'_, Vec<Feedback>> {
        read!(self, "feedback", read::feedback(shard, limit))
    }

    fn change_events(&self, shard: Shard, query: ChangeQuery) -> Answer<'_, Page<quell_domain::Change, ChangeId>> {
        read!(self, "change events", change_events::change_events(shard, query))
    }

    fn changes_since(&self, shard: Shard, number: u64, limit: u32) -> Answer<'_, Vec<Change>> {
        read!(self, "changes", read::changes_since(shard, number, limit))
    }

    fn newest_change(&self, shard: Shard) -> Answer<'_, u64> {
        read!(self, "newest change", read::newest_change(shard))
    }

    fn due<'a>(&'a self, shard: Shard, sink: &'a str, now: Timestamp, limit: u32) -> Answer<'a, Vec<Delivery>> {
        read!(self, "due", outbox::due(shard, sink, now, limit))
    }

    fn delivered<'a>(&'a self, id: &'a str, at: Timestamp) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut lease = self.lease("delivered").await?;
            outbox::delivered(lease.session(), id, at).await?;
            lease.keep(1);
            Ok(())
        })
    }

    fn failed<'a>(&'a self, id: &'a str, at: Timestamp, why: &'a str, retry_in: Option<Duration>) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut lease = self.lease("failed").await?;
            outbox::failed(lease.session(), id, at, why, retry_in).await?;
            lease.keep(1);
            Ok(())
        })
    }

    fn forget_before(&self, shard: Shard, before: Timestamp) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut gone = 0;
            // The writer is free for others between two pieces.
            loop {
                let mut lease = self.lease("forget").await?;
                lease.begin().await?;
                let piece = retention::forget_piece(lease.session(), shard, before).await?;
                lease.commit().await?;
                lease.keep(usize::try_from(piece.rows).unwrap_or(usize::MAX / 2));
                gone += piece.rows;
                if !piece.more {
                    return Ok(gone);
                }
            }
        })
    }
}
