//! Which store is used: the SQLite file in the data directory, or a PostgreSQL database.
//!
//! Absent on purpose: what is in it; every store keeps the same promises.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use quell_domain::Sharding;
use quell_formats::database::{Database, check_url};
use quell_store::postgres::Options;
use quell_store::{PostgresStore, SqliteStore, Store};

use crate::settings;

/// The database that the command line names, else the config's.
pub(crate) fn database(named: Option<String>, config: Option<Database>) -> anyhow::Result<Option<Database>> {
    let Some(url) = named else { return Ok(config) };
    // Never shown: whoever puts a password into it does not want to read it in a log.
    check_url(&url).map_err(|allowed| anyhow::anyhow!("--store: allowed: {allowed}"))?;
    // The config's password is for the config's database.
    let password = config.filter(|database| database.url == url).and_then(|database| database.password);
    Ok(Some(Database { url, password }))
}

/// Connections to a database that write, at most.
const WRITERS: usize = 16;

/// Opens the store to write to it for so many shards.
pub(crate) async fn open(directory: &Path, database: Option<&Database>, shards: u32) -> anyhow::Result<Arc<dyn Store>> {
    match database {
        None => {
            let file = directory.join("store.db");
            let store = SqliteStore::open(&file).await;
            Ok(Arc::new(store.with_context(|| format!("cannot open {}", file.display()))?))
        }
        Some(database) => {
            let mut options = options(database)?;
            // What one shard commits must not wait for another's.
            options.writers = (options.writers + shards.saturating_sub(1) as usize).min(WRITERS);
            let store = PostgresStore::open(&options).await;
            Ok(Arc::new(store.with_context(|| format!("cannot use {}", database.url))?))
        }
    }
}

/// Sees that inputs are shared out as they always were here; a new store keeps how.
///
/// # Errors
/// When they were shared out otherwise, or the store does not answer.
pub(crate) async fn keep_sharding(store: &dyn Store, asked: &Sharding) -> anyhow::Result<()> {
    let kept = store.keep_sharding(asked).await.context("the store cannot be read")?;
    if kept != *asked {
        bail!(
            "shards: found {}; allowed: {}, as this installation was created with: what is decided and what is on the log \
             lies in its shards, so they never change",
            words(asked),
            words(&kept)
        );
    }
    Ok(())
}

fn words(sharding: &Sharding) -> String {
    match sharding.label() {
        None => "none, which is one shard for everything".to_owned(),
        Some(label) => format!("{{label: {label}, count: {}}}", sharding.count()),
    }
}

/// Opens the store only to read it, whether or not a process writes to it.
pub(crate) async fn open_read_only(directory: &Path, database: Option<&Database>) -> anyhow::Result<Arc<dyn Store>> {
    match database {
        None => {
            let file = directory.join("store.db");
            let store = SqliteStore::open_read_only(&file).await;
            Ok(Arc::new(store.with_context(|| format!("cannot read {}", file.display()))?))
        }
        Some(database) => {
            let store = PostgresStore::open_read_only(&options(database)?).await;
            Ok(Arc::new(store.with_context(|| format!("cannot read {}", database.url))?))
        }
    }
}

pub(crate) fn options(database: &Database) -> anyhow::Result<Options> {
    let Database { url, password } = database;
    let password = match password {
        None => None,
        Some(secret) => {
            let text = settings::secret("store", secret)?;
            let password = text.lines().next().unwrap_or_default().to_owned();
            if password.is_empty() {
                bail!("store: its password is empty; allowed: the password in the first line");
            }
            Some(password)
        }
    };
    Ok(Options { password, ..Options::new(url) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_formats::config::Secret;

    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_shown() {
        let error = database(Some("postgres://quell:sesame-17@db/quell".into()), None).expect_err("refused");
        let shown = format!("{error:#} {error:?}");
        assert!(shown.contains("PGPASSWORD") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn the_configs_password_is_for_the_configs_database() {
        let config = Database { url: "postgres://quell@db/quell".into(), password: Some(Secret::Env("P".into())) };
        let named = |url: &str| database(Some(url.into()), Some(config.clone())).expect("addresses");
        assert_eq!(named("postgres://quell@db/quell"), Some(config.clone()));
        assert_eq!(named("postgres://quell@elsewhere/quell").expect("named").password, None);
        assert_eq!(database(None, Some(config.clone())).expect("an address"), Some(config.clone()));
        assert_eq!(database(None, None).expect("nothing to check"), None);
    }

    #[tokio::test]
    async fn a_sharding_other_than_the_one_kept_is_refused() {
        let folder = std::env::temp_dir().join(format!("quell-sharding-{}", std::process::id()));
        // Left behind by a run that was killed.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let store = open(&folder, None, 3).await.expect("a new store");
        let kept = Sharding::by("region", 3).expect("good");
        keep_sharding(&*store, &kept).await.expect("kept");
        keep_sharding(&*store, &kept).await.expect("the same");
        let refused = keep_sharding(&*store, &Sharding::ONE).await.expect_err("another");
        assert_eq!(
            refused.to_string(),
            "shards: found none, which is one shard for everything; allowed: {label: region, count: 3}, as this \
             installation was created with: what is decided and what is on the log lies in its shards, so they never change"
        );
    }
}
