//! One accepted request, decoded: many items in one arena, so that a repeat costs no allocation of its own.
//!
//! Absent on purpose: the names of any sender's fields; `quell-formats` fills a batch through [`BatchBuilder`].

use xxhash_rust::xxh3::Xxh3;

use crate::alert::{Ending, Severity, Source};
use crate::ids::Fingerprint;
use crate::labels::{self, LabelsRef};
use crate::time::Timestamp;

/// What an item says of its alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The condition holds.
    Fire,
    /// The condition no longer holds.
    Resolve,
    /// Somebody at the sender's side has taken it; the condition still holds.
    Acknowledge,
}

/// One alert as its sender put it, before any decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its identity: the hash of the sender's dedup key, or of its labels where the sender has none.
    pub fingerprint: Fingerprint,
    /// A hash of everything but identity and times: when it is unchanged, the item is a plain repeat.
    pub content: u64,
    /// Fires, resolves or acknowledges. For API v2 always [`Action::Fire`]: there `ends_at` decides.
    pub action: Action,
    /// How the alert ends.
    pub ending: Ending,
    /// When the condition began, where the sender says so.
    pub starts_at: Option<Timestamp>,
    /// When it ended or will end, where the sender says so.
    pub ends_at: Option<Timestamp>,
    /// The sender's claim, read from where its contract has it; [`Severity::Unknown`] where it has none.
    pub severity: Severity,
    labels: Span,
    annotations: Span,
}

/// Where a label set lies in the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    text: u32,
    text_end: u32,
    ends: u32,
    ends_end: u32,
}

/// A part of a request that could not be understood. It is parked, so that it can be mended and replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reject {
    /// Which item of the request, from 0; `None` when the body as a whole did not parse.
    pub ordinal: Option<u32>,
    /// What was found, where, and what is allowed.
    pub reason: String,
    /// The refused text, cut at [`Reject::MAX_RAW`] bytes.
    pub raw: String,
}

impl Reject {
    /// Bytes of refused text that are kept with the reason; the whole body stays on the log for its retention.
    pub const MAX_RAW: usize = 64 * 1024;

    /// A refused part; its text is cut at [`Reject::MAX_RAW`].
    #[must_use]
    pub fn new(ordinal: Option<u32>, reason: String, raw: &str) -> Self {
        let mut cut = raw.len().min(Reject::MAX_RAW);
        while !raw.is_char_boundary(cut) {
            cut -= 1;
        }
        Reject { ordinal, reason, raw: raw[..cut].to_owned() }
    }
}

/// A decoded request: its items in the sender's order, and what of it was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Which contract it came by.
    pub source: Source,
    items: Vec<Item>,
    /// The refused parts.
    pub rejects: Vec<Reject>,
    /// Where the items stood in the request, when this is a part of one; empty for a whole one.
    places: Vec<u32>,
    text: String,
    ends: Vec<u32>,
}

impl Batch {
    /// The items, in the sender's order. An item's ordinal in receipts counts accepted and refused ones together.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The labels of an item of this batch.
    #[must_use]
    pub fn labels(&self, item: &Item) -> LabelsRef<'_> {
        self.view(item.labels)
    }

    /// The annotations of an item of this batch: everything its sender said that is not identity.
    #[must_use]
    pub fn annotations(&self, item: &Item) -> LabelsRef<'_> {
        self.view(item.annotations)
    }

    /// The place of each item in the request, as refused parts count it: accepted and refused ones together, from 0.
    #[must_use]
    pub fn places(&self) -> Vec<u32> {
        if !self.places.is_empty() {
            return self.places.clone();
        }
        let mut taken: Vec<u32> = self.rejects.iter().filter_map(|reject| reject.ordinal).collect();
        taken.sort_unstable();
        (0u32..).filter(|number| taken.binary_search(number).is_err()).take(self.items.len()).collect()
    }

    /// Some of its items by their number here, in their order, each with its place in the whole; with the refused parts, or
    /// without.
    #[must_use]
    pub(crate) fn part(&self, keep: impl Fn(usize) -> bool, rejects: bool) -> Batch {
        let rejects = if rejects { self.rejects.clone() } else { Vec::new() };
        let (items, places, text, ends) = Default::default();
        let mut part = Batch { source: self.source, items, rejects, places, text, ends };
        let items = self.items.iter().zip(self.places()).enumerate();
        for (_, (item, place)) in items.filter(|(number, _)| keep(*number)) {
            let (labels, annotations) = (part.copy(self, item.labels), part.copy(self, item.annotations));
            part.items.push(Item { labels, annotations, ..*item });
            part.places.push(place);
        }
        part
    }

    /// Copies a label set of another batch.
    fn copy(&mut self, from: &Batch, span: Span) -> Span {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (text, ends) = (narrow(self.text.len()), narrow(self.ends.len()));
        self.text.push_str(&from.text[span.text as usize..span.text_end as usize]);
        self.ends.extend_from_slice(&from.ends[span.ends as usize..span.ends_end as usize]);
        Span { text, text_end: narrow(self.text.len()), ends, ends_end: narrow(self.ends.len()) }
    }

    /// Items received in all: accepted and refused.
    #[must_use]
    pub fn received(&self) -> usize {
        self.items.len() + self.rejects.len()
    }

    /// Bytes of memory held, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.text.len()
            + (self.ends.len() + self.places.len()) * 4
            + self.items.len() * size_of::<Item>()
            + self.rejects.iter().map(|r| r.raw.len() + r.reason.len() + 64).sum::<usize>()
    }

    fn view(&self, span: Span) -> LabelsRef<'_> {
        LabelsRef::from_parts(
            &self.text[span.text as usize..span.text_end as usize],
            &self.ends[span.ends as usize..span.ends_end as usize],
        )
    }
}

/// What a decoder knows of one item.
#[derive(Clone, Copy, Debug)]
pub struct ItemDraft<'a> {
    /// The sender's own key; `None` makes the labels the identity.
    pub dedup_key: Option<&'a str>,
    /// See [`Item::action`].
    pub action: Action,
    /// See [`Item::ending`].
    pub ending: Ending,
    /// See [`Item::starts_at`].
    pub starts_at: Option<Timestamp>,
    /// See [`Item::ends_at`].
    pub ends_at: Option<Timestamp>,
    /// See [`Item::severity`].
    pub severity: Severity,
}

/// Builds a [`Batch`] without an allocation per label.
#[derive(Debug)]
pub struct BatchBuilder {
    batch: Batch,
}

impl BatchBuilder {
    /// An empty batch; `text_hint` is how many bytes of label text to make room for.
    #[must_use]
    pub fn new(source: Source, text_hint: usize) -> Self {
        let (items, rejects) = (Vec::new(), Vec::new());
        let (text, ends) = (String::with_capacity(text_hint), Vec::with_capacity(text_hint / 16));
        BatchBuilder { batch: Batch { source, items, rejects, places: Vec::new(), text, ends } }
    }

    /// Adds an item. The pairs need not be sorted; empty values are dropped, of equal names the last one wins.
    /// Both vectors are left empty, ready to be filled again.
    pub fn push(&mut self, draft: ItemDraft<'_>, labels: &mut Vec<(&str, &str)>, annotations: &mut Vec<(&str, &str)>) {
        labels::normalise(labels);
        labels::normalise(annotations);
        let ItemDraft { dedup_key, action, ending, starts_at, ends_at, severity } = draft;
        let fingerprint = fingerprint(self.batch.source, dedup_key, labels);
        let mut content = Xxh3::new();
        content.update(&[severity as u8]);
        if dedup_key.is_some() {
            feed(&mut content, labels);
        }
        feed(&mut content, annotations);
        let (labels, annotations) = (self.span(labels), self.span(annotations));
        let content = content.digest();
        self.batch.items.push(Item {
            fingerprint,
            content,
            action,
            ending,
            starts_at,
            ends_at,
            severity,
            labels,
            annotations,
        });
    }

    /// Adds a refused part; its text is cut at [`Reject::MAX_RAW`].
    pub fn reject(&mut self, ordinal: Option<u32>, reason: String, raw: &str) {
        self.batch.rejects.push(Reject::new(ordinal, reason, raw));
    }

    /// The finished batch.
    #[must_use]
    pub fn finish(self) -> Batch {
        self.batch
    }

    fn span(&mut self, pairs: &mut Vec<(&str, &str)>) -> Span {
        let (text, ends) = (self.batch.text.len(), self.batch.ends.len());
        labels::pack(pairs, &mut self.batch.text, &mut self.batch.ends);
        pairs.clear();
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span {
            text: narrow(text),
            text_end: narrow(self.batch.text.len()),
            ends: narrow(ends),
            ends_end: narrow(self.batch.ends.len()),
        }
    }
}

/// The identity of an alert: `xxh3-128(source, dedup key)` or `xxh3-128(labels)`.
///
/// Label sets of API v2 and of other contracts without a key of their own share one space, so that the same labels
/// are the same alert; keys are scoped by the contract they came by.
#[must_use]
pub fn fingerprint(source: Source, dedup_key: Option<&str>, labels: &[(&str, &str)]) -> Fingerprint {
    let mut hash = Xxh3::new();
    match dedup_key {
        Some(key) => {
            hash.update(&[1, source as u8]);
            hash.update(key.as_bytes());
        }
        None => {
            hash.update(&[0]);
            feed(&mut hash, labels);
        }
    }
    Fingerprint(hash.digest128())
}

/// Feeds pairs with their lengths, so that no two different sets feed the same bytes.
fn feed(hash: &mut Xxh3, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        let lengths = (name.len() as u64) << 32 | value.len() as u64;
        hash.update(&lengths.to_le_bytes());
        hash.update(name.as_bytes());
        hash.update(value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> ItemDraft<'static> {
        ItemDraft {
            dedup_key: None,
            action: Action::Fire,
            ending: Ending::Expires,
            starts_at: None,
            ends_at: None,
            severity: Severity::Unknown,
        }
    }

    fn batch(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Batch {
        let mut builder = BatchBuilder::new(Source::AlertmanagerApi, 64);
        builder.push(draft(), &mut labels.to_vec(), &mut annotations.to_vec());
        builder.finish()
    }

    #[test]
    fn order_of_labels_is_not_identity_and_annotations_are_content() {
        let a = batch(&[("x", "1"), ("a", "2")], &[("summary", "one")]);
        let b = batch(&[("a", "2"), ("x", "1")], &[("summary", "two")]);
        assert_eq!(a.items()[0].fingerprint, b.items()[0].fingerprint);
        assert_ne!(a.items()[0].content, b.items()[0].content);
    }

    #[test]
    fn moving_a_byte_between_name_and_value_changes_identity() {
        let a = batch(&[("ab", "c")], &[]);
        let b = batch(&[("a", "bc")], &[]);
        assert_ne!(a.items()[0].fingerprint, b.items()[0].fingerprint);
    }

    #[test]
    fn items_keep_their_own_labels() {
        let mut builder = BatchBuilder::new(Source::AlertmanagerApi, 0);
        builder.push(draft(), &mut vec![("a", "1")], &mut vec![("s", "x")]);
        builder.push(draft(), &mut vec![("b", "2"), ("c", "3")], &mut vec![]);
        let batch = builder.finish();
        assert_eq!(batch.labels(&batch.items()[0]).get("a"), Some("1"));
        assert_eq!(batch.labels(&batch.items()[1]).iter().collect::<Vec<_>>(), [("b", "2"), ("c", "3")]);
        assert_eq!(batch.annotations(&batch.items()[0]).get("s"), Some("x"));
        assert!(batch.annotations(&batch.items()[1]).is_empty());
    }

    #[test]
    fn refused_text_is_cut_at_a_character() {
        let mut builder = BatchBuilder::new(Source::AlertmanagerApi, 0);
        builder.reject(None, "why".into(), &"é".repeat(Reject::MAX_RAW));
        assert_eq!(builder.finish().rejects[0].raw.len(), Reject::MAX_RAW);
    }
}
