//! `quell demo`: a sample estate, a sample storm through the real door, and what quell made of it beside the truth.
//!
//! Absent on purpose: any shortcut; the storm is posted over HTTP like anybody's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use quell_formats::topology;
use quell_sim::estate::sample_estate;
use quell_sim::score::{self, FaultScore, FoundIncident};
use quell_sim::storm::{Storm, StormOptions, demo_storm};
use serde_json::Value;

use crate::clock::SystemClock;
use crate::serve::{self, Serve};

/// How many times faster than life the storm is told.
const PACE: f64 = 40.0;

/// How long the demo waits for the last alert to be decided.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes when the demo ends.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the demo; with `once` it ends when the storm is told.
pub(crate) async fn run(once: bool, listen: SocketAddr, seed: u64) -> anyhow::Result<()> {
    let start = SystemClock::now();
    let folder = Folder(std::env::temp_dir().join(format!("quell-demo-{}-{}", std::process::id(), start.micros())));
    let (data_dir, listen) = (Some(folder.0.clone()), Some(listen));
    let serve = Serve { data_dir, listen, ..Serve::default() };
    let served = serve::start(serve).await?;
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let base = format!("http://{}", served.address);
    println!("listening on {base}");
    let estate = sample_estate();
    println!("estate: {} CIs, {} relationships", estate.cis().len(), estate.relationships().len());
    let put = client.put(format!("{base}/api/v1/topology")).header("content-type", "application/json");
    put.body(topology::encode(&estate)).send().await?.error_for_status()?;
    let storm = demo_storm(&estate, StormOptions { seed, start: SystemClock::now(), pace: PACE });
    tokio::select! {
        told = tell(&client, &base, &storm) => told?,
        () = serve::signalled() => return stop(served).await,
    }
    settle(&client, &base).await?;
    report(&client, &base, &storm).await?;
    if !once {
        println!("\nopen {base}/ in a browser; Ctrl-C ends the demo");
        serve::signalled().await;
    }
    stop(served).await
}

async fn stop(served: serve::Served) -> anyhow::Result<()> {
    served.stop();
    served.done().await
}

/// Posts the storm at its pace.
async fn tell(client: &reqwest::Client, base: &str, storm: &Storm) -> anyhow::Result<()> {
    println!(
        "storm: {} faults at once, {} alerts in {} requests",
        storm.faults.len(),
        storm.received(),
        storm.posts.len()
    );
    let begun = tokio::time::Instant::now();
    let (mut sent, mut shown) = (0, 0);
    for post in &storm.posts {
        tokio::time::sleep_until(begun + Duration::from_secs_f64(post.at_seconds.max(0.0))).await;
        let request = client.post(format!("{base}{}", post.path())).header("content-type", "application/json");
        let answer = request.body(post.body.clone()).send().await?;
        if !answer.status().is_success() {
            bail!("{} answered {}: {}", post.path(), answer.status(), answer.text().await.unwrap_or_default());
        }
        sent += post.alerts;
        let tenth = sent * 10 / storm.received().max(1);
        if tenth > shown {
            shown = tenth;
            let open = items(client, &format!("{base}/api/v1/incidents?state=open&limit=1000")).await?.len();
            println!("  {:>3} %  {sent:>5} alerts sent  {open:>2} incidents open", tenth * 10);
        }
    }
    Ok(())
}

/// Waits until everything is decided and judged.
async fn settle(client: &reqwest::Client, base: &str) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // Incidents are judged anew a second after their last change.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    while metric(client, base, "quell_log_lag_records").await? > 0.0 {
        if tokio::time::Instant::now() > deadline {
            bail!("the storm was not decided within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn metric(client: &reqwest::Client, base: &str, name: &str) -> anyhow::Result<f64> {
    let text = client.get(format!("{base}/metrics")).send().await?.error_for_status()?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no metric {name}"))?;
    line.trim().parse().with_context(|| format!("the metric {name} is not a number"))
}

/// All items of a list.
async fn items(client: &reqwest::Client, url: &str) -> anyhow::Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = cursor.as_ref().map_or(url.to_owned(), |cursor| format!("{url}&cursor={cursor}"));
        let text = client.get(page).send().await?.error_for_status()?.text().await?;
        let Value::Object(mut list) = serde_json::from_str(&text)? else { bail!("not a list: {text}") };
        if let Some(Value::Array(items)) = list.remove("items") {
            all.extend(items);
        }
        match list.remove("next") {
            Some(Value::String(next)) => cursor = Some(next),
            _ => return Ok(all),
        }
    }
}

async fn report(client: &reqwest::Client, base: &str, storm: &Storm) -> anyhow::Result<()> {
    let mut incidents = Vec::new();
    for listed in items(client, &format!("{base}/api/v1/incidents?state=all&limit=1000")).await? {
        let id = listed.get("id").and_then(Value::as_str).context("an incident without an id")?.to_owned();
        let text = client.get(format!("{base}/api/v1/incidents/{id}")).send().await?.error_for_status()?.text().await?;
        let incident: Value = serde_json::from_str(&text)?;
        incidents.push(FoundIncident::from_json(&incident).with_context(|| format!("{id} has an unknown shape"))?);
    }
    incidents.reverse();
    let disposed = |way: &str| format!("quell_alerts_disposed_total{{disposition=\"{way}\"}}");
    let received = metric(client, base, "quell_alerts_received_total").await?;
    let repeats = metric(client, base, &disposed("deduplicated")).await?;
    println!("\n{received} alerts received, {repeats} of them repeats, {} incidents\n", incidents.len());
    println!("{:<34} {:<16} {:>9} {:>7}  {:<16} ", "true fault", "true cause", "incident", "alerts", "first cause");
    let scores = score::score(&storm.faults, &incidents);
    for score in &scores {
        let FaultScore { fault, root, alerts, incident, held, first_cause, root_rank, .. } = score;
        let verdict = match root_rank {
            Some(1) => "right".to_owned(),
            Some(rank) => format!("right one is number {rank}"),
            None => "wrong".to_owned(),
        };
        println!(
            "{fault:<34} {:<16} {:>9} {:>7}  {:<16} {verdict}",
            root.as_str(),
            incident.as_deref().unwrap_or("none"),
            format!("{held}/{alerts}"),
            first_cause.as_ref().map_or("unknown", |ci| ci.as_str()),
        );
    }
    let first = scores.iter().filter(|score| score.root_first()).count();
    println!("\nprobable cause right for {first} of {} faults", scores.len());
    Ok(())
}
