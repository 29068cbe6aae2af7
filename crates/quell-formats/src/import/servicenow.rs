//! ServiceNow: CSV exports of `cmdb_ci` (or a table below it) and `cmdb_rel_ci`, told apart by their header.
//!
//! | column of `cmdb_ci` | becomes |
//! |---|---|
//! | `sys_id`, else `name` | the id |
//! | `name` | the name |
//! | `sys_class_name` | the kind, without `cmdb_ci_` |
//! | `fqdn`, `host_name`, `ip_address` | aliases |
//! | `support_group`, else `managed_by_group`, `owned_by`, `assigned_to` | the owner |
//! | `busines_criticality` (so spelt there), else `business_criticality` | the criticality |
//! | `operational_status`, `install_status` | the lifecycle |
//!
//! `parent` and `child` of `cmdb_rel_ci` are `sys_id`s or, as lists show them, names. The type says which of the two
//! depends on the other; see [`TYPES`]. Absent on purpose: types that say who talks about whom and not who needs whom.

use std::collections::BTreeMap;

use quell_domain::{Ci, Criticality, Lifecycle, Timestamp};

use super::Text;
use super::draft::{Draft, alias};

/// Who depends on whom in a relationship of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    ParentOnChild,
    ChildOnParent,
}

/// The first half of a type's name (what the parent does), the way it points, and the kind that it becomes.
const TYPES: [(&str, Way, &str); 28] = [
    ("Depends on", Way::ParentOnChild, "depends_on"),
    ("Used by", Way::ChildOnParent, "depends_on"),
    ("Uses", Way::ParentOnChild, "depends_on"),
    ("Runs on", Way::ParentOnChild, "runs_on"),
    ("Runs", Way::ChildOnParent, "runs_on"),
    ("Hosted on", Way::ParentOnChild, "runs_on"),
    ("Hosts", Way::ChildOnParent, "runs_on"),
    ("Virtualized by", Way::ParentOnChild, "runs_on"),
    ("Virtualizes", Way::ChildOnParent, "runs_on"),
    ("Instantiates", Way::ChildOnParent, "runs_on"),
    ("Contains", Way::ChildOnParent, "part_of"),
    ("Contained by", Way::ParentOnChild, "part_of"),
    ("In Rack", Way::ParentOnChild, "part_of"),
    ("Rack contains", Way::ChildOnParent, "part_of"),
    ("Located in", Way::ParentOnChild, "part_of"),
    ("Members", Way::ParentOnChild, "consists_of"),
    ("Member of", Way::ChildOnParent, "consists_of"),
    ("Cluster of", Way::ParentOnChild, "consists_of"),
    ("Connects to", Way::ParentOnChild, "connected_to"),
    ("Connected by", Way::ChildOnParent, "connected_to"),
    ("IP Connection", Way::ParentOnChild, "connected_to"),
    ("Receives data from", Way::ParentOnChild, "receives_from"),
    ("Sends data to", Way::ChildOnParent, "receives_from"),
    ("Provided by", Way::ParentOnChild, "depends_on"),
    ("Provides", Way::ChildOnParent, "depends_on"),
    ("Powered by", Way::ParentOnChild, "powered_by"),
    ("Powers", Way::ChildOnParent, "powered_by"),
    ("Provides storage for", Way::ChildOnParent, "stored_on"),
];

/// A row by the names of its columns.
type Row = BTreeMap<String, String>;

/// Rows, each with its line.
type Rows = Vec<(u64, Row)>;

/// Reads the tables, whichever order the files are in.
pub(super) fn read(texts: &[Text<'_>], draft: &mut Draft<'_>) {
    let (mut cis, mut relationships) = (Vec::new(), Vec::new());
    for text in texts {
        let Some((header, rows)) = table(text, draft) else { continue };
        let has = |name: &str| header.iter().any(|column| column == name);
        if has("parent") && has("child") || has("parent.sys_id") && has("child.sys_id") {
            relationships.push((text.name, rows));
        } else if has("name") {
            cis.push((text.name, rows));
        } else {
            let found = format!("the columns {}", header.join(", "));
            draft.wrong(
                text.name,
                "line 1",
                &found,
                "`name` as in cmdb_ci, or `parent`, `child` and `type` as in cmdb_rel_ci",
            );
        }
    }
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, rows) in cis {
        for (line, row) in rows {
            if let Some((id, name)) = ci(file, line, &row, draft) {
                ids.entry(id.clone()).or_default().push(id.clone());
                if name != id {
                    ids.entry(name).or_default().push(id);
                }
            }
        }
    }
    for (file, rows) in relationships {
        for (line, row) in rows {
            relationship(file, line, &row, &ids, draft);
        }
    }
}

/// The header in small letters, and each row with its line.
fn table(text: &Text<'_>, draft: &mut Draft<'_>) -> Option<(Vec<String>, Rows)> {
    let bytes = text.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text.bytes);
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(bytes);
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|name| name.trim().to_ascii_lowercase()).collect(),
        Err(error) => {
            draft.wrong(text.name, "line 1", &format!("no CSV: {error}"), "CSV with a header");
            return None;
        }
    };
    let mut rows = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                let cells = header.iter().cloned().zip(record.iter().map(|cell| cell.trim().to_owned()));
                rows.push((line, cells.filter(|(_, cell)| !cell.is_empty()).collect()));
            }
            Err(error) => draft.wrong(text.name, "", &format!("no CSV: {error}"), "as many cells as the header has"),
        }
    }
    Some((header, rows))
}

/// Adds the CI of a row; its id and name.
fn ci(file: &str, line: u64, row: &Row, draft: &mut Draft<'_>) -> Option<(String, String)> {
    let get = |column: &str| row.get(column).map(String::as_str);
    let place = format!("line {line}");
    let Some(name) = get("name") else {
        draft.wrong(file, &format!("{place}, column name"), "nothing", "what people call the CI");
        return None;
    };
    let id = get("sys_id").unwrap_or(name).to_owned();
    let class = get("sys_class_name").unwrap_or("cmdb_ci").to_ascii_lowercase();
    let kind = class.strip_prefix("cmdb_ci_").unwrap_or(&class).replace(' ', "_");
    let (criticality, lifecycle) = (criticality(file, &place, row, draft), lifecycle(row));
    let Some(ci) = draft.ci(&id, &kind) else {
        draft.wrong(
            file,
            &place,
            &format!("{id:?} a second time"),
            "a `sys_id` (or, without that column, a `name`) that no other row has",
        );
        return None;
    };
    let Ci { name: called, owner, criticality: its_criticality, lifecycle: its_lifecycle, .. } = ci;
    name.clone_into(called);
    *owner =
        ["support_group", "managed_by_group", "owned_by", "assigned_to"].iter().find_map(|c| get(c)).map(Into::into);
    (*its_criticality, *its_lifecycle) = (criticality, lifecycle);
    for column in ["fqdn", "host_name", "ip_address"] {
        alias(ci, get(column).unwrap_or_default());
    }
    Some((id, name.to_owned()))
}

/// `1 - most critical` to `4 - not critical`, or just the number or the words.
fn criticality(file: &str, place: &str, row: &Row, draft: &mut Draft<'_>) -> Criticality {
    let column = ["busines_criticality", "business_criticality"].into_iter().find(|column| row.contains_key(*column));
    let Some((column, found)) = column.and_then(|column| Some((column, row.get(column)?))) else {
        return Criticality::default();
    };
    let word = found.to_ascii_lowercase();
    match word.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default() {
        "1" | "most" => Criticality::Critical,
        "2" | "somewhat" => Criticality::High,
        "3" | "less" => Criticality::Medium,
        "4" | "not" => Criticality::Low,
        _ => {
            let allowed = "1 - most critical, 2 - somewhat critical, 3 - less critical, 4 - not critical";
            draft.wrong(file, &format!("{place}, column {column}"), &format!("{found:?}"), allowed);
            Criticality::default()
        }
    }
}

/// By the numbers or words of the two status columns; retired in either is retired.
fn lifecycle(row: &Row) -> Lifecycle {
    let get = |column: &str| row.get(column).map(|status| status.to_ascii_lowercase()).unwrap_or_default();
    let (operational, install) = (get("operational_status"), get("install_status"));
    let retired = ["6", "retired"].contains(&operational.as_str())
        || ["7", "8", "100", "retired", "stolen", "absent"].contains(&install.as_str());
    let planned = ["7", "pipeline"].contains(&operational.as_str())
        || ["2", "4", "6", "on order", "pending install", "in stock"].contains(&install.as_str());
    match (retired, planned) {
        (true, _) => Lifecycle::Retired,
        (false, true) => Lifecycle::Planned,
        (false, false) => Lifecycle::Active,
    }
}

fn relationship(file: &str, line: u64, row: &Row, ids: &BTreeMap<String, Vec<String>>, draft: &mut Draft<'_>) {
    let place = format!("line {line}");
    let get = |column: &str| row.get(column).map(String::as_str);
    let mut end = |column: &str, by_id: &str| -> Option<String> {
        let Some(found) = get(by_id).or_else(|| get(column)) else {
            draft.wrong(file, &format!("{place}, column {column}"), "nothing", "the name or sys_id of a CI");
            return None;
        };
        match ids.get(found).map(Vec::as_slice) {
            None => {
                draft.leave_out(
                    "a relationship with a CI that is not in the export",
                    &format!("{file}: {place}: {found}"),
                );
                None
            }
            Some([id]) => Some(id.clone()),
            Some(_) => {
                let allowed = "a name that one CI has, or the columns parent.sys_id and child.sys_id";
                draft.wrong(
                    file,
                    &format!("{place}, column {column}"),
                    &format!("{found:?}, a name of several CIs"),
                    allowed,
                );
                None
            }
        }
    };
    let (parent, child) = (end("parent", "parent.sys_id"), end("child", "child.sys_id"));
    let Some(name) = get("type.name").or_else(|| get("type")) else {
        draft.wrong(file, &format!("{place}, column type"), "nothing", "a type, as Depends on::Used by");
        return;
    };
    let (Some(parent), Some(child)) = (parent, child) else { return };
    let does = name.split("::").next().unwrap_or_default().trim();
    let Some(&(_, way, kind)) = TYPES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(does)) else {
        draft.leave_out(&format!("the type {name:?} does not say who needs whom"), &format!("{file}: {place}"));
        return;
    };
    let (from, to) = if way == Way::ParentOnChild { (&parent, &child) } else { (&child, &parent) };
    let seen = ["last_discovered", "last_seen"].iter().find_map(|c| get(c)).and_then(instant);
    if let Some(relationship) = draft.relate(from, to, kind) {
        relationship.last_seen = seen.or(relationship.last_seen);
    }
}

/// `2026-01-31 12:00:00`, which is UTC in exports.
fn instant(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&format!("{}Z", text.replace(' ', "T"))))
}
