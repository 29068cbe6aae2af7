//! `quell forecast evaluate` as a user runs it: files of several spellings, the JSON that is promised, and its errors.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// 100 days in which some signatures come every few days and others seldom.
fn export() -> String {
    let mut text = String::from("\u{feff}priority,Configuration Item,opened_at,service\r\n");
    for day in 0..100_u32 {
        for signature in 0..60_u32 {
            let period = 2 + signature % 23;
            if (day + signature * 7) % period == 0 {
                let (month, date) = (1 + day / 28, 1 + day % 28);
                let time = format!("2024-{month:02}-{date:02} {:02}:15:00", (signature * 5 + day) % 24);
                text.push_str(&format!("{},\"CI, {signature}\",{time},S{}\r\n", 1 + signature % 5, signature % 4));
            }
        }
    }
    text
}

/// A fresh folder of this test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("forecast").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

fn evaluate(incidents: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    command.args(["forecast", "evaluate", "--incidents"]).arg(incidents).args(more);
    command.output().expect("quell runs")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn prints_what_is_promised_for_plain_and_packed_files() {
    let folder = folder("plain");
    let plain = folder.join("export.csv");
    fs::write(&plain, export()).expect("written");
    let packed = folder.join("export.csv.gz");
    let mut gzip = flate2::write::GzEncoder::new(fs::File::create(&packed).expect("made"), flate2::Compression::fast());
    gzip.write_all(export().as_bytes()).expect("packed");
    gzip.finish().expect("packed");
    let map = ["--map", "signature=Configuration Item", "--json"];
    let found = json(&evaluate(&plain, &map));
    assert_eq!(json(&evaluate(&packed, &map)), found);
    for model in ["quell", "ewma", "last_window", "base_rate"] {
        for measure in ["pr_auc", "pr_auc_mid", "roc_auc", "brier", "bss", "ece", "p50"] {
            let value = found["models"][model][measure].as_f64();
            assert!(value.is_some_and(|value| (-9.0..=1.0).contains(&value)), "{model} {measure}: {value:?}");
        }
    }
    assert!(found["rows"]["train"].as_u64() > Some(100) && found["rows"]["test"].as_u64() > Some(100), "{found}");
    assert_eq!((&found["verdict"], &found["abstained"]), (&Value::from("signal"), &Value::from(false)));
    let of = |model: &str| found["models"][model]["pr_auc"].as_f64().expect("a number");
    assert!(of("quell") >= of("ewma") - 0.005 && of("quell") > 1.5 * of("base_rate"), "{found}");
    let table = evaluate(&plain, &map[..2]);
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(table.contains("PR-AUC") && table.contains("verdict: signal"), "{table}");
}

#[test]
fn features_that_differ_are_told_with_their_line() {
    let folder = folder("rows");
    let (incidents, rows) = (folder.join("a.csv"), folder.join("rows.csv"));
    fs::write(&incidents, export()).expect("written");
    let names = "recency_d,c1,c3,c7,c14,c28,ctot,age_d,mean_gap_d,gap_cv,recency_over_gap,ew7,ew28,active_days28,\
                 frac_business_hours,frac_weekend,global7";
    // At the first midnight after the first day only what opened on that day is known.
    let mut text = format!("origin,sig,label,{names}\n");
    text.push_str("2024-01-02,\"CI, 0\",1,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n");
    fs::write(&rows, &text).expect("written");
    let path = rows.to_str().expect("text");
    let output = evaluate(&incidents, &["--map", "signature=Configuration Item", "--check-rows", path]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("found 1 rows; quell has"), "{told}");
}

#[test]
fn mistakes_are_told_with_line_and_column() {
    let folder = folder("mistakes");
    let path = folder.join("bad.csv");
    fs::write(&path, "opened_at,ci\n2024-01-01,a\n31.12.2024,b\n").expect("written");
    let check = |more: &[&str], wanted: &str| {
        let output = evaluate(&path, more);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(wanted), "{told}");
    };
    check(&[], "line 3, column opened_at: found `31.12.2024`; allowed: RFC 3339");
    check(&["--map", "name=ci"], "found `name=ci`; allowed: COLUMN=NAME");
    check(&["--horizon", "soon"], "a stretch of time, as 24h, 7d or 1d12h");
    fs::write(&path, "opened_at,ci\n2024-01-01,a\n2024-01-03,b\n").expect("written");
    let output = evaluate(&path, &[]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("verdict: abstains: too little to judge by: the span"), "{told}");
    let found = json(&evaluate(&path, &["--json"]));
    assert_eq!((&found["verdict"], &found["models"]["quell"]["brier"]), (&Value::from("abstains"), &Value::Null));
    assert!(found["reason"].as_str().is_some_and(|why| why.contains("no window of 7 days lies between the split")));
    check(&["--split", "1.5"], "split: found 1.5; allowed: more than 0 and less than 1");
}

/// Exports of other shapes: whatever a file holds, the answer is JSON of the promised fields, and what cannot be known is
/// `null` with a reason.
#[test]
fn exports_of_any_shape_are_answered() {
    let folder = folder("shapes");
    let path = folder.join("export.csv");
    let day = |at: u32| format!("{}-{:02}-{:02}", 2020 + at / 336, 1 + at / 28 % 12, 1 + at % 28);
    let line = |at: u32, name: &str| format!("{} 08:00:00,{name}\n", day(at));
    let check = |what: &str, text: &str, verdicts: &[&str]| {
        fs::write(&path, text).expect("written");
        for horizon in ["24h", "7d"] {
            let found = json(&evaluate(&path, &["--json", "--horizon", horizon]));
            let verdict = found["verdict"].as_str().expect("a verdict");
            assert!(verdicts.contains(&verdict), "{what}, {horizon}: {found}");
            assert!(verdict == "signal" || found["reason"].is_string(), "{what}, {horizon}: {found}");
            for model in ["quell", "ewma", "last_window", "base_rate"] {
                for measure in ["pr_auc", "pr_auc_mid", "roc_auc", "brier", "bss", "ece", "p50"] {
                    let value = &found["models"][model][measure];
                    assert!(value.is_null() || value.as_f64().is_some_and(f64::is_finite), "{what}: {found}");
                }
            }
            let brier = |model: &str| found["models"][model]["brier"].as_f64().unwrap_or(0.0);
            assert!(brier("quell") <= brier("base_rate"), "{what}, {horizon}: {found}");
        }
    };
    let quiet = ["abstains", "no signal"];
    check("one incident", "opened_at,ci\n2024-01-01 10:00:00,a\n", &quiet);
    check("one instant", &format!("opened_at,ci\n{}", "2024-01-01 10:00:00,a\n".repeat(500)), &quiet);
    let ten: String = (0..10).map(|n| line(n * 9, "a")).collect();
    check("ten incidents", &format!("opened_at,signature\n{ten}"), &quiet);
    let once: String = (0..2000).map(|n| line(n % 300, &format!("s{n}"))).collect();
    check("once each", &format!("opened_at,signature\n{once}"), &quiet);
    let daily: String = (0..200).map(|n| line(n, "only")).collect();
    check("one signature, every day", &format!("opened_at,signature\n{daily}"), &quiet);
    // Both spellings of time, other columns empty or missing, quotes, CRLF, a mark at the start, unsorted and twice.
    let mut mixed = String::from("\u{feff}closed_at,opened_at,signature,priority,service,ci\r\n");
    for n in (0..600_u32).rev().chain(0..50) {
        let name = format!("\"disk, \"\"{}\"\"\"", n * n % 17);
        let at = if n % 2 == 0 { format!("{}T08:30:00Z", day(n / 3)) } else { format!("{} 08:30:00", day(n / 3)) };
        mixed.push_str(&format!(",{at},{name},{},,\r\n", ["", "P2", "urgent?"][n as usize % 3]));
    }
    check("mixed", &mixed, &["signal", "no signal", "abstains"]);
    // A few lines without a name are left out; many are mistakes.
    let torn = format!("opened_at,ci\n{}2020-02-02 08:00:00,\n", (0..90).map(|n| line(n, "a")).collect::<String>());
    fs::write(&path, &torn).expect("written");
    assert_eq!(json(&evaluate(&path, &["--json"]))["refused"], 1);
    fs::write(&path, torn.replace("08:00:00,a", "08:00:00,")).expect("written");
    assert!(!evaluate(&path, &["--json"]).status.success(), "nothing of it can be read");
}
