//! What every store promises of episodes that are new.
//!
//! Absent on purpose: what becomes of them later.

use quell_domain::{Alert, CiId, Labels, Severity, Shard};
use quell_engine::{AlertChange, Effects};
use quell_store::{Store, StoreError};

use super::*;

const SHARD: Shard = Shard::FIRST;

pub(crate) async fn new_episodes_are_added(store: &dyn Store) {
    for (from, count) in [(1, 3), (101, 60)] {
        let (mut writer, _) = Writer::take_over(store).await;
        let mut all: Vec<Alert> = (from..from + count).map(alert).collect();
        let odd = &mut all[1];
        (odd.binding, odd.membership, odd.incident, odd.ends_at, odd.twin_of) = (None, None, None, None, None);
        odd.labels = Labels::new([("alertname", "ünï\u{0}\u{1a}\\\n\t\"✓"), ("empty", "")]);
        if let Some(binding) = &mut all[2].binding {
            binding.ci = CiId::new("rack\u{0} 7\u{1a}");
        }
        let timeline: Vec<_> = (1..=count).map(|_| entry(from, "opened")).collect();
        // One is decided on in the same commit, and one is gone again.
        let mut later = all[0].clone();
        (later.binding, later.unbound, later.membership, later.count) = (None, None, None, 8);
        let gone = alert(from + 90);
        let mut alerts: Vec<_> = all.iter().cloned().chain([gone.clone()]).map(open).collect();
        alerts.extend([put(later), AlertChange::Forget(gone.id)]);
        writer.commit(Effects { alerts, timeline: timeline.clone(), ..Effects::default() }).await;
        all[0].count = 8;
        let mut twice = all[2].clone();
        twice.severity = Severity::Info;
        writer.commit(Effects { alerts: vec![put(twice.clone())], ..Effects::default() }).await;
        all[2] = twice;
        let mut found = restored(store).await.snapshot.alerts;
        found.retain(|alert| alert.id.0 >= from);
        assert_eq!(found, all);
        writer = Writer::take_over(store).await.0;
        writer.commit(Effects { incidents: vec![incident(from)], ..Effects::default() }).await;
        let detail = store.incident(SHARD, incident_id(from), 9).await.expect("read").expect("there");
        assert_eq!(detail.timeline, timeline);
        // What is there already is not new; nothing of such a commit is made.
        let alerts = (from..from + count).rev().map(alert).map(open).collect();
        let refused = writer.try_commit(Effects { alerts, ..Effects::default() }, None).await;
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
        let mut found = restored(store).await.snapshot.alerts;
        found.retain(|alert| alert.id.0 >= from);
        assert_eq!(found, all);
    }
}
