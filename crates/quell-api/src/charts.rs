//! Small charts of the pages, as places in a drawing of 640 by 200; templates draw them as SVG, and each has a table
//! beside it that says the same.
//!
//! Absent on purpose: scripts, and colours (the style sheet has them).

use quell_domain::Timestamp;
use quell_formats::forecast::Bin;

/// What is drawn lies between these.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 624.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 168.0;
/// Lines across a chart of shares.
const SHARES: [(f64, &str); 3] = [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")];

/// A mark of a chart.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Mark {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) title: String,
}

/// A word at an axis.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Word {
    pub(crate) at: f64,
    pub(crate) text: String,
}

/// A chart of marks, with a line through them where they are a curve.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Chart {
    pub(crate) marks: Vec<Mark>,
    /// From left below to right above, for a line that marks should lie on.
    pub(crate) diagonal: bool,
    /// Whether the marks are joined.
    pub(crate) joined: bool,
    /// Bars from one height to another, at a place.
    pub(crate) bars: Vec<[f64; 3]>,
    /// Upright lines with a word.
    pub(crate) uprights: Vec<Word>,
    /// Words at the left, and below.
    pub(crate) rows: Vec<Word>,
    pub(crate) columns: Vec<Word>,
}

fn place(share: f64, from: f64, to: f64) -> f64 {
    ((from + share.clamp(0.0, 1.0) * (to - from)) * 10.0).round() / 10.0
}

fn across(share: f64) -> f64 {
    place(share, LEFT, RIGHT)
}

fn up(share: f64) -> f64 {
    place(share, BOTTOM, TOP)
}

fn shares() -> Vec<Word> {
    SHARES.iter().map(|(share, text)| Word { at: up(*share), text: (*text).to_owned() }).collect()
}

impl Chart {
    /// The points of the line, as SVG writes them.
    pub(crate) fn line(&self) -> String {
        self.marks.iter().map(|mark| format!("{},{}", mark.x, mark.y)).collect::<Vec<_>>().join(" ")
    }

    /// What was said against what came; on the diagonal they are the same.
    pub(crate) fn calibration(curve: &[Bin]) -> Chart {
        let mark = |bin: &Bin| Mark {
            x: across(bin.forecast),
            y: up(bin.observed),
            title: format!(
                "{} forecasts: {:.0} % said, {:.0} % came",
                bin.rows,
                bin.forecast * 100.0,
                bin.observed * 100.0
            ),
        };
        let columns = SHARES.iter().map(|(share, text)| Word { at: across(*share), text: (*text).to_owned() });
        let (marks, rows, columns) = (curve.iter().map(mark).collect(), shares(), columns.collect());
        Chart { marks, diagonal: true, joined: true, rows, columns, ..Chart::default() }
    }

    /// Days from one incident to the next, on a scale of logarithms, against when the later one was opened; the times
    /// rise.
    pub(crate) fn gaps(opened: &[Timestamp]) -> Chart {
        let [Some(first), Some(last)] = [opened.get(1), opened.last()] else { return Chart::default() };
        let days = |from: &Timestamp, to: &Timestamp| (to.micros() - from.micros()) as f64 / 86_400e6;
        let span = days(first, last).max(f64::MIN_POSITIVE);
        // From a quarter of an hour to a year.
        let height = |gap: f64| (gap.max(0.01).ln() - 0.01_f64.ln()) / (365.0_f64.ln() - 0.01_f64.ln());
        let mark = |pair: &[Timestamp]| {
            let gap = days(&pair[0], &pair[1]);
            let x = if opened.len() == 2 { 0.5 } else { days(first, &pair[1]) / span };
            Mark { x: across(x), y: up(height(gap)), title: format!("{}: after {}", day(&pair[1]), words(gap)) }
        };
        let scale = [(1.0 / 24.0, "1 h"), (1.0, "1 d"), (7.0, "7 d"), (30.0, "30 d"), (365.0, "1 y")];
        let rows = scale.map(|(gap, text)| Word { at: up(height(gap)), text: text.to_owned() }).into();
        let ends = if opened.len() == 2 { vec![(0.5, last)] } else { vec![(0.0, first), (1.0, last)] };
        let columns = ends.into_iter().map(|(share, at)| Word { at: across(share), text: day(at) }).collect();
        Chart { marks: opened.windows(2).map(mark).collect(), rows, columns, ..Chart::default() }
    }

    /// The chance that it has come by then, with the intervals that are known; `points` rise by days.
    pub(crate) fn curve(points: &[(f64, f64, Option<[f64; 2]>)], window: &[(f64, &str)]) -> Chart {
        let most = points.iter().map(|(days, ..)| *days).chain(window.iter().map(|(days, _)| *days));
        let most = most.fold(7.0, f64::max);
        let at = |days: f64| across(days / most);
        let mark = |(days, chance, _): &(f64, f64, _)| Mark {
            x: at(*days),
            y: up(*chance),
            title: format!("within {}: {:.0} %", words(*days), chance * 100.0),
        };
        let bars =
            points.iter().filter_map(|(days, _, between)| between.map(|[low, high]| [at(*days), up(low), up(high)]));
        Chart {
            marks: points.iter().map(mark).collect(),
            joined: true,
            bars: bars.collect(),
            uprights: window.iter().map(|(days, text)| Word { at: at(*days), text: (*text).to_owned() }).collect(),
            rows: shares(),
            columns: [0.0, most / 2.0, most].map(|days| Word { at: at(days), text: words(days) }).into(),
            ..Chart::default()
        }
    }
}

pub(crate) fn day(at: &Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// Days as people say them.
pub(crate) fn words(days: f64) -> String {
    match days {
        days if days <= 0.0 => "now".to_owned(),
        days if days < 2.0 / 24.0 => format!("{:.0} min", days * 1440.0),
        days if days < 2.0 => format!("{:.0} h", days * 24.0),
        days => format!("{days:.1} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_within_the_drawing() {
        let bin = |forecast, observed| Bin { rows: 7, forecast, observed };
        let chart = Chart::calibration(&[bin(0.0, 0.0), bin(0.25, 0.5), bin(1.0, 1.0)]);
        assert_eq!(chart.line(), "56,168 198,90 624,12");
        assert_eq!(chart.marks[1].title, "7 forecasts: 25 % said, 50 % came");
        let at = |hours: i64| Timestamp::from_seconds(1_800_000_000 + hours * 3600);
        assert_eq!(Chart::gaps(&[at(0)]), Chart::default());
        let gaps = Chart::gaps(&[at(0), at(24), at(24), at(72), at(100_000)]);
        assert!(gaps.marks.iter().all(|mark| (LEFT..=RIGHT).contains(&mark.x) && (TOP..=BOTTOM).contains(&mark.y)));
        assert!(gaps.marks[0].title.ends_with(": after 24 h") && gaps.marks[1].title.ends_with(": after now"));
        assert!(gaps.marks[3].y < gaps.marks[2].y && gaps.marks[2].y < gaps.marks[0].y, "longer is higher");
        let curve =
            Chart::curve(&[(0.0, 0.0, None), (1.0, 0.2, Some([0.1, 0.3])), (7.0, 0.9, None)], &[(14.0, "late")]);
        assert_eq!((curve.bars.as_slice(), curve.uprights[0].at), ([[96.6, 152.4, 121.2]].as_slice(), RIGHT));
    }
}
