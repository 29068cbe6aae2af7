//! The files of a folder with known truth: CSV, plain or gzip, and the graph as `topology.json`.
//!
//! Deliberately absent: what is done with them, and names of folders: a folder is what its files make it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use quell_domain::{Ci, CiId, Digest, Redundancy, Relationship, Timestamp, Topology, TopologyFault};
use serde::Deserialize;

/// Why a folder cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum FolderFault {
    /// A file that cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A text that is not what its name says.
    #[error("{}, line {line}: {found}; allowed: {allowed}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// What may stand there.
        allowed: String,
    },
    /// A graph that is none.
    #[error("{}: is no graph of nodes and edges", path.display())]
    Graph {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A graph that does not hold together.
    #[error("{}: {fault}", path.display())]
    Topology {
        /// Which file.
        path: PathBuf,
        /// The first thing that is wrong in it, as it reads as a topology.
        fault: TopologyFault,
    },
    /// A graph without nodes.
    #[error("{}: names no node", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// Nothing to score.
    #[error("{}: holds nothing to score; allowed: a folder, or folders in it, with alerts.csv.gz, topology.json and \
             incidents.csv or faults.csv, or with metrics.csv.gz, issues.csv and graph.csv", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
}

/// A table: named columns and rows of text.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Of the bytes as they lie in the file.
    pub digest: Digest,
}

/// One row of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    table: &'a Table,
    at: usize,
}

impl Table {
    /// Reads a CSV file; one whose name ends in `.gz` is unpacked.
    ///
    /// # Errors
    /// When it cannot be read, or a row has another number of fields than the first line.
    pub fn read(path: &Path) -> Result<Table, FolderFault> {
        let unreadable = |source| FolderFault::Read { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let digest = quell_formats::topology::digest(&bytes);
        let mut text = String::new();
        if path.extension().is_some_and(|end| end == "gz") {
            flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).map_err(unreadable)?;
        } else {
            bytes.as_slice().read_to_string(&mut text).map_err(unreadable)?;
        }
        let mut rows = records(text.trim_start_matches('\u{feff}')).into_iter();
        let columns = rows.next().unwrap_or_default();
        let rows: Vec<Vec<String>> = rows.collect();
        for (row, line) in rows.iter().zip(2..) {
            if row.len() != columns.len() {
                let (found, allowed) = (format!("{} fields", row.len()), format!("{} fields", columns.len()));
                return Err(FolderFault::Text { path: path.to_owned(), line, found, allowed });
            }
        }
        Ok(Table { path: path.to_owned(), columns, rows, digest })
    }

    /// Its rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.rows.len()).map(|at| Row { table: self, at })
    }

    /// True when it has that column.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }
}

impl<'a> Row<'a> {
    /// The text in a column; empty when there is no such column.
    #[must_use]
    pub fn get(self, column: &str) -> &'a str {
        let at = self.table.columns.iter().position(|known| known == column);
        at.map_or("", |at| &self.table.rows[self.at][at])
    }

    /// The text in a column that must be there.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn need(self, column: &str) -> Result<&'a str, FolderFault> {
        if self.table.has(column) { Ok(self.get(column)) } else { Err(self.wrong("no such column", column)) }
    }

    /// A number in a column that must be there.
    ///
    /// # Errors
    /// When there is no such column, or no number in it.
    pub fn number(self, column: &str) -> Result<f64, FolderFault> {
        let text = self.need(column)?;
        let wrong = || self.wrong(&format!("{column} is {text:?}"), "a number");
        text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(wrong)
    }

    /// When it happened: `{name}_ms` (since 1970) or `{name}_s` (since whenever the set begins).
    ///
    /// # Errors
    /// When neither column is there, or no number in it.
    pub fn time(self, name: &str) -> Result<Timestamp, FolderFault> {
        let (millis, seconds) = (format!("{name}_ms"), format!("{name}_s"));
        let micros = match (self.table.has(&millis), self.table.has(&seconds)) {
            (true, _) => self.number(&millis)? * 1e3,
            (false, true) => self.number(&seconds)? * 1e6,
            (false, false) => return Err(self.wrong(&format!("no column {millis}"), &format!("{millis} or {seconds}"))),
        };
        #[expect(clippy::cast_possible_truncation, reason = "instants of our age fit")]
        Ok(Timestamp::from_micros(micros.round() as i64))
    }

    fn wrong(self, found: &str, allowed: &str) -> FolderFault {
        let (path, line) = (self.table.path.clone(), self.at + 2);
        FolderFault::Text { path, line, found: found.to_owned(), allowed: allowed.to_owned() }
    }
}

/// The records of a CSV text (RFC 4180: quotes are doubled within quotes, a field may hold line breaks).
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        match (quoted, char) {
            (true, '"') if chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            (_, '"') => quoted = !quoted,
            (false, ',') => record.push(std::mem::take(&mut field)),
            (false, '\r') => {}
            (false, '\n') => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            (_, char) => field.push(char),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    // A blank line is no row.
    records.retain(|record: &Vec<String>| record.len() > 1 || record.iter().any(|field| !field.is_empty()));
    records
}

/// A graph as the sets write it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Map {
    /// What there is.
    pub nodes: Vec<Node>,
    /// What hangs together.
    pub edges: Vec<Edge>,
}

/// Something that may alert.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its name.
    pub id: String,
    /// What it is: `Service`, `Service_Instance`, `Host`, ….
    #[serde(rename = "type", default)]
    pub kind: String,
}

/// True when the edge says that its source stands on its target.
fn is_footing(edge: &Edge) -> bool {
    Relationship::new(CiId::new(&edge.source), CiId::new(&edge.target), &edge.label).is_footing()
}

/// How two of them hang together.
#[derive(Clone, Debug, Deserialize)]
pub struct Edge {
    /// From.
    pub source: String,
    /// To.
    pub target: String,
    /// `instance_of`, `hosted_on`, or a word for "uses".
    #[serde(default)]
    pub label: String,
}

impl Map {
    /// Reads `topology.json`.
    ///
    /// # Errors
    /// When it cannot be read or is no such graph.
    pub fn read(path: &Path) -> Result<Map, FolderFault> {
        let bytes = std::fs::read(path).map_err(|source| FolderFault::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| FolderFault::Graph { path: path.to_owned(), source })
    }

    /// Which service an instance belongs to; what is no instance stands for itself.
    #[must_use]
    pub fn services(&self) -> BTreeMap<&str, &str> {
        let folded: BTreeMap<&str, &str> =
            self.edges.iter().filter(|e| e.label == "instance_of").map(|e| (&*e.source, &*e.target)).collect();
        self.nodes.iter().map(|node| (&*node.id, folded.get(&*node.id).copied().unwrap_or(&node.id))).collect()
    }

    /// The graph as quell's topology.
    ///
    /// `hosted_on` is `runs_on`, and other words for what one stands on stay as they are; whatever says that one uses another (`control_flow`, `data_flow`, `calls`, …) is
    /// `depends_on`. `instance_of` turns round: a service depends on its instances, which are alternatives of one
    /// redundancy of which one must be up; and each of them depends on what its service uses, because it is the
    /// instances that do the calling.
    ///
    /// # Errors
    /// When an id is used twice or empty. An edge from or to a node that is not listed is left out.
    pub fn topology(&self, path: &Path) -> Result<Topology, FolderFault> {
        let known: BTreeSet<&str> = self.nodes.iter().map(|node| &*node.id).collect();
        let edges = || self.edges.iter().filter(|e| known.contains(&*e.source) && known.contains(&*e.target));
        let instances = || edges().filter(|edge| edge.label == "instance_of");
        let mut of_service: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for edge in instances() {
            of_service.entry(&edge.target).or_default().push(&edge.source);
        }
        let mut found: BTreeSet<(&str, &str, &str, bool)> = BTreeSet::new();
        for edge in edges() {
            match edge.label.as_str() {
                "instance_of" => {
                    found.insert((&edge.target, &edge.source, "depends_on", true));
                }
                "hosted_on" | "runs_on" => {
                    found.insert((&edge.source, &edge.target, "runs_on", false));
                }
                word if word == "part_of" || is_footing(edge) => {
                    found.insert((&edge.source, &edge.target, &edge.label, false));
                }
                _ => {
                    let callers = of_service.get(&*edge.source).into_iter().flatten().copied();
                    for caller in callers.chain([&*edge.source]) {
                        found.insert((caller, &edge.target, "depends_on", false));
                    }
                }
            }
        }
        found.retain(|(from, to, ..)| from != to);
        let relationships = found.iter().map(|&(from, to, kind, instance)| Relationship {
            redundancy: instance.then(|| "instances".to_owned()),
            ..Relationship::new(CiId::new(from), CiId::new(to), kind)
        });
        let redundancies =
            of_service.keys().map(|ci| Redundancy { ci: CiId::new(ci), name: "instances".into(), at_least: 1 });
        Topology::new(self.nodes.iter().map(ci).collect(), relationships.collect(), redundancies.collect()).map_err(
            |faults| match faults.into_iter().next() {
                Some(fault) => FolderFault::Topology { path: path.to_owned(), fault },
                None => FolderFault::Empty { path: path.to_owned() },
            },
        )
    }
}

fn ci(node: &Node) -> Ci {
    let kind = node.kind.to_lowercase();
    Ci::new(&node.id, if kind == "service_instance" { "instance" } else { &kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_hold_commas_quotes_and_line_breaks() {
        assert_eq!(records("a,b\n\"x,\"\"y\"\"\",\"1\n2\"\r\n\n,\n"), [["a", "b"], ["x,\"y\"", "1\n2"], ["", ""]]);
        assert_eq!(records("a,b\n1,2"), [["a", "b"], ["1", "2"]]);
    }

    #[test]
    fn a_service_hangs_on_its_instances_and_they_on_what_it_calls() {
        let map: Map = serde_json::from_str(
            r#"{"nodes":[{"id":"web","type":"Service"},{"id":"web-1","type":"Service_Instance"},
                         {"id":"db","type":"Database"},{"id":"h","type":"Host"}],
                "edges":[{"source":"web","target":"db","label":"data_flow"},{"source":"h","target":"gone","label":"x"},
                         {"source":"web-1","target":"web","label":"instance_of"},
                         {"source":"web-1","target":"h","label":"hosted_on"}]}"#,
        )
        .expect("a graph");
        let topology = map.topology(Path::new("t")).expect("holds together");
        let told: Vec<String> = topology
            .relationships()
            .iter()
            .map(|r| format!("{} {} {} {}", r.from, r.kind, r.to, r.redundancy.as_deref().unwrap_or("-")))
            .collect();
        let expected = ["web depends_on db -", "web depends_on web-1 instances", "web-1 depends_on db -"];
        assert_eq!(told, [&expected[..], &["web-1 runs_on h -"]].concat());
        assert_eq!(map.services()["web-1"], "web");
    }
}
