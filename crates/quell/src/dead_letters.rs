//! `quell dead-letters`: what was put aside, and putting it back by way of the door it came by, so through the log again.
//!
//! Absent on purpose: commands of operators, which are not repeated behind their backs; they are listed, and asked again
//! by hand.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use quell_domain::{RecordKind, Source};
use quell_formats::config::Config;
use quell_log::dead::LETTERS;
use quell_log::{Clock as _, DeadLetter, DeadLetters};

use crate::clock::SystemClock;
use crate::import::Running;
use crate::{logs, settings};

/// Bytes of a letter that are shown in the list.
const SHOWN: usize = 120;

/// Where to look.
pub(crate) struct Place {
    pub(crate) config: Option<PathBuf>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) log: Option<String>,
}

impl Place {
    fn open(self) -> anyhow::Result<Arc<dyn DeadLetters>> {
        let mut config: Config = settings::config(self.config.as_deref())?;
        config.data_dir = self.data_dir.unwrap_or(config.data_dir);
        config.log = logs::address(self.log, config.log)?;
        logs::dead_letters(&config)
    }
}

/// Lists letters, the last one first.
pub(crate) async fn list(place: Place, limit: usize) -> anyhow::Result<String> {
    let letters = place.open()?.list(limit).await?;
    let mut told = String::new();
    for letter in &letters {
        let DeadLetter { id, at, code, reason, place, size, body, replayed, .. } = letter;
        let replayed = replayed.map(|at| format!(", put back {at}")).unwrap_or_default();
        _ = writeln!(told, "{id}  {at}  {code}{replayed}\n  {place}: {reason}");
        let text: String = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).escape_debug().collect();
        _ = writeln!(told, "  {size} bytes: {text}");
    }
    _ = writeln!(told, "{} dead letters", letters.len());
    Ok(told)
}

/// Puts one back: posts its bytes to a running quell, as the contract that it came by or another one.
pub(crate) async fn replay(place: Place, id: &str, url: &str, named: Option<Source>) -> anyhow::Result<String> {
    let letters = place.open()?;
    let found = letters.list(LETTERS).await?.into_iter().find(|letter| letter.id == id);
    let letter = found.with_context(|| format!("there is no dead letter {id:?}"))?;
    if !letter.is_whole() {
        bail!(
            "only {} of its {} bytes were kept: take it from where it lay, {}",
            letter.body.len(),
            letter.size,
            letter.place
        );
    }
    let source = match (named, letter.kind) {
        (Some(source), _) | (None, Some(RecordKind::Alerts(source))) => source,
        (None, kind) => {
            let names: Vec<&str> = Source::ALL.iter().map(|source| source.as_str()).collect();
            bail!(
                "it is not known to be alerts or changes ({kind:?}); if it is, say by --format what its bytes are: {}",
                names.join(", ")
            );
        }
    };
    let answer = Running::at(url)?.post(door(source), letter.body.to_vec()).await?;
    letters.put(DeadLetter { replayed: Some(SystemClock.now()), ..letter }).await?;
    Ok(format!("put back as {source}: {answer}\n"))
}

/// The door of a contract.
fn door(source: Source) -> &'static str {
    match source {
        Source::AlertmanagerApi => "/api/v2/alerts",
        Source::AlertmanagerWebhook => "/api/v1/webhooks/alertmanager",
        Source::PagerDuty => "/v2/enqueue",
        Source::PagerDutyChange => "/v2/change/enqueue",
    }
}
