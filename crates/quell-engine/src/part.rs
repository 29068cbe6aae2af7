//! Parts of the decision that can be left out, to measure what each of them is worth.
//!
//! Absent on purpose: a key in a file; an engine that decides in earnest has all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::Engine;
use crate::learn::Learned;

/// A part of the decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Whatever was learned from history.
    History,
    /// CIs that alert together although no relationship says so.
    Fellows,
    /// Alerts that were put where they are one by one are looked at again together.
    Together,
    /// History says how rarely troubles strike; without it a second one is always as dear as can be.
    Rate,
    /// What alerts hangs on what alerts, one after the other.
    Way,
    /// A CI that is silent is the less likely to be where a trouble struck.
    Silence,
    /// An alert that ended a moment ago and comes again stays where it was.
    Flapping,
    /// What an incident has for the second time is split off.
    SecondWave,
    /// Small incidents are merged into what they turn out to belong to.
    Bridge,
}

impl Part {
    /// Every part.
    pub const ALL: [Part; 9] = [
        Part::History,
        Part::Fellows,
        Part::Together,
        Part::Rate,
        Part::Way,
        Part::Silence,
        Part::Flapping,
        Part::SecondWave,
        Part::Bridge,
    ];

    /// What it is called.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Part::History => "history",
            Part::Fellows => "fellows in history",
            Part::Together => "looking together",
            Part::Rate => "how rarely troubles strike",
            Part::Way => "the way of failures",
            Part::Silence => "silence",
            Part::Flapping => "flapping",
            Part::SecondWave => "second waves",
            Part::Bridge => "bridges",
        }
    }
}

impl Engine {
    /// Decides without this part from now on.
    pub fn leave_out(&mut self, part: Part) {
        self.left_out = Some(part);
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        self.left_out != Some(part)
    }

    /// What was learned, as far as it counts.
    pub(crate) fn counted(&self, learned: Arc<Learned>) -> Arc<Learned> {
        match self.left_out {
            Some(Part::History) => Arc::default(),
            Some(Part::Fellows) => Arc::new(Learned { fellows: BTreeMap::new(), ..Learned::clone(&learned) }),
            _ => learned,
        }
    }
}
