//! `quell backup` and `quell restore`: the two files of an installation of one machine, as they were at one instant each.
//!
//! The store is copied first and the log after it, so the log holds all that the store knows. Absent on purpose: Kafka
//! and PostgreSQL, which have means of their own; docs/operators.md says how.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use quell_domain::{Position, Shard};
use quell_log::Stream;
use quell_log::embedded::EmbeddedLog;
use quell_store::{SqliteStore, Store};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What says which files there are, and what they must be.
const MANIFEST: &str = "quell-backup.json";
const FILES: [&str; 2] = ["store.db", "log.db"];

/// Copies an installation, whether or not it serves; what was copied, in words.
pub(crate) async fn back_up(data: &Path, to: &Path) -> anyhow::Result<String> {
    for name in FILES {
        ensure!(data.join(name).is_file(), "{} holds no {name}", data.display());
    }
    fs::DirBuilder::new().mode(0o700).create(to).with_context(|| format!("{} must be a new folder", to.display()))?;
    SqliteStore::back_up(&data.join("store.db"), &to.join("store.db")).await?;
    EmbeddedLog::back_up(data, &to.join("log.db")).await?;
    let (folded, applied, last) = check(to).await?;
    let mut digests = serde_json::Map::new();
    let mut said = String::new();
    for name in FILES {
        let path = to.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        File::open(&path)?.sync_all()?;
        let (digest, bytes) = digest(&path)?;
        said += &format!("{name}: {bytes} bytes, sha256 {digest}\n");
        digests.insert(name.into(), Value::String(digest));
    }
    let manifest = json!({
        "version": 1, "quell": env!("CARGO_PKG_VERSION"), "files": digests,
        "folded": folded.0, "applied": applied.0, "last": last.0,
    });
    // Last: a folder without it is no backup.
    write(&to.join(MANIFEST), format!("{manifest:#}\n").as_bytes())?;
    File::open(to)?.sync_all()?;
    said += &format!("the store contains the log up to {applied}, the log ends at {last}\n");
    Ok(said)
}

/// Puts a backup into a new data directory; what was put there, in words.
pub(crate) async fn restore(from: &Path, data: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(from.join(MANIFEST));
    let text = text.with_context(|| format!("{} holds no {MANIFEST}: it is no whole backup", from.display()))?;
    let manifest: Value = serde_json::from_str(&text).context(MANIFEST)?;
    ensure!(manifest["version"] == 1, "{MANIFEST} is of another version than 1");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    if let Some(name) = FILES.iter().find(|name| data.join(name).exists()) {
        bail!("{} holds a {name} already: restore into another directory", data.display());
    }
    for name in FILES {
        let (digest, _) = digest(&from.join(name))?;
        let wanted = manifest["files"][name].as_str().with_context(|| format!("{MANIFEST} does not name {name}"))?;
        ensure!(digest == wanted, "{name} is not what was backed up: its sha256 is {digest} and not {wanted}");
    }
    for name in FILES {
        let mut source = File::open(from.join(name))?;
        let mut target = private(&data.join(name))?;
        std::io::copy(&mut source, &mut target).with_context(|| format!("copy {name}"))?;
        target.sync_all()?;
    }
    File::open(data)?.sync_all()?;
    let (_, applied, last) = check(data).await?;
    Ok(format!(
        "restored into {}: the store contains the log up to {applied}, the log ends at {last}\n",
        data.display()
    ))
}

/// Whether a store can go on with the log beside it: how far it contains it, and where that ends.
async fn check(folder: &Path) -> anyhow::Result<(Position, Position, Position)> {
    let store = SqliteStore::open_read_only(&folder.join("store.db")).await?;
    let (positions, _) = store.position(Shard::FIRST).await?;
    store.close().await;
    let reader = EmbeddedLog::read_only(folder)?;
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
