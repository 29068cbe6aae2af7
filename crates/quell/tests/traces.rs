//! One trace leads from the sender's request to the decision and to who was told of it: on the embedded log and through
//! Kafka, seen by a receiver of OTLP.
//!
//! Absent on purpose: what a collector does with it.

#[path = "../../quell-log/tests/support/broker.rs"]
mod broker;
#[path = "support/process.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use broker::Brokers;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use process::{Process, alerts, fresh_folder, serve, until};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDER: &str = "b7ad6b7169203331";
const PATIENCE: Duration = Duration::from_secs(40);

/// The path, the head and the body of a request.
type Request = (String, String, Vec<u8>);

/// What came by HTTP.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Request>>>);

impl Received {
    /// Answers every request with 200 on a free port.
    async fn serve() -> anyhow::Result<(Received, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let received = Received::default();
        let shared = received.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = shared.clone();
                // A client that goes away is none of the test's business.
                tokio::spawn(async move { drop(shared.answer(socket).await) });
            }
        });
        Ok((received, address.to_string()))
    }

    async fn answer(&self, mut socket: TcpStream) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        loop {
            let head = loop {
                if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at + 4;
                }
                ensure!(socket.read_buf(&mut bytes).await? > 0, "closed");
            };
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.context("a length")?.trim().parse()?;
            while bytes.len() < head + length {
                ensure!(socket.read_buf(&mut bytes).await? > 0, "closed");
            }
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            let body = bytes[head..head + length].to_vec();
            self.0.lock().expect("not poisoned").push((path, text, body));
            bytes.drain(..head + length);
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
        }
    }

    fn of(&self, path: &str) -> Vec<(String, Vec<u8>)> {
        let all = self.0.lock().expect("not poisoned");
        all.iter().filter(|one| one.0 == path).map(|(_, head, body)| (head.clone(), body.clone())).collect()
    }

    /// The spans that were exported.
    fn spans(&self) -> anyhow::Result<Vec<Span>> {
        let mut spans = Vec::new();
        for (_, body) in self.of("/v1/traces") {
            let request = ExportTraceServiceRequest::decode(&body[..])?;
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            spans.extend(scopes.flat_map(|scope| scope.spans));
        }
        Ok(spans)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A quell that exports to a receiver and tells another one.
async fn quell(folder: &Path, collector: &str, hook: &str, log: Option<String>) -> anyhow::Result<Process> {
    std::fs::write(folder.join("secret"), "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw==")?;
    let config = format!(
        "sinks: [{{name: pager, url: 'http://{hook}/hook', secret_file: '{}'}}]\negress: {{allow: ['{hook}']}}\n",
        folder.join("secret").display()
    );
    std::fs::write(folder.join("quell.yaml"), config)?;
    let mut command = serve(&[], &folder.join("data"));
    command.arg("--config").arg(folder.join("quell.yaml"));
    command.args(log.iter().flat_map(|log| ["--log", log]));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"));
    command.env("OTEL_BSP_SCHEDULE_DELAY", "100").env("OTEL_BLRP_SCHEDULE_DELAY", "100");
    Process::start(command, &folder.join("quell.log")).await
}

/// Posts under the sender's trace and waits until the whole of it was exported.
async fn check_one_trace(name: &str, log: Option<String>) -> anyhow::Result<()> {
    let folder = fresh_folder(name)?;
    let (collector, address) = Received::serve().await?;
    let (hook, sink) = Received::serve().await?;
    let mut quell = quell(&folder, &address, &sink, log).await?;
    let request = quell.client.post(format!("{}/api/v2/alerts", quell.url)).header("content-type", "application/json");
    let request = request.header("traceparent", format!("00-{TRACE}-{SENDER}-01"));
    request.body(alerts([1])).send().await?.error_for_status()?;
    // Another one, without a trace of its sender's, gets one of its own.
    quell.post("/api/v2/alerts", alerts([2])).await?.error_for_status()?;
    let wanted = ["POST /api/v2/alerts", "send main", "decide", "commit", "deliver"];
    let ours = || -> anyhow::Result<BTreeMap<String, Span>> {
        let spans = collector.spans()?.into_iter().filter(|span| hex(&span.trace_id) == TRACE);
        Ok(spans.map(|span| (span.name.clone(), span)).collect())
    };
    until("the whole trace", PATIENCE, async || {
        Ok(wanted.iter().all(|name| ours().is_ok_and(|ours| ours.contains_key(*name))))
    })
    .await
    .with_context(|| format!("exported: {:?}", ours().map(|ours| ours.into_keys().collect::<Vec<_>>())))?;
    let ours = ours()?;
    let parent = |name: &str| hex(&ours[name].parent_span_id);
    let id = |name: &str| hex(&ours[name].span_id);
    ensure!(parent(wanted[0]) == SENDER, "the request is not under its sender's span");
    for (under, over) in [(1, 0), (2, 1), (3, 2), (4, 2)] {
        ensure!(parent(wanted[under]) == id(wanted[over]), "{} is not under {}", wanted[under], wanted[over]);
    }
    let said = |name: &str, key: &str| {
        let found = ours[name].attributes.iter().find(|attribute| attribute.key == key);
        format!("{:?}", found.and_then(|found| found.value.as_ref()))
    };
    ensure!(said(wanted[0], "http.route").contains("/api/v2/alerts"), "{:?}", ours[wanted[0]]);
    ensure!(said("decide", "quell.incidents").contains("INC-1"), "{:?}", ours["decide"]);
    ensure!(said("deliver", "quell.incident").contains("INC-1"), "{:?}", ours["deliver"]);
    let deliver = format!("traceparent: 00-{TRACE}-{}-01", id("deliver"));
    until("the sink is told the trace", PATIENCE, async || {
        Ok(hook.of("/hook").iter().any(|(head, _)| head.contains(&deliver)))
    })
    .await?;
    let traces: BTreeSet<String> = collector.spans()?.iter().map(|span| hex(&span.trace_id)).collect();
    ensure!(traces.len() > 1, "the second request has no trace");
    // The log goes the same way, and the end of the process does not wait for more than it has.
    quell.terminate().await?;
    let status = quell.ended(Duration::from_secs(20)).await?;
    ensure!(status.success(), "it ended with {status}");
    let logs = collector.of("/v1/logs");
    ensure!(!logs.is_empty(), "no log was exported");
    let mut texts = String::new();
    for (_, body) in logs {
        texts += &format!("{:?}", ExportLogsServiceRequest::decode(&body[..])?);
    }
    ensure!(texts.contains("\"listening\"") && texts.contains("service.name"), "{texts}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_request_to_who_was_told() -> anyhow::Result<()> {
    check_one_trace("traces-embedded", None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_through_kafka() -> anyhow::Result<()> {
    let brokers = Brokers::start("traces-kafka", 1);
    check_one_trace("traces-kafka-quell", Some(brokers.address("traced").to_string())).await
}

/// A collector that is away, or takes nothing, keeps nobody waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_slows_nothing() -> anyhow::Result<()> {
    let folder = fresh_folder("traces-hang")?;
    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let (_hook, sink) = Received::serve().await?;
    let mut quell = quell(&folder, &silent.local_addr()?.to_string(), &sink, None).await?;
    let begun = std::time::Instant::now();
    for number in 0..300 {
        quell.post("/api/v2/alerts", alerts([number])).await?.error_for_status()?;
    }
    let took = begun.elapsed();
    // A single export that was waited for would take ten seconds.
    ensure!(took < Duration::from_secs(9), "300 requests took {took:?}");
    until("decided", PATIENCE, async || quell.is_done().await).await?;
    quell.terminate().await?;
    ensure!(quell.ended(Duration::from_secs(25)).await?.success(), "it did not end well");
    Ok(())
}
