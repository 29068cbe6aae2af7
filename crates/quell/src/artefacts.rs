//! Artefacts: stored by digest first, put in force by the log after.
//!
//! Absent on purpose: what is in them; `quell-formats` reads them and `quell-engine` decides by them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, bail};
use quell_cmdb::Graph;
use quell_domain::{Activation, ArtefactKind, Digest};
use quell_engine::Artefact;
use quell_formats::{learned, settings, topology};
use quell_store::Store;

/// Artefacts that were made ready by whoever stored them, so that the engine's loop need not read them again.
#[derive(Debug, Default)]
pub struct Shelf {
    ready: Mutex<HashMap<Digest, Artefact>>,
}

impl Shelf {
    /// Has an artefact ready.
    pub fn put(&self, digest: Digest, artefact: Artefact) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, artefact);
    }

    /// Lets go of one that will not be activated.
    pub fn discard(&self, digest: Digest) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
    }

    /// Lets go of all: whoever was to take them is gone.
    pub fn clear(&self) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes a ready one, or reads it from the store.
    ///
    /// # Errors
    /// When the store has no such artefact or it cannot be read.
    pub async fn take(&self, store: &dyn Store, activation: Activation) -> anyhow::Result<Artefact> {
        let Activation { kind, digest } = activation;
        if let Some(ready) = self.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest) {
            return Ok(ready);
        }
        load(store, kind, digest).await
    }
}

/// Reads an artefact from the store.
///
/// # Errors
/// When the store has no such artefact or it cannot be read.
pub async fn load(store: &dyn Store, kind: ArtefactKind, digest: Digest) -> anyhow::Result<Artefact> {
    let bytes = store.artefact(kind, digest).await?;
    let bytes = bytes.with_context(|| format!("the {} artefact {digest} is not in the store", kind.as_str()))?;
    tokio::task::spawn_blocking(move || decode(kind, &bytes)).await?
}

/// Reads an artefact's bytes.
///
/// # Errors
/// When they are not such an artefact.
pub fn decode(kind: ArtefactKind, bytes: &[u8]) -> anyhow::Result<Artefact> {
    let all = |mistakes: Vec<quell_formats::mistake::Mistake>| {
        anyhow!(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    match kind {
        ArtefactKind::Topology => match topology::decode(bytes) {
            Ok(topology) => Ok(Artefact::Topology(Arc::new(Graph::new(topology)))),
            Err(mistakes) => bail!(all(mistakes)),
        },
        ArtefactKind::Rules => match settings::decode_artefact(bytes) {
            Ok(compiled) => Ok(Artefact::Rules(Arc::new(compiled.settings))),
            Err(mistakes) => bail!(all(mistakes)),
        },
        ArtefactKind::Learned => Ok(Artefact::Learned(Arc::new(learned::decode(bytes)?))),
    }
}
