//! What has been reached before on sets that are known, by the bytes of their alerts.
//!
//! The figures are those of the published tables of baselines. Deliberately absent: bars of sets that are not known;
//! there the baselines that are computed beside are the bar.

use quell_domain::Digest;

/// One figure that is to be beaten or reached.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bar {
    /// Of which task: `correlation`, `cause`, `cause with target`.
    pub task: &'static str,
    /// Of which measure, as the table names it.
    pub measure: &'static str,
    /// The figure.
    pub figure: f64,
    /// How it is to be met.
    pub how: How,
}

/// How a bar is met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The measured figure is greater.
    Above,
    /// It is not less.
    AtLeast,
    /// It is not greater.
    AtMost,
}

impl Bar {
    /// True when a measured figure meets it.
    #[must_use]
    pub fn met(self, measured: f64) -> bool {
        match self.how {
            How::Above => measured > self.figure,
            How::AtLeast => measured >= self.figure,
            How::AtMost => measured <= self.figure,
        }
    }

    /// As the table shows it.
    #[must_use]
    pub fn shown(self) -> String {
        let sign = match self.how {
            How::Above => ">",
            How::AtLeast => "≥",
            How::AtMost => "≤",
        };
        format!("{sign} {:.2}", self.figure)
    }
}

const fn bar(task: &'static str, measure: &'static str, how: How, figure: f64) -> Bar {
    Bar { task, measure, figure, how }
}

/// SHA-256 of the alerts (or metrics) as they lie in the file, and the bars of that set.
const KNOWN: &[(&str, &[Bar])] = &[
    (
        "29fe75653ac3ae97b32841597ced66c53e6ed3757735997fe067e4d2cbeb5a06",
        &[
            bar("correlation", "ARI", How::Above, 0.56),
            bar("correlation", "incidents/fault", How::AtMost, 3.6),
            bar("correlation", "noise in faults", How::AtMost, 0.36),
        ],
    ),
    (
        "cdf211f25ddd00889ae166673f45704f4001a41054418016fda66594c5010cf6",
        &[bar("cause", "AC@1", How::Above, 0.36), bar("cause", "Avg@5", How::Above, 0.58)],
    ),
    (
        "799669cf1bad1dfe46ee5e18b3fad462905152c5f5ca7fe1f1ea0cf6b4b7c93b",
        &[bar("cause", "AC@1", How::Above, 0.41), bar("cause", "AC@3", How::Above, 0.76)],
    ),
    (
        "379d6de4b28f7a3980f0e09f210b7bafd2f6ecb4e51fb75a54f1c709f4529aad",
        &[
            bar("cause", "AC@3", How::Above, 0.69),
            bar("cause with target", "AC@1", How::AtLeast, 0.70),
            bar("cause with target", "AC@3", How::AtLeast, 0.87),
        ],
    ),
];

/// The bar of one measure of a set, if the set is known and has one.
#[must_use]
pub fn of(set: Digest, task: &str, measure: &str) -> Option<Bar> {
    let digest = set.to_string();
    let (_, bars) = KNOWN.iter().find(|(known, _)| *known == digest)?;
    bars.iter().copied().find(|bar| bar.task == task && bar.measure == measure)
}
