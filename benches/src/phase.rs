//! What one phase of a load cost and how fast it was. Deliberately absent: tables.

use serde::Serialize;

/// One phase of one round.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phase {
    /// Alerts that were answered.
    pub alerts: u64,
    /// Seconds.
    pub wall: f64,
    /// Of the server.
    pub cpu_seconds: f64,
    /// Until the answer, the median.
    pub p50_ms: f64,
    /// Until the answer, of 99 in 100.
    pub p99_ms: f64,
    /// Times that a sender was told to come again.
    pub refused: u64,
}

impl Phase {
    /// Two phases as one; answers' percentiles do not add up, so the worse ones stand.
    #[must_use]
    pub fn joined(&self, other: &Phase) -> Phase {
        Phase {
            alerts: self.alerts + other.alerts,
            wall: self.wall + other.wall,
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            p50_ms: self.p50_ms.max(other.p50_ms),
            p99_ms: self.p99_ms.max(other.p99_ms),
            refused: self.refused + other.refused,
        }
    }

    /// Alerts a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.alerts as f64 / self.wall.max(1e-9)
    }

    /// Alerts for each second of the server's CPU; a tick is the least that can be told apart.
    #[must_use]
    pub fn per_cpu_second(&self) -> f64 {
        self.alerts as f64 / self.cpu_seconds.max(0.01)
    }
}

/// One round of one peer.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phases {
    /// Alerts that the server did not know.
    pub new: Phase,
    /// The same again.
    pub repeats: Phase,
    /// Both.
    pub all: Phase,
    /// At the end.
    pub resident_bytes: u64,
}
