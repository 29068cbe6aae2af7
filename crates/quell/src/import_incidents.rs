//! `quell import incidents`: years of incidents of another system, for forecasts that work on the first day.
//!
//! Absent on purpose: the columns (`quell-formats`), and forecasting; a running quell does that by itself afterwards.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use quell_domain::Shard;
use quell_formats::history::{self, ColumnMap, Sound};
use serde_json::Value;

use crate::forecast::{text, told};
use crate::stores;

/// How long a running quell may take: a history is large.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was asked.
#[derive(Debug, Args)]
pub(crate) struct ImportIncidents {
    /// The incidents: CSV, which may be packed with gzip, with columns `opened_at` and `signature` or `ci`, and perhaps
    /// `closed_at`, `service`, `priority`.
    #[arg(long)]
    csv: PathBuf,
    /// Other names of columns: `opened_at=Opened,ci=Configuration item`.
    #[arg(long, value_parser = ColumnMap::parse, default_value = "")]
    map: ColumnMap,
    /// Give them to this running quell: http://127.0.0.1:9099.
    #[arg(long, conflicts_with = "data_dir")]
    url: Option<String>,
    /// Put them into this data directory, whether quell runs on it or not.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Put them into this PostgreSQL database: postgres://USER@HOST:PORT/DATABASE, without a password.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["url", "data_dir"])]
    store: Option<String>,
    /// Tell what would be read and refused, and keep nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Imports; what to print.
///
/// # Errors
/// What is wrong with the file's columns, and whatever the disk or the running quell says.
pub(crate) async fn run(asked: &ImportIncidents) -> anyhow::Result<String> {
    let ImportIncidents { csv, map, url, data_dir, store, dry_run } = asked;
    let database = stores::database(store.clone(), None)?;
    if url.is_none() && data_dir.is_none() && database.is_none() && !dry_run {
        bail!(
            "nothing says where the incidents are to go; allowed: --url URL, --data-dir DIR, --store ADDRESS or --dry-run"
        );
    }
    let text = text(csv)?;
    let Sound { read, refused, mistakes } = history::read_sound(&text, map).map_err(|mistakes| told(csv, &mistakes))?;
    let new = match (url, data_dir) {
        _ if *dry_run => None,
        (Some(url), _) => Some(send(url, map, text).await?),
        (None, None) if database.is_none() => None,
        (None, folder) => {
            let store = stores::open(folder.as_deref().unwrap_or(Path::new("")), database.as_ref(), 1).await?;
            Some(store.add_history(Shard::FIRST, &read.incidents).await?)
        }
    };
    Ok(report(&history::told(&read, refused, &mistakes, new)))
}

/// Gives the file to a running quell; how many were new there.
async fn send(url: &str, map: &ColumnMap, text: String) -> anyhow::Result<u64> {
    // Fails only when it was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let address = format!("{}/api/v1/history", url.trim_end_matches('/'));
    let mut named = reqwest::Url::parse(&address).with_context(|| format!("{address} is no address"))?;
    named.query_pairs_mut().append_pair("map", &map.to_string());
    let asked = client.post(named).header("Content-Type", "text/csv").body(text);
    let answer = asked.send().await.with_context(|| format!("asking {address}"))?;
    let status = answer.status();
    let body: String = answer.text().await?;
    if !status.is_success() {
        bail!("{address}: {status}: {body}");
    }
    let taken: Value = serde_json::from_str(&body).with_context(|| format!("{address} answered no JSON"))?;
    taken["new"].as_u64().ok_or_else(|| anyhow!("{address} does not say how many were new: {body}"))
}

fn report(told: &Value) -> String {
    let mut report = format!(
        "{} incidents of {} signatures read, {} of them closed, from {} to {}\n",
        told["read"],
        told["signatures"],
        told["closed"],
        told["from"].as_str().unwrap_or("-"),
        told["to"].as_str().unwrap_or("-")
    );
    let unknown = told["unknown_priorities"].as_u64().unwrap_or(0);
    if unknown > 0 {
        _ = writeln!(report, "{unknown} have a priority that is not known; they are read without one");
    }
    if told["refused"].as_u64().unwrap_or(0) > 0 {
        _ = writeln!(report, "{} lines refused:", told["refused"]);
        for mistake in told["mistakes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            _ = writeln!(report, "  {mistake}");
        }
    }
    match told["new"].as_u64() {
        Some(new) => _ = writeln!(report, "{new} are new; a running quell forecasts from them within minutes"),
        None => report.push_str("dry run: nothing was kept\n"),
    }
    report
}
