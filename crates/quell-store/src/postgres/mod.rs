//! The store in a PostgreSQL database: a few connections that write, one transaction for each commit, and a pool that
//! reads.
//!
//! Absent on purpose: clocks but for how long a connection rested; every instant is handed in. And elections: whoever
//! took a shard over last may write for it.

pub(crate) mod error;
pub(crate) mod escape;
mod migrate;
mod open;
mod rows;
mod session;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quell_domain::{Position, Shard};
use quell_engine::Effects;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::contract::{Commit, Committed, StoreError};
use crate::sql::{Backend, Claimed};
use error::{fault, late};
pub use open::Options;
use session::in_time;

/// A connection that rested longer is asked whether it still stands before it is used.
const RESTED: Duration = Duration::from_secs(1);

/// How long that may take.
const PING: Duration = Duration::from_secs(2);

/// A store in a PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    connect: PgConnectOptions,
    /// False where it was opened only to read.
    writes: bool,
    readers: PgPool,
    writers: Arc<Semaphore>,
    /// Connections that wait to be used again, and since when.
    resting: Mutex<Vec<(PgConnection, Instant)>>,
    /// What is known of the commits of each shard that is written here.
    known: Mutex<BTreeMap<Shard, Known>>,
}

impl fmt::Debug for PostgresStore {
    /// Without the options, which hold the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

/// What is known of a shard's commits under one epoch.
struct Known {
    epoch: u64,
    /// The last number of the changes of all commits that were made.
    last: u64,
    /// A commit that was sent, and of which nobody knows whether it was made.
    unsettled: Option<Unsettled>,
}

struct Unsettled {
    mark: Mark,
    last: u64,
    committed: Committed,
}

/// What tells a commit from others of its writer.
type Mark = ([Position; 2], bool, [usize; 9]);

fn mark(commit: &Commit<'_>) -> Mark {
    let Commit { shard: _, epoch: _, applied, commands, checkpoint: _, effects, activations, problem_sinks: _, flush } =
        commit;
    let Effects { alerts, incidents, timeline, forgotten, notices, parked, outcomes, feedback, changes, .. } = effects;
    let sizes = [alerts.len(), incidents.len(), timeline.len(), forgotten.len(), notices.len(), parked.len()];
    let [a, i, t, f, n, p] = sizes;
    let rest = [outcomes.len(), feedback.len(), changes.len() + activations.len()];
    ([*applied, *commands], flush.is_some(), [a, i, t, f, n, p, rest[0], rest[1], rest[2]])
}

/// The right to write.
pub(crate) struct Lease {
    operation: &'static str,
    connection: PgConnection,
    store: PostgresStore,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let operation = self.operation;
        let done = sqlx::raw_sql(sql).execute(&mut self.connection);
        in_time(operation, async { done.await.map(drop).map_err(fault(operation)) }).await
    }
}

impl crate::sql::Lease for Lease {
    type Session = PgConnection;

    fn session(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Whatever the server's defaults are: what is read here is what was committed last, and it is to be changed.
    async fn begin(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await
    }

    async fn freeze(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT").await
    }

    fn keep(self, _rows: usize) {
        let Lease { connection, store, .. } = self;
        let mut resting = store.inner.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.push((connection, Instant::now()));
    }
}

impl PostgresStore {
    /// Reaches a database, for which it waits a while, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] for the schema of a later quell, else what the server says.
    pub async fn open(options: &Options) -> Result<Self, StoreError> {
        Ok(Self::of(open::open(options).await?, options, true))
    }

    /// Reaches a database only to read it. What would change it fails.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] and [`StoreError::TooOld`] for schemas of other versions, else what the server says.
    pub async fn open_read_only(options: &Options) -> Result<Self, StoreError> {
        Ok(Self::of(open::open_read_only(options).await?, options, false))
    }

    fn of(opened: open::Opened, options: &Options, writes: bool) -> Self {
        let open::Opened { connect, readers } = opened;
        let writers = Arc::new(Semaphore::new(options.writers.max(1)));
        let (resting, known) = (Mutex::default(), Mutex::default());
        PostgresStore { inner: Arc::new(Inner { connect, writes, readers, writers, resting, known }) }
    }

    /// Closes the connections that rest. What is asked of the store after that may fail.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        let resting = std::mem::take(&mut *self.inner.resting.lock().unwrap_or_else(PoisonError::into_inner));
        for (connection, _) in resting {
            // The server notices at the latest when the socket is gone.
            let _ = connection.close().await;
        }
    }

    /// A connection of its own, for what is no commit.
    pub(crate) async fn connection(&self, operation: &'static str) -> Result<PgConnection, StoreError> {
        open::connect(&self.inner.connect, operation).await
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Shard, Known>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that rested and still stands.
    async fn rested(&self) -> Option<PgConnection> {
        loop {
            let next = self.inner.resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (mut connection, since) = next?;
            if since.elapsed() < RESTED {
                return Some(connection);
            }
            if matches!(tokio::time::timeout(PING, connection.ping()).await, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }
}

impl Backend for PostgresStore {
    type Session = PgConnection;
    type Reader = PoolConnection<Postgres>;
    type Snapshot = Transaction<'static, Postgres>;
    type Lease = Lease;

    async fn reader(&self, operation: &'static str) -> Result<PoolConnection<Postgres>, StoreError> {
        self.inner.readers.acquire().await.map_err(fault(operation))
    }

    async fn snapshot(&self, operation: &'static str) -> Result<Transaction<'static, Postgres>, StoreError> {
        let begun = self.inner.readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        begun.await.map_err(fault(operation))
    }

    async fn lease(&self, operation: &'static str) -> Result<Lease, StoreError> {
        if !self.inner.writes {
            return Err(fault(operation)(sqlx::Error::Configuration("the store was opened only to read".into())));
        }
        let permit = Arc::clone(&self.inner.writers).acquire_owned().await.map_err(|_| late(operation))?;
        let connection = match self.rested().await {
            Some(connection) => connection,
            None => open::connect(&self.inner.connect, operation).await?,
        };
        Ok(Lease { operation, connection, store: self.clone(), _permit: permit })
    }

    async fn is_current(&self, session: &mut PgConnection) -> Result<(), StoreError> {
        migrate::check(session).await
    }

    /// The last number of changes grows with each commit of a shard. If it grew by none between the commit whose answer
    /// got lost and this one, the lost one was not made; if it grew by that one, this one is made already. Anything else
    /// means that the database went back, as a standby does that had not everything: then the state here is ahead of
    /// the store, and must be loaded again.
    fn made_before(&self, commit: &Commit<'_>, claimed: Claimed) -> Result<Option<Committed>, StoreError> {
        let (epoch, after) = (commit.epoch, claimed.after());
        let mut all = self.known();
        let earlier = all.insert(commit.shard, Known { epoch, last: after, unsettled: None });
        let Some(Known { epoch: _, last, unsettled }) = earlier.filter(|known| known.epoch == epoch) else {
            return Ok(None);
        };
        match unsettled {
            Some(unsettled) if unsettled.last == after => {
                Ok((unsettled.mark == mark(commit)).then_some(unsettled.committed))
            }
            _ if last == after => Ok(None),
            _ => {
                tracing::error!(shard = ?commit.shard, last, after, "the store's database has lost commits");
                Err(StoreError::Fenced { operation: "commit", epoch })
            }
        }
    }

    fn making(&self, commit: &Commit<'_>, claimed: Claimed, committed: &Committed) {
        let unsettled = Unsettled { mark: mark(commit), last: claimed.last_change, committed: committed.clone() };
        if let Some(known) = self.known().get_mut(&commit.shard) {
            known.unsettled = Some(unsettled);
        }
    }

    fn settled(&self, commit: &Commit<'_>, outcome: &Result<(), StoreError>) {
        if outcome.is_ok()
            && let Some(known) = self.known().get_mut(&commit.shard)
            && let Some(settled) = known.unsettled.take()
        {
            known.last = settled.last;
        }
    }
}
