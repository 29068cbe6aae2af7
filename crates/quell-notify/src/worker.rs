//! One sink's worker: takes what is due, tells it, and says to the store what became of it.
//!
//! Absent on purpose: a queue of its own. What is due lies in the store, so a restart forgets nothing.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use quell_domain::{Shard, Timestamp};
use quell_formats::notice;
use quell_store::{Delivery, Store, StoreError};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::egress::{Answer, EgressClient, EgressError, EgressPolicy};
use crate::signature::{Secret, sign};

/// Notices of different incidents told to one sink at the same time.
const CONCURRENCY: usize = 4;
/// Deliveries asked of the store at a time.
const BATCH: u32 = 64;
/// Looks for retries that have become due this often.
const POLL: Duration = Duration::from_secs(1);
/// The longest a retry waits.
const LONGEST: Duration = Duration::from_secs(3600);
/// Tries before a notice is dead: at [`LONGEST`] apart at most, a bit more than a day.
const TRIES: u32 = 40;
/// Tries before a notice is dead where the sink says it is gone (410), or the policy forbids it.
const TRIES_WHEN_GONE: u32 = 3;

/// Somebody to tell.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Its name, as the store knows it.
    pub name: String,
    /// Where to post.
    pub url: String,
    /// What notices are signed with; each gives a signature.
    pub secrets: Vec<Secret>,
}

/// What time it is; the process owns the clock.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, now.
    fn now(&self) -> Timestamp;
}

impl<F: Fn() -> Timestamp + Send + Sync + 'static> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

/// What became of an attempt to tell a sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempted {
    /// The sink took it.
    Delivered,
    /// It did not, and is asked again.
    Failed,
    /// It did not, and is not asked again.
    GivenUp,
}

/// Who hears of every attempt: for what is counted and traced.
pub trait Observer: Send + Sync + 'static {
    /// An attempt begins.
    fn begin(&self, sink: &str, delivery: &Delivery) -> Box<dyn Attempt>;
}

/// An attempt under way.
pub trait Attempt: Send {
    /// The W3C trace context that the sink is told of, if there is one.
    fn traceparent(&self) -> Option<String>;

    /// It is over.
    fn end(self: Box<Self>, attempted: Attempted);
}

/// Where what is to be told lies.
#[derive(Clone)]
pub struct Outbox {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Whose notices are told.
    pub shard: Shard,
}

/// Tells a sink everything of a shard that becomes due, until `shutdown` is done. `wake` says that something may have become due;
/// retries are looked for without it.
///
/// # Errors
/// When the sink's address can never be sent to.
pub async fn run(
    sink: Sink,
    policy: Arc<EgressPolicy>,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    wake: watch::Receiver<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), EgressError> {
    let client = EgressClient::new(&sink.url, policy)?;
    let Outbox { store, shard } = outbox;
    let worker = Worker { sink, client, store, shard, clock, observer };
    tokio::select! {
        () = worker.work(wake) => {}
        () = shutdown => {}
    }
    Ok(())
}

struct Worker {
    sink: Sink,
    client: EgressClient,
    store: Arc<dyn Store>,
    shard: Shard,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

/// What is to be said to the store of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    Delivered,
    Failed { why: String, retry_in: Option<Duration> },
}

impl Worker {
    async fn work(&self, mut wake: watch::Receiver<()>) {
        loop {
            // Seen before looking, so that what comes while looking wakes again.
            wake.borrow_and_update();
            rest(&self.sink.name, self.round().await, &mut wake).await;
        }
    }

    /// Tells what is due; how many it was.
    async fn round(&self) -> Result<usize, StoreError> {
        let mut due = self.store.due(self.shard, &self.sink.name, self.clock.now(), BATCH).await?;
        // The store holds an incident's later notices back; this holds them even if one lets two through.
        let mut incidents = BTreeSet::new();
        due.retain(|delivery| incidents.insert(delivery.notice.incident));
        let count = due.len();
        let told = futures::stream::iter(due).map(|delivery| async move { self.tell(&delivery).await });
        let told: Vec<Result<(), StoreError>> = told.buffer_unordered(CONCURRENCY).collect().await;
        told.into_iter().collect::<Result<(), _>>()?;
        Ok(count)
    }

    async fn tell(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let at = self.clock.now();
        let attempt = self.observer.begin(&self.sink.name, delivery);
        let mut headers = self.headers(delivery, at);
        if let Some(Ok(parent)) = attempt.traceparent().map(HeaderValue::try_from) {
            headers.insert(HeaderName::from_static("traceparent"), parent);
        }
        let answer = self.client.post(headers, body(delivery)).await;
        let verdict = judge(&delivery.id, delivery.attempts + 1, answer);
        attempt.end(match &verdict {
            Verdict::Delivered => Attempted::Delivered,
            Verdict::Failed { retry_in: Some(_), .. } => Attempted::Failed,
            Verdict::Failed { retry_in: None, .. } => Attempted::GivenUp,
        });
        match verdict {
            Verdict::Delivered => self.store.delivered(&delivery.id, self.clock.now()).await,
            Verdict::Failed { why, retry_in } => {
                let (sink, id) = (&self.sink.name, &delivery.id);
                match retry_in {
                    Some(retry_in) => tracing::warn!(sink, id, why, ?retry_in, "a notice was not taken"),
                    None => tracing::error!(sink, id, why, "a notice was not taken and is given up"),
                }
                self.store.failed(&delivery.id, self.clock.now(), &why, retry_in).await
            }
        }
    }

    fn headers(&self, delivery: &Delivery, at: Timestamp) -> HeaderMap {
        let timestamp = (at.micros() / 1_000_000).to_string();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut put = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put("webhook-id", &delivery.id);
        put("webhook-timestamp", &timestamp);
        if !self.sink.secrets.is_empty() {
            put("webhook-signature", &sign(&self.sink.secrets, &delivery.id, &timestamp, &body(delivery)));
        }
        headers
    }
}

fn body(delivery: &Delivery) -> Vec<u8> {
    notice::encode(&delivery.id, &delivery.notice)
}

/// Returns when it is time for the next round: at once while there is something to tell, else when something may have
/// become due.
pub(crate) async fn rest(sink: &str, round: Result<usize, StoreError>, wake: &mut watch::Receiver<()>) {
    match round {
        Ok(0) => wait(wake).await,
        Ok(_) => {}
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(sink, %error, cause, "the store did not answer; trying again");
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn wait(wake: &mut watch::Receiver<()>) {
    let woken = async {
        if wake.changed().await.is_err() {
            // Nobody will wake this worker any more; it still looks for retries.
            std::future::pending::<()>().await;
        }
    };
    // Either way it is time to look.
    let _ = tokio::time::timeout(POLL, woken).await;
}

fn judge(id: &str, attempt: u32, answer: Result<Answer, EgressError>) -> Verdict {
    let (why, tries, wanted) = match answer {
        Ok(Answer { status: 200..=299, .. }) => return Verdict::Delivered,
        Ok(Answer { status, text, retry_after }) => {
            let tries = if status == 410 { TRIES_WHEN_GONE } else { TRIES };
            (format!("answered {status}: {text}"), tries, retry_after)
        }
        Err(error @ EgressError::Blocked { .. }) => (error.to_string(), TRIES_WHEN_GONE, None),
        Err(error) => (error.to_string(), TRIES, None),
    };
    let retry_in = (attempt < tries).then(|| backoff(id, attempt).max(wanted.unwrap_or_default()).min(LONGEST));
    Verdict::Failed { why, retry_in }
}

/// Exponential with full jitter: evenly spread over 0 to 2^attempt seconds, at most an hour. The spread comes from id
/// and attempt, so that it is the same in every run and different for every notice.
fn backoff(id: &str, attempt: u32) -> Duration {
    let most = Duration::from_secs(1u64.checked_shl(attempt).unwrap_or(u64::MAX)).min(LONGEST);
    let hash = Sha256::new().chain_update(id).chain_update(attempt.to_le_bytes()).finalize();
    let share = hash.iter().take(4).fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    most.mul_f64(f64::from(share) / f64::from(u32::MAX)).max(Duration::from_millis(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<u64>) -> Result<Answer, EgressError> {
        Ok(Answer { status, text: "x".into(), retry_after: retry_after.map(Duration::from_secs) })
    }

    fn retry(attempt: u32, answer: Result<Answer, EgressError>) -> Option<Duration> {
        match judge("id", attempt, answer) {
            Verdict::Delivered => None,
            Verdict::Failed { retry_in, .. } => retry_in,
        }
    }

    #[test]
    fn only_2xx_is_taken() {
        for (status, taken) in [(200, true), (204, true), (301, false), (404, false), (429, false), (500, false)] {
            assert_eq!(judge("id", 1, answered(status, None)) == Verdict::Delivered, taken, "{status}");
        }
    }

    #[test]
    fn gives_up_after_the_stated_tries() {
        let blocked = || Err(EgressError::Blocked { target: "10.0.0.1:443".into() });
        assert!(retry(2, answered(410, None)).is_some() && retry(2, blocked()).is_some());
        assert!(retry(3, answered(410, None)).is_none() && retry(3, blocked()).is_none());
        assert!(retry(39, answered(500, None)).is_some());
        assert_eq!(retry(40, answered(500, None)), None);
    }

    #[test]
    fn backs_off_up_to_an_hour_and_honours_retry_after() {
        for attempt in 1..40 {
            let retry = retry(attempt, answered(500, None)).expect("tries left");
            let most = Duration::from_secs(2u64.saturating_pow(attempt)).min(LONGEST);
            assert!(retry >= Duration::from_millis(100) && retry <= most, "{attempt}: {retry:?}");
        }
        assert!(retry(1, answered(503, Some(120))) >= Some(Duration::from_secs(120)));
        assert_eq!(retry(1, answered(503, Some(1_000_000))), Some(LONGEST));
        let spread: BTreeSet<Duration> = (0..50).map(|n| backoff(&n.to_string(), 10)).collect();
        assert!(
            spread.len() > 40 && spread.iter().any(|d| d.as_secs() < 300) && spread.iter().any(|d| d.as_secs() > 700)
        );
    }
}
