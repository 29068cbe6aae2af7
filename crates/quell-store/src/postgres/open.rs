//! How a server is reached, and what is asked of it. Absent on purpose: what the tables hold.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, PgPool};

use super::error::{fault, late, passes};
use super::migrate;
use crate::contract::StoreError;

const OPEN: &str = "open";

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a reader waits for a connection before it is told that there is none.
const ACQUIRE: Duration = Duration::from_secs(3);

/// The pause between two looks for a server that is not there yet.
const PAUSE: Duration = Duration::from_millis(250);

/// What each connection asks of the server.
///
/// A node that stands still within a transaction holds its shard's row; the server ends the transaction after three
/// seconds, so that no take-over waits longer for it. A statement that takes a minute, or waits ten seconds for another
/// transaction, is ended and tried again. Statements here are short, so none is compiled first.
const SETTINGS: [(&str, &str); 4] = [
    ("idle_in_transaction_session_timeout", "3s"),
    ("statement_timeout", "60s"),
    ("lock_timeout", "10s"),
    ("jit", "off"),
];

/// How a server is reached.
#[derive(Clone)]
pub struct Options {
    /// `postgres://USER@HOST:PORT/DATABASE`, with the parameters that libpq knows: `sslmode`, `sslrootcert` and others.
    pub url: String,
    /// The password; without one PGPASSWORD or the password file that libpq reads.
    pub password: Option<String>,
    /// Connections that read at the same time.
    pub readers: u32,
    /// Connections that write at the same time.
    pub writers: usize,
    /// How long to wait at the start for a server that is not there yet.
    pub patience: Duration,
}

impl Options {
    /// The usual limits for a server.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Options { url: url.into(), password: None, readers: 8, writers: 4, patience: Duration::from_secs(30) }
    }
}

impl fmt::Debug for Options {
    /// Without the address and the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { url: _, password: _, readers, writers, patience } = self;
        let mut shown = f.debug_struct("Options");
        shown.field("readers", readers).field("writers", writers).field("patience", patience).finish_non_exhaustive()
    }
}

/// The options of each connection, and the pool of those that read.
pub(super) struct Opened {
    pub(super) connect: PgConnectOptions,
    pub(super) readers: PgPool,
}

/// Reaches the server and brings its schema up to date.
pub(super) async fn open(options: &Options) -> Result<Opened, StoreError> {
    let opened = settings(options, &[])?;
    let mut connection = patiently(&opened.connect, options.patience).await?;
    suits(&mut connection).await?;
    migrate::migrate(&mut connection).await?;
    Ok(opened)
}

/// Reaches the server only to read.
pub(super) async fn open_read_only(options: &Options) -> Result<Opened, StoreError> {
    let opened = settings(options, &[("default_transaction_read_only", "on")])?;
    let mut connection = connect(&opened.connect, OPEN).await?;
    migrate::check(&mut connection).await?;
    Ok(opened)
}

fn settings(options: &Options, more: &[(&str, &str)]) -> Result<Opened, StoreError> {
    let mut connect = PgConnectOptions::from_str(&options.url).map_err(fault(OPEN))?;
    if let Some(password) = &options.password {
        connect = connect.password(password);
    }
    if connect.get_application_name().is_none() {
        connect = connect.application_name("quell");
    }
    let connect = connect.options(SETTINGS).options(more.iter().copied());
    let connect = connect.statement_cache_capacity(500).disable_statement_logging();
    let readers = PgPoolOptions::new().max_connections(options.readers).acquire_timeout(ACQUIRE);
    let readers = readers.connect_lazy_with(connect.clone());
    Ok(Opened { connect, readers })
}

/// A connection for writing.
pub(super) async fn connect(options: &PgConnectOptions, operation: &'static str) -> Result<PgConnection, StoreError> {
    let connected = tokio::time::timeout(CONNECT, options.connect()).await.map_err(|_| late(operation))?;
    let mut connection = connected.map_err(fault(operation))?;
    // What is committed must outlive a crash of the server, whatever its default is. Stronger settings stay.
    let sql =
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
    sqlx::raw_sql(sql).execute(&mut connection).await.map_err(fault(operation))?;
    Ok(connection)
}

/// Waits for a server that is about to start. What waiting does not change (a wrong password, no such database) is an
/// error at once.
async fn patiently(options: &PgConnectOptions, patience: Duration) -> Result<PgConnection, StoreError> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut said = false;
    loop {
        match connect(options, OPEN).await {
            Err(error) if passes(&error) && tokio::time::Instant::now() < deadline => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        server = options.get_host(),
                        port = options.get_port(),
                        patience = ?patience,
                        "the store's server is not there yet; waiting for it"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Refuses a database that cannot hold every text.
async fn suits(connection: &mut PgConnection) -> Result<(), StoreError> {
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .fetch_one(connection)
        .await
        .map_err(fault(OPEN))?;
    if encoding == "UTF8" {
        return Ok(());
    }
    let why = format!("the database is encoded as {encoding}; create it with ENCODING 'UTF8'");
    Err(StoreError::Unavailable { operation: OPEN, source: sqlx::Error::Configuration(why.into()) })
}
