//! Whether a gain is surely above 0, counted by signature and by window.
//!
//! Absent on purpose: what is gained; `train` measures that.

/// Signatures and windows that are few: two or three windows say next to nothing of chance.
const FEW: [usize; 2] = [20, 4];
/// Gains whose signs are turned in every combination; 4,096 of them.
const TURNED: usize = 12;

/// How sure is sure: standard errors above 0, also by signature where there are few, and the chance of as much where there
/// is nothing.
#[derive(Clone, Copy)]
pub(crate) struct Sure {
    pub(crate) errors: f64,
    pub(crate) of_few: f64,
    pub(crate) tail: f64,
}

impl Sure {
    /// Whether gains by signature and by window are both surely above 0.
    pub(crate) fn is(self, signatures: &[f64], windows: &[f64]) -> bool {
        let few = signatures.len() < FEW[0] || windows.len() < FEW[1];
        by_error(signatures, if few { self.of_few } else { self.errors })
            && (by_error(windows, self.errors) || by_signs(windows, self.tail))
    }
}

/// Whether the sum of independent gains is more than that many standard errors above 0. The bar is higher where there are
/// few, about as the quantiles of Student's t are.
fn by_error(gains: &[f64], sure: f64) -> bool {
    let (count, total) = (gains.len() as f64, gains.iter().sum::<f64>());
    if gains.len() < 2 {
        return total > 0.0;
    }
    let mean = total / count;
    let spread: f64 = gains.iter().map(|gain| (gain - mean).powi(2)).sum();
    let error = (spread * count / (count - 1.0)).sqrt();
    total > sure * (1.0 + 2.0 / (count - 1.0)) * error
}

/// Whether so much is gained in few of all combinations of turned signs (Fisher, 1935): working days gain more than
/// Sundays, and that some gain more than others speaks against nothing.
fn by_signs(gains: &[f64], tail: f64) -> bool {
    if gains.len() > TURNED {
        return false;
    }
    let turned = |signs: u32| -> f64 {
        gains.iter().enumerate().map(|(at, gain)| if signs >> at & 1 == 1 { -gain } else { *gain }).sum()
    };
    let all = 1_u32 << gains.len();
    let as_much = (0..all).filter(|signs| turned(*signs) >= turned(0)).count();
    as_much as f64 <= tail * f64::from(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURE: Sure = Sure { errors: 2.0, of_few: 2.5, tail: 0.022_8 };

    fn check(gains: &[f64], error: bool, signs: bool) {
        assert_eq!([by_error(gains, SURE.errors), by_signs(gains, SURE.tail)], [error, signs], "{gains:?}");
    }

    #[test]
    fn a_gain_is_sure_if_windows_agree() {
        // Much on two days, little on six: the spread is no doubt, because no day lost.
        check(&[70.0, 52.0, 3.0, 2.0, 5.0, 4.0, 1.0, 2.0], false, true);
        check(&[70.0, 52.0, 3.0, 2.0, -5.0, -4.0, 1.0, -2.0], false, false);
        check(&[20.0, 22.0, 19.0, 21.0, 20.0, 18.0], true, true);
        // Five windows that agree are one in 32.
        check(&[20.0, 22.0, 19.0, 21.0, 20.0], true, false);
        check(&[1.0, -1.0, 1.5, -1.5, 0.2, -0.1], false, false);
        check(&[-3.0, -4.0, -3.0, -4.0, -3.0, -4.0], false, false);
        // Of more windows than can be turned, the error alone speaks.
        check(&[10.0; 13], true, false);
        check(&[], false, false);
    }

    #[test]
    fn few_signatures_must_be_surer() {
        let windows = [20.0, 22.0, 19.0, 21.0];
        let gains = |count: usize, spread: f64| -> Vec<f64> {
            (0..count).map(|at| 1.0 + if at % 2 == 0 { spread } else { -spread }).collect()
        };
        // 2.2 standard errors of 40 signatures, and of 40 with two windows only; 2.8 of them.
        assert!(SURE.is(&gains(40, 2.7), &windows));
        assert!(!SURE.is(&gains(40, 2.7), &windows[..2]));
        assert!(SURE.is(&gains(40, 2.1), &windows[..2]));
        assert!(!SURE.is(&gains(40, 2.1), &[20.0, -22.0, 19.0, -21.0]));
    }
}
