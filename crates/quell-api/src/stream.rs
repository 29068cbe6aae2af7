//! The live stream: server-sent events, one for each incident that changed.
//!
//! One task follows the engine's changes, looks each changed incident up once, and hands the rendered event to all
//! streams, at most four times a second; so a storm costs the store the same whether nobody watches or 500 do.
//!
//! Absent on purpose: a queue per client. A client that falls behind is told to look anew.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use prometheus::IntGauge;
use quell_domain::IncidentId;
use quell_store::Change;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::Interval;

use crate::answer::{Problem, report};
use crate::params::Params;
use crate::server::Closing;
use crate::{Api, App, shape};

/// Changes are gathered for this long before they are told, the later ones of an incident replacing the earlier.
const COALESCE: Duration = Duration::from_millis(250);
/// Told changes a stream may lag behind.
const RING: usize = 1_024;
/// Changes asked of the store at a time when a client resumes.
const PAGE: u32 = 500;
/// A client that missed more changes than this is told to look anew.
const RESUME_MOST: usize = 2_000;

/// One change, as told to every stream.
#[derive(Debug)]
struct Told {
    number: u64,
    json: String,
}

/// Shared by all streams.
#[derive(Debug)]
pub(crate) struct Hub {
    ring: OnceLock<broadcast::Sender<Arc<Told>>>,
    seats: Arc<Semaphore>,
}

impl Hub {
    pub(crate) fn new(streams: usize) -> Self {
        Hub { ring: OnceLock::new(), seats: Arc::new(Semaphore::new(streams)) }
    }

    /// Starts to follow the engine with the first listener.
    fn listen(&self, api: &Api) -> broadcast::Receiver<Arc<Told>> {
        let start = || {
            let (ring, _) = broadcast::channel(RING);
            tokio::spawn(follow(api.clone(), api.live.changes(), ring.clone()));
            ring
        };
        self.ring.get_or_init(start).subscribe()
    }
}

/// Tells every change until the engine's side is gone.
async fn follow(api: Api, mut changes: broadcast::Receiver<Change>, ring: broadcast::Sender<Arc<Told>>) {
    let mut last = 0;
    loop {
        let mut gathered: BTreeMap<IncidentId, Change> = BTreeMap::new();
        let mut missed = false;
        match changes.recv().await {
            Ok(change) => _ = gathered.insert(change.incident, change),
            Err(RecvError::Lagged(_)) => missed = true,
            Err(RecvError::Closed) => return,
        }
        tokio::time::sleep(COALESCE).await;
        loop {
            match changes.try_recv() {
                Ok(change) => _ = gathered.insert(change.incident, change),
                Err(broadcast::error::TryRecvError::Lagged(_)) => missed = true,
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => break,
            }
        }
        if missed && ring.receiver_count() > 0 {
            match api.store.changes_since(api.shard, last, u32::MAX).await {
                Ok(all) => gathered.extend(all.into_iter().map(|change| (change.incident, change))),
                Err(error) => report(&error),
            }
        }
        let mut gathered: Vec<Change> = gathered.into_values().collect();
        gathered.sort_by_key(|change| change.number);
        last = gathered.last().map_or(last, |change| last.max(change.number));
        if ring.receiver_count() == 0 {
            continue;
        }
        for change in gathered {
            if let Some(told) = tell(&api, change).await {
                // Nobody listens any more: the next listener resumes from the store.
                _ = ring.send(Arc::new(told));
            }
        }
    }
}

/// Looks the incident up. A failure is logged; the client sees the next change.
async fn tell(api: &Api, change: Change) -> Option<Told> {
    match api.store.incident(api.shard, change.incident, 0).await {
        Ok(detail) => Some(Told { number: change.number, json: shape::head(&detail?.incident).to_string() }),
        Err(error) => {
            report(&error);
            None
        }
    }
}

/// `GET /api/v1/stream`.
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    closing: Option<Extension<Closing>>,
    request: Request,
) -> Result<Response, Problem> {
    let since = resume_from(request.uri(), request.headers())?;
    let Ok(seat) = app.hub.seats.clone().try_acquire_owned() else {
        return Err(Problem::unavailable("too_many_streams", "too many live streams are open", 10));
    };
    // First listen, then read what was missed: nothing falls between.
    let told = app.hub.listen(&app.api);
    let mut queue = VecDeque::new();
    let mut last = 0;
    if let Some(since) = since {
        last = since;
        catch_up(&app.api, &mut last, &mut queue).await?;
    }
    let beat = {
        let every = app.api.limits.heartbeat;
        tokio::time::interval_at(tokio::time::Instant::now() + every, every)
    };
    let open = Open::new(app.api.metrics.streams.clone(), seat);
    let closing = closing.map(|Extension(closing)| closing);
    let events = events(Listener { told, queue, last, beat, closing, _open: open });
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    Ok(response)
}

fn resume_from(uri: &axum::http::Uri, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let params = Params::read(uri, &["last_event_id"])?;
    let allowed = "the number of an event of this stream";
    match headers.get("last-event-id") {
        Some(value) => {
            let text = value.to_str().unwrap_or("?");
            text.parse().map(Some).map_err(|_| Problem::bad("header Last-Event-ID", text, allowed))
        }
        None => params.parsed("last_event_id", allowed),
    }
}

/// Queues what was missed since `last`, or one `resync` when that is too much.
async fn catch_up(api: &Api, last: &mut u64, queue: &mut VecDeque<Event>) -> Result<(), Problem> {
    let mut missed: Vec<Change> = Vec::new();
    loop {
        let after = missed.last().map_or(*last, |change| change.number);
        let page = api.store.changes_since(api.shard, after, PAGE).await?;
        let done = page.len() < PAGE as usize;
        missed.extend(page);
        if done || missed.len() > RESUME_MOST {
            break;
        }
    }
    if missed.len() > RESUME_MOST {
        queue.push_back(resync(*last));
        return Ok(());
    }
    for change in missed {
        *last = change.number;
        if let Some(told) = tell(api, change).await {
            queue.push_back(incident(&told));
        }
    }
    Ok(())
}

fn incident(told: &Told) -> Event {
    Event::default().id(told.number.to_string()).event("incident").data(&told.json)
}

/// Look at the whole list anew: events after `since` are missing.
fn resync(since: u64) -> Event {
    Event::default().event("resync").data(format!("{{\"since\":{since}}}"))
}

/// A comment for whoever reads the bytes, an event for scripts, which never see comments.
fn heartbeat() -> Event {
    Event::default().comment("heartbeat").event("heartbeat").data("{}")
}

/// Counts an open stream for as long as it lives.
struct Open {
    streams: IntGauge,
    _seat: OwnedSemaphorePermit,
}

impl Open {
    fn new(streams: IntGauge, seat: OwnedSemaphorePermit) -> Self {
        streams.inc();
        Open { streams, _seat: seat }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.dec();
    }
}

struct Listener {
    told: broadcast::Receiver<Arc<Told>>,
    queue: VecDeque<Event>,
    /// The number of the last event sent.
    last: u64,
    beat: Interval,
    closing: Option<Closing>,
    _open: Open,
}

fn events(mut listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    listener.queue.push_front(Event::default().comment("connected").retry(Duration::from_secs(2)));
    stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.queue.pop_front() {
            return Some(event);
        }
        loop {
            let closing = async {
                match &mut self.closing {
                    Some(closing) => closing.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                told = self.told.recv() => match told {
                    Ok(told) if told.number <= self.last => {}
                    Ok(told) => {
                        self.last = told.number;
                        return Some(incident(&told));
                    }
                    Err(RecvError::Lagged(_)) => return Some(resync(self.last)),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.beat.tick() => return Some(heartbeat()),
                () = closing => return None,
            }
        }
    }
}
