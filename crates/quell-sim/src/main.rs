//! `quell-sim`: the harness on the command line. Deliberately absent: everything but arguments and exit status.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use quell_sim::quality::files::FolderFault;
use quell_sim::quality::replay::Variant;
use quell_sim::storms::spread::FaultKind;
use quell_sim::torture::{self, ClusterOptions, Options, Shape};
use quell_sim::{quality, storms};

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
        /// With `--mode cluster`: how many nodes.
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        /// With `--mode cluster`: how many brokers, 1 or 3.
        #[arg(long, default_value_t = 1)]
        brokers: usize,
        /// With `--mode cluster`: the folder of the scripts that start Kafka and PostgreSQL.
        #[arg(long, default_value = "scripts")]
        scripts: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Score quell on recorded alerts whose truth is known.
    Quality(Quality),
    /// Make a storm of overlapping faults and write it, with its truth, into a folder.
    Storms(Storms),
    /// Score quell on storms of many seeds, beside what anybody would do first.
    Score(Score),
}

#[derive(Args)]
struct Quality {
    /// A folder with known truth, or a folder of such folders.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only the folder of this name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Also score each part of the decision left out in turn.
    #[arg(long)]
    ablate: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "ablate")]
    json: bool,
}

#[derive(Args)]
struct Storms {
    /// Repeats a storm.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// About so many CIs.
    #[arg(long, default_value_t = 1_000)]
    cis: usize,
    #[command(flatten)]
    shape: Shaped,
    /// Where it is written; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Args)]
struct Score {
    /// How many storms of each size.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Sizes, in CIs.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    cis: Vec<usize>,
    #[command(flatten)]
    shape: Shaped,
    /// Also score each part of the decision switched off in turn.
    #[arg(long)]
    ablate: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What storms are like, where the usual is not wanted.
#[derive(Args)]
struct Shaped {
    /// So many faults; usual are 8 to 100, by the estate's size.
    #[arg(long)]
    faults: Option<usize>,
    /// Kinds of faults: switch, host, storage, database, bad_deploy, certificate, zone.
    #[arg(long, value_delimiter = ',', value_parser = fault_kind)]
    kinds: Vec<FaultKind>,
    /// Episodes of noise for each episode of a fault [default: 0.3].
    #[arg(long)]
    noise: Option<f64>,
    /// A tenth of the CIs is missing from the CMDB, and a tenth of the roots unmonitored.
    #[arg(long)]
    gaps: bool,
    /// A share of the relationships that the CMDB has forgotten; half as many again are wrong [default: 0.01].
    #[arg(long)]
    errors: Option<f64>,
    /// The CMDB has one word for every relationship and knows of no alternatives.
    #[arg(long)]
    plain: bool,
}

impl Shaped {
    fn options(&self, seed: u64, cis: usize) -> storms::Options {
        let Shaped { faults, kinds, noise, gaps, errors, plain } = self;
        let usual = storms::Options::usual(seed, cis);
        let mut options = if *gaps { usual.with_gaps() } else { usual };
        options.faults = faults.unwrap_or(options.faults);
        options.noise = noise.unwrap_or(options.noise);
        options.errors = errors.unwrap_or(options.errors);
        options.plain = *plain;
        if !kinds.is_empty() {
            options.kinds.clone_from(kinds);
        }
        options
    }
}

fn fault_kind(word: &str) -> Result<FaultKind, String> {
    let allowed = || format!("allowed: {}", FaultKind::ALL.map(FaultKind::word).join(", "));
    FaultKind::from_word(word).ok_or_else(allowed)
}

fn score(Score { seeds, first_seed, cis, shape, ablate, json }: &Score) {
    let shipped = Variant::shipped();
    let seeds = *first_seed..first_seed + seeds;
    let (mut scored, mut ablations) = (Vec::new(), String::new());
    for &cis in cis {
        let options = shape.options(0, cis);
        let name = format!("{cis} CIs{}", if shape.gaps { " with gaps" } else { "" });
        let run = |variant: &Variant| storms::score::run(&options, seeds.clone(), variant);
        let whole = run(&shipped);
        if *ablate {
            let without: Vec<_> = shipped.without_each().map(|(part, variant)| (part, run(&variant))).collect();
            ablations += &storms::table::ablation(&name, &whole, &without);
        }
        scored.push((name, whole));
    }
    if *json {
        println!("{}", storms::table::json(&scored));
    } else {
        print!("{}{ablations}", storms::table::text(&scored));
    }
}

fn quality(Quality { data, only, ablate, json }: &Quality) -> Result<(), FolderFault> {
    let shipped = Variant::shipped();
    let measure = |variant: &Variant| quality::measure(data, only.as_deref(), variant);
    let scored = measure(&shipped)?;
    if *json {
        println!("{}", quality::table::json(&scored));
        return Ok(());
    }
    print!("{}", quality::table::text(&scored));
    if *ablate {
        let without = shipped.without_each().map(|(part, variant)| Ok((part, measure(&variant)?)));
        print!("{}", quality::table::ablation(&scored, &without.collect::<Result<Vec<_>, FolderFault>>()?));
    }
    Ok(())
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// One process with its log and store in one directory.
    Embedded,
    /// Several nodes with their log on Kafka and their store in PostgreSQL.
    Cluster,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Arguments::parse().what {
        What::Torture { mode, quell, cycles, seed, data_dir, senders, rate, nodes, brokers, scripts, json } => {
            eprintln!("seed {seed}");
            let cluster = matches!(mode, Mode::Cluster).then_some(ClusterOptions { nodes, brokers, scripts });
            let options = Options { cycles, seed, data_dir, senders, rate, cluster, ..Options::new(quell) };
            let report = torture::run(options).await?;
            println!("{}", report.written(if json { Shape::Json } else { Shape::Text })?);
            Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        What::Quality(wanted) => {
            quality(&wanted)?;
            Ok(ExitCode::SUCCESS)
        }
        What::Storms(Storms { seed, cis, shape, out }) => {
            let storm = storms::storm(&shape.options(seed, cis));
            storms::files::write(&storm, &out).with_context(|| format!("cannot write {}", out.display()))?;
            let (faults, episodes, cis) = (storm.faults.len(), storm.episodes.len(), storm.estate.parts.len());
            println!("{faults} faults and {episodes} alert episodes over {cis} CIs in {}", out.display());
            Ok(ExitCode::SUCCESS)
        }
        What::Score(wanted) => {
            score(&wanted);
            Ok(ExitCode::SUCCESS)
        }
    }
}
