//! Comma-separated values as programs and spreadsheets write them (RFC 4180, and a little beyond).
//!
//! Absent on purpose: what a column means.

/// One record: the line it begins on, counted from 1, and its fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) line: usize,
    pub(crate) fields: Vec<String>,
}

/// The records of a text, one after the other. A byte order mark is dropped, blank lines are passed over, line breaks are
/// LF or CRLF, and a quoted field may hold both. A quote that never ends takes in the rest.
pub(crate) struct Records<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    separator: char,
}

impl<'a> Records<'a> {
    /// Comma, semicolon or tab: whichever the first line has most of.
    pub(crate) fn of(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let head = text.lines().next().unwrap_or_default();
        let count = |separator: &char| head.matches(*separator).count();
        let separator = [';', '\t', ','].into_iter().max_by_key(count).unwrap_or(',');
        Records { rest: text.chars().peekable(), line: 1, separator }
    }

    fn quoted(&mut self, field: &mut String) {
        while let Some(c) = self.rest.next() {
            self.line += usize::from(c == '\n');
            match c {
                '"' if self.rest.peek() == Some(&'"') => {
                    self.rest.next();
                    field.push('"');
                }
                '"' => return,
                c => field.push(c),
            }
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.rest.peek()?;
        let mut record = Record { line: self.line, fields: vec![String::new()] };
        let blank = |record: &Record| record.fields.iter().all(String::is_empty) && record.fields.len() == 1;
        while let Some(c) = self.rest.next() {
            let Some(field) = record.fields.last_mut() else { break };
            match c {
                '"' if field.is_empty() => self.quoted(field),
                '\r' if self.rest.peek() == Some(&'\n') => {}
                '\n' => {
                    self.line += 1;
                    if !blank(&record) {
                        return Some(record);
                    }
                    record.line = self.line;
                }
                c if c == self.separator => record.fields.push(String::new()),
                c => field.push(c),
            }
        }
        (!blank(&record)).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_spreadsheets_write() {
        let check = |text: &str, wanted: &[(usize, &[&str])]| {
            let found: Vec<Record> = Records::of(text).collect();
            let found: Vec<(usize, Vec<&str>)> =
                found.iter().map(|r| (r.line, r.fields.iter().map(String::as_str).collect())).collect();
            let wanted: Vec<(usize, Vec<&str>)> =
                wanted.iter().map(|(line, fields)| (*line, fields.to_vec())).collect();
            assert_eq!(found, wanted, "{text:?}");
        };
        check("a,b\n1,2\n", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check("\u{feff}a;b\r\n1;2", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check("a\n\"x, \"\"y\"\"\nz\"\nlast\n", &[(1, &["a"]), (2, &["x, \"y\"\nz"]), (4, &["last"])]);
        check("a,b\n\n,\n\n", &[(1, &["a", "b"]), (3, &["", ""])]);
        check("", &[]);
    }
}
