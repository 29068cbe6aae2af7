//! How far a trained forecast is believed, window after window.
//!
//! The outcome of a window is known when the next one begins. It is used at once: both calibrations go on learning, the
//! model must keep its lead over the EWMA, and both must keep the trust they earn against the base rate. So a change of
//! the world after training costs a few windows and not the whole forecast.
//! Absent on purpose: a look at a window that has not ended.

use crate::history::days;
use crate::metrics::{pr_auc, surprise};
use crate::platt::Platt;

/// Days after which a window counts half; never less than half in one window of a longer horizon.
const HALF_LIFE: f64 = 14.0;
/// Days whose usual gain may be lost without a pause before a lead is given up, and the least and the most of it in
/// windows: fewer are taken for a break where there is none, more leave a break unseen; measured on made-up logs with and
/// without one (`docs/forecast.md`).
const PATIENCE: f64 = 5.25;
const WINDOWS: [f64; 2] = [0.75, 2.0];
/// The same for the trust, in windows.
const TRUST: f64 = 0.5;

/// A curve from log-odds to a probability that goes on learning, and forgets at the same pace.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Calibration {
    /// The curve now.
    pub platt: Platt,
    /// How firmly it is held: curvature of the loss by slope, by both, by offset.
    pub firmness: [f64; 3],
}

impl Calibration {
    /// Leaves log-odds as they are, and is held by nothing.
    pub const NONE: Calibration = Calibration { platt: Platt::IDENTITY, firmness: [0.0; 3] };

    /// A curve fitted to that many windows at once, drawn to "leave it as it is" as if by `weight` observations.
    pub(crate) fn fit(scores: &[f64], labels: &[bool], weight: f64, windows: usize, horizon: i64) -> Calibration {
        let platt = Platt::fit(scores, labels, Platt::IDENTITY, weight);
        // As firm as if the windows had come one by one.
        let share = (1.0 / (1.0 - kept(horizon)) / windows.max(1) as f64).min(1.0);
        let told = platt.information(scores);
        Calibration { platt, firmness: [share * told[0] + weight, share * told[1], share * told[2] + weight] }
    }

    fn learn(&mut self, scores: &[f64], labels: &[bool], kept: f64) {
        let prior = self.firmness.map(|held| held * kept);
        self.platt = Platt::fit_from(scores, labels, self.platt, prior);
        let told = self.platt.information(scores);
        self.firmness = std::array::from_fn(|at| prior[at] + told[at]);
    }
}

/// What remains of a window when the next one has ended.
pub(crate) fn kept(horizon: i64) -> f64 {
    (-days(horizon) / HALF_LIFE).exp2().max(0.5)
}

/// What the forecasters said of one row, before calibration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scored {
    /// The EWMA's rate a day.
    pub rate: f64,
    /// The EWMA's log-odds.
    pub ewma: f64,
    /// The model's, leaning on the EWMA as far as the trial said; the EWMA's own where there is no model.
    pub model: f64,
}

/// What is said of one row in the end.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Said {
    /// What signatures are ranked by; also tells those apart that are given the same probability.
    pub rank: f64,
    /// The probability of at least one incident within the horizon.
    pub probability: f64,
}

/// How far each forecaster is believed now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Belief {
    /// The model's calibration.
    pub model: Calibration,
    /// The EWMA's.
    pub ewma: Calibration,
    /// By how much the model surprised less than the EWMA, recent windows counting most; at 0 or below the EWMA speaks.
    pub lead: f64,
    /// By how much the model ranked better within windows (average precision times hits); at 0 or below the EWMA ranks.
    pub order: f64,
    /// By how much squared errors were smaller than the base rate's; at 0 or below the base rate speaks.
    pub trust: f64,
    /// What of the lead, the order and the trust has lately been lost.
    pub slump: [Slump; 3],
}

/// Watches the gains of windows for a break of the world: losses are summed up until gains have made up for them (Page,
/// 1954), and are too much when they exceed what is usually gained or lost in a few days.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Slump {
    /// Lost since it last stood at 0.
    pub lost: f64,
    /// Sum of squared gains, recent windows counting most, and how many windows that sum stands for.
    pub swing: [f64; 2],
}

impl Slump {
    /// Takes in the gain of one more window; what is usually gained or lost in one, where too much is lost.
    fn take(&mut self, gain: f64, kept: f64, patience: f64) -> Option<f64> {
        let [squares, windows] = self.swing;
        let usual = (squares / windows.max(f64::MIN_POSITIVE)).sqrt();
        self.swing = [squares * kept + gain * gain, windows * kept + 1.0];
        self.lost = (self.lost - gain).max(0.0);
        let broken = windows >= 2.0 && self.lost > patience * usual;
        broken.then(|| {
            self.lost = 0.0;
            usual
        })
    }
}

impl Belief {
    /// Believes nothing: the base rate speaks.
    pub const NONE: Belief = Belief {
        model: Calibration::NONE,
        ewma: Calibration::NONE,
        lead: 0.0,
        order: 0.0,
        trust: 0.0,
        slump: [Slump { lost: 0.0, swing: [0.0; 2] }; 3],
    };

    /// What is said of a row.
    #[must_use]
    pub fn say(&self, scored: &Scored, base_rate: f64) -> Said {
        let leads = self.lead > 0.0;
        let rank = if leads && self.order > 0.0 { scored.model } else { scored.ewma };
        let probability =
            if leads { self.model.platt.probability(scored.model) } else { self.ewma.platt.probability(scored.ewma) };
        Said { rank, probability: if self.trust > 0.0 { probability } else { base_rate } }
    }

    /// Weighs one more window: who surprised less, who ranked better, and who was nearer than the base rate.
    pub(crate) fn weigh(&mut self, scored: &[Scored], labels: &[bool], base_rate: f64, horizon: i64) {
        let kept = kept(horizon);
        let (mut lead, mut trust) = (0.0, 0.0);
        for (row, &hit) in scored.iter().zip(labels) {
            let model = self.model.platt.probability(row.model);
            let ewma = self.ewma.platt.probability(row.ewma);
            lead += surprise(ewma, hit) - surprise(model, hit);
            let squared = |p: f64| (p - f64::from(u8::from(hit))).powi(2);
            trust += squared(base_rate) - squared(if self.lead > 0.0 { model } else { ewma });
        }
        let precision = |pick: fn(&Scored) -> f64| {
            let scores: Vec<f64> = scored.iter().map(pick).collect();
            pr_auc(&scores, labels).unwrap_or(0.0)
        };
        let hits = labels.iter().filter(|&&hit| hit).count() as f64;
        let order = hits * (precision(|row| row.model) - precision(|row| row.ewma));
        self.order = self.order * kept + order;
        self.lead = self.lead * kept + lead;
        self.trust = self.trust * kept + trust;
        let [least, most] = WINDOWS;
        let patience = (PATIENCE / days(horizon)).clamp(least, most);
        let standings =
            [(&mut self.lead, lead, patience), (&mut self.order, order, patience), (&mut self.trust, trust, TRUST)];
        for (slump, (standing, gain, patience)) in self.slump.iter_mut().zip(standings) {
            // What was lost is earned again by what is usually gained in one window.
            if let Some(usual) = slump.take(gain, kept, patience) {
                *standing = standing.min(-usual);
            }
        }
    }

    /// Takes in one window whose outcome is known.
    pub(crate) fn learn(&mut self, scored: &[Scored], labels: &[bool], base_rate: f64, horizon: i64) {
        let kept = kept(horizon);
        self.weigh(scored, labels, base_rate, horizon);
        let of = |pick: fn(&Scored) -> f64| scored.iter().map(pick).collect::<Vec<f64>>();
        self.model.learn(&of(|row| row.model), labels, kept);
        self.ewma.learn(&of(|row| row.ewma), labels, kept);
    }
}
