//! Databases for tests: one server for each test program, one database for each test.
//!
//! Absent on purpose: removing databases; they go with the server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use quell_store::postgres::Options;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::postgres_server::Server;

/// The server of this program. Nothing here crashes the machine, so nothing waits for its disk.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let name = std::env::current_exe().ok().and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
        let folder = Server::folder(&name.unwrap_or_default());
        Server::start(&folder, true, &["fsync=off", "max_connections=300", "shared_buffers=32MB"])
    })
}

/// A new, empty database: how it is reached.
pub(crate) async fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let server = tokio::task::spawn_blocking(server).await.expect("the server starts");
    let mut connection = PgConnection::connect(&server.url).await.expect("the server takes connections");
    let create = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
    sqlx::raw_sql(create).execute(&mut connection).await.expect("a database can be made");
    let (server, _) = server.url.rsplit_once('/').expect("the address names a database");
    format!("{server}/{name}")
}

/// How to reach a database in tests: soon or not at all.
pub(crate) fn options(url: &str) -> Options {
    Options { patience: std::time::Duration::from_secs(10), ..Options::new(url) }
}

/// A connection beside the store's.
pub(crate) async fn beside(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the server takes connections")
}
