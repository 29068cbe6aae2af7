//! Platt scaling: a score becomes a probability by a logistic curve with two parameters.
//!
//! After J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
//! Absent on purpose: isotonic steps; they tie scores that a ranking tells apart.

/// `p = 1 / (1 + exp(-(slope * score + offset)))`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Platt {
    /// How much of the score is believed; 1 leaves a log-odds score as it is.
    pub slope: f64,
    /// What is added to it.
    pub offset: f64,
}

/// Steps of Newton's method; it settles within ten.
const STEPS: usize = 50;

impl Platt {
    /// Leaves log-odds as they are.
    pub const IDENTITY: Platt = Platt { slope: 1.0, offset: 0.0 };

    /// The most likely curve for these scores, drawn towards `prior` as if by `weight` observations.
    pub(crate) fn fit(scores: &[f64], labels: &[bool], prior: Platt, weight: f64) -> Platt {
        Platt::fit_from(scores, labels, prior, [weight, 0.0, weight])
    }

    /// The same with a prior of any curvature: of the slope, of both together, of the offset.
    pub(crate) fn fit_from(scores: &[f64], labels: &[bool], prior: Platt, [ss, so, oo]: [f64; 3]) -> Platt {
        let loss = |at: Platt| {
            let rows: f64 = scores.iter().zip(labels).map(|(&score, &hit)| at.loss(score, hit)).sum();
            let (slope, offset) = (at.slope - prior.slope, at.offset - prior.offset);
            rows + (ss * slope * slope + 2.0 * so * slope * offset + oo * offset * offset) / 2.0
        };
        let (mut at, mut best) = (prior, loss(prior));
        for _ in 0..STEPS {
            let Some(step) = at.newton(scores, labels, prior, [ss, so, oo]) else { break };
            // A full step may overshoot where the curve is nearly flat; halves of it cannot for ever.
            let halves = (0..30).map(|half| 0.5_f64.powi(half));
            let tried = halves.map(|share| at.less(step, share)).map(|next| (next, loss(next)));
            let Some((next, found)) = tried.into_iter().find(|(_, found)| *found < best) else { break };
            let settled = best - found < 1e-10 * best.abs();
            (at, best) = (next, found);
            if settled {
                break;
            }
        }
        if at.slope.is_finite() && at.offset.is_finite() { at } else { prior }
    }

    /// Newton's step: gradient over curvature of the penalised loss; `None` where the curvature is gone.
    fn newton(self, scores: &[f64], labels: &[bool], prior: Platt, [ss, so, oo]: [f64; 3]) -> Option<[f64; 2]> {
        let (slope, offset) = (self.slope - prior.slope, self.offset - prior.offset);
        let mut gradient = [ss * slope + so * offset, so * slope + oo * offset];
        for (&score, &hit) in scores.iter().zip(labels) {
            let miss = self.probability(score) - f64::from(u8::from(hit));
            gradient = [gradient[0] + miss * score, gradient[1] + miss];
        }
        let told = self.information(scores);
        let curvature = [told[0] + ss + 1e-9, told[1] + so, told[2] + oo + 1e-9];
        let [ss, so, oo] = curvature;
        let determinant = ss * oo - so * so;
        let step =
            [(oo * gradient[0] - so * gradient[1]) / determinant, (ss * gradient[1] - so * gradient[0]) / determinant];
        (determinant > 0.0 && step.iter().all(|part| part.is_finite())).then_some(step)
    }

    /// What these scores tell of the curve: the curvature of the loss by slope, by both, by offset.
    pub(crate) fn information(self, scores: &[f64]) -> [f64; 3] {
        let mut told = [0.0; 3];
        for &score in scores {
            let p = self.probability(score);
            let bend = p * (1.0 - p);
            told = [told[0] + bend * score * score, told[1] + bend * score, told[2] + bend];
        }
        told
    }

    fn less(self, [slope, offset]: [f64; 2], share: f64) -> Platt {
        Platt { slope: self.slope - share * slope, offset: self.offset - share * offset }
    }

    /// The negative log-likelihood of one row, in the form that cannot overflow.
    fn loss(self, score: f64, hit: bool) -> f64 {
        let odds = self.slope * score + self.offset;
        let against = if hit { -odds } else { odds };
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    }

    /// The probability that a score stands for.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.slope * score + self.offset)
    }
}

/// The inverse of the log-odds.
pub(crate) fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// The log-odds of a probability, kept 1e-9 from 0 and 1.
pub(crate) fn log_odds(probability: f64) -> f64 {
    let p = probability.clamp(1e-9, 1.0 - 1e-9);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_curve_that_the_labels_were_drawn_from() {
        let scores: Vec<f64> = (0..20_000).map(|n| crate::chance::unit(1, n) * 8.0 - 4.0).collect();
        let truth = Platt { slope: 0.7, offset: -1.2 };
        let labels: Vec<bool> =
            scores.iter().zip(0..).map(|(&s, n)| crate::chance::unit(2, n) < truth.probability(s)).collect();
        let found = Platt::fit(&scores, &labels, Platt::IDENTITY, 1.0);
        assert!((found.slope - 0.7).abs() < 0.05 && (found.offset + 1.2).abs() < 0.08, "{found:?}");
    }

    #[test]
    fn without_rows_or_with_one_class_the_prior_or_a_finite_curve_remains() {
        assert_eq!(Platt::fit(&[], &[], Platt::IDENTITY, 1.0), Platt::IDENTITY);
        let found = Platt::fit(&[1.0, 2.0], &[true, true], Platt::IDENTITY, 1.0);
        assert!(found.probability(1.5) > 0.5 && found.slope.is_finite());
    }
}
