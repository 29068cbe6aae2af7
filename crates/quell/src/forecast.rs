//! `quell forecast evaluate`: how well the next window is foreseen on somebody's own past.
//!
//! Absent on purpose: the science (`quell-forecast`) and the store; this reads a file and prints.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use quell_domain::Timestamp;
use quell_forecast::evaluate::Unfit;
use quell_forecast::features::{EXACT, published};
use quell_forecast::{History, Plan, Scorecard, Scores, Span, evaluate};
use quell_formats::history::{ColumnMap, Sound, exact_rows, read_sound};
use quell_formats::mistake::Mistake;
use serde_json::Value;

/// Bytes of a file, unpacked, that are read at most.
const MAX_BYTES: u64 = 4 << 30;
/// Mistakes of a file that are shown.
const SHOWN: usize = 20;
/// One line in so many may be one that cannot be read; it is left out and told.
const UNREAD: usize = 20;
/// Half of the last of six decimals, and what is allowed beyond it.
const TOLERANCE: f64 = 0.5e-6 + 1e-9;

/// What is evaluated, and how.
#[derive(Debug)]
pub struct Evaluate {
    /// The incidents: CSV, which may be packed with gzip.
    pub incidents: PathBuf,
    /// Which of its columns are meant.
    pub map: ColumnMap,
    /// The window that is forecast.
    pub horizon: Duration,
    /// The share of the days that is learned from.
    pub split: f64,
    /// Where the span begins, instead of at the first incident.
    pub from: Option<Timestamp>,
    /// Where the span ends, instead of after the last.
    pub to: Option<Timestamp>,
    /// The seed.
    pub seed: u64,
    /// Rows of published features to compare with.
    pub check_rows: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug)]
pub struct Evaluated {
    /// What was found, or why nothing can be: too little history.
    card: Result<Scorecard, Unfit>,
    history: History,
    /// Incidents outside the span.
    left_out: usize,
    unknown_priorities: usize,
    /// Lines that could not be read.
    refused: usize,
    /// Rows of features compared, all of them equal.
    checked: usize,
    horizon: Duration,
}

/// Reads the file and evaluates.
///
/// # Errors
/// All mistakes of the file; or what does not fit it; or the features that differ.
pub fn run(asked: &Evaluate) -> anyhow::Result<Evaluated> {
    let Evaluate { incidents: path, map, horizon, split, from, to, seed, check_rows } = asked;
    let Sound { read: file, refused, mistakes } =
        read_sound(&text(path)?, map).map_err(|mistakes| told(path, &mistakes))?;
    if refused * UNREAD > file.incidents.len() + refused {
        return Err(told(path, &mistakes));
    }
    let busy = Span::busy(&file.incidents).context("a file without incidents was read")?;
    let span = Span { start: from.unwrap_or(busy.start), end: to.unwrap_or(busy.end) };
    if span.start >= span.end {
        bail!(
            "the span {} to {}: found an end that is not after the start; allowed: --from before --to",
            span.start,
            span.end
        );
    }
    let history = History::new(&file.incidents, span);
    if history.incidents() == 0 {
        bail!(
            "{}: found no incident from {} to {}; allowed: a span with incidents",
            path.display(),
            span.start,
            span.end
        );
    }
    let mut checked = 0;
    for rows in check_rows {
        checked += check(&history, *horizon, rows)?;
    }
    let card = match evaluate(&history, Plan { horizon: *horizon, split: *split, seed: *seed }) {
        Ok(card) => Ok(card),
        // Too little history is an answer; what is asked wrongly is a mistake.
        Err(unfit @ Unfit::NoTest { .. }) => Err(unfit),
        Err(unfit) => return Err(unfit).with_context(|| path.display().to_string()),
    };
    let left_out = file.incidents.len() - history.incidents();
    let (unknown_priorities, horizon) = (file.unknown_priorities, *horizon);
    Ok(Evaluated { card, history, left_out, unknown_priorities, refused, checked, horizon })
}

/// A file's text, unpacked where it begins as gzip does.
pub(crate) fn text(path: &Path) -> anyhow::Result<String> {
    let packed = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let bytes = if packed.starts_with(&[0x1f, 0x8b]) {
        let mut bytes = Vec::new();
        let unpacked = MultiGzDecoder::new(packed.as_slice()).take(MAX_BYTES + 1).read_to_end(&mut bytes);
        unpacked.with_context(|| format!("unpacking {}", path.display()))?;
        bytes
    } else {
        packed
    };
    if bytes.len() as u64 > MAX_BYTES {
        bail!("{}: found more than {MAX_BYTES} bytes; allowed: {MAX_BYTES}", path.display());
    }
    // Exports of older programs are Latin-1: what is no UTF-8 is a name, and only has to differ from other names.
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect()))
}

pub(crate) fn told(path: &Path, mistakes: &[Mistake]) -> anyhow::Error {
    let mut text = format!("{}:", path.display());
    for mistake in mistakes.iter().take(SHOWN) {
        let _ = write!(text, "\n  {mistake}");
    }
    if mistakes.len() > SHOWN {
        let _ = write!(text, "\n  and more: {} mistakes are listed in all", mistakes.len());
    }
    anyhow::Error::msg(text)
}

/// Compares the published features with rows of a file; says how many agree.
fn check(history: &History, horizon: Duration, path: &Path) -> anyhow::Result<usize> {
    let rows = exact_rows(&text(path)?, &EXACT).map_err(|mistakes| told(path, &mistakes))?;
    let mut origins: Vec<Timestamp> = rows.iter().map(|row| row.origin).collect();
    origins.sort_unstable();
    origins.dedup();
    let mut found = Vec::new();
    published(history, horizon, &origins, |origin, signature, label, features| {
        found.push((origin, signature.to_string(), label, features));
    });
    if found.len() != rows.len() {
        bail!("{}: found {} rows; quell has {} for the same origins", path.display(), rows.len(), found.len());
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    for row in &rows {
        let place = found.binary_search_by(|other| (other.0, &other.1).cmp(&(row.origin, &row.signature)));
        let at = || format!("{}: line {}, {} at {}", path.display(), row.line, row.signature, row.origin);
        let Ok(place) = place else { bail!("{}: a row that quell does not have", at()) };
        let (_, _, label, features) = &found[place];
        if *label != row.label {
            bail!("{}: found the label {}; quell has {label}", at(), row.label);
        }
        for ((name, wanted), own) in EXACT.iter().zip(&row.features).zip(features) {
            // The rows are written with six decimals.
            if (own - wanted).abs() > TOLERANCE {
                bail!("{}: found {name} {wanted}; quell has {own}", at());
            }
        }
    }
    Ok(rows.len())
}

impl Evaluated {
    /// As `--json` prints it.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut card = match &self.card {
            Ok(card) => quell_formats::forecast::scorecard(card),
            Err(unfit) => quell_formats::forecast::no_scorecard(&unfit.to_string()),
        };
        let span = self.history.span();
        card["span"] = serde_json::json!({ "from": span.start.to_string(), "to": span.end.to_string() });
        card["horizon_seconds"] = self.horizon.as_secs().into();
        card["incidents"] = self.history.incidents().into();
        card["signatures"] = self.history.signatures().into();
        card["left_out"] = self.left_out.into();
        card["refused"] = self.refused.into();
        if self.checked > 0 {
            card["rows_checked"] = self.checked.into();
        }
        card
    }

    /// As a person reads it.
    #[must_use]
    pub fn table(&self) -> String {
        let Evaluated { card, history, left_out, unknown_priorities, refused, checked, horizon: _ } = self;
        let (span, day) = (history.span(), |at: Timestamp| at.to_string().chars().take(10).collect::<String>());
        let mut text = format!(
            "{} incidents of {} signatures, {} to {}",
            history.incidents(),
            history.signatures(),
            day(span.start),
            day(span.end)
        );
        if let Ok(card) = card {
            let _ = write!(text, "; learned until {}", day(card.split_at));
        }
        text.push('\n');
        for (count, what) in [
            (*left_out, "incidents lie outside that span and are left out; --from and --to set it"),
            (*refused, "lines could not be read and are left out; quell import incidents --dry-run tells which"),
            (*unknown_priorities, "priorities are none of 1 to 5 and are left out"),
            (*checked, "rows of published features agree"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "{count} {what}");
            }
        }
        match card {
            Ok(card) => found(&mut text, card),
            Err(unfit) => _ = write!(text, "verdict: abstains: too little to judge by: {unfit}"),
        }
        text
    }
}

fn found(text: &mut String, card: &Scorecard) {
    for (name, side) in [("train", card.train), ("test", card.test)] {
        let _ = writeln!(
            text,
            "{name}: {} windows, {} rows, {} of them with an incident",
            side.origins, side.rows, side.hits
        );
    }
    let _ = writeln!(
        text,
        "\n{:<12} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "", "PR-AUC", "mid", "ROC-AUC", "Brier", "BSS", "ECE", "P@50"
    );
    let rows =
        [("quell", card.quell), ("EWMA", card.ewma), ("last week", card.last_window), ("base rate", card.base_rate)];
    for (name, scores) in rows {
        let _ = writeln!(text, "{name:<12} {}", line(&scores));
    }
    let order = &card.order;
    let _ = writeln!(
        text,
        "\ntime to the next incident, C-index over {} incidents: quell {}, EWMA of gaps {}, last gap {}",
        order.incidents,
        number(order.quell, 3),
        number(order.ewma_gap, 3),
        number(order.last_gap, 3)
    );
    let reason = card
        .reason()
        .unwrap_or_else(|| "the model beat the EWMA and the base rate on later windows of the past".to_owned());
    let _ = write!(text, "verdict: {}: {reason}", card.verdict());
}

fn line(scores: &Scores) -> String {
    let Scores { pr_auc, pr_auc_mid, roc_auc, brier, bss, ece, p50 } = *scores;
    [(pr_auc, 3), (pr_auc_mid, 3), (roc_auc, 3), (Some(brier), 4), (bss, 3), (Some(ece), 3), (p50, 2)]
        .map(|(value, digits)| format!("{:>7}", number(value, digits)))
        .join(" ")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
