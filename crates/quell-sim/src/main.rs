//! `quell-sim`: the harness on the command line. Deliberately absent: everything but arguments and exit status.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use quell_sim::quality;
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
    /// Score quell on recorded alerts whose truth is known.
    Quality(Quality),
}

#[derive(Args)]
struct Quality {
    /// A folder with known truth, or a folder of such folders.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only the folder of this name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// One process with its log and store in one directory.
    Embedded,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Arguments::parse().what {
        What::Torture { mode: Mode::Embedded, quell, cycles, seed, data_dir, senders, rate, json } => {
            eprintln!("seed {seed}");
            let options = Options { cycles, seed, data_dir, senders, rate, ..Options::new(quell) };
            let report = torture::run(options).await?;
            println!("{}", report.written(if json { Shape::Json } else { Shape::Text })?);
            Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        What::Quality(Quality { data, only, json }) => {
            let settings = Arc::new(quality::replay::shipped());
            let scored = quality::measure(&data, only.as_deref(), &settings)?;
            if json {
                println!("{}", quality::table::json(&scored));
            } else {
                print!("{}", quality::table::text(&scored));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
