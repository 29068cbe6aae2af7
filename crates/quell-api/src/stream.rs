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
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::Interval;

use crate::answer::{Problem, report};
use crate::params::Params;
use crate::seen::Seen;
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
    shard: u32,
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
    let mut seen = Seen::nothing(api.sharding.count());
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
            for shard in api.sharding.shards() {
                match api.store.changes_since(shard, seen.of(shard.number), u32::MAX).await {
                    Ok(all) => gathered.extend(all.into_iter().map(|change| (change.incident, change))),
                    Err(error) => report(&error),
                }
            }
        }
        // In the order of each shard, which numbers its changes for itself.
        let mut gathered: Vec<Change> = gathered.into_values().collect();
        gathered.sort_by_key(|change| (change.number, change.incident.shard));
        for change in &gathered {
            seen.tell(change.incident.shard, change.number);
        }
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
    let shard = change.incident.shard;
    match api.store.incident(api.of(shard), change.incident, 0).await {
        Ok(detail) => Some(Told { shard, number: change.number, json: shape::head(&detail?.incident).to_string() }),
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
    let since = resume_from(&app.api, request.uri(), request.headers())?;
    let Ok(seat) = app.hub.seats.clone().try_acquire_owned() else {
        return Err(Problem::unavailable("too_many_streams", "too many live streams are open", 10));
    };
    let before = newest(&app.api).await?;
    // First listen, then read what was missed: nothing falls between.
    let told = app.hub.listen(&app.api);
    let mut queue = VecDeque::new();
    let nothing = Seen::nothing(app.api.sharding.count());
    let mut place = Place { told: nothing.clone(), before: nothing };
    match since {
        Some(since) => {
            place.told = since;
            catch_up(&app.api, before, &mut place, &mut queue).await?;
        }
        None => place.before = before,
    }
    let beat = {
        let every = app.api.limits.heartbeat;
        tokio::time::interval_at(tokio::time::Instant::now() + every, every)
    };
    let open = Open::new(app.api.metrics.streams.clone(), seat);
    let closing = closing.map(|Extension(closing)| closing);
    let events = events(Listener { told, queue, place, beat, closing, _open: open });
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    Ok(response)
}

/// How far a stream is.
struct Place {
    /// What was told of each shard.
    told: Seen,
    /// What each shard had told before the stream began. Its events say that too, because a client that comes back
    /// wants what came since; the shards that said nothing meanwhile would else begin anew.
    before: Seen,
}

impl Place {
    /// The id of an event.
    fn id(&self) -> Seen {
        self.told.and(&self.before)
    }
}

/// The newest change of each shard; with one shard nobody needs it, as every event says how far that one is.
async fn newest(api: &Api) -> Result<Seen, Problem> {
    let mut seen = Seen::nothing(api.sharding.count());
    if !api.is_one() {
        for shard in api.sharding.shards() {
            seen.tell(shard.number, api.store.newest_change(shard).await?);
        }
    }
    Ok(seen)
}

fn resume_from(api: &Api, uri: &axum::http::Uri, headers: &HeaderMap) -> Result<Option<Seen>, Problem> {
    let params = Params::read(uri, &["last_event_id"])?;
    let allowed =
        if api.is_one() { "the number of an event of this stream" } else { "the id of an event of this stream" };
    let read = |place: &str, text: &str| {
        let seen = Seen::read(text, api.sharding.count());
        seen.map(Some).ok_or_else(|| Problem::bad(place, text, allowed))
    };
    match (headers.get("last-event-id"), params.get("last_event_id")) {
        (Some(value), _) => read("header Last-Event-ID", value.to_str().unwrap_or("?")),
        (None, Some(text)) => read("query parameter last_event_id", text),
        (None, None) => Ok(None),
    }
}

/// Queues what was missed since what was told, or one `resync` when that is too much: whoever looks anew then sees all
/// that was `before` the stream began.
async fn catch_up(api: &Api, before: Seen, place: &mut Place, queue: &mut VecDeque<Event>) -> Result<(), Problem> {
    let mut missed: Vec<Change> = Vec::new();
    for shard in api.sharding.shards() {
        let mut after = place.told.of(shard.number);
        while missed.len() <= RESUME_MOST {
            let page = api.store.changes_since(shard, after, PAGE).await?;
            let done = page.len() < PAGE as usize;
            after = page.last().map_or(after, |change| change.number);
            missed.extend(page);
            if done {
                break;
            }
        }
    }
    if missed.len() > RESUME_MOST {
        queue.push_back(resync(&place.told));
        place.before = before;
        return Ok(());
    }
    for change in missed {
        place.told.tell(change.incident.shard, change.number);
        if let Some(told) = tell(api, change).await {
            queue.push_back(incident(&place.id(), &told));
        }
    }
    Ok(())
}

fn incident(id: &Seen, told: &Told) -> Event {
    Event::default().id(id.to_string()).event("incident").data(&told.json)
}

/// Look at the whole list anew: events after `since` are missing.
fn resync(since: &Seen) -> Event {
    let since = since.to_string();
    let since = since.parse::<u64>().map_or_else(|_| json!(since), |number| json!(number));
    Event::default().event("resync").data(json!({"since": since}).to_string())
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
    place: Place,
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
                    Ok(told) => {
                        if self.place.told.tell(told.shard, told.number) {
                            return Some(incident(&self.place.id(), &told));
                        }
                    }
                    Err(RecvError::Lagged(_)) => return Some(resync(&self.place.id())),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.beat.tick() => return Some(heartbeat()),
                () = closing => return None,
            }
        }
    }
}
