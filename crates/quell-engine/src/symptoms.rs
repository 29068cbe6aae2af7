//! Symptoms: what kind of trouble an alert's name speaks of, so that two tools' words for one fault are seen as one.
//!
//! Absent on purpose: the words themselves; the shipped ones stand in `rules/symptoms.yaml`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// Classes at most.
pub const MOST: usize = 200;

/// Names whose class is kept in mind; when there are more, all are worked out anew.
const KEPT: usize = 8192;

/// A class's place in [`Symptoms`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SymptomIx(u8);

/// One class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symptom {
    /// Unique.
    pub name: String,
    /// Phrases, in lower case: words with single blanks between them; a word may end in `*`.
    pub words: Vec<String>,
}

/// All classes. A name belongs to the first class that has a phrase in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Symptoms {
    list: Vec<Symptom>,
}

impl Symptoms {
    /// Classes in order; those beyond [`MOST`] are left out, which the check of the files refuses.
    #[must_use]
    pub fn new(mut list: Vec<Symptom>) -> Self {
        list.truncate(MOST);
        Symptoms { list }
    }

    /// The classes, in order.
    #[must_use]
    pub fn list(&self) -> &[Symptom] {
        &self.list
    }

    pub(crate) fn find(&self, name: &str) -> Option<SymptomIx> {
        let at = self.list.iter().position(|symptom| symptom.name == name)?;
        u8::try_from(at).ok().map(SymptomIx)
    }

    pub(crate) fn name(&self, ix: SymptomIx) -> &str {
        &self.list[usize::from(ix.0)].name
    }

    /// The class of an alert's name.
    pub(crate) fn of(&self, name: &str) -> Option<SymptomIx> {
        let words = words(name);
        let speaks = |phrase: &String| {
            let phrase: Vec<&str> = phrase.split(' ').collect();
            words.windows(phrase.len()).any(|part| part.iter().zip(&phrase).all(|(word, wanted)| is(word, wanted)))
        };
        let at = self.list.iter().position(|symptom| symptom.words.iter().any(speaks))?;
        u8::try_from(at).ok().map(SymptomIx)
    }
}

fn is(word: &str, wanted: &str) -> bool {
    wanted.strip_suffix('*').map_or(word == wanted, |prefix| word.starts_with(prefix))
}

/// The words of a name, in lower case: `KubePodCrashLooping`, `disk_full` and `HTTP errors` have three, two and two.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = ' ';
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let next_small = letters.peek().is_some_and(|next| next.is_lowercase());
        let begins = letter.is_uppercase() && (!before.is_uppercase() || next_small);
        if (begins || !letter.is_alphanumeric()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_alphanumeric(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Classes of names seen before. It only saves work: what it says is what [`Symptoms::of`] would say.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    names: HashMap<Box<str>, Option<SymptomIx>, BuildHasherDefault<DefaultHasher>>,
}

impl Seen {
    pub(crate) fn of(&mut self, symptoms: &Symptoms, name: &str) -> Option<SymptomIx> {
        if let Some(&known) = self.names.get(name) {
            return known;
        }
        if self.names.len() >= KEPT {
            self.names.clear();
        }
        let symptom = symptoms.of(name);
        self.names.insert(name.into(), symptom);
        symptom
    }

    /// Other rules are in force.
    pub(crate) fn clear(&mut self) {
        self.names.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_into_words() {
        for (name, expected) in [
            ("KubePodCrashLooping", "kube pod crash looping"),
            ("disk_full", "disk full"),
            ("HTTPErrorsHigh", "http errors high"),
            ("host is DOWN (ping)", "host is down ping"),
            ("node5xx", "node5xx"),
            ("", ""),
            ("Größe Über", "größe über"),
        ] {
            assert_eq!(words(name).join(" "), expected);
        }
    }

    #[test]
    fn the_first_class_with_a_phrase_in_the_name_is_its_class() {
        let class = |name: &str, words: &[&str]| Symptom {
            name: name.into(),
            words: words.iter().map(ToString::to_string).collect(),
        };
        let symptoms =
            Symptoms::new(vec![class("down", &["down", "not ready", "unreach*"]), class("slow", &["slow", "ready"])]);
        let mut seen = Seen::default();
        for (name, expected) in [
            ("HostDown", Some("down")),
            ("host unreachable", Some("down")),
            ("KubeNodeNotReady", Some("down")),
            ("NotQuiteReady", Some("slow")),
            ("SlowAndDown", Some("down")),
            ("Downtime", None),
        ] {
            for _ in 0..2 {
                assert_eq!(seen.of(&symptoms, name).map(|ix| symptoms.name(ix)), expected, "{name}");
            }
        }
    }

    #[test]
    fn what_is_kept_in_mind_has_a_limit() {
        let (symptoms, mut seen) = (Symptoms::default(), Seen::default());
        for n in 0..3 * KEPT {
            seen.of(&symptoms, &n.to_string());
        }
        assert!(seen.names.len() <= KEPT);
    }
}
