//! What the config file says of Kafka beside the log: how brokers are reached, topics that other systems fill, and
//! topics that incidents and problems are told on.
//!
//! Absent on purpose: reading secrets, and whether a broker answers.

use std::path::PathBuf;

use quell_domain::Source;

use crate::config::Secret;
use crate::tree::{Node, Object};

/// How the brokers are reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kafka {
    /// `HOST:PORT[,HOST:PORT]` of raw topics and told ones; without it those of the log.
    pub brokers: Option<String>,
    /// By TLS.
    pub tls: Option<Tls>,
    /// As whom.
    pub sasl: Option<Sasl>,
}

/// Whom to trust, and what to show.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    /// Certificates to check brokers against; without it those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// This client's certificate and key.
    pub pair: Option<(PathBuf, PathBuf)>,
}

/// As whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sasl {
    /// One of [`MECHANISMS`].
    pub mechanism: String,
    /// The name.
    pub username: String,
    /// Where the password is.
    pub password: Secret,
}

/// A topic that another system fills.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawTopic {
    /// Its name.
    pub topic: String,
    /// What its messages are: each as the body of a request by that contract.
    pub format: Source,
    /// The consumer group, whose members share its partitions.
    pub group: String,
    /// Whether a new group begins with the oldest message that is kept.
    pub oldest: bool,
}

/// A topic that incidents and problems are told on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldTopic {
    /// The sink's name; unique among all sinks.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// CloudEvents' `source`: which quell it is.
    pub source: String,
}

/// How a password may be proved.
pub const MECHANISMS: [&str; 3] = ["plain", "scram-sha-256", "scram-sha-512"];

const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// `source` where the config names none.
const SOURCE: &str = "urn:quell";

/// Reads the section `kafka`.
pub(crate) fn kafka(node: &Node<'_>) -> Option<Kafka> {
    let mut fields = node.object();
    let brokers = fields.get("brokers").and_then(|node| text(&node, is_brokers, "HOST:PORT[,HOST:PORT]"));
    let protocol = fields.get("security_protocol");
    let protocol =
        protocol.and_then(|node| node.choice(|name| PROTOCOLS.into_iter().find(|one| *one == name), &PROTOCOLS));
    let protocol = protocol.unwrap_or("plaintext");
    let (by_tls, by_name) = (protocol.ends_with("ssl"), protocol.starts_with("sasl"));
    let path = |node: Node<'_>| node.text().map(PathBuf::from);
    let ca_file = fields.get("ca_file").and_then(path);
    let certificate = fields.get("cert_file").and_then(path);
    let key = fields.get("key_file").and_then(path);
    let named_tls = ca_file.is_some() || certificate.is_some() || key.is_some();
    if named_tls && !by_tls {
        node.wrong("`ca_file`, `cert_file` and `key_file` only with `security_protocol: ssl` or `sasl_ssl`");
    }
    if certificate.is_some() != key.is_some() {
        node.wrong("`cert_file` and `key_file` together, or neither");
    }
    let tls = by_tls.then(|| Tls { ca_file, pair: certificate.zip(key) });
    let sasl = sasl(node, &mut fields, by_name);
    fields.end();
    Some(Kafka { brokers, tls, sasl })
}

fn sasl(node: &Node<'_>, fields: &mut Object<'_>, wanted: bool) -> Option<Sasl> {
    let known = |name: &str| MECHANISMS.into_iter().find(|one| *one == name).map(str::to_owned);
    let mechanism = fields.get("sasl_mechanism").map(|node| node.choice(known, &MECHANISMS));
    let username = fields.get("username").map(|node| node.text().map(str::to_owned));
    let file = fields.get("password_file").map(|node| node.text().map(|path| Secret::File(path.into())));
    let env = fields.get("password_env").map(|node| node.text().map(|name| Secret::Env(name.to_owned())));
    match (wanted, mechanism, username, file, env) {
        (true, Some(mechanism), Some(username), Some(password), None)
        | (true, Some(mechanism), Some(username), None, Some(password)) => {
            Some(Sasl { mechanism: mechanism?, username: username?, password: password? })
        }
        (true, ..) => {
            node.wrong("with SASL `sasl_mechanism`, `username`, and either `password_file` or `password_env`");
            None
        }
        (false, None, None, None, None) => None,
        (false, ..) => {
            node.wrong("a mechanism, name and password only with `security_protocol: sasl_plaintext` or `sasl_ssl`");
            None
        }
    }
}

/// Reads one of the list `topics`.
pub(crate) fn raw_topic(node: &Node<'_>, others: &[RawTopic]) -> Option<RawTopic> {
    let mut fields = node.object();
    let unique = |name: &str| is_topic(name) && others.iter().all(|other| other.topic != name);
    let topic = fields.need("topic", "the name of a topic");
    let topic = topic.and_then(|node| text(&node, unique, &format!("a topic that no other entry has: {TOPIC}")));
    let names = Source::ALL.map(Source::as_str);
    let format = fields.need("format", &format!("one of {}", names.join(", ")));
    let format = format.and_then(|node| node.choice(Source::from_name, &names));
    let group = fields.get("group").map(|node| text(&node, is_topic, TOPIC));
    let oldest = fields.get("from").and_then(|node| {
        node.choice(
            |name| [("oldest", true), ("newest", false)].into_iter().find(|(one, _)| *one == name),
            &["oldest", "newest"],
        )
    });
    fields.end();
    let topic = topic?;
    let group = group.unwrap_or_else(|| Some(format!("quell-{topic}")))?;
    Some(RawTopic { format: format?, group, oldest: oldest.is_none_or(|(_, oldest)| oldest), topic })
}

/// Reads what is left of an entry of `sinks` that has a `topic`.
pub(crate) fn told_topic(mut fields: Object<'_>, name: Option<String>) -> Option<ToldTopic> {
    let topic = fields.need("topic", "the name of a topic").and_then(|node| text(&node, is_topic, TOPIC));
    let source =
        fields.get("source").map(|node| text(&node, is_uri, "a URI that names this quell, as urn:quell:berlin"));
    fields.end();
    Some(ToldTopic { name: name?, topic: topic?, source: source.unwrap_or_else(|| Some(SOURCE.to_owned()))? })
}

const TOPIC: &str = "1 to 249 letters, digits, dots, - and _";

fn text(node: &Node<'_>, good: impl Fn(&str) -> bool, allowed: &str) -> Option<String> {
    let text = node.text()?;
    if good(text) {
        return Some(text.to_owned());
    }
    node.wrong(allowed);
    None
}

fn is_topic(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=249).contains(&name.len()) && name.bytes().all(fits) && !matches!(name, "." | "..")
}

/// A scheme and something after it, all of it what a URI may have.
fn is_uri(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    text.len() <= 1024
        && text.bytes().all(fits)
        && text.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty() && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !scheme.contains('/')
        })
}

/// Enough to catch a slip; the log's address is read fully by whoever connects.
fn is_brokers(text: &str) -> bool {
    text.split(',').all(|broker| {
        let parts = broker.rsplit_once(':');
        parts.is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@'))
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn check(text: &str, wanted: Result<(), &str>) {
        let found = config::decode("quell.yaml", text)
            .map(drop)
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        assert_eq!(found, wanted.map_err(|mistakes| mistakes.to_owned()), "{text}");
    }

    #[test]
    fn topics_in_and_out() {
        let text = "kafka: {brokers: '10.0.0.1:9092,[::1]:9092'}\ntopics:\n- {topic: alerts.raw, format: pagerduty}\n\
            - {topic: more, format: alertmanager, group: g, from: newest}\n\
            sinks:\n- {name: bus, topic: quell.events, source: 'urn:quell:berlin'}\n- {name: two, topic: other}\n";
        let config = config::decode("quell.yaml", text).expect("sound");
        let raw = |topic: &str, format, group: &str, oldest| RawTopic {
            topic: topic.into(),
            format,
            group: group.into(),
            oldest,
        };
        assert_eq!(
            config.topics,
            [
                raw("alerts.raw", Source::PagerDuty, "quell-alerts.raw", true),
                raw("more", Source::AlertmanagerApi, "g", false)
            ]
        );
        let told = |name: &str, topic: &str, source: &str| ToldTopic {
            name: name.into(),
            topic: topic.into(),
            source: source.into(),
        };
        assert_eq!(
            config.told_topics,
            [told("bus", "quell.events", "urn:quell:berlin"), told("two", "other", "urn:quell")]
        );
        assert_eq!(config.kafka.brokers.as_deref(), Some("10.0.0.1:9092,[::1]:9092"));
    }

    #[test]
    fn how_brokers_are_reached() {
        check("kafka: {security_protocol: ssl, ca_file: ca.pem}", Ok(()));
        let text = "kafka: {security_protocol: sasl_ssl, sasl_mechanism: scram-sha-512, username: q, password_env: P}";
        check(text, Ok(()));
        check(
            "kafka: {ca_file: ca.pem}",
            Err("quell.yaml: kafka: found an object; allowed: `ca_file`, `cert_file` and `key_file` only with \
                 `security_protocol: ssl` or `sasl_ssl`"),
        );
        check(
            "kafka: {security_protocol: sasl_plaintext, sasl_mechanism: plain, username: q}",
            Err("quell.yaml: kafka: found an object; allowed: with SASL `sasl_mechanism`, `username`, and either \
                 `password_file` or `password_env`"),
        );
    }
}
