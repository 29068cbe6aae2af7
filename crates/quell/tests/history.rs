//! `quell import incidents` into a running server and into a data directory, with a dry run first; and what that server
//! then foresees.
//!
//! Absent on purpose: every spelling of a column (`quell-formats`) and how good a forecast is (`quell-forecast`).

mod support {
    pub(crate) mod process;
}

use std::fmt::Write as _;
use std::path::Path;

use anyhow::ensure;
use support::process::{Process, fresh_folder, serve};
use tokio::process::Command;

async fn quell(words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_quell")).args(words).output().await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "quell {words:?}: {}\n{out}{err}", output.status);
    Ok(out.into_owned())
}

/// Two CIs, one every second day and one every 30th, and a line that cannot be read.
fn export(folder: &Path) -> anyhow::Result<String> {
    let mut csv = String::from("Opened,Done,Item\n");
    for day in 1..=28 {
        for month in 1..=6 {
            if day % 2 == 0 {
                writeln!(csv, "2024-{month:02}-{day:02} 10:00:00,2024-{month:02}-{day:02} 10:30:00,db-1")?;
            }
            if day == 7 {
                writeln!(csv, "2024-{month:02}-{day:02} 12:00:00,,mail-1")?;
            }
        }
    }
    csv.push_str("the day before,,db-1\n");
    let file = folder.join("incidents.csv");
    std::fs::write(&file, csv)?;
    Ok(file.display().to_string())
}

const MAP: &str = "opened_at=Opened,closed_at=Done,ci=Item";

#[tokio::test]
async fn history_is_imported_into_a_server_and_into_a_data_directory() -> anyhow::Result<()> {
    let folder = fresh_folder("history")?;
    let file = export(&folder)?;
    let words = ["import", "incidents", "--csv", &file, "--map", MAP];
    let dry = quell(&[&words[..], &["--dry-run"]].concat()).await?;
    ensure!(
        dry.starts_with("90 incidents of 2 signatures read, 84 of them closed, from 2024-01-02T10:00:00Z"),
        "{dry}"
    );
    ensure!(dry.contains("1 lines refused:\n  line 92, column Opened: found `the day before`"), "{dry}");
    ensure!(dry.ends_with("dry run: nothing was kept\n"), "{dry}");
    let server = Process::start(serve(&[], &folder.join("data")), &folder.join("quell.log")).await?;
    let told = quell(&[&words[..], &["--url", &server.url]].concat()).await?;
    ensure!(told.contains("90 are new"), "{told}");
    // The same store, from the side.
    let data = folder.join("data").display().to_string();
    let again = quell(&[&words[..], &["--data-dir", &data]].concat()).await?;
    ensure!(again.contains("0 are new"), "{again}");
    let none = server.get("/api/v1/forecasts/scorecard").await?;
    ensure!(none["scorecard"].is_null(), "{none}");
    Ok(())
}
