//! What works beside a shard's engine on the node that decides there: telling, learning, forecasting, keeping house.
//!
//! All of it begins with the node's turn and ends with it. Absent on purpose: what each of them does; and whatever every
//! node does, which is in `serve`.

use std::sync::Arc;

use quell_formats::config::{Config, Learning};
use quell_log::Clock;
use quell_notify::{EgressPolicy, Observer, Outbox, Sink};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::clock::SystemClock;
use crate::forecaster::Forecaster;
use crate::intake::Door;
use crate::keeper;
use crate::learner::Learner;
use crate::prover::Prover;
use crate::serve::{chain, until};
use crate::streams::Telling;

/// What is needed for all of them, turn after turn.
pub(crate) struct Workers {
    pub(crate) sinks: Vec<Sink>,
    pub(crate) policy: Arc<EgressPolicy>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) telling: Telling,
    /// Held by the one of this turn.
    pub(crate) learner: Arc<Mutex<Learner>>,
    /// Held by the one of this turn.
    pub(crate) forecaster: Arc<Mutex<Forecaster>>,
    pub(crate) config: Config,
}

/// Those at work; they stop when this is dropped.
pub(crate) struct AtWork {
    /// Dropped, it asks those to end who can be asked.
    _over: watch::Sender<bool>,
    others: Vec<JoinHandle<()>>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.others.iter().for_each(JoinHandle::abort);
    }
}

impl Workers {
    pub(crate) fn begin(&self, door: &Arc<Door>, clock: &Arc<dyn Clock>) -> AtWork {
        let (over, ending) = watch::channel(false);
        for sink in &self.sinks {
            let wake = door.published.wake.subscribe();
            let (policy, observer) = (Arc::clone(&self.policy), Arc::clone(&self.observer));
            let outbox = Outbox { store: Arc::clone(&door.store), shard: door.shard };
            tokio::spawn(tell(sink.clone(), policy, outbox, observer, wake, ending.clone()));
        }
        self.telling.begin(door, &ending);
        let house =
            keeper::run(Arc::clone(door), Arc::clone(&door.store), Arc::clone(clock), door.shard, self.config.clone());
        let Learning { enabled, .. } = self.config.learning;
        let (learner, learning) = (Arc::clone(&self.learner), self.config.learning);
        let forecaster = Arc::clone(&self.forecaster);
        let others = vec![
            tokio::spawn(house),
            tokio::spawn(Prover::new(door, Arc::clone(clock)).run()),
            tokio::spawn(async move { learner.lock().await.run(learning).await }),
            tokio::spawn(async move { forecaster.lock().await.run(enabled).await }),
        ];
        AtWork { _over: over, others }
    }

    /// The names of those who are told.
    pub(crate) fn sinks(&self) -> Vec<String> {
        self.sinks.iter().map(|sink| sink.name.clone()).chain(self.telling.names()).collect()
    }

    /// Those of them who are told of problems, too.
    pub(crate) fn problem_sinks(&self) -> Vec<String> {
        self.telling.names().collect()
    }
}

async fn tell(
    sink: Sink,
    policy: Arc<EgressPolicy>,
    outbox: Outbox,
    observer: Arc<dyn Observer>,
    wake: watch::Receiver<()>,
    ending: watch::Receiver<bool>,
) {
    let name = sink.name.clone();
    let done = quell_notify::run(sink, policy, outbox, Arc::new(SystemClock), observer, wake, until(ending)).await;
    if let Err(error) = done {
        tracing::error!(sink = name, error = %chain(&error), "nothing can be told to this sink");
    }
}
