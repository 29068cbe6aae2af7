//! Real Apache Kafka for a test: brokers that `scripts/kafka` starts on free ports, and ends with the test's process.
//!
//! Absent on purpose: a stand-in where Kafka is missing; then the test fails.
#![allow(dead_code, reason = "each test uses its part")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// Brokers that run.
pub(crate) struct Brokers {
    /// `HOST:PORT`, separated by commas.
    pub(crate) bootstrap: String,
    control: Mutex<Control>,
}

struct Control {
    _script: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pids: Vec<String>,
}

impl Brokers {
    /// Starts 1 or 3, in a folder of that name under the target folder.
    pub(crate) fn start(name: &str, count: usize) -> Brokers {
        Brokers::run(name, count, None)
    }

    /// Starts one that lets in only `quell` with this password, by SASL PLAIN.
    pub(crate) fn guarded(name: &str, password: &str) -> Brokers {
        Brokers::run(name, 1, Some(password))
    }

    fn run(name: &str, count: usize, password: Option<&str>) -> Brokers {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let wanted = std::env::var_os("QUELL_KAFKA_LIBS");
        assert!(wanted.is_some(), "QUELL_KAFKA_LIBS is not set: run `./dev test`, which fetches Kafka");
        let mut script = Command::new(root.join("scripts/kafka"))
            .arg("run")
            .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
            .arg(count.to_string())
            .envs(password.map(|password| ("QUELL_KAFKA_PASSWORD", password)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/kafka starts");
        let orders = script.stdin.take().expect("piped");
        let mut answers = BufReader::new(script.stdout.take().expect("piped"));
        let ready = line(&mut answers);
        let mut words = ready.split_whitespace().skip_while(|word| *word != "ready").skip(1);
        let bootstrap = words.next().unwrap_or_else(|| unreachable!("scripts/kafka said {ready:?}")).to_owned();
        let pids = words.map(str::to_owned).collect();
        Brokers { bootstrap, control: Mutex::new(Control { _script: script, orders, answers, pids }) }
    }

    /// The address of a log with topics of its own.
    pub(crate) fn address(&self, prefix: &str) -> quell_log::kafka::Address {
        format!("kafka://{}/{prefix}", self.bootstrap).parse().expect("an address")
    }

    /// Sends a signal to broker `at`, counted from 0.
    pub(crate) fn signal(&self, at: usize, signal: &str) {
        let pid = self.control.lock().expect("no holder panics").pids[at].clone();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {signal} {pid}");
    }

    /// Starts broker `at` again after it was killed.
    pub(crate) fn start_again(&self, at: usize) {
        let mut control = self.control.lock().expect("no holder panics");
        writeln!(control.orders, "start {}", at + 1).expect("scripts/kafka listens");
        let answer = line(&mut control.answers);
        let pid = answer.split_whitespace().nth(2);
        control.pids[at] = pid.unwrap_or_else(|| unreachable!("scripts/kafka said {answer:?}")).to_owned();
    }
}

fn line(answers: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).expect("scripts/kafka speaks");
    line
}
