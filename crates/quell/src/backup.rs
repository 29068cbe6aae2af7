//! `quell backup` and `quell restore`: the files of an installation of one machine, store and log of each shard, as they
//! were at one instant each.
//!
//! The store is copied first and the logs after it, so they hold all that the store knows. Absent on purpose: Kafka
//! and PostgreSQL, which have means of their own; docs/operators.md says how.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use quell_domain::{Position, Shard, Sharding};
use quell_log::Stream;
use quell_log::embedded::EmbeddedLog;
use quell_store::{SqliteStore, Store};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::logs;

/// What says which files there are, and what they must be.
const MANIFEST: &str = "quell-backup.json";
const STORE: &str = "store.db";
const LOG: &str = "log.db";

/// The file of a shard's log within the data directory.
fn log_of(shard: Shard) -> String {
    let directory = logs::directory(Path::new(""), shard);
    directory.join(LOG).to_string_lossy().into_owned()
}

/// Every file of an installation with so many shards.
fn files(sharding: &Sharding) -> Vec<String> {
    std::iter::once(STORE.to_owned()).chain(sharding.shards().map(log_of)).collect()
}

/// Copies an installation, whether or not it serves; what was copied, in words.
pub(crate) async fn back_up(data: &Path, to: &Path) -> anyhow::Result<String> {
    for name in [STORE, LOG] {
        ensure!(data.join(name).is_file(), "{} holds no {name}", data.display());
    }
    fs::DirBuilder::new().mode(0o700).create(to).with_context(|| format!("{} must be a new folder", to.display()))?;
    SqliteStore::back_up(&data.join(STORE), &to.join(STORE)).await?;
    let sharding = sharding(to).await?;
    for shard in sharding.shards() {
        let (from, target) = (logs::directory(data, shard), logs::directory(to, shard));
        if shard != Shard::FIRST {
            fs::DirBuilder::new().mode(0o700).create(&target)?;
        }
        EmbeddedLog::back_up(&from, &target.join(LOG)).await?;
    }
    let reached = check(to, &sharding).await?;
    let mut digests = serde_json::Map::new();
    let mut said = String::new();
    for name in files(&sharding) {
        let path = to.join(&name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        File::open(&path)?.sync_all()?;
        let (digest, bytes) = digest(&path)?;
        said += &format!("{name}: {bytes} bytes, sha256 {digest}\n");
        digests.insert(name, Value::String(digest));
    }
    let (folded, applied, last) = reached[0];
    let mut manifest = json!({
        "version": 1, "quell": env!("CARGO_PKG_VERSION"), "files": digests,
        "folded": folded.0, "applied": applied.0, "last": last.0,
    });
    if sharding.count() > 1 {
        manifest["shards"] = sharding.count().into();
    }
    // Last: a folder without it is no backup.
    write(&to.join(MANIFEST), format!("{manifest:#}\n").as_bytes())?;
    File::open(to)?.sync_all()?;
    said += &words(&reached);
    Ok(said)
}

/// Puts a backup into a new data directory; what was put there, in words.
pub(crate) async fn restore(from: &Path, data: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(from.join(MANIFEST));
    let text = text.with_context(|| format!("{} holds no {MANIFEST}: it is no whole backup", from.display()))?;
    let manifest: Value = serde_json::from_str(&text).context(MANIFEST)?;
    ensure!(manifest["version"] == 1, "{MANIFEST} is of another version than 1");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let names = manifest["files"].as_object().with_context(|| format!("{MANIFEST} names no files"))?;
    let names: Vec<&str> = names.keys().map(String::as_str).collect();
    if let Some(name) = names.iter().find(|name| data.join(name).exists()) {
        bail!("{} holds a {name} already: restore into another directory", data.display());
    }
    for name in &names {
        let (digest, _) = digest(&from.join(name))?;
        let wanted = manifest["files"][*name].as_str().with_context(|| format!("{MANIFEST} does not name {name}"))?;
        ensure!(digest == wanted, "{name} is not what was backed up: its sha256 is {digest} and not {wanted}");
    }
    for name in &names {
        let folder = data.join(name);
        let folder = folder.parent().context("a file lies in a folder")?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut source = File::open(from.join(name))?;
        let mut target = private(&data.join(name))?;
        std::io::copy(&mut source, &mut target).with_context(|| format!("copy {name}"))?;
        target.sync_all()?;
        File::open(folder)?.sync_all()?;
    }
    File::open(data)?.sync_all()?;
    let sharding = sharding(data).await?;
    if let Some(missing) = files(&sharding).iter().find(|name| !names.contains(&name.as_str())) {
        bail!("{MANIFEST} does not name {missing}: the backup is not whole");
    }
    let reached = check(data, &sharding).await?;
    Ok(format!("restored into {}: {}", data.display(), words(&reached)))
}

/// How the inputs of an installation are shared out.
async fn sharding(folder: &Path) -> anyhow::Result<Sharding> {
    let store = SqliteStore::open_read_only(&folder.join(STORE)).await?;
    let kept = store.sharding().await?.unwrap_or_default();
    store.close().await;
    Ok(kept)
}

/// How far the store contains a log, twice, and where that ends.
type Reached = (Position, Position, Position);

fn words(reached: &[Reached]) -> String {
    let mut said = String::new();
    for (number, (_, applied, last)) in reached.iter().enumerate() {
        let whose = if reached.len() == 1 { String::new() } else { format!(" of shard {number}") };
        said += &format!("the store contains the log{whose} up to {applied}, the log ends at {last}\n");
    }
    said
}

/// Whether a store can go on with the logs beside it.
async fn check(folder: &Path, sharding: &Sharding) -> anyhow::Result<Vec<Reached>> {
    let mut reached = Vec::new();
    for shard in sharding.shards() {
        reached.push(check_log(folder, shard).await?);
    }
    Ok(reached)
}

async fn check_log(folder: &Path, shard: Shard) -> anyhow::Result<Reached> {
    let store = SqliteStore::open_read_only(&folder.join(STORE)).await?;
    let (positions, _) = store.position(shard).await?;
    store.close().await;
    let reader = EmbeddedLog::read_only(&logs::directory(folder, shard))?;
    let first = reader.read::<()>(Stream::Main, Position::START.next(), 1).await?.pop();
    let first = first.map_or(Position::START.next(), |record| record.stamp.position);
    let found = reader.read_one::<()>(Stream::Main, positions.applied).await?;
    ensure!(
        found.is_some() || positions.applied == Position::START,
        "the log does not reach record {}",
        positions.applied
    );
    ensure!(first <= positions.folded.next(), "the log begins at {first}, after what the store needs; back up again");
    let mut last = positions.applied;
    while let Some(newest) = reader.read::<()>(Stream::Main, last.next(), 256).await?.pop() {
        last = newest.stamp.position;
    }
    reader.close().await;
    Ok((positions.folded, positions.applied, last))
}

fn digest(path: &Path) -> anyhow::Result<(String, u64)> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut hash, mut piece, mut bytes) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            let digest = hash.finalize();
            return Ok((digest.iter().map(|byte| format!("{byte:02x}")).collect(), bytes));
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
    }
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = private(path)?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}
