//! The main config file: YAML to a checked value, with a default for everything.
//!
//! Absent on purpose: reading files, secrets and the environment; a secret is named here and read by the shell.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use quell_domain::Sharding;
use serde_json::Value;

use crate::database::{self, Database};
use crate::mistake::{Mistake, Mistakes};
use crate::streams::{self, Kafka, RawTopic, ToldTopic};
use crate::tree::{self, Node, Object};

/// Everything that can be configured.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where to listen; always a loopback address.
    pub listen: SocketAddr,
    /// Where log and store lie.
    pub data_dir: PathBuf,
    /// The database that the store lies in instead.
    pub store: Option<Database>,
    /// The Kafka that the log lies on instead: `kafka://HOST:PORT[,HOST:PORT][/PREFIX]`.
    pub log: Option<String>,
    /// How alerts are shared out among engines; said when the installation is created, and the same ever after.
    pub shards: Sharding,
    /// What this node does.
    pub roles: Roles,
    /// How Kafka's brokers are reached.
    pub kafka: Kafka,
    /// Topics that other systems fill.
    pub topics: Vec<RawTopic>,
    /// Rules to be used instead of the shipped ones.
    pub rules_dir: Option<PathBuf>,
    /// Pipelines to be used instead of the shipped ones.
    pub pipelines_dir: Option<PathBuf>,
    /// How long records are kept.
    pub retention: Retention,
    /// Limits of what may wait and of what one request may hold.
    pub intake: Intake,
    /// Who is told.
    pub sinks: Vec<Sink>,
    /// Who is told by a topic.
    pub told_topics: Vec<ToldTopic>,
    /// Where quell may connect to.
    pub egress: Vec<Destination>,
    /// How long ended alerts and resolved incidents are kept.
    pub history_age: Duration,
    /// Whether and how often quell learns from its history.
    pub learning: Learning,
    /// What an hour of somebody's work costs: the price and the currency.
    pub person_hour: Option<(f64, String)>,
}

/// What a node does; every node of an installation with one log and one store does all of it, or some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    /// Receives alerts and changes.
    pub gateway: bool,
    /// Decides, when it is its turn.
    pub engine: bool,
    /// Shows pages, read API and live stream, and takes what operators ask.
    pub api: bool,
}

impl Roles {
    /// All of it.
    pub const ALL: Roles = Roles { gateway: true, engine: true, api: true };

    /// Reads words with commas between them.
    ///
    /// # Errors
    /// What is allowed, when a word is none of them or there is none.
    pub fn parse(text: &str) -> Result<Roles, String> {
        Roles::of(text.split(',').map(str::trim)).ok_or_else(|| ROLES.to_owned())
    }

    fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Roles> {
        let mut roles = Roles { gateway: false, engine: false, api: false };
        for word in words {
            match word {
                "gateway" => roles.gateway = true,
                "engine" => roles.engine = true,
                "api" => roles.api = true,
                _ => return None,
            }
        }
        (roles != Roles { gateway: false, engine: false, api: false }).then_some(roles)
    }
}

/// What is allowed of roles.
const ROLES: &str = "one or more of gateway, engine and api";

/// Learning from history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Learning {
    /// Whether anything new is learned; what is in force stays in force.
    pub enabled: bool,
    /// How often it is looked whether enough was seen to learn anew.
    pub every: Duration,
}

/// How long the log keeps records: until either is exceeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Their greatest age.
    pub age: Duration,
    /// The bytes of all of them.
    pub bytes: u64,
}

/// Limits of intake (INV-6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intake {
    /// Records that may wait to be decided.
    pub waiting_records: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Bytes of one request as sent.
    pub body_bytes: usize,
    /// Bytes of one request after decompression.
    pub decoded_bytes: usize,
    /// Bytes of a topology, as sent and unpacked.
    pub topology_bytes: usize,
    /// Bytes that this node keeps while the log is away.
    pub spool_bytes: u64,
}

/// A webhook that is told of incidents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sink {
    /// Its name; unique.
    pub name: String,
    /// Where to post; `http` or `https`.
    pub url: String,
    /// What its bodies are signed with.
    pub secret: Secret,
}

/// Where a secret is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Secret {
    /// In this file.
    File(PathBuf),
    /// In the environment variable of this name.
    Env(String),
}

/// Where quell may connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// A host by its name, in lower case.
    Host {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
    /// All addresses that share the first `prefix` bits with `address`.
    Network {
        /// An address of the network.
        address: IpAddr,
        /// How many bits count.
        prefix: u8,
        /// The port.
        port: u16,
    },
}

const DAY: Duration = Duration::from_secs(86_400);
const LISTEN: &str = "127.0.0.1:9096";

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 9096)),
            data_dir: PathBuf::from("./quell-data"),
            store: None,
            log: None,
            shards: Sharding::ONE,
            roles: Roles::ALL,
            kafka: Kafka::default(),
            topics: Vec::new(),
            rules_dir: None,
            pipelines_dir: None,
            retention: Retention { age: 7 * DAY, bytes: 10 << 30 },
            intake: Intake {
                waiting_records: 4096,
                waiting_bytes: 64 << 20,
                body_bytes: 5 << 20,
                decoded_bytes: 16 << 20,
                topology_bytes: 64 << 20,
                spool_bytes: 1 << 30,
            },
            sinks: Vec::new(),
            told_topics: Vec::new(),
            egress: Vec::new(),
            history_age: 90 * DAY,
            learning: Learning { enabled: true, every: Duration::from_secs(30) },
            person_hour: None,
        }
    }
}

/// Reads a config file; what it does not say keeps its default.
///
/// # Errors
/// All mistakes at once; `file` is named in each.
pub fn decode(file: &str, text: &str) -> Result<Config, Vec<Mistake>> {
    let mistakes = Mistakes::of(file);
    let mut config = Config::default();
    match tree::yaml(text, &mistakes) {
        None | Some(Value::Null) => {}
        Some(value) => read(&Node::top(&value, &mistakes), &mut config),
    }
    if mistakes.any() { Err(mistakes.into_list()) } else { Ok(config) }
}

/// Reads an address to listen on.
///
/// # Errors
/// What is allowed, when it is none or not a loopback address.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("an IP address with a port, as {LISTEN} or [::1]:9096"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "a loopback address, as {LISTEN}: quell has no access control yet, so it listens to this machine only; \
             put a proxy that asks for credentials in front of it"
        ))
    }
}

fn read(top: &Node<'_>, config: &mut Config) {
    let Config {
        listen,
        data_dir,
        store,
        log,
        shards,
        roles,
        kafka,
        topics,
        rules_dir,
        pipelines_dir,
        retention,
        intake,
        sinks,
        told_topics,
        egress,
        history_age,
        learning,
        person_hour,
    } = config;
    let mut fields = top.object();
    if let Some(node) = fields.get("listen")
        && let Some(text) = node.text()
    {
        match listen_address(text) {
            Ok(address) => *listen = address,
            Err(allowed) => node.wrong(allowed),
        }
    }
    let mut path = |name| fields.get(name).and_then(|node| node.text().map(PathBuf::from));
    set(data_dir, path("data_dir"));
    *rules_dir = path("rules_dir");
    *pipelines_dir = path("pipelines_dir");
    *store = fields.get("store").as_ref().and_then(database::read);
    *log = checked(fields.get("log"), |text| text.starts_with("kafka://"), "kafka://HOST:PORT[,HOST:PORT][/PREFIX]");
    set(shards, fields.get("shards").as_ref().and_then(sharding));
    if let Some(node) = fields.get("roles") {
        let nodes = node.list();
        match Roles::of(nodes.iter().filter_map(Node::text)) {
            Some(found) => *roles = found,
            None => node.wrong(ROLES),
        }
    }
    section(&mut fields, "retention", |section| {
        set(&mut retention.age, section.get("age").and_then(|node| node.duration()));
        set(&mut retention.bytes, section.get("bytes").and_then(|node| tree::bytes(&node)));
    });
    section(&mut fields, "intake", |section| {
        let Intake { waiting_records, waiting_bytes, body_bytes, decoded_bytes, topology_bytes, spool_bytes } = intake;
        let records = section.get("waiting_records").and_then(|node| node.count(1));
        set(waiting_records, records.and_then(|count| usize::try_from(count).ok()));
        for (name, place) in [
            ("waiting_bytes", waiting_bytes),
            ("body_bytes", body_bytes),
            ("decoded_bytes", decoded_bytes),
            ("topology_bytes", topology_bytes),
        ] {
            let bytes = section.get(name).and_then(|node| tree::bytes(&node));
            set(place, bytes.and_then(|bytes| usize::try_from(bytes).ok()));
        }
        set(spool_bytes, section.get("spool_bytes").and_then(|node| tree::bytes(&node)));
    });
    section(&mut fields, "history", |section| {
        set(history_age, section.get("age").and_then(|node| node.duration()));
    });
    section(&mut fields, "learning", |section| {
        let Learning { enabled, every } = learning;
        set(enabled, section.get("enabled").and_then(|node| node.flag()));
        if let Some(node) = section.get("every") {
            match node.duration() {
                Some(long) if long < Duration::from_secs(1) => node.wrong("a duration of 1s or more"),
                found => set(every, found),
            }
        }
    });
    section(&mut fields, "cost", |section| {
        let price = section.get("person_hour").and_then(|node| node.amount());
        let currency = checked(section.get("currency"), |text| text.chars().count() <= 8, "up to 8 characters, as EUR");
        *person_hour = price.map(|price| (price, currency.unwrap_or_default()));
    });
    if let Some(node) = fields.get("sinks") {
        for node in node.list() {
            sink(&node, sinks, told_topics);
        }
    }
    set(kafka, fields.get("kafka").as_ref().and_then(streams::kafka));
    if let Some(node) = fields.get("topics") {
        for node in node.list() {
            topics.extend(streams::raw_topic(&node, topics));
        }
    }
    section(&mut fields, "egress", |section| {
        let list = section.get("allow").map(|node| node.list()).unwrap_or_default();
        *egress = list.iter().filter_map(destination).collect();
    });
    fields.end();
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn section(fields: &mut Object<'_>, name: &'static str, read: impl FnOnce(&mut Object<'_>)) {
    if let Some(node) = fields.get(name) {
        let mut section = node.object();
        read(&mut section);
        section.end();
    }
}

/// Reads a sink, which is a webhook or a topic.
fn sink(node: &Node<'_>, sinks: &mut Vec<Sink>, told: &mut Vec<ToldTopic>) {
    let mut fields = node.object();
    let plain = |name: &str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (1..=64).contains(&name.len())
            && name.bytes().all(fits)
            && sinks.iter().all(|sink| sink.name != name)
            && told.iter().all(|sink| sink.name != name)
    };
    let name = checked(
        fields.need("name", "a name"),
        plain,
        "a name no other sink has: 1 to 64 lower-case letters, digits, - and _",
    );
    if fields.has("topic") {
        told.extend(streams::told_topic(fields, name));
        return;
    }
    let url = checked(fields.need("url", "where to post"), is_url, "a URL, as https://host/path, without credentials");
    let file = fields.get("secret_file").and_then(|node| node.text().map(|path| Secret::File(path.into())));
    let env = fields.get("secret_env").and_then(|node| node.text().map(|name| Secret::Env(name.to_owned())));
    let secret = match (file, env) {
        (Some(secret), None) | (None, Some(secret)) => Some(secret),
        _ => {
            node.wrong("either `secret_file` or `secret_env`: the secret that bodies are signed with");
            None
        }
    };
    fields.end();
    if let (Some(name), Some(url), Some(secret)) = (name, url, secret) {
        sinks.push(Sink { name, url, secret });
    }
}

/// Reads by which label, and among how many shards, alerts are shared out.
fn sharding(node: &Node<'_>) -> Option<Sharding> {
    let allowed = format!("a whole number from 2 to {}", Sharding::MOST);
    let mut fields = node.object();
    let label = fields.need("label", "the name of a label, as region").and_then(|node| node.text());
    let count = fields.need("count", &allowed);
    fields.end();
    let (label, node) = label.zip(count)?;
    let found = node.number().and_then(|count| Sharding::by(label, u32::try_from(count).ok()?).ok());
    if found.is_none() {
        node.wrong(allowed);
    }
    found
}

fn checked(node: Option<Node<'_>>, good: impl Fn(&str) -> bool, allowed: &str) -> Option<String> {
    let node = node?;
    let text = node.text()?;
    if good(text) {
        Some(text.to_owned())
    } else {
        node.wrong(allowed);
        None
    }
}

/// Enough to catch a slip; the client that connects parses it fully.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('@'))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn destination(node: &Node<'_>) -> Option<Destination> {
    let destination = read_destination(node.text()?);
    if destination.is_none() {
        node.wrong(
            "host:port, address:port or network:port, as hooks.example.net:443, 10.0.0.0/8:443 or [fd00::/8]:443",
        );
    }
    destination
}

fn read_destination(text: &str) -> Option<Destination> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|&port| port > 0)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let (address, prefix) = match host.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (host, None),
    };
    if let Ok(address) = address.parse::<IpAddr>() {
        // Only in brackets is it clear which colon ends an IPv6 address.
        let bits = if address.is_ipv6() { 128 } else { 32 };
        let prefix = prefix.unwrap_or(bits);
        let clear = bracketed.is_some() == address.is_ipv6();
        return (clear && prefix <= bits).then_some(Destination::Network { address, prefix, port });
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    let named = prefix.is_none() && bracketed.is_none() && !host.is_empty() && host.bytes().all(fits);
    named.then(|| Destination::Host { name: host.to_ascii_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let host = |name: &str, port| Some(Destination::Host { name: name.into(), port });
        let network = |address: &str, prefix, port| {
            Some(Destination::Network { address: address.parse().expect("an address"), prefix, port })
        };
        for (text, expected) in [
            ("Hooks.example.net:443", host("hooks.example.net", 443)),
            ("10.0.0.0/8:443", network("10.0.0.0", 8, 443)),
            ("127.0.0.1:9000", network("127.0.0.1", 32, 9000)),
            ("[fd00::/8]:443", network("fd00::", 8, 443)),
            ("[::1]:80", network("::1", 128, 80)),
            ("::1:80", None),
            ("10.0.0.0/33:443", None),
            ("host:0", None),
            ("host:99999", None),
            ("host", None),
            (":443", None),
            ("[host]:443", None),
            ("host/8:443", None),
            ("ho st:443", None),
        ] {
            assert_eq!(read_destination(text), expected, "{text}");
        }
    }
}
