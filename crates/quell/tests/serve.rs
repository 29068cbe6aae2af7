//! The whole process as its users meet it: told sinks, live streams, restarts, signals, operators in a storm, replay.
//!
//! Absent on purpose: other people's monitors (`e2e_prometheus.rs`), disks (`disk.rs`) and crashes (the torture).

mod support {
    pub(crate) mod process;
}

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use quell_domain::Timestamp;
use quell_sim::estate::sample_estate;
use quell_sim::storm::{StormOptions, demo_storm};
use serde_json::{Value, json};
use support::process::{Process, alerts, fresh_folder, numbers, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

async fn start(folder: &Path) -> anyhow::Result<Process> {
    Process::start(serve(&[], &folder.join("data")), &folder.join("quell.log")).await
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while !look().await? {
        ensure!(begun.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        ticks.tick().await;
    }
    Ok(())
}

/// Who is told: keeps the id, signature header and body of each delivery, and refuses the first one.
async fn receiver() -> anyhow::Result<(String, Arc<Mutex<Vec<(String, String, Value)>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let mut piece = [0; 4096];
            let (head, body) = loop {
                let Ok(n) = socket.read(&mut piece).await else { break (String::new(), String::new()) };
                bytes.extend_from_slice(&piece[..n]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = header(head, "content-length").parse().unwrap_or(0);
                if n == 0 || body.len() >= length {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let body = serde_json::from_str(&body).unwrap_or_default();
            let delivery = (header(&head, "webhook-id"), header(&head, "webhook-signature"), body);
            let first = {
                let mut kept = kept.lock().expect("no holder panics");
                kept.push(delivery);
                kept.len() == 1
            };
            let status = if first { "500 Internal Server Error" } else { "204 No Content" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            // A sender that is gone comes again.
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    Ok((address, told))
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find_map(|line| line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)));
    line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_is_told_in_order_and_again_until_it_takes_it() -> anyhow::Result<()> {
    let folder = fresh_folder("sink")?;
    let (address, told) = receiver().await?;
    std::fs::write(folder.join("secret"), "a secret that nobody else has")?;
    let config = format!(
        "sinks:\n  - {{name: pager, url: 'http://{address}/hook', secret_file: '{}'}}\negress:\n  allow: ['{address}']\n",
        folder.join("secret").display()
    );
    std::fs::write(folder.join("quell.yaml"), config)?;
    let mut command = serve(&[], &folder.join("data"));
    command.arg("--config").arg(folder.join("quell.yaml"));
    let quell = Process::start(command, &folder.join("quell.log")).await?;
    let event = |action: &str| {
        json!({"routing_key": "0123456789abcdef0123456789abcdef", "event_action": action, "dedup_key": "k",
            "payload": {"summary": "disk full", "source": "db-1", "severity": "critical"}})
        .to_string()
    };
    quell.post("/v2/enqueue", event("trigger")).await?.error_for_status()?;
    quell.post("/v2/enqueue", event("resolve")).await?.error_for_status()?;
    until("two transitions taken", async || Ok(told.lock().expect("no holder panics").len() >= 3)).await?;
    let told = told.lock().expect("no holder panics").clone();
    let text = serde_json::to_string(&told)?;
    ensure!(told[0].0 == told[1].0 && told[1].0 != told[2].0, "the refused one comes again by its id: {text}");
    ensure!(told.iter().all(|(id, signature, _)| !id.is_empty() && signature.starts_with("v1,")), "{text}");
    let transitions: Vec<bool> = ["opened", "opened", "resolved"]
        .iter()
        .zip(&told)
        .map(|(wanted, (.., body))| body.to_string().contains(&format!("\"{wanted}\"")))
        .collect();
    ensure!(transitions == [true; 3], "opened, opened again, resolved: {text}");
    Ok(())
}

/// Reads a live stream until it has shown so many incidents; their event ids and incidents.
async fn stream(quell: &Process, after: Option<&str>, wanted: usize) -> anyhow::Result<Vec<(String, String)>> {
    let mut request = quell.client.get(format!("{}/api/v1/stream", quell.url));
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    let mut answer = request.send().await?.error_for_status()?;
    let (mut text, mut seen) = (String::new(), Vec::new());
    while seen.len() < wanted {
        let chunk = tokio::time::timeout(Duration::from_secs(10), answer.chunk()).await.context("nothing came")??;
        text.push_str(&String::from_utf8_lossy(&chunk.context("the stream ended")?));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field =
                |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
            if field("event:").as_deref() == Some("incident") {
                let data: Value = serde_json::from_str(&field("data:").unwrap_or_default())?;
                seen.push((field("id:").unwrap_or_default(), data["id"].as_str().unwrap_or_default().to_owned()));
            }
            text = rest.to_owned();
        }
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_goes_on_where_it_was_left() -> anyhow::Result<()> {
    let folder = fresh_folder("stream")?;
    let quell = start(&folder).await?;
    quell.post("/api/v2/alerts", alerts([1])).await?.error_for_status()?;
    until("decided", async || quell.is_done().await).await?;
    let first = stream(&quell, Some("0"), 1).await?;
    quell.post("/api/v2/alerts", alerts([2])).await?.error_for_status()?;
    until("decided", async || quell.is_done().await).await?;
    let missed = stream(&quell, Some(&first[0].0), 1).await?;
    ensure!(first[0].1 == "INC-1" && missed[0].1 == "INC-2", "{first:?}, then {missed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_comes_back_with_everything() -> anyhow::Result<()> {
    let folder = fresh_folder("restart")?;
    let mut quell = start(&folder).await?;
    for _ in 0..3 {
        quell.post("/api/v2/alerts", alerts(1..=30)).await?.error_for_status()?;
    }
    let id = quell.list("/api/v1/incidents?state=open").await?;
    until("decided", async || quell.is_done().await).await?;
    let id = id.first().map_or("INC-1", |incident| incident["id"].as_str().unwrap_or("INC-1")).to_owned();
    let command = |verb: &str| format!("/api/v1/incidents/{id}/{verb}");
    let by = json!({"by": "ana", "text": "on it"}).to_string();
    for verb in ["ack", "comment"] {
        let answer = quell.post(&command(verb), by.clone()).await?.error_for_status()?;
        let answer: Value = serde_json::from_str(&answer.text().await?)?;
        ensure!(answer["outcome"] == "done", "{verb}: {answer}");
    }
    let before = quell.get(&format!("/api/v1/incidents/{id}")).await?;
    let all = quell.list("/api/v1/alerts?state=all").await?;
    quell.kill().await?;
    let mut quell = start(&folder).await?;
    until("decided", async || quell.is_done().await).await?;
    let after = quell.get(&format!("/api/v1/incidents/{id}")).await?;
    let counts =
        |alerts: &[Value]| alerts.iter().map(|alert| (alert["id"].clone(), alert["count"].clone())).collect::<Vec<_>>();
    let again = quell.list("/api/v1/alerts?state=all").await?;
    ensure!(counts(&again) == counts(&all), "repeats were lost or counted twice");
    ensure!(again.iter().all(|alert| alert["count"] == 3 && alert["state"] == "firing"), "{again:?}");
    // The outage at the start moves the ends of alerts, and nothing else.
    for part in ["state", "title", "priority", "acknowledged_by", "acknowledged_at", "timeline", "alerts_total"] {
        ensure!(before[part] == after[part], "{part}: {} before, {} after", before[part], after[part]);
    }
    // A second one on the same data is refused, with a word.
    let second = serve(&[], &folder.join("data")).output().await?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(!second.status.success() && said.contains("in use"), "a second one: {}, {said}", second.status);
    quell.terminate().await?;
    let status = quell.ended(Duration::from_secs(10)).await?;
    ensure!(status.success(), "asked to end, it ended with {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_answered_in_the_middle_of_a_storm_and_an_end_loses_nothing() -> anyhow::Result<()> {
    let folder = fresh_folder("storm")?;
    let mut quell = start(&folder).await?;
    quell
        .post(
            "/v2/enqueue",
            json!({"routing_key": "0123456789abcdef0123456789abcdef", "event_action": "trigger",
        "payload": {"summary": "disk full", "source": "db-1", "severity": "critical"}})
            .to_string(),
        )
        .await?;
    until("decided", async || quell.is_done().await).await?;
    let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..4_u64 {
        let (url, client) = (format!("{}/api/v2/alerts", quell.url), quell.client.clone());
        let (stop, taken) = (Arc::clone(&stop), Arc::clone(&taken));
        senders.spawn(async move {
            let mut from = sender * 1_000_000;
            while !stop.load(Ordering::Relaxed) {
                let batch = from..from + 100;
                from += 100;
                let answer = client.post(&url).body(alerts(batch.clone())).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    taken.lock().expect("no holder panics").extend(batch);
                }
            }
        });
    }
    until("a storm", async || Ok(taken.lock().expect("no holder panics").len() > 2_000)).await?;
    let asked = Instant::now();
    let answer = quell.post("/api/v1/incidents/INC-1/ack", json!({"by": "ana"}).to_string()).await?;
    let (status, took) = (answer.status(), asked.elapsed());
    let answer: Value = serde_json::from_str(&answer.text().await?)?;
    ensure!(status == 202 && answer["outcome"] == "done", "{status}: {answer}");
    ensure!(took < Duration::from_secs(1), "answered after {took:?}");
    quell.terminate().await?;
    let ended = quell.ended(Duration::from_secs(10)).await?;
    stop.store(true, Ordering::Relaxed);
    while senders.join_next().await.is_some() {}
    ensure!(ended.success(), "ended with {ended}");
    let quell = start(&folder).await?;
    until("decided", async || quell.is_done().await).await?;
    let found = numbers(&quell.list("/api/v1/alerts?state=all").await?);
    let taken = taken.lock().expect("no holder panics").clone();
    let lost = taken.iter().filter(|n| found.binary_search(n).is_err()).count();
    ensure!(lost == 0, "{lost} of {} acknowledged alerts are lost", taken.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_end_is_not_taken_for_a_new_one() -> anyhow::Result<()> {
    let folder = fresh_folder("lost-log")?;
    let mut quell = start(&folder).await?;
    quell.post("/api/v2/alerts", alerts([1])).await?.error_for_status()?;
    until("decided", async || quell.is_done().await).await?;
    quell.kill().await?;
    for file in ["log.db", "log.db-wal", "log.db-shm"] {
        std::fs::remove_file(folder.join("data").join(file))?;
    }
    let refused = serve(&[], &folder.join("data")).output().await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("the log was"), "{}: {said}", refused.status);
    Ok(())
}

#[tokio::test]
async fn only_loopback_is_listened_on() -> anyhow::Result<()> {
    let program = env!("CARGO_BIN_EXE_quell");
    let refused = Command::new(program).args(["serve", "--listen", "0.0.0.0:0"]).output().await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("loopback"), "{}: {said}", refused.status);
    Ok(())
}

#[tokio::test]
async fn two_replays_give_the_same_bytes_and_every_episode_one_incident() -> anyhow::Result<()> {
    let folder = fresh_folder("replay")?;
    let estate = sample_estate();
    std::fs::write(folder.join("topology.json"), quell_formats::topology::encode(&estate))?;
    let start = Timestamp::from_seconds(1_800_000_000);
    let mut lines = String::new();
    for (seed, round) in (1..=4).zip(0_u32..) {
        let start = start + Duration::from_secs(3_600) * round;
        for post in demo_storm(&estate, StormOptions { seed, start, pace: 1.0 }).posts {
            let at = start + Duration::from_secs_f64(post.at_seconds.max(0.0));
            let line = format!(r#"{{"received_at":"{at}","source":"{}","payload":{}}}"#, post.source, post.body);
            lines.push_str(&line);
            lines.push('\n');
        }
    }
    std::fs::write(folder.join("alerts.jsonl"), lines)?;
    for output in ["once.jsonl", "again.jsonl"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command.current_dir(&folder).args(["replay", "--topology", "topology.json", "--alerts", "alerts.jsonl"]);
        let status = command.args(["--output", output]).status().await?;
        ensure!(status.success(), "replay ended with {status}");
    }
    let once = std::fs::read_to_string(folder.join("once.jsonl"))?;
    ensure!(once == std::fs::read_to_string(folder.join("again.jsonl"))?, "two replays differ");
    let mut episodes = std::collections::BTreeSet::new();
    let mut incidents = 0;
    for line in once.lines() {
        let incident: Value = serde_json::from_str(line)?;
        incidents += 1;
        for key in
            ["id", "state", "title", "priority", "opened_at", "resolved_at", "causes", "blast_radius", "timeline"]
        {
            ensure!(incident.get(key).is_some(), "{key} is missing: {incident}");
        }
        for alert in incident["alerts"].as_array().context("alerts")? {
            let episode = (alert["fingerprint"].to_string(), alert["starts_at"].to_string());
            ensure!(episodes.insert(episode.clone()), "{episode:?} is in two incidents");
        }
    }
    ensure!(incidents >= 16 && episodes.len() > 200, "{incidents} incidents of {} episodes", episodes.len());
    Ok(())
}

#[tokio::test]
async fn check_runs_the_tests_of_files_and_names_every_mistake() -> anyhow::Result<()> {
    let program = env!("CARGO_BIN_EXE_quell");
    let sound = Command::new(program).arg("check").output().await?;
    ensure!(sound.status.success(), "{}", String::from_utf8_lossy(&sound.stderr));
    let folder = fresh_folder("check")?;
    std::fs::write(folder.join("rules.yaml"), "correlation:\n  window: soon\n  max_hopps: 4\n")?;
    let broken = Command::new(program).args(["check", "--rules"]).arg(&folder).output().await?;
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    ensure!(!broken.status.success(), "broken rules passed");
    for word in ["rules.yaml", "window", "soon", "max_hopps"] {
        ensure!(said.contains(word), "{word} is not named in:\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_learns_beside_its_work_and_remembers_that_it_did() -> anyhow::Result<()> {
    let folder = fresh_folder("learned")?;
    std::fs::write(folder.join("quell.yaml"), "learning: {every: 1s}\n")?;
    let start = async || {
        let mut command = serve(&[], &folder.join("data"));
        command.arg("--config").arg(folder.join("quell.yaml"));
        Process::start(command, &folder.join("quell.log")).await
    };
    let mut quell = start().await?;
    ensure!(quell.get("/api/v1/learned").await? == json!({"in_force": null}), "nothing was seen yet");
    quell.post("/api/v2/alerts", alerts(0..300)).await?.error_for_status()?;
    until("learned", async || Ok(quell.get("/api/v1/learned").await?["in_force"].is_object())).await?;
    let learned = quell.get("/api/v1/learned").await?;
    ensure!(learned["learned"]["episodes"] == 300 && learned["learned"]["names"]["total"] == 7, "{learned}");
    let metric = async |quell: &Process, line: &str| -> anyhow::Result<bool> {
        let text = quell.client.get(format!("{}/metrics", quell.url)).send().await?.text().await?;
        Ok(text.lines().any(|found| found == line))
    };
    until("counted", async || metric(&quell, "quell_learned_episodes 300").await).await?;
    ensure!(metric(&quell, "quell_learned_trainings_total{outcome=\"activated\"} 1").await?);
    quell.kill().await?;
    let quell = start().await?;
    until("counted", async || metric(&quell, "quell_learned_episodes 300").await).await?;
    ensure!(metric(&quell, "quell_learned_trainings_total{outcome=\"activated\"} 0").await?, "learned without need");
    ensure!(quell.get("/api/v1/learned").await? == learned, "another state is in force after a restart");
    Ok(())
}
