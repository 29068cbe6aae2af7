//! `quell-sim`: the harness on the command line. Deliberately absent: everything but arguments and exit status.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use quell_sim::torture::{self, Options, Shape};

/// Storms and faults for quell.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Kill quell under load, again and again, and check that it keeps every promise.
    Torture {
        /// Which shape of quell.
        #[arg(long, value_enum, default_value = "embedded")]
        mode: Mode,
        /// The program under test.
        #[arg(long)]
        quell: PathBuf,
        /// How often it is killed.
        #[arg(long, default_value_t = 50)]
        cycles: u64,
        /// Repeats a run.
        #[arg(long, default_value_t = 7)]
        seed: u64,
        /// Where data, ledger and messages are kept; a run on a folder that has a ledger goes on with it.
        #[arg(long)]
        data_dir: Option<PathBuf>,
        /// Senders with a connection each.
        #[arg(long, default_value_t = 8)]
        senders: u64,
        /// Alerts a second, all senders together.
        #[arg(long, default_value_t = 1_500)]
        rate: u64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// One process with its log and store in one directory.
    Embedded,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let What::Torture { mode: Mode::Embedded, quell, cycles, seed, data_dir, senders, rate, json } =
        Arguments::parse().what;
    eprintln!("seed {seed}");
    let options = Options { cycles, seed, data_dir, senders, rate, ..Options::new(quell) };
    let report = torture::run(options).await?;
    println!("{}", report.written(if json { Shape::Json } else { Shape::Text })?);
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
