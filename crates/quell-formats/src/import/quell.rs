//! quell's own topology file as an import: for CIs that a script writes and that are to be replaced together.
//!
//! Absent on purpose: the file's fields; see `topology`.

use super::Text;
use super::draft::Draft;
use crate::topology;

/// Reads topology files.
pub(super) fn read(texts: &[Text<'_>], draft: &mut Draft<'_>) {
    for text in texts {
        match topology::decode(text.bytes) {
            Ok(topology) => draft.whole(&topology),
            Err(mistakes) => {
                for mistake in mistakes {
                    draft.wrong(text.name, &mistake.path, &mistake.found, &mistake.allowed);
                }
            }
        }
    }
}
