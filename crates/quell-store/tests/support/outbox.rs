//! What every store promises of what sinks are still to be told. Absent on purpose: who tells them.

use std::time::Duration;

use quell_domain::Shard;
use quell_engine::Effects;
use quell_store::Store;

use super::{Writer, at, notice};

const SHARD: Shard = Shard::FIRST;

pub(crate) async fn deliveries_wait_for_earlier_ones(store: &dyn Store) {
    let (mut writer, _) = Writer::take_over(store).await;
    let notices = vec![notice(1, 0), notice(2, 0), notice(1, 1)];
    writer.commit(Effects { notices, ..Effects::default() }).await;
    let due = store.due(SHARD, "one", at(0), 9).await.expect("read");
    assert_eq!(due.iter().map(|d| d.notice.clone()).collect::<Vec<_>>(), [notice(1, 0), notice(2, 0)]);
    assert_eq!(store.due(SHARD, "one", at(0), 1).await.expect("read").len(), 1);
    let (first, second) = (&due[0].id, &due[1].id);
    assert_ne!(*first, store.due(SHARD, "two", at(0), 9).await.expect("read")[0].id);
    store.failed(first, at(0), "refused", Some(Duration::from_secs(60))).await.expect("noted");
    store.delivered(second, at(0)).await.expect("noted");
    assert!(store.due(SHARD, "one", at(59), 9).await.expect("read").is_empty(), "the later one waits for the earlier");
    let again = store.due(SHARD, "one", at(60), 9).await.expect("read");
    assert_eq!((again.len(), &again[0].id, again[0].attempts), (1, first, 1));
    store.failed(first, at(60), "gone", None).await.expect("noted");
    let next = store.due(SHARD, "one", at(60), 9).await.expect("read");
    assert_eq!(next.iter().map(|d| d.notice.clone()).collect::<Vec<_>>(), [notice(1, 1)], "a dead one holds up none");
    store.delivered(&next[0].id, at(61)).await.expect("noted");
    assert!(store.due(SHARD, "one", at(9_999), 9).await.expect("read").is_empty());
    assert_eq!(store.due(SHARD, "two", at(0), 9).await.expect("read").len(), 2, "sinks do not wait for each other");
    assert!(store.due(SHARD, "three", at(0), 9).await.expect("read").is_empty());
    let elsewhere = Shard { tenant: 0, number: 1 };
    assert!(store.due(elsewhere, "two", at(0), 9).await.expect("read").is_empty(), "each shard tells its own");
}
