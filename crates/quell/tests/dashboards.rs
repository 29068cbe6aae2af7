//! The dashboards and the rules that watch quell, against what a real quell shows: on Kafka and PostgreSQL, scraped by a
//! real Prometheus that is asked every expression, and the rules' own tests by promtool.
//!
//! Absent on purpose: how a dashboard looks.

#[path = "../../quell-log/tests/support/broker.rs"]
mod broker;
#[path = "../../quell-store/tests/support/postgres_server.rs"]
mod postgres_server;
#[path = "support/process.rs"]
mod process;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use broker::Brokers;
use postgres_server::Server;
use process::{Process, alerts, serve};
use reqwest::Url;
use serde_json::Value;
use support::{Program, eventually, fresh_folder, server};
use tokio::net::TcpListener;

fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards")
}

/// An expression, and where it stands.
struct Expression {
    place: String,
    text: String,
}

/// What every panel of every dashboard asks.
fn panels() -> anyhow::Result<Vec<Expression>> {
    let mut found = Vec::new();
    for name in ["overview", "pipeline", "incidents", "cluster"] {
        let text = fs::read_to_string(dashboards().join(format!("{name}.json")))?;
        let board: Value = serde_json::from_str(&text).with_context(|| format!("{name}.json"))?;
        let panels = board["panels"].as_array().context("panels")?;
        let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        ensure!(ids.len() == panels.len(), "{name}.json: two panels have one id");
        for panel in panels {
            let title = panel["title"].as_str().context("a title")?;
            for target in panel["targets"].as_array().context("targets")? {
                let text = target["expr"].as_str().context("an expression")?;
                let text = text.replace("$__rate_interval", "10s").replace("$instance", ".*");
                found.push(Expression { place: format!("{name}.json: {title}"), text });
            }
        }
    }
    Ok(found)
}

/// What every rule asks.
fn rules() -> anyhow::Result<Vec<Expression>> {
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string(dashboards().join("alerts.yaml"))?)?;
    let rules = rules["groups"].as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array());
    let read = |rule: &Value| {
        let (name, text) = (rule["alert"].as_str().context("a name")?, rule["expr"].as_str().context("an expression")?);
        Ok(Expression { place: format!("alerts.yaml: {name}"), text: text.to_owned() })
    };
    rules.flatten().map(read).collect()
}

/// The metrics that an expression selects, each with its matchers as (label, operator, value), and the labels that it
/// groups by.
type Selected = (Vec<(String, Vec<(String, String, String)>)>, BTreeSet<String>);

fn selected(text: &str) -> Selected {
    let (mut metrics, mut labels) = (Vec::new(), BTreeSet::new());
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| is_word(c) || c == '"') {
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix('"') {
            rest = after.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let listed = after.trim_start().strip_prefix('(').and_then(|list| list.split_once(')'));
        if ["by", "without", "on"].contains(&word)
            && let Some((list, after)) = listed
        {
            labels.extend(list.split(',').map(|label| label.trim().to_owned()));
            rest = after;
        } else if word == "up" || word.starts_with("quell_") || word.starts_with("process_") {
            let mut matchers = Vec::new();
            if let Some((list, after)) = after.strip_prefix('{').and_then(|list| list.split_once('}')) {
                matchers.extend(list.split(',').filter_map(matcher));
                rest = after;
            }
            metrics.push((word.to_owned(), matchers));
        }
    }
    (metrics, labels)
}

fn matcher(text: &str) -> Option<(String, String, String)> {
    let at = text.find(['=', '!'])?;
    let (label, rest) = text.split_at(at);
    let (operator, value) = rest.split_once('"')?;
    Some((label.trim().to_owned(), operator.to_owned(), value.trim_end_matches('"').to_owned()))
}

/// The samples of a scrape: the values of each label of each name.
fn exposed(text: &str) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut found: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let labels = found.entry(name.to_owned()).or_default();
        if let Some((list, _)) = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')) {
            for pair in list.split("\",") {
                if let Some((label, value)) = pair.split_once("=\"") {
                    labels.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
                }
            }
        }
    }
    found
}

/// What an expression names that is not there.
fn faults(expression: &Expression, exposed: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>) -> Vec<String> {
    let Expression { place, text } = expression;
    let (metrics, grouped) = selected(text);
    let mut faults = Vec::new();
    if metrics.is_empty() {
        faults.push(format!("{place}: selects nothing"));
    }
    // What Prometheus adds.
    let added = ["job", "instance"];
    for label in grouped.iter().filter(|label| !added.contains(&label.as_str())) {
        if !exposed.values().any(|labels| labels.contains_key(label)) {
            faults.push(format!("{place}: no metric has the label {label}"));
        }
    }
    for (name, matchers) in metrics.iter().filter(|(name, _)| name != "up") {
        let Some(labels) = exposed.get(name) else {
            faults.push(format!("{place}: there is no {name}"));
            continue;
        };
        for (label, operator, value) in matchers.iter().filter(|(label, ..)| !added.contains(&label.as_str())) {
            let Some(known) = labels.get(label) else {
                faults.push(format!("{place}: {name} has no label {label}"));
                continue;
            };
            // Statuses show when they are answered, and patterns of routes are no list of words.
            let words = value.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '|');
            for word in value.split('|').filter(|_| words) {
                if !known.contains(word) {
                    faults.push(format!("{place}: {name} has no {label}{operator}\"{word}\""));
                }
            }
        }
    }
    faults
}

#[test]
fn what_is_not_there_is_found() {
    let there = exposed("# TYPE quell_a_total counter\nquell_a_total{kind=\"x\",route=\"/a\"} 1\nquell_b 2\n");
    let check = |text: &str, expected: &[&str]| {
        let expression = Expression { place: "p".into(), text: text.into() };
        assert_eq!(faults(&expression, &there), expected, "{text}");
    };
    check(r#"sum by (kind) (rate(quell_a_total{job="quell",kind="x"}[5m])) / quell_b"#, &[]);
    check(r#"sum(quell_a_total{route=~"/a|/b.*"}) and on (job) up{job="quell"} == 1"#, &[]);
    check(r#"rate(quell_a_total{kind=~"x|y"}[5m])"#, &[r#"p: quell_a_total has no kind=~"y""#]);
    check(r#"quell_b{kind="x"} > 0"#, &["p: quell_b has no label kind"]);
    check("max by (color) (quell_c)", &["p: no metric has the label color", "p: there is no quell_c"]);
    check("vector(1)", &["p: selects nothing"]);
}

#[test]
fn the_first_panel_is_that_nothing_is_lost() -> anyhow::Result<()> {
    let text = fs::read_to_string(dashboards().join("pipeline.json"))?;
    let board: Value = serde_json::from_str(&text)?;
    let first = &board["panels"][0];
    ensure!(first["title"] == "received = disposed + rejected", "it is {}", first["title"]);
    ensure!(first["gridPos"]["x"] == 0 && first["gridPos"]["y"] == 0, "it stands elsewhere");
    Ok(())
}

/// promtool, which comes with Prometheus.
fn promtool() -> anyhow::Result<PathBuf> {
    let prometheus = server("QUELL_PROMETHEUS", &["prometheus"])?;
    let folder = prometheus.parent().context("a folder")?;
    let near = [folder.join("usr/bin/promtool"), folder.join("promtool")];
    near.into_iter().find(|path| path.is_file()).map_or_else(|| server("QUELL_PROMTOOL", &["promtool"]), Ok)
}

#[test]
fn the_rules_pass_their_own_tests() -> anyhow::Result<()> {
    for words in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]] {
        let done = Command::new(promtool()?).args(words).current_dir(dashboards()).output()?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success() && said.contains("SUCCESS"), "promtool {}: {said}", words.join(" "));
    }
    let tested: Value = serde_saphyr::from_str(&fs::read_to_string(dashboards().join("alerts_test.yaml"))?)?;
    let fire: BTreeSet<&str> = tested["tests"].as_array().into_iter().flatten().filter_map(fires).collect();
    for Expression { place, .. } in rules()? {
        let name = place.trim_start_matches("alerts.yaml: ");
        ensure!(fire.contains(name), "no test has {name} fire");
    }
    Ok(())
}

/// The alert that a test has fire.
fn fires(test: &Value) -> Option<&str> {
    let expected = &test["alert_rule_test"][0];
    expected["exp_alerts"].as_array().filter(|alerts| !alerts.is_empty())?;
    expected["alertname"].as_str()
}

/// A Prometheus with the rules that scrapes a quell.
async fn prometheus(folder: &Path, quell: &Process) -> anyhow::Result<(Program, String)> {
    let rules = dashboards().canonicalize()?.join("alerts.yaml");
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
         rule_files: ['{}']\nscrape_configs:\n  - job_name: quell\n    static_configs: [{{targets: ['{}']}}]\n",
        rules.display(),
        quell.url.trim_start_matches("http://"),
    );
    fs::write(folder.join("prometheus.yml"), config)?;
    let args = ["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", "--web.listen-address=127.0.0.1:0"];
    let path = server("QUELL_PROMETHEUS", &["prometheus"])?;
    let program = Program::start("prometheus", &path, &args.map(String::from), folder)?;
    let address = program.address_after("msg=\"Listening on\" address=").await?;
    Ok((program, format!("http://{address}")))
}

async fn ask(client: &reqwest::Client, url: Url) -> anyhow::Result<Value> {
    let text = client.get(url).send().await?.text().await?;
    let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(answer["status"] == "success", "{text}");
    Ok(answer["data"].clone())
}

/// A quell with everything that it can have: Kafka, PostgreSQL, and a sink that takes nothing.
async fn quell(folder: &Path, brokers: &Brokers, server: &Server) -> anyhow::Result<Process> {
    let dead = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    fs::write(folder.join("secret"), "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw==")?;
    let config = format!(
        "sinks: [{{name: pager, url: 'http://{dead}/', secret_file: '{}'}}]\negress: {{allow: ['{dead}']}}\n",
        folder.join("secret").display()
    );
    fs::write(folder.join("quell.yaml"), config)?;
    let mut command = serve(&[], &folder.join("data"));
    command.arg("--config").arg(folder.join("quell.yaml"));
    command.args(["--log", &brokers.address("watched").to_string(), "--store", &server.url]);
    Process::start(command, &folder.join("quell.log")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_finds_what_quell_shows() -> anyhow::Result<()> {
    let folder = fresh_folder("dashboards")?;
    let brokers = Brokers::start("dashboards-kafka", 1);
    let server = Server::start(&Server::folder("dashboards"), true, &[]);
    let quell = quell(&folder, &brokers, &server).await?;
    for _ in 0..2 {
        quell.post("/api/v2/alerts", alerts(1..=20)).await?.error_for_status()?;
    }
    eventually("decided", async || if quell.is_done().await? { Ok(()) } else { bail!("not yet") }).await?;
    let client = &quell.client;
    let shown = exposed(&client.get(format!("{}/metrics", quell.url)).send().await?.text().await?);
    let (panels, rules) = (panels()?, rules()?);
    let missing: Vec<String> = panels.iter().chain(&rules).flat_map(|expression| faults(expression, &shown)).collect();
    ensure!(missing.is_empty(), "{}", missing.join("\n"));

    let (_prometheus, url) = prometheus(&folder, &quell).await?;
    for Expression { place, text } in &panels {
        let query = Url::parse_with_params(&format!("{url}/api/v1/query"), [("query", text)])?;
        eventually(place, async || {
            let found = ask(client, query.clone()).await?;
            let some = found["result"].as_array().is_some_and(|list| !list.is_empty());
            if some { Ok(()) } else { bail!("{text}: finds nothing: {found}") }
        })
        .await?;
    }
    let query = Url::parse(&format!("{url}/api/v1/rules"))?;
    let judged = eventually("every rule is evaluated", async || {
        let judged = ask(client, query.clone()).await?;
        let judged = judged["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        if judged.iter().any(|rule| rule["health"] == "unknown") { bail!("not yet") } else { Ok(judged) }
    })
    .await?;
    ensure!(judged.len() == rules.len(), "{} of {} rules are there", judged.len(), rules.len());
    for rule in &judged {
        ensure!(rule["health"] == "ok", "{rule:#}");
        // A healthy quell that has run for seconds gives no reason for any of them to hold for long.
        ensure!(rule["state"] != "firing", "{rule:#}");
    }
    println!("{} panels' expressions and {} rules", panels.len(), rules.len());
    Ok(())
}
