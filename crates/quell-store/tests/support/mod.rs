//! Values for tests of stores: every field set to something that is not its default, and short ways to commit.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod artefacts;
pub(crate) mod episodes;
pub(crate) mod forecasts;
pub(crate) mod outbox;
pub(crate) mod postgres;
pub(crate) mod postgres_server;
pub(crate) mod problems;
pub(crate) mod relay;
pub(crate) mod writers;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use quell_domain::{
    Act, ActKind, Alert, AlertId, AlertState, Binding, BlastRadius, Cause, CauseVerdict, Change, ChangeId, CiId,
    Criticality, Digest, Ending, Fingerprint, Impact, Incident, IncidentId, IncidentState, Labels, Notice, Position,
    Priority, Reason, ServiceAtRisk, Severity, Shard, Source, TimelineEntry, Timestamp, Transition, Urgency,
};
use quell_engine::{AlertChange, Checkpoint, Effects, Fold};
use quell_store::{Commit, Committed, Flush, Restored, Store, StoreError};

/// A directory of its own, removed at the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("quell-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).expect("created");
        Dir(dir)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("store.db")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000 + 123_456)
}

pub(crate) fn incident_id(number: u64) -> IncidentId {
    IncidentId { shard: 0, number }
}

/// A reason with a fact of every kind.
pub(crate) fn reason(code: &'static str) -> Reason {
    Reason::new(code, "because of {text}, \"{count}\" and {list}\n")
        .text("text", "quoted \"té\\xt\" {count}")
        .count("count", u64::MAX)
        .number("share", 0.1 + 0.2)
        .time("since", at(5))
        .list("list", vec!["a".into(), "b,c".into()])
}

/// A firing alert with every field set.
pub(crate) fn alert(id: u64) -> Alert {
    Alert {
        id: AlertId(id),
        fingerprint: Fingerprint(u128::MAX - u128::from(id)),
        source: Source::PagerDuty,
        state: AlertState::Firing,
        severity: Severity::Critical,
        labels: Labels::new([("alertname", "Down"), ("path", "C:\\x\n"), ("ünï", "✓"), ("id", &id.to_string())]),
        annotations: Labels::new([("summary", "it is \"down\"")]),
        content: u64::MAX - id,
        binding: Some(Binding { ci: CiId::new("db-1"), confidence: 0.7, reason: reason("bound") }),
        unbound: Some(reason("why_not")),
        incident: Some(incident_id(id % 7 + 1)),
        membership: Some(reason("same_ci")),
        twin_of: Some(AlertId(id / 2 + 1)),
        starts_at: at(1),
        ends_at: Some(at(900)),
        ending: Ending::Explicit,
        timed_out: true,
        count: 3,
        first_seen: at(2),
        began_at: at(1),
        last_seen: at(3),
        opened_position: Position(id * 10),
        opened_ordinal: 4,
        closed_position: Some(Position(id * 10 + 5)),
        folded_through: Position(id * 10 + 6),
    }
}

/// An open incident with every field set.
pub(crate) fn incident(number: u64) -> Incident {
    let service = ServiceAtRisk {
        ci: CiId::new("shop"),
        name: "The \"shop\"".into(),
        criticality: Criticality::Critical,
        owner: Some("sales".into()),
    };
    let cause = |ci: &str, score| Cause { ci: CiId::new(ci), score, evidence: vec![reason("first"), reason("near")] };
    Incident {
        id: incident_id(number),
        state: IncidentState::Open,
        title: format!("db-{number} is down"),
        priority: Priority::new(2).expect("2 is one"),
        impact: Impact::High,
        urgency: Urgency::Medium,
        opened_position: Position(number * 10),
        opened_ordinal: 1,
        opened_at: at(10),
        started_at: at(9),
        last_fired_at: at(11),
        resolved_at: Some(at(12)),
        resolved_by: Some("ann".into()),
        acknowledged_at: Some(at(13)),
        acknowledged_by: Some("bob".into()),
        reopened: 2,
        alerts: 5,
        firing: 4,
        causes: vec![cause("db-1", 0.9), cause("switch-1", 1.0 / 3.0)],
        blast_radius: BlastRadius {
            cis: 12,
            services: vec![service.into()],
            partial: true,
            stale_relationships: 2,
            oldest_seen: Some(Timestamp::from_seconds(1_690_000_000)),
        },
        review_at: Some(at(14)),
        transitions: 6,
        merged_into: Some(incident_id(70)),
        moved: vec![AlertId(1), AlertId(u64::MAX)],
        split_from: Some(incident_id(71)),
        verdicts: vec![CauseVerdict {
            ci: CiId::new("db-1"),
            right: number % 2 == 1,
            actor: "cy".into(),
            at: at(15),
            command: Position(2),
        }],
        held_apart: true,
        looked_at: 7,
        acts: vec![
            Act { command: None, kind: ActKind::Merged(incident_id(72)) },
            Act { command: Some(Position(3)), kind: ActKind::Split(incident_id(73)) },
            Act { command: Some(Position(2)), kind: ActKind::Judged },
        ],
    }
}

pub(crate) fn notice(incident: u64, number: u32) -> Notice {
    Notice {
        incident: incident_id(incident),
        number,
        transition: Transition::ALL[number as usize % 6],
        at: at(20),
        title: format!("notice {number}"),
        priority: Priority::new(1).expect("1 is one"),
        cause: Some(CiId::new("db-1")),
        alerts: 8,
        reason: reason("told"),
    }
}

/// A change with every field set; an odd one is bound, an even one is not.
pub(crate) fn change(position: u64) -> Change {
    let bound = position % 2 == 1;
    Change {
        id: ChangeId { position: Position(position), ordinal: 3 },
        fingerprint: Fingerprint(u128::MAX - u128::from(position)),
        source: Source::PagerDutyChange,
        summary: format!("deploy \"{position}\""),
        by: "ana".into(),
        link: Some("https://ci.example/7".into()),
        labels: Labels::new([("service", "db-1"), ("ünï", "✓")]),
        binding: bound.then(|| Binding { ci: CiId::new("db-1"), confidence: 0.7, reason: reason("bound") }),
        unbound: (!bound).then(|| reason("why_not")),
        starts_at: at(i64::try_from(position).expect("small")),
        ends_at: Some(at(90)),
        received_at: at(5),
    }
}

pub(crate) fn entry(incident: u64, code: &'static str) -> TimelineEntry {
    TimelineEntry { incident: incident_id(incident), at: at(30), actor: "quell".into(), reason: reason(code) }
}

pub(crate) fn fold(id: u64) -> Fold {
    Fold {
        alert: AlertId(id),
        count: 99,
        starts_at: at(-5),
        ends_at: None,
        timed_out: false,
        last_seen: at(50),
        folded_through: Position(500),
        said: None,
    }
}

/// The alert after a fold.
pub(crate) fn folded(mut alert: Alert, fold: &Fold) -> Alert {
    let Fold { alert: _, count, starts_at, ends_at, timed_out, last_seen, folded_through, said } = fold.clone();
    (alert.count, alert.starts_at, alert.ends_at, alert.timed_out) = (count, starts_at, ends_at, timed_out);
    (alert.last_seen, alert.folded_through) = (last_seen, folded_through);
    if let Some((severity, annotations, content)) = said {
        (alert.severity, alert.annotations, alert.content) = (severity, annotations, content);
    }
    alert
}

pub(crate) fn open(alert: Alert) -> AlertChange {
    AlertChange::Open(Box::new(alert))
}

pub(crate) fn put(alert: Alert) -> AlertChange {
    AlertChange::Put(Box::new(alert))
}

pub(crate) fn checkpoint() -> Checkpoint {
    Checkpoint {
        now: Some(at(40)),
        last_alert: 77,
        last_incident: 66,
        topology: Some(Digest([0xaa; 32])),
        rules: Some(Digest([0xbb; 32])),
        learned: Some(Digest([5; 32])),
    }
}

/// The one writer of the first shard.
pub(crate) struct Writer<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) epoch: u64,
    pub(crate) applied: u64,
    pub(crate) sinks: Vec<String>,
    /// Written with the next commit.
    pub(crate) activations: Vec<quell_store::Version>,
}

impl<'a> Writer<'a> {
    pub(crate) async fn take_over(store: &'a dyn Store) -> (Writer<'a>, Restored) {
        let restored = store.take_over(Shard::FIRST).await.expect("taken over");
        let applied = restored.positions.applied.0;
        let sinks = vec!["one".to_owned(), "two".to_owned()];
        (Writer { store, epoch: restored.epoch, applied, sinks, activations: vec![] }, restored)
    }

    pub(crate) async fn try_commit(
        &mut self,
        effects: Effects,
        folds: Option<&[Fold]>,
    ) -> Result<Committed, StoreError> {
        let commit = Commit {
            shard: Shard::FIRST,
            epoch: self.epoch,
            applied: Position(self.applied + 10),
            commands: Position(3),
            checkpoint: checkpoint(),
            effects: &effects,
            activations: &self.activations,
            problem_sinks: &self.sinks[..1],
            flush: folds.map(|folds| Flush { folds }),
        };
        let committed = self.store.commit(commit, &self.sinks).await?;
        self.activations.clear();
        self.applied += 10;
        Ok(committed)
    }

    pub(crate) async fn commit(&mut self, effects: Effects) -> Committed {
        self.try_commit(effects, None).await.expect("committed")
    }

    pub(crate) async fn flush(&mut self, folds: &[Fold]) -> Committed {
        self.try_commit(Effects::default(), Some(folds)).await.expect("committed")
    }
}

/// What the next engine would start from. Takes the shard over.
pub(crate) async fn restored(store: &dyn Store) -> Restored {
    store.take_over(Shard::FIRST).await.expect("taken over")
}
