//! The directory of a log: who may read it, and that one process at a time has it. Absent on purpose: what is in the
//! files.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::OpenError;

/// The file of records.
pub(super) const RECORDS: &str = "log.db";

/// Creates what is missing, for the owner's eyes only, and takes the lock. The lock is held until the file is dropped.
pub(super) fn prepare(dir: &Path) -> Result<File, OpenError> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::File { path, source }
    };
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault(dir))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent).map_err(fault(parent))?;
        }
    }
    let path = dir.join("lock");
    let lock = private_file(&path).map_err(fault(&path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(OpenError::File { path, source }),
    }
    // SQLite gives its side files the rights of the main one, so the main one is made here.
    let records = dir.join(RECORDS);
    private_file(&records).map_err(fault(&records))?;
    sync_dir(dir).map_err(fault(dir))?;
    Ok(lock)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A created file survives a power loss only when its directory was synced.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
