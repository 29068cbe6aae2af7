//! The command line. Absent on purpose: what the commands do; each has its module.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::import::Import;
use crate::{check, demo, hygiene, import, replay, serve, settings};

/// Turns alert storms into the few incidents that matter.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive alerts, open incidents and serve them.
    Serve {
        /// The config file; without one every setting has its default.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Where log and store lie.
        #[arg(long)]
        data_dir: Option<PathBuf>,
        /// Where to listen: a loopback address and a port; port 0 takes a free one.
        #[arg(long, value_parser = quell_formats::config::listen_address)]
        listen: Option<SocketAddr>,
    },
    /// Play a sample storm over a sample estate and show what quell makes of it.
    Demo {
        /// End when the storm is told, instead of serving until Ctrl-C.
        #[arg(long)]
        once: bool,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0", value_parser = quell_formats::config::listen_address)]
        listen: SocketAddr,
        /// Another seed tells another storm.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Check config, rules and pipelines, and run the tests they carry.
    Check {
        /// The config file.
        #[arg(long)]
        config: Option<PathBuf>,
        /// A directory of rules, instead of the config's or the shipped ones.
        #[arg(long)]
        rules: Option<PathBuf>,
        /// A directory of pipelines, instead of the config's or the shipped ones.
        #[arg(long)]
        pipelines: Option<PathBuf>,
    },
    /// Run the engine over recorded alerts, with the recorded times as its clock.
    Replay {
        /// The topology file.
        #[arg(long)]
        topology: Option<PathBuf>,
        /// The alerts file: one JSON object a line.
        #[arg(long)]
        alerts: PathBuf,
        /// Where to write the incidents, one JSON object a line.
        #[arg(long)]
        output: PathBuf,
        /// The config file, for its rules and pipelines.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// List what should be put right so that alerts find their CIs.
    Hygiene {
        /// The running quell: http://127.0.0.1:9099.
        #[arg(long)]
        url: String,
        /// Items of each list, 1 to 1000.
        #[arg(long, default_value_t = 20)]
        list: u32,
    },
    /// Take over what another system knows.
    Import {
        #[command(subcommand)]
        what: What,
    },
}

#[derive(Debug, Subcommand)]
enum What {
    /// CIs and relationships.
    Topology(Import),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quell: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { config, data_dir, listen } => {
            runtime()?.block_on(serve::run(serve::Serve { config, data_dir, listen }))?;
        }
        Command::Demo { once, listen, seed } => runtime()?.block_on(demo::run(once, listen, seed))?,
        Command::Check { config, rules, pipelines } => {
            let checked = check::run(config.as_deref(), rules, pipelines)?;
            for failed in &checked.failed {
                eprintln!("FAILED {failed}");
            }
            println!("{} files sound; {} tests passed, {} failed", checked.files, checked.passed, checked.failed.len());
            if !checked.failed.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Replay { topology, alerts, output, config } => {
            let config = settings::config(config.as_deref())?;
            let files = settings::files(config.rules_dir.as_deref(), config.pipelines_dir.as_deref())?;
            let settings = Arc::new(settings::compile(&files)?.settings);
            let replayed = replay::run(settings, topology.as_deref(), &alerts, &output)?;
            let disposed = replayed.disposed;
            println!(
                "{} records, {} alerts received, {} repeats, {} refused, {} incidents",
                replayed.records, disposed.received, disposed.deduplicated, disposed.rejected, replayed.incidents
            );
        }
        Command::Hygiene { url, list } => print!("{}", runtime()?.block_on(hygiene::run(&url, list))?),
        Command::Import { what: What::Topology(asked) } => print!("{}", runtime()?.block_on(import::run(&asked))?),
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
