//! Topologies from other systems' exports: text in, a checked topology out.
//!
//! Each format has a file of its own and says there what becomes of what. Absent on purpose: files, and how an import
//! is combined with what is in force (`quell_cmdb::merge`).

mod backstage;
mod draft;
mod kubernetes;
mod netbox;
mod otel;
mod quell;
mod servicenow;

use quell_domain::{Timestamp, Topology};

use crate::mistake::Mistake;
use draft::Draft;

/// Whose export it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Format {
    /// quell's own topology file.
    Quell,
    /// ServiceNow: CSV of `cmdb_ci` and `cmdb_rel_ci`.
    ServiceNow,
    /// NetBox: JSON of its REST API.
    NetBox,
    /// Backstage: YAML of the software catalog.
    Backstage,
    /// Kubernetes: JSON or YAML of `kubectl get`.
    Kubernetes,
    /// OpenTelemetry: spans as OTLP JSON.
    OpenTelemetry,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 6] = [
        Format::Quell,
        Format::ServiceNow,
        Format::NetBox,
        Format::Backstage,
        Format::Kubernetes,
        Format::OpenTelemetry,
    ];

    /// The name used on the command line, and of the source where none is given.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Quell => "quell",
            Format::ServiceNow => "servicenow",
            Format::NetBox => "netbox",
            Format::Backstage => "backstage",
            Format::Kubernetes => "kubernetes",
            Format::OpenTelemetry => "opentelemetry",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Format> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

/// One file of an export.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Its name, for mistakes.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// What every CI and relationship of an import is marked with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The source that owns them: the next import of the same name replaces them.
    pub source: String,
    /// Put before every id, so that two clusters or sites with the same names stay apart.
    pub prefix: String,
    /// When the export was made: a relationship that does not say when it was seen was seen then.
    pub seen_at: Option<Timestamp>,
}

/// What an export held.
#[derive(Clone, PartialEq, Debug)]
pub struct Imported {
    /// Its CIs and relationships.
    pub topology: Topology,
    /// What was understood and has no place in a topology, by reason: how many, and the first of them.
    pub left_out: Vec<LeftOut>,
}

/// Parts that were left out for one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Why.
    pub why: String,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: String,
}

/// Reads an export.
///
/// # Errors
/// All mistakes at once; those beyond 200 of one file are counted as one.
pub fn read(format: Format, texts: &[Text<'_>], stamp: &Stamp) -> Result<Imported, Vec<Mistake>> {
    let mut draft = Draft::new(stamp);
    match format {
        Format::Quell => quell::read(texts, &mut draft),
        Format::ServiceNow => servicenow::read(texts, &mut draft),
        Format::NetBox => netbox::read(texts, &mut draft),
        Format::Backstage => backstage::read(texts, &mut draft),
        Format::Kubernetes => kubernetes::read(texts, &mut draft),
        Format::OpenTelemetry => otel::read(texts, &mut draft),
    }
    draft.finish()
}
