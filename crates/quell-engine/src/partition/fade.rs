//! How likely something is by the second, as logarithms: looked up, because it is asked for each alert and place.
//!
//! Absent on purpose: what comes when; whoever asks says that.

/// Logarithms by seconds that passed, from so many seconds before on.
pub(super) struct Fade {
    early: f64,
    nats: Vec<f64>,
}

impl Fade {
    /// From `early` whole seconds before to `latest` seconds after.
    pub(super) fn new(early: usize, latest: usize, at: impl Fn(f64) -> f64) -> Fade {
        let nats = (0..=early + latest).map(|second| at(second as f64 - early as f64)).collect();
        Fade { early: early as f64, nats }
    }

    /// Beyond either end nothing comes.
    pub(super) fn at(&self, passed: f64) -> f64 {
        let second = passed + self.early;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be positive")]
        let known = (second >= 0.0).then(|| self.nats.get(second as usize)).flatten();
        known.copied().unwrap_or(f64::NEG_INFINITY)
    }
}
