//! Label sets, packed. Absent on purpose: any meaning of a label's name.

use std::fmt;

/// A borrowed label set: names unique and in byte order, values not empty.
///
/// `text` holds name, value, name, value … end to end; `ends` holds where each of them ends.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct LabelsRef<'a> {
    text: &'a str,
    ends: &'a [u32],
}

impl<'a> LabelsRef<'a> {
    /// Assembled from an arena whose invariant [`crate::batch::BatchBuilder`] keeps.
    pub(crate) fn from_parts(text: &'a str, ends: &'a [u32]) -> Self {
        debug_assert!(ends.len().is_multiple_of(2));
        LabelsRef { text, ends }
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.ends.len() / 2
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.ends.is_empty()
    }

    /// Name and value of each label, by name.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut from = 0;
        self.ends.as_chunks::<2>().0.iter().map(move |&[name_end, value_end]| {
            let name = &self.text[from..name_end as usize];
            let value = &self.text[name_end as usize..value_end as usize];
            from = value_end as usize;
            (name, value)
        })
    }

    /// The value of the label `name`.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find_map(|(n, value)| (n == name).then_some(value))
    }

    /// A copy that owns its text: two allocations, whatever the number of labels.
    #[must_use]
    pub fn to_owned(self) -> Labels {
        Labels { text: self.text.into(), ends: self.ends.into() }
    }

    /// Bytes of text.
    #[must_use]
    pub fn text_len(self) -> usize {
        self.text.len()
    }
}

impl fmt::Debug for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// An owned label set; see [`LabelsRef`] for its invariant.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Labels {
    text: Box<str>,
    ends: Box<[u32]>,
}

impl Labels {
    /// Sorts the pairs by name, keeps the last of equal names, drops empty values.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs: Vec<(N, V)> = pairs.into_iter().collect();
        let mut sorted: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
        normalise(&mut sorted);
        let (mut text, mut ends) = (String::new(), Vec::new());
        pack(&sorted, &mut text, &mut ends);
        Labels { text: text.into(), ends: ends.into() }
    }

    /// A borrowed view.
    #[must_use]
    pub fn as_ref(&self) -> LabelsRef<'_> {
        LabelsRef { text: &self.text, ends: &self.ends }
    }

    /// Name and value of each label, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.as_ref().iter()
    }

    /// The value of the label `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.as_ref().get(name)
    }

    /// True when there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// Byte order by name; of equal names the last given wins; a label with an empty value is no label.
pub(crate) fn normalise(pairs: &mut Vec<(&str, &str)>) {
    pairs.sort_by_key(|&(name, _)| name);
    pairs.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = later.1;
        }
        same
    });
    pairs.retain(|(_, value)| !value.is_empty());
}

/// Appends normalised pairs to an arena; `ends` are relative to where this set's text begins.
pub(crate) fn pack(pairs: &[(&str, &str)], text: &mut String, ends: &mut Vec<u32>) {
    let from = text.len();
    for (name, value) in pairs {
        for part in [name, value] {
            text.push_str(part);
            ends.push(u32::try_from(text.len() - from).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_unique_and_without_empty_values() {
        let labels = Labels::new([("b", "1"), ("a", "x"), ("b", "2"), ("c", "")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "x"), ("b", "2")]);
        assert_eq!(labels.get("b"), Some("2"));
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels.as_ref().to_owned(), labels);
    }

    #[test]
    fn an_empty_last_value_removes_the_label() {
        assert!(Labels::new([("a", "x"), ("a", "")]).is_empty());
    }
}
