//! A real PostgreSQL server for tests, started by `scripts/postgres` on a free loopback port.
//!
//! It ends with the process that started it, however that ends: the script waits for the end of its standard input.
//! Absent on purpose: a way to skip when there is no server; that is a failure which says what to do.
#![allow(dead_code, reason = "each test uses its part")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    script: Child,
    /// `postgres://quell@127.0.0.1:PORT/postgres`.
    pub(crate) url: String,
}

impl Server {
    /// Starts the server whose cluster lies in a folder; one that is not there yet is made. With `remove` the folder goes
    /// with the server.
    pub(crate) fn start(folder: &Path, remove: bool, settings: &[&str]) -> Server {
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let script = above.map(|folder| folder.join("scripts/postgres")).find(|script| script.exists());
        let script = script.expect("scripts/postgres is in the repository");
        let mut command = Command::new(script);
        if remove {
            command.arg("--remove");
        }
        command.arg(folder).args(settings).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().expect("scripts/postgres can be run");
        let mut line = String::new();
        let stdout = script.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("scripts/postgres says something");
        assert!(
            line.starts_with("postgres://"),
            "PostgreSQL did not start; see above, and run `./dev test`, which has it"
        );
        Server { script, url: line.trim_end().to_owned() }
    }

    /// A folder of its own for a server, where whoever the server runs as can reach it.
    pub(crate) fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("quell-postgres-{name}-{}", std::process::id()));
        // Left behind by a run that was killed.
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    /// Stops the server as a crash would, and waits for its end.
    pub(crate) fn stop(mut self) {
        drop(self.script.stdin.take());
        self.script.wait().expect("the script ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
