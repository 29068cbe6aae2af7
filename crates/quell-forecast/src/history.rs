//! Incidents of the past, ordered by signature and time, within one span.
//!
//! Absent on purpose: when they were closed and anything else that is known only later.

use std::collections::BTreeMap;

use quell_domain::{CiId, HistoricIncident, Signature, Timestamp};

/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400_000_000;
/// Stands for "no such group" in [`Series`].
pub(crate) const NONE: u32 = u32::MAX;

/// The days between two instants given in microseconds.
pub(crate) fn days(micros: i64) -> f64 {
    micros as f64 / DAY as f64
}

/// From when to when the history is looked at: half-open, `[start, end)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its first instant.
    pub start: Timestamp,
    /// The instant after its last.
    pub end: Timestamp,
}

impl Span {
    /// From the midnight before the first of these incidents to the midnight after the last, in the time the texts are
    /// written in; `None` without incidents.
    #[must_use]
    pub fn of(incidents: &[HistoricIncident]) -> Option<Span> {
        let times = incidents.iter().map(|incident| incident.opened_at.micros());
        let (first, last) = (times.clone().min()?, times.max()?);
        let start = Timestamp::from_micros(first.div_euclid(DAY) * DAY);
        let end = Timestamp::from_micros((last.div_euclid(DAY) + 1) * DAY);
        Some(Span { start, end })
    }

    /// The same without a sparse beginning or end: where the first or the last 2.5 % of the incidents take up more than a
    /// quarter of the time, that stretch is left out. Exports begin with the few incidents that were still open when they
    /// were made, and mistyped years lie decades away; counted in, they would leave nothing to learn from.
    #[must_use]
    pub fn busy(incidents: &[HistoricIncident]) -> Option<Span> {
        let whole = Span::of(incidents)?;
        let mut times: Vec<i64> = incidents.iter().map(|incident| incident.opened_at.micros()).collect();
        times.sort_unstable();
        let few = times.len() / 40;
        let [early, late] = [times[few], times[times.len() - 1 - few]].map(|at| at.div_euclid(DAY) * DAY);
        let (mut start, mut end) = (whole.start.micros(), whole.end.micros());
        // Twice, because a mistyped year on one side hides one on the other.
        for _ in 0..2 {
            let quarter = (end - start) / 4;
            (start, end) = (
                if early - start > quarter { early } else { start },
                if end - late - DAY > quarter { late + DAY } else { end },
            );
        }
        Some(Span { start: Timestamp::from_micros(start), end: Timestamp::from_micros(end) })
    }

    /// Its length in days.
    #[must_use]
    pub fn days(self) -> f64 {
        days(self.end.micros() - self.start.micros())
    }
}

/// The incidents of one signature, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) signature: Signature,
    /// Microseconds since the epoch.
    pub(crate) opened: Vec<i64>,
    /// How often the date changed up to each incident: the distinct dates of a run are a difference of two of these.
    pub(crate) date_changes: Vec<u32>,
    /// The service each incident was filed under, numbered, or [`NONE`].
    pub(crate) service: Vec<u32>,
    /// The CI, alike.
    pub(crate) ci: Vec<u32>,
    /// Whether it was P1 or P2.
    pub(crate) urgent: Vec<bool>,
}

/// What stands next to each CI in the graph.
pub type Links = BTreeMap<CiId, Vec<CiId>>;

/// Neighbours of one CI that are looked at: what more than that hang on says nothing of any of them.
pub const NEIGHBOURS: usize = 64;

/// All incidents of a span.
#[derive(Clone, Debug)]
pub struct History {
    pub(crate) span: Span,
    /// By signature.
    pub(crate) series: Vec<Series>,
    /// Every opening, oldest first.
    pub(crate) opened: Vec<i64>,
    pub(crate) services: usize,
    pub(crate) cis: usize,
    /// For each CI the CIs next to it in the graph; empty without a graph.
    pub(crate) near: Vec<Vec<u32>>,
}

impl History {
    /// Sorts the incidents opened within the span; the others are left out. The order in which they are given does not
    /// matter.
    #[must_use]
    pub fn new(incidents: &[HistoricIncident], span: Span) -> History {
        History::linked(incidents, span, &Links::new())
    }

    /// The same, with what stands next to each CI in the graph: incidents there count as those of neighbours. The graph is
    /// the one in force; of its neighbours, too, only incidents before an origin are seen at it.
    #[must_use]
    pub fn linked(incidents: &[HistoricIncident], span: Span, links: &Links) -> History {
        let within = |at: Timestamp| span.start <= at && at < span.end;
        let mut sorted: Vec<&HistoricIncident> = incidents.iter().filter(|i| within(i.opened_at)).collect();
        sorted.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut services = BTreeMap::new();
        let mut cis = BTreeMap::new();
        let mut by_signature: BTreeMap<&Signature, Series> = BTreeMap::new();
        for incident in &sorted {
            let HistoricIncident { opened_at, closed_at: _, signature, ci, service, priority } = *incident;
            let series = by_signature.entry(signature).or_insert_with(|| Series::empty(signature.clone()));
            let next = u32::try_from(services.len()).unwrap_or(NONE);
            let service = service.as_ref().map_or(NONE, |service| *services.entry(service.clone()).or_insert(next));
            let next = u32::try_from(cis.len()).unwrap_or(NONE);
            let ci = ci.as_ref().map_or(NONE, |ci| *cis.entry(ci.clone()).or_insert(next));
            series.push(opened_at.micros(), service, ci, priority.is_some_and(|priority| priority.number() <= 2));
        }
        let near = |ci: &CiId| {
            let known = links.get(ci).into_iter().flatten().filter(|other| *other != ci);
            let mut near: Vec<u32> = known.filter_map(|other| cis.get(other).copied()).take(NEIGHBOURS).collect();
            near.sort_unstable();
            near.dedup();
            near
        };
        let mut numbered: Vec<(u32, Vec<u32>)> = match links.is_empty() {
            true => Vec::new(),
            false => cis.iter().map(|(ci, number)| (*number, near(ci))).collect(),
        };
        numbered.sort_unstable();
        History {
            span,
            near: numbered.into_iter().map(|(_, near)| near).collect(),
            series: by_signature.into_values().collect(),
            opened: sorted.iter().map(|incident| incident.opened_at.micros()).collect(),
            services: services.len(),
            cis: cis.len(),
        }
    }

    /// Incidents in it.
    #[must_use]
    pub fn incidents(&self) -> usize {
        self.opened.len()
    }

    /// Signatures in it.
    #[must_use]
    pub fn signatures(&self) -> usize {
        self.series.len()
    }

    /// Signatures with an incident before that instant.
    pub(crate) fn known(&self, origin: i64) -> usize {
        self.series.iter().filter(|series| series.opened.first().is_some_and(|&first| first < origin)).count()
    }

    /// The span it was made for.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }
}

impl Series {
    fn empty(signature: Signature) -> Series {
        let (opened, date_changes, service, ci, urgent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Series { signature, opened, date_changes, service, ci, urgent }
    }

    fn push(&mut self, at: i64, service: u32, ci: u32, urgent: bool) {
        let changed = |&before: &i64| before.div_euclid(DAY) != at.div_euclid(DAY);
        let changes = self.date_changes.last().copied().unwrap_or(0);
        self.date_changes.push(changes + u32::from(self.opened.last().is_some_and(changed)));
        self.opened.push(at);
        self.service.push(service);
        self.ci.push(ci);
        self.urgent.push(urgent);
    }

    /// Whether it opened within `[from, to)`, in microseconds.
    pub(crate) fn opens_within(&self, from: i64, to: i64) -> bool {
        self.count_within(from, to) > 0
    }

    /// How often it opened within `[from, to)`.
    pub(crate) fn count_within(&self, from: i64, to: i64) -> usize {
        self.opened.partition_point(|&at| at < to) - self.opened.partition_point(|&at| at < from)
    }
}

/// A total order, so that incidents of one instant are told apart the same way whatever order they came in.
fn order(incident: &HistoricIncident) -> (Timestamp, &Signature, Option<&CiId>, Option<&CiId>, Option<u8>) {
    let HistoricIncident { opened_at, closed_at: _, signature, ci, service, priority } = incident;
    (*opened_at, signature, service.as_ref(), ci.as_ref(), priority.map(|priority| priority.number()))
}
