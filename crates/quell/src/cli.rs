//! The command line. Absent on purpose: what the commands do; each has its module.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use quell_domain::Timestamp;
use quell_formats::database::Database;
use quell_formats::history::{self, ColumnMap};

use crate::forecast::{self, Evaluate};
use crate::import::Import;
use crate::import_incidents::ImportIncidents;
use crate::telemetry::Telemetry;
use crate::traffic::Traffic;
use crate::{
    backup, check, compare, dead_letters, demo, explain, hygiene, impact, import, import_incidents, migrate, problems,
    replay, serve, settings, stores,
};

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
        /// The PostgreSQL database that the store lies in, instead of a file in the data directory:
        /// postgres://USER@HOST:PORT/DATABASE, without a password.
        #[arg(long, value_name = "ADDRESS")]
        store: Option<String>,
        /// The Kafka that the log lies on, instead of a file in the data directory:
        /// kafka://HOST:PORT[,HOST:PORT][/PREFIX].
        #[arg(long, value_name = "ADDRESS")]
        log: Option<String>,
        /// What this node does, where others do the rest: gateway, engine and api, with commas between them; all of it
        /// when none is named.
        #[arg(long, value_name = "ROLES", value_parser = quell_formats::config::Roles::parse)]
        roles: Option<quell_formats::config::Roles>,
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
    /// Tell the whole chain of an incident or alert: received, bound, deduplicated, joined and why, causes and radius.
    Explain {
        /// An incident (INC-7), an alert's number (42) or a fingerprint.
        subject: explain::Subject,
        /// A running server.
        #[arg(long, conflicts_with = "data_dir")]
        url: Option<String>,
        /// The data directory of an installation, whether it runs or not. Without any of these: the config's default
        /// one.
        #[arg(long)]
        data_dir: Option<PathBuf>,
        /// The PostgreSQL database of an installation: postgres://USER@HOST:PORT/DATABASE, without a password.
        #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["url", "data_dir"])]
        store: Option<String>,
    },
    /// Run the engine over recorded alerts, with the recorded times as its clock.
    Replay {
        /// The topology file.
        #[arg(long)]
        topology: Option<PathBuf>,
        /// The alerts file: one JSON object a line.
        #[arg(long, required_unless_present_any = ["data_dir", "log"], conflicts_with_all = ["data_dir", "log"])]
        alerts: Option<PathBuf>,
        /// The data directory of an installation: its log is played, read only, without operators' commands.
        #[arg(long)]
        data_dir: Option<PathBuf>,
        /// The PostgreSQL database that the installation's store lies in: postgres://USER@HOST:PORT/DATABASE.
        #[arg(long, value_name = "ADDRESS")]
        store: Option<String>,
        /// The Kafka that the installation's log lies on: kafka://HOST:PORT[,HOST:PORT][/PREFIX]. Needs --store or
        /// --data-dir for the artefacts that the log activates.
        #[arg(long, value_name = "ADDRESS")]
        log: Option<String>,
        /// The shard of the installation that is played, where it has several.
        #[arg(long, value_name = "NUMBER", conflicts_with = "alerts")]
        shard: Option<u32>,
        /// Where to write the incidents, one JSON object a line.
        #[arg(long, required_unless_present = "compare", conflicts_with = "compare")]
        output: Option<PathBuf>,
        /// Another directory of rules: play the traffic under both and print what it would have changed.
        #[arg(long)]
        compare: Option<PathBuf>,
        /// The label or annotation that names an alert's true incident, to score both runs by.
        #[arg(long, default_value = "truth", requires = "compare")]
        truth: String,
        /// Print the difference as JSON.
        #[arg(long, requires = "compare")]
        json: bool,
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
    /// List what keeps coming back, what is expected to cost most within a week first.
    Problems {
        /// The running quell: http://127.0.0.1:9099.
        #[arg(long)]
        url: String,
        /// Problems at most, 1 to 1000.
        #[arg(long, default_value_t = 20)]
        list: u32,
    },
    /// Tell what depends on CIs before they are changed, what redundancy is lost, and what came of earlier changes.
    Impact {
        /// The CIs to be changed, by their ids, with commas between them.
        #[arg(long)]
        change: String,
        /// The running quell: http://127.0.0.1:9099.
        #[arg(long)]
        url: String,
    },
    /// Take over what another system knows.
    Import {
        #[command(subcommand)]
        what: What,
    },
    /// Move what lies in a data directory to Kafka and PostgreSQL. Nobody may serve either meanwhile.
    Migrate {
        /// The data directory; it is only read.
        #[arg(long)]
        from: PathBuf,
        /// The config file of the nodes to come: its `log` and `store` say where to.
        #[arg(long)]
        to: PathBuf,
    },
    /// Copy log and store of a data directory, whether or not it is served.
    Backup {
        /// The data directory.
        #[arg(long)]
        data_dir: PathBuf,
        /// A new folder.
        #[arg(long)]
        to: PathBuf,
    },
    /// Put a backup into a new data directory.
    Restore {
        /// The folder of the backup.
        #[arg(long)]
        from: PathBuf,
        /// The data directory.
        #[arg(long)]
        data_dir: PathBuf,
    },
    /// What could not be decided and was put aside: list it, or put it back.
    DeadLetters {
        #[command(subcommand)]
        command: LettersCommand,
    },
    /// Foresee which trouble comes back.
    Forecast {
        #[command(subcommand)]
        command: ForecastCommand,
    },
}

#[derive(Debug, Subcommand)]
enum LettersCommand {
    /// List them, the last one first.
    List {
        #[command(flatten)]
        place: LettersPlace,
        /// Letters at most.
        #[arg(long, default_value_t = 20)]
        list: usize,
    },
    /// Post one to a running quell, so that it goes through the log again.
    Replay {
        /// Its id, as the list shows it.
        id: String,
        #[command(flatten)]
        place: LettersPlace,
        /// The running quell: http://127.0.0.1:9099.
        #[arg(long)]
        url: String,
        /// What its bytes are, where that is not known or was wrong: alertmanager, alertmanager-webhook, pagerduty,
        /// pagerduty-change.
        #[arg(long, value_parser = format)]
        format: Option<quell_domain::Source>,
    },
}

/// Where dead letters lie.
#[derive(Debug, clap::Args)]
struct LettersPlace {
    /// The config file.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The data directory, instead of the config's.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The Kafka that the log lies on, instead of the config's.
    #[arg(long, value_name = "ADDRESS")]
    log: Option<String>,
}

impl From<LettersPlace> for dead_letters::Place {
    fn from(LettersPlace { config, data_dir, log }: LettersPlace) -> Self {
        dead_letters::Place { config, data_dir, log }
    }
}

fn format(name: &str) -> Result<quell_domain::Source, String> {
    let names: Vec<&str> = quell_domain::Source::ALL.iter().map(|source| source.as_str()).collect();
    quell_domain::Source::from_name(name).ok_or_else(|| format!("allowed: {}", names.join(", ")))
}

#[derive(Debug, Subcommand)]
enum What {
    /// CIs and relationships.
    Topology(Import),
    /// Incidents of the past, for forecasts.
    Incidents(ImportIncidents),
}

#[derive(Debug, Subcommand)]
enum ForecastCommand {
    /// Learn from the first part of a history of incidents, forecast the rest, and compare with simpler forecasts.
    Evaluate {
        /// The incidents: CSV, which may be packed with gzip, with columns `opened_at` and `signature` or `ci`, and
        /// perhaps `closed_at`, `service`, `priority`.
        #[arg(long)]
        incidents: PathBuf,
        /// Other names of columns: `opened_at=Open_Time,signature=CI_Name`.
        #[arg(long, value_parser = ColumnMap::parse, default_value = "")]
        map: ColumnMap,
        /// The window that is forecast, as 24h or 7d.
        #[arg(long, default_value = "7d", value_parser = history::stretch)]
        horizon: Duration,
        /// The share of the days that is learned from.
        #[arg(long, default_value_t = 0.6)]
        split: f64,
        /// Where the history begins, instead of at its first incident.
        #[arg(long, value_parser = history::instant)]
        from: Option<Timestamp>,
        /// Where it ends, instead of after its last.
        #[arg(long, value_parser = history::instant)]
        to: Option<Timestamp>,
        /// Another seed draws other rows.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Compare the published features with rows of this file first.
        #[arg(long)]
        check_rows: Vec<PathBuf>,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let telemetry = Telemetry::install(matches!(cli.command, Command::Serve { .. }));
    let done = telemetry.and_then(|telemetry| {
        let done = run(cli.command);
        telemetry.end();
        done
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quell: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { config, data_dir, listen, store, log, roles } => {
            runtime()?.block_on(serve::run(serve::Serve { config, data_dir, listen, store, log, roles }))?;
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
        Command::Explain { subject, url, data_dir, store } => {
            let database = stores::database(store, None)?;
            let directory = match (&url, &database, data_dir) {
                (None, None, None) => Some(settings::config(None)?.data_dir),
                (_, _, directory) => directory,
            };
            let told = runtime()?.block_on(async {
                let source = explain::Source::open(url, database, directory).await?;
                explain::run(&source, subject).await
            })?;
            print!("{told}");
        }
        Command::Replay { topology, alerts, data_dir, store, log, shard, output, compare, truth, json, config } => {
            let estate = topology.as_deref().map(replay::read_topology).transpose()?;
            let recorded = Recorded { estate, alerts, data_dir, log, shard, database: stores::database(store, None)? };
            runtime()?.block_on(play(recorded, config, output, compare, &truth, json))?;
        }
        Command::DeadLetters { command } => {
            let told = match command {
                LettersCommand::List { place, list } => runtime()?.block_on(dead_letters::list(place.into(), list))?,
                LettersCommand::Replay { id, place, url, format } => {
                    runtime()?.block_on(dead_letters::replay(place.into(), &id, &url, format))?
                }
            };
            print!("{told}");
        }
        Command::Hygiene { url, list } => print!("{}", runtime()?.block_on(hygiene::run(&url, list))?),
        Command::Problems { url, list } => print!("{}", runtime()?.block_on(problems::run(&url, list))?),
        Command::Impact { change, url } => print!("{}", runtime()?.block_on(impact::run(&url, &change))?),
        Command::Import { what: What::Topology(asked) } => print!("{}", runtime()?.block_on(import::run(&asked))?),
        Command::Import { what: What::Incidents(asked) } => {
            print!("{}", runtime()?.block_on(import_incidents::run(&asked))?);
        }
        Command::Migrate { from, to } => print!("{}", runtime()?.block_on(migrate::run(&from, &to))?),
        Command::Backup { data_dir, to } => print!("{}", runtime()?.block_on(backup::back_up(&data_dir, &to))?),
        Command::Restore { from, data_dir } => print!("{}", runtime()?.block_on(backup::restore(&from, &data_dir))?),
        Command::Forecast { command } => {
            let ForecastCommand::Evaluate { incidents, map, horizon, split, from, to, seed, json, check_rows } =
                command;
            let found = forecast::run(&Evaluate { incidents, map, horizon, split, from, to, seed, check_rows })?;
            if json {
                println!("{}", found.json());
            } else {
                println!("{}", found.table());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where recorded traffic lies.
struct Recorded {
    estate: Option<quell_domain::Topology>,
    alerts: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    log: Option<String>,
    shard: Option<u32>,
    database: Option<Database>,
}

async fn play(
    Recorded { estate, alerts, data_dir, log, shard, database }: Recorded,
    config: Option<PathBuf>,
    output: Option<PathBuf>,
    other: Option<PathBuf>,
    truth: &str,
    json: bool,
) -> anyhow::Result<()> {
    let named = config.is_some();
    let config = settings::config(config.as_deref())?;
    let traffic = match (alerts, log, data_dir) {
        (Some(alerts), _, _) => Traffic::File { alerts, topology: estate.unwrap_or_default() },
        (None, Some(_), None) if database.is_none() => {
            anyhow::bail!("the log alone is not enough: name its store by --store or --data-dir")
        }
        (None, Some(log), directory) => {
            let directory = directory.unwrap_or_default();
            Traffic::of_kafka(&log, &config, &directory, database.as_ref(), (estate, shard)).await?
        }
        (None, None, Some(directory)) => Traffic::of_directory(&directory, database.as_ref(), estate, shard).await?,
        (None, None, None) => anyhow::bail!("nothing to play: name --alerts, --data-dir or --log"),
    };
    let files = settings::files(config.rules_dir.as_deref(), config.pipelines_dir.as_deref())?;
    let mut rules = Arc::new(settings::compile(&files)?.settings);
    // An installation is compared with what it has in force, unless a config says otherwise.
    if let Some(in_force) = traffic.rules().await?.filter(|_| !named) {
        rules = in_force;
    }
    if let Some(other) = other {
        let other = compare::other_settings(&other, config.pipelines_dir.as_deref())?;
        let compared = compare::run(&traffic, rules, other, truth).await?;
        if json {
            println!("{}", compare::report(&compared));
        } else {
            print!("{}", compare::text(&compared));
        }
    } else if let Some(output) = output {
        let replayed = replay::run(rules, &traffic, &output).await?;
        let disposed = replayed.disposed;
        println!(
            "{} records, {} alerts received, {} repeats, {} refused, {} incidents",
            replayed.records, disposed.received, disposed.deduplicated, disposed.rejected, replayed.incidents
        );
    }
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
