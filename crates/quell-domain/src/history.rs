//! Incidents of the past as other systems kept them: what a forecast learns from.
//!
//! Absent on purpose: the texts they come from (`quell-formats`), and incidents that quell opened itself (`incident`).

use std::fmt;
use std::sync::Arc;

use crate::ci::CiId;
use crate::incident::Priority;
use crate::time::Timestamp;

/// What makes two incidents the same trouble, as its owner wrote it. Cheap to clone, never empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(Arc<str>);

impl Signature {
    /// From its text; `None` when that is blank.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.trim().is_empty()).then(|| Signature(text.into()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// One incident of the past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoricIncident {
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was closed for the last time, if it was. Known only later: never a feature of a forecast.
    pub closed_at: Option<Timestamp>,
    /// The trouble it is an instance of.
    pub signature: Signature,
    /// The CI it was filed under.
    pub ci: Option<CiId>,
    /// The service that CI belongs to.
    pub service: Option<CiId>,
    /// How it was prioritised.
    pub priority: Option<Priority>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_never_blank() {
        assert_eq!(Signature::new(" \t"), None);
        assert_eq!(
            Signature::new("disk full on db-1").map(|signature| signature.to_string()).as_deref(),
            Some("disk full on db-1")
        );
    }
}
