//! The storm as its senders put it: who posts what, when, and how often again.
//!
//! Deliberately absent: what happened; that is told by the episodes.

use std::collections::BTreeMap;
use std::time::Duration;

use quell_domain::{Batch, BatchBuilder, Source, Timestamp};
use serde_json::{Value, json};

use super::{Episode, Post, StormOptions};

/// The story's length in seconds at pace 1.
pub(crate) const STORY: f64 = 600.0;
/// Rules are evaluated this often.
const EVALUATION: f64 = 15.0;
/// Prometheus sends a firing alert again this often (`resend_delay`).
const RESEND: f64 = 60.0;
/// An Alertmanager group that did not change is sent again this often.
const GROUP_REPEAT: f64 = 180.0;
/// PagerDuty's senders trigger again this often while a check keeps failing.
const TRIGGER_REPEAT: f64 = 120.0;
/// Firing alerts are sent as valid for this long, so that what is not mended stays open for whoever looks around.
const VALID: Duration = Duration::from_secs(3600);
/// The second Prometheus of the pair is so many seconds behind the first.
const PAIR: f64 = 0.7;

/// Decodes a body of alerts as its contract's door does; one of changes holds none.
#[must_use]
pub fn decode(source: Source, body: &[u8]) -> Batch {
    match source {
        Source::AlertmanagerApi => quell_formats::alertmanager::decode_api(body),
        Source::AlertmanagerWebhook => quell_formats::alertmanager::decode_webhook(body),
        Source::PagerDuty => quell_formats::pagerduty::decode(body),
        Source::PagerDutyChange => BatchBuilder::new(source, 0).finish(),
    }
}

/// The posts in order of time, each with the indices of the episodes it carries, in the order of its items.
pub(crate) fn posts(episodes: &[Episode], options: StormOptions) -> Vec<(Post, Vec<usize>)> {
    let teller = Teller { episodes, options };
    let mut posts = Vec::new();
    teller.prometheus(&mut posts);
    teller.alertmanager(&mut posts);
    teller.pagerduty(&mut posts);
    posts.sort_by(|(a, _), (b, _)| a.at_seconds.total_cmp(&b.at_seconds));
    posts
}

struct Teller<'a> {
    episodes: &'a [Episode],
    options: StormOptions,
}

impl Teller<'_> {
    fn instant(&self, story: f64) -> Timestamp {
        self.options.start + Duration::from_secs_f64((story / self.options.pace).max(0.0))
    }

    fn via(&self, source: Source) -> impl Iterator<Item = (usize, &Episode)> {
        self.episodes.iter().enumerate().filter(move |(_, episode)| episode.via == source)
    }

    fn post(&self, story: f64, source: Source, body: &Value, told: Vec<usize>) -> (Post, Vec<usize>) {
        let (at_seconds, alerts) = (story / self.options.pace, told.len());
        (Post { at_seconds, source, body: body.to_string(), alerts }, told)
    }

    /// A pair of Prometheus servers that evaluate the same rules, each sending all it has.
    fn prometheus(&self, posts: &mut Vec<(Post, Vec<usize>)>) {
        let mut sent: BTreeMap<usize, f64> = BTreeMap::new();
        for tick in ticks(EVALUATION) {
            let due = |(ix, episode): &(usize, &Episode)| {
                let last = sent.get(ix);
                let again = last.is_none_or(|last| tick - last >= RESEND);
                let just_over = episode.ends.is_some_and(|ends| ends <= tick && ends > tick - EVALUATION);
                let over = episode.ends.is_some_and(|ends| ends <= tick - EVALUATION - RESEND);
                episode.starts <= tick && !over && (again || just_over)
            };
            let told: Vec<usize> = self.via(Source::AlertmanagerApi).filter(due).map(|(ix, _)| ix).collect();
            if told.is_empty() {
                continue;
            }
            for server in [0.0, PAIR] {
                let alerts: Vec<Value> = told.iter().map(|&ix| self.pushed(ix, tick, server)).collect();
                posts.push(self.post(tick + server, Source::AlertmanagerApi, &Value::Array(alerts), told.clone()));
            }
            sent.extend(told.into_iter().map(|ix| (ix, tick)));
        }
    }

    fn pushed(&self, ix: usize, tick: f64, server: f64) -> Value {
        let episode = &self.episodes[ix];
        let ends_at = match episode.ends {
            Some(ends) if ends <= tick => self.instant(ends),
            _ => self.instant(tick + server) + VALID,
        };
        json!({
            "labels": episode.labels,
            "annotations": episode.annotations,
            "startsAt": self.instant(episode.starts + server).to_string(),
            "endsAt": ends_at.to_string(),
            "generatorURL": "https://prometheus.example.com/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
        })
    }

    /// The network team's Alertmanager, one group for each alert name.
    fn alertmanager(&self, posts: &mut Vec<(Post, Vec<usize>)>) {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (ix, episode) in self.via(Source::AlertmanagerWebhook) {
            groups.entry(episode.labels.get("alertname").map_or("", String::as_str)).or_default().push(ix);
        }
        for (name, members) in groups {
            let mut last = None;
            for tick in ticks(EVALUATION) {
                let within = |at: f64| at <= tick && at > tick - EVALUATION;
                let changed = members.iter().map(|&ix| &self.episodes[ix]);
                let changed =
                    changed.clone().any(|e| within(e.starts)) || changed.clone().any(|e| e.ends.is_some_and(within));
                let told: Vec<usize> = members
                    .iter()
                    .copied()
                    .filter(|&ix| {
                        let episode = &self.episodes[ix];
                        episode.starts <= tick && episode.ends.is_none_or(|ends| ends > tick - EVALUATION)
                    })
                    .collect();
                let again = last.is_some_and(|last| tick - last >= GROUP_REPEAT);
                if !told.is_empty() && (changed || again) {
                    last = Some(tick);
                    let body = self.group(name, &told, tick);
                    posts.push(self.post(tick + 2.0, Source::AlertmanagerWebhook, &body, told));
                }
            }
        }
    }

    fn group(&self, name: &str, told: &[usize], tick: f64) -> Value {
        let over = |ix: usize| self.episodes[ix].ends.filter(|&ends| ends <= tick);
        let alerts: Vec<Value> = told
            .iter()
            .map(|&ix| {
                let episode = &self.episodes[ix];
                let ends_at = over(ix).map_or("0001-01-01T00:00:00Z".to_owned(), |ends| self.instant(ends).to_string());
                json!({
                    "status": if over(ix).is_some() { "resolved" } else { "firing" },
                    "labels": episode.labels,
                    "annotations": episode.annotations,
                    "startsAt": self.instant(episode.starts).to_string(),
                    "endsAt": ends_at,
                    "generatorURL": "https://prometheus-net.example.com/graph",
                    "fingerprint": format!("{:016x}", 0xcbf2_9ce4_8422_2325_u64.wrapping_add(ix as u64)),
                })
            })
            .collect();
        let firing = told.iter().any(|&ix| over(ix).is_none());
        json!({
            "version": "4",
            "groupKey": format!("{{}}:{{alertname=\"{name}\"}}"),
            "truncatedAlerts": 0,
            "status": if firing { "firing" } else { "resolved" },
            "receiver": "quell",
            "groupLabels": { "alertname": name },
            "commonLabels": { "alertname": name },
            "commonAnnotations": {},
            "externalURL": "https://alertmanager-net.example.com",
            "alerts": alerts,
        })
    }

    /// A synthetic monitor that speaks PagerDuty's Events API.
    fn pagerduty(&self, posts: &mut Vec<(Post, Vec<usize>)>) {
        for (ix, episode) in self.via(Source::PagerDuty) {
            let until = episode.ends.unwrap_or(STORY);
            let mut at = episode.starts;
            while at < until {
                posts.push(self.post(at, Source::PagerDuty, &self.event(ix, "trigger"), vec![ix]));
                at += TRIGGER_REPEAT;
            }
            if let Some(ends) = episode.ends {
                posts.push(self.post(ends, Source::PagerDuty, &self.event(ix, "resolve"), vec![ix]));
            }
        }
    }

    fn event(&self, ix: usize, action: &str) -> Value {
        let episode = &self.episodes[ix];
        let label = |name| episode.labels.get(name).map_or("", String::as_str);
        let mut event = json!({
            "routing_key": "0123456789abcdef0123456789abcdef",
            "event_action": action,
            "dedup_key": format!("{}/{}", label("alertname"), label("source")),
        });
        if action == "trigger" {
            event["client"] = json!("Synthetics");
            event["payload"] = json!({
                "summary": episode.annotations.get("summary"),
                "source": label("source"),
                "severity": label("severity"),
                "timestamp": self.instant(episode.starts).to_string(),
                "component": label("source"),
                "group": label("team"),
                "class": label("alertname"),
                "custom_details": { "runbook_url": episode.annotations.get("runbook_url"), "env": label("env") },
            });
        }
        event
    }
}

fn ticks(every: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.0), move |tick| Some(tick + every)).take_while(|tick| *tick <= STORY)
}
