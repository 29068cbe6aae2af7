//! `quell import topology`: another system's export, combined with what is in force, shown, and put in force.
//!
//! Absent on purpose: the formats (`quell-formats`), and the rules of combining (`quell_cmdb::merge`).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use quell_cmdb::{Change, Changes, Difference, FieldChange, Merged, merge};
use quell_domain::{Relationship, Timestamp, Topology};
use quell_formats::import::{self, Format, Imported, LeftOut, Stamp, Text};
use quell_formats::mistake::Mistake;
use quell_formats::topology;

/// How long a running quell may take: a topology is large.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was asked.
#[derive(Clone, Debug, Args)]
pub(crate) struct Import {
    /// Whose export it is: quell, servicenow, netbox, backstage, kubernetes or opentelemetry.
    #[arg(long, value_parser = format)]
    from: Format,
    /// The files of the export.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The source that owns what is imported; its next import replaces it. The format's name where none is given.
    #[arg(long)]
    source: Option<String>,
    /// Put before every id, so that two clusters or sites with the same names stay apart.
    #[arg(long, default_value = "")]
    prefix: String,
    /// When the export was made, as 2026-01-31T12:00:00Z: relationships were last seen then, and wear out after that.
    #[arg(long, value_parser = instant)]
    seen_at: Option<Timestamp>,
    /// Combine with this topology file.
    #[arg(long)]
    merge: Option<PathBuf>,
    /// Combine with what this running quell has in force, and put the result in force there: http://127.0.0.1:9099.
    #[arg(long)]
    url: Option<String>,
    /// Show the difference to this topology file, instead of to what it is combined with.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Write the result here.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Changes listed at most, of CIs and of relationships each.
    #[arg(long, default_value_t = 50)]
    list: usize,
}

fn format(name: &str) -> Result<Format, String> {
    let names = Format::ALL.map(Format::as_str).join(", ");
    Format::from_name(name).ok_or_else(|| format!("found {name:?}; allowed: {names}"))
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text)
        .ok_or_else(|| format!("found {text:?}; allowed: an instant, as 2026-01-31T12:00:00Z"))
}

/// Imports; what to print.
///
/// # Errors
/// All mistakes in the files at once, and whatever the disk or the running quell says.
pub(crate) async fn run(asked: &Import) -> anyhow::Result<String> {
    if asked.output.is_none() && asked.url.is_none() && !asked.dry_run {
        bail!("nothing says where the result is to go; allowed: --output FILE, --url URL or --dry-run");
    }
    let source = asked.source.clone().unwrap_or_else(|| asked.from.as_str().to_owned());
    let Imported { topology: imported, left_out } = read(asked, &source)?;
    let client = asked.url.as_deref().map(Running::at).transpose()?;
    let base = match (&asked.merge, &client) {
        (Some(file), _) => load(file)?,
        (None, Some(running)) => running.topology().await?,
        (None, None) => Topology::default(),
    };
    let Merged { topology: result, dropped } = merge(&base, &imported, &source)
        .map_err(|faults| anyhow!(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let before = match (&asked.against, &asked.merge, &client) {
        (Some(file), ..) => load(file)?,
        (None, Some(_), Some(running)) => running.topology().await?,
        (None, ..) => base,
    };
    let mut report = tell(&Difference::between(&before, &result), &result, asked.list);
    tell_rest(&mut report, &left_out, &dropped);
    if asked.dry_run {
        report.push_str("dry run: nothing was changed\n");
        return Ok(report);
    }
    let bytes = topology::encode(&result);
    if let Some(file) = &asked.output {
        fs::write(file, &bytes).with_context(|| format!("writing {}", file.display()))?;
        _ = writeln!(report, "written to {}", file.display());
    }
    if let Some(running) = &client {
        let digest = running.put(bytes).await?;
        _ = writeln!(report, "in force: {digest}");
    }
    Ok(report)
}

fn read(asked: &Import, source: &str) -> anyhow::Result<Imported> {
    let mut files = Vec::new();
    for file in &asked.files {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        files.push((file.display().to_string(), bytes));
    }
    let texts: Vec<Text<'_>> = files.iter().map(|(name, bytes)| Text { name, bytes }).collect();
    let stamp = Stamp { source: source.to_owned(), prefix: asked.prefix.clone(), seen_at: asked.seen_at };
    import::read(asked.from, &texts, &stamp).map_err(|mistakes| all(&mistakes))
}

fn all(mistakes: &[Mistake]) -> anyhow::Error {
    anyhow!("{}", mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// Reads a topology file.
pub(crate) fn load(file: &Path) -> anyhow::Result<Topology> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    topology::decode(&bytes).map_err(|mistakes| all(&mistakes).context(format!("reading {}", file.display())))
}

/// A quell that runs.
pub(crate) struct Running {
    client: reqwest::Client,
    base: String,
}

impl Running {
    /// At an address like `http://127.0.0.1:9099`.
    pub(crate) fn at(url: &str) -> anyhow::Result<Self> {
        let base = url.trim_end_matches('/');
        if !base.starts_with("http://") {
            bail!("--url: found {url:?}; allowed: http://ADDRESS:PORT of a running quell");
        }
        // Fails only when it was done before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Running { client, base: base.to_owned() })
    }

    /// What it answers to a GET.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await;
        Self::body(answer.with_context(|| format!("asking {}{path}", self.base))?).await
    }

    async fn topology(&self) -> anyhow::Result<Topology> {
        let bytes = self.get("/api/v1/topology").await?;
        topology::decode(&bytes).map_err(|mistakes| all(&mistakes))
    }

    async fn put(&self, bytes: Vec<u8>) -> anyhow::Result<String> {
        let address = format!("{}/api/v1/topology", self.base);
        let request = self.client.put(&address).header("content-type", "application/json").body(bytes);
        let body = Self::body(request.send().await.with_context(|| format!("writing to {address}"))?).await?;
        let told: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(told["digest"].as_str().unwrap_or_default().to_owned())
    }

    /// What it answers to a POST: the receipt, if it gives one.
    pub(crate) async fn post(&self, path: &str, bytes: Vec<u8>) -> anyhow::Result<String> {
        let address = format!("{}{path}", self.base);
        let request = self.client.post(&address).header("content-type", "application/json").body(bytes);
        let answer = request.send().await.with_context(|| format!("writing to {address}"))?;
        let status = answer.status();
        let receipt = answer.headers().get("x-quell-receipt").and_then(|value| value.to_str().ok().map(str::to_owned));
        Self::body(answer).await?;
        Ok(receipt.map_or_else(|| status.to_string(), |receipt| format!("receipt {receipt}")))
    }

    async fn body(answer: reqwest::Response) -> anyhow::Result<Vec<u8>> {
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!("it answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body.to_vec())
    }
}

/// Counts first, then the changes, cut at `most` of each kind.
fn tell(difference: &Difference, result: &Topology, most: usize) -> String {
    let Difference { cis, relationships, redundancies, seen_anew } = difference;
    let mut report = String::new();
    let kinds = [
        ("CIs", cis, result.cis().len()),
        ("relationships", relationships, result.relationships().len()),
        ("redundancies", redundancies, result.redundancies().len()),
    ];
    for (what, changes, total) in kinds {
        let (added, removed, changed) = changes.counts();
        let same = changes.same;
        _ = writeln!(
            report,
            "{what}: {added} added, {removed} removed, {changed} changed, {same} as before; {total} in all"
        );
    }
    if *seen_anew > 0 {
        _ = writeln!(report, "{seen_anew} relationships were seen anew");
    }
    for (what, changes, _) in kinds {
        list(&mut report, what, changes, most);
    }
    report
}

fn list(report: &mut String, what: &str, changes: &Changes, most: usize) {
    for (name, change) in changes.list.iter().take(most) {
        match change {
            Change::Added => _ = writeln!(report, "+ {name}"),
            Change::Removed => _ = writeln!(report, "- {name}"),
            Change::Changed(fields) => {
                let told =
                    |FieldChange { field, before, after }: &FieldChange| format!("{field}: {before:?} → {after:?}");
                _ = writeln!(report, "~ {name}: {}", fields.iter().map(told).collect::<Vec<_>>().join(", "));
            }
        }
    }
    if let Some(rest) = changes.list.len().checked_sub(most).filter(|rest| *rest > 0) {
        _ = writeln!(report, "… and {rest} more changes of {what}; --list shows more");
    }
}

fn tell_rest(report: &mut String, left_out: &[LeftOut], dropped: &[Relationship]) {
    for LeftOut { why, count, first } in left_out {
        _ = writeln!(report, "left out: {count} × {why}; the first: {first}");
    }
    if let Some(Relationship { from, to, .. }) = dropped.first() {
        let count = dropped.len();
        _ = writeln!(
            report,
            "dropped: {count} × a relationship of another source whose CI is gone; the first: {from} to {to}"
        );
    }
}
