//! Incidents of the past from CSV: what is read, and what is said of what cannot be.

use quell_formats::history::{ColumnMap, exact_rows, read};

fn check(text: &str, map: &str, wanted: &[&str]) {
    let map = ColumnMap::parse(map).expect("a map");
    let found: Vec<String> = match read(text, &map) {
        Ok(read) => read
            .incidents
            .iter()
            .map(|i| {
                let or = |text: Option<String>| text.unwrap_or_else(|| "-".into());
                let closed = or(i.closed_at.map(|at| at.to_string()));
                let names = format!(
                    "{}|{}",
                    or(i.ci.as_ref().map(ToString::to_string)),
                    or(i.service.as_ref().map(ToString::to_string))
                );
                format!("{}|{closed}|{}|{names}|{}", i.opened_at, i.signature, or(i.priority.map(|p| p.to_string())))
            })
            .collect(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, wanted, "{text}");
}

#[test]
fn reads_the_plain_columns_in_any_order() {
    check(
        "opened_at,closed_at,signature,ci,service,priority\n2024-01-01T10:00:00+01:00,2024-01-01 12:30:00,disk full,db-1,shop,2\n",
        "",
        &["2024-01-01T09:00:00Z|2024-01-01T12:30:00Z|disk full|db-1|shop|P2"],
    );
    check(
        "\u{feff}Priority;signature;opened_at\r\n\"P1\";\"a \"\"b\"\"; c\";2024-01-01 10:00\r\nlow;x;2024-02-29\r\n",
        "",
        &["2024-01-01T10:00:00Z|-|a \"b\"; c|-|-|P1", "2024-02-29T00:00:00Z|-|x|-|-|P4"],
    );
    check("ci,opened_at\nCI7,2024-01-01T10:00:00.5\n", "", &["2024-01-01T10:00:00.5Z|-|CI7|CI7|-|-"]);
}

#[test]
fn reads_other_names_through_a_map() {
    check(
        "Open_Time,CI_Name,Close\n2024-01-01 10:00:00,web,NULL\n",
        "opened_at=Open_Time, signature=CI_Name,closed_at=Close",
        &["2024-01-01T10:00:00Z|-|web|-|-|-"],
    );
    let wrong = |map: &str| ColumnMap::parse(map).expect_err("no map").to_string();
    let allowed =
        "allowed: COLUMN=NAME,… with COLUMN one of opened_at, closed_at, signature, ci, service, priority, each once";
    assert_eq!(wrong("opened=x"), format!("map: found `opened=x`; {allowed}"));
    assert_eq!(wrong("ci"), format!("map: found `ci`; {allowed}"));
    assert_eq!(wrong("ci=a,ci=b"), format!("map: found `ci=b`; {allowed}"));
}

#[test]
fn every_mistake_says_its_line_and_column() {
    let times = "allowed: RFC 3339, `YYYY-MM-DD HH:MM:SS`, `YYYY-MM-DD HH:MM` or `YYYY-MM-DD`";
    check(
        "opened_at,closed_at,signature\n01/02/2024,,a\n2024-01-01,soon,b\n\n2024-01-01,,\n,,c\n2024-01-01x10:00:00,,d\n",
        "",
        &[
            &format!("line 2, column opened_at: found `01/02/2024`; {times}"),
            &format!("line 3, column closed_at: found `soon`; {times}"),
            "line 5, column signature: found nothing; allowed: a text that names the trouble",
            &format!("line 6, column opened_at: found nothing; {times}"),
            &format!("line 7, column opened_at: found `2024-01-01x10:00:00`; {times}"),
        ],
    );
    check(
        "",
        "",
        &[
            "line 1: found an empty file; allowed: a line of column names, as opened_at,closed_at,signature,ci,service,priority",
        ],
    );
    check("opened_at,ci\n", "", &["line 2: found no incident; allowed: at least one line below the column names"]);
    check(
        "when,ci\n",
        "",
        &["line 1, column opened_at: found no such column; allowed: one of the file's columns: when, ci"],
    );
    check(
        "opened_at,x\n2024-01-01,a\n",
        "",
        &[
            "line 1: found neither a column `signature` nor `ci`; allowed: one of them, under its name or through the map",
        ],
    );
    check(
        "opened_at,ci\n",
        "service=Team",
        &["line 1, column Team: found no such column; allowed: one of the file's columns: opened_at, ci"],
    );
}

#[test]
fn a_priority_that_nobody_knows_is_counted_and_left_out() {
    let text = "opened_at,ci,priority\n2024-01-01,a,2 - High\n2024-01-01,a,whenever\n2024-01-01,a,9\n";
    let found = read(text, &ColumnMap::default()).expect("incidents");
    assert_eq!(found.unknown_priorities, 2);
    assert_eq!(found.incidents[0].priority.map(|p| p.number()), Some(2));
}

#[test]
fn rows_of_features_are_read_whole_or_refused() {
    let rows = exact_rows("origin,sig,label,a,b\n2014-01-18,CI1,1,0.5,2\n", &["a", "b"]).expect("a row");
    assert_eq!((rows[0].line, rows[0].label, rows[0].features.as_slice()), (2, true, &[0.5, 2.0][..]));
    let wrong = exact_rows("origin,sig,label,a,b\n2014-01-18,CI1,1,0.5\n", &["a", "b"]).expect_err("short");
    assert_eq!(wrong[0].to_string(), "line 2: found no such row; allowed: origin,sig,label,a,b");
}
