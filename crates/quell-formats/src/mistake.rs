//! What is wrong in a file that a person wrote: all of it at once, each with its place.
//!
//! Absent on purpose: mistakes of senders; those are rejects of a batch.

use std::cell::RefCell;
use std::fmt;

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The file's name; empty where there is only one text.
    pub file: String,
    /// Where in it, as `bind[2].labels`; empty for the text as a whole.
    pub path: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { file, path, found, allowed } = self;
        for place in [file, path] {
            if !place.is_empty() {
                write!(f, "{place}: ")?;
            }
        }
        write!(f, "found {found}; allowed: {allowed}")
    }
}

impl std::error::Error for Mistake {}

/// Mistakes that are kept; the last one says that there are more.
const MAX_MISTAKES: usize = 200;

/// Collects the mistakes of one text while it is read.
#[derive(Debug)]
pub(crate) struct Mistakes {
    file: String,
    list: RefCell<Vec<Mistake>>,
}

impl Mistakes {
    pub(crate) fn of(file: &str) -> Self {
        Mistakes { file: file.to_owned(), list: RefCell::default() }
    }

    pub(crate) fn add(&self, path: impl Into<String>, found: impl Into<String>, allowed: impl Into<String>) {
        let mut list = self.list.borrow_mut();
        let (file, path) = (self.file.clone(), path.into());
        let (found, allowed) = match list.len() {
            0..MAX_MISTAKES => (found.into(), allowed.into()),
            MAX_MISTAKES => ("more mistakes than are listed".into(), "none".into()),
            _ => return,
        };
        list.push(Mistake { file, path, found, allowed });
    }

    pub(crate) fn any(&self) -> bool {
        !self.list.borrow().is_empty()
    }

    pub(crate) fn into_list(self) -> Vec<Mistake> {
        self.list.into_inner()
    }
}
