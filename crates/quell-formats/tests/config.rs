//! The main config file: defaults, everything set, and every mistake at once.

use std::time::Duration;

use quell_domain::Sharding;
use quell_formats::config::{Config, Destination, Learning, Roles, Secret, decode};
use quell_formats::database::Database;
use quell_formats::mistake::Mistake;

#[test]
fn nothing_said_is_the_default() {
    for text in ["", "# nothing\n", "{}", "---\n"] {
        assert_eq!(decode("quell.yaml", text), Ok(Config::default()), "{text:?}");
    }
    let config = Config::default();
    assert_eq!(config.listen.to_string(), "127.0.0.1:9096");
    assert_eq!(config.retention.age, Duration::from_secs(7 * 86_400));
    assert_eq!(config.history_age, Duration::from_secs(90 * 86_400));
}

#[test]
fn everything_can_be_said() {
    let text = "
listen: '[::1]:0'
data_dir: /var/lib/quell
store: {url: 'postgres://quell@db.example.net:5432/quell?sslmode=verify-full', password_file: /etc/quell/db}
log: 'kafka://a:9092,b:9092/alerts'
shards: {label: region, count: 4}
roles: [gateway, api]
rules_dir: rules
pipelines_dir: pipelines
retention: {age: 1d12h, bytes: 512MiB}
intake: {waiting_records: 10, waiting_bytes: 1MiB, body_bytes: 1000, decoded_bytes: 2KiB, topology_bytes: 1GiB, spool_bytes: 3GiB}
sinks:
  - {name: chat, url: https://hooks.example.net/a?b=c, secret_file: /etc/quell/chat}
  - {name: pager, url: 'http://127.0.0.1:9000/', secret_env: PAGER_SECRET}
egress: {allow: ['hooks.example.net:443', '127.0.0.0/8:9000']}
history: {age: 30d}
learning: {enabled: false, every: 5m}
cost: {person_hour: 85.5, currency: EUR}
";
    let config = decode("quell.yaml", text).expect("valid");
    assert_eq!(config.listen.to_string(), "[::1]:0");
    assert_eq!(config.retention.age, Duration::from_secs(36 * 3600));
    assert_eq!(config.retention.bytes, 512 << 20);
    assert_eq!((config.intake.waiting_records, config.intake.decoded_bytes), (10, 2048));
    let password = Some(Secret::File("/etc/quell/db".into()));
    let url = "postgres://quell@db.example.net:5432/quell?sslmode=verify-full".to_owned();
    assert_eq!(config.store, Some(Database { url, password }));
    assert_eq!((config.intake.topology_bytes, config.intake.spool_bytes), (1 << 30, 3 << 30));
    assert_eq!(config.log.as_deref(), Some("kafka://a:9092,b:9092/alerts"));
    assert_eq!(config.shards, Sharding::by("region", 4).expect("good"));
    assert_eq!(config.roles, Roles { engine: false, ..Roles::ALL });
    assert_eq!(Roles::parse("engine, api"), Ok(Roles { gateway: false, ..Roles::ALL }));
    for none in ["", "gateway,", "leader"] {
        assert_eq!(Roles::parse(none), Err("one or more of gateway, engine and api".to_owned()), "{none:?}");
    }
    assert_eq!(config.sinks[0].secret, Secret::File("/etc/quell/chat".into()));
    assert_eq!(config.sinks[1].secret, Secret::Env("PAGER_SECRET".into()));
    assert_eq!(config.egress[0], Destination::Host { name: "hooks.example.net".into(), port: 443 });
    assert_eq!(config.rules_dir.as_deref(), Some("rules".as_ref()));
    assert_eq!(config.history_age, Duration::from_secs(30 * 86_400));
    assert_eq!(config.learning, Learning { enabled: false, every: Duration::from_secs(300) });
    assert_eq!(config.person_hour, Some((85.5, "EUR".to_owned())));
}

#[test]
fn all_mistakes_at_once() {
    let text = "
listen: 0.0.0.0:9096
port: 1
log: amqp://x
retention: {age: 7}
intake: {waiting_records: 0, speed: fast}
sinks:
  - {name: Chat, url: 'ftp://x', secret_env: A, secret_file: b}
  - {name: ok, url: 'https://user:pw@x/', secret_env: A}
egress: {allow: [everything]}
learning: {enabled: maybe, every: 10ms}
cost: {person_hour: -1, currency: pounds sterling}
store: {url: 'postgres://quell:secret@db/quell', password_env: A, password_file: b}
";
    let mistakes = decode("quell.yaml", text).expect_err("many");
    let texts: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    assert_eq!(
        texts,
        [
            "quell.yaml: listen: found \"0.0.0.0:9096\"; allowed: a loopback address, as 127.0.0.1:9096: quell has no \
             access control yet, so it listens to this machine only; put a proxy that asks for credentials in front \
             of it",
            "quell.yaml: store.url: found a text that is not shown, as it may hold a secret; allowed: an address without \
             a password: name its file in `store.password_file` or its environment variable in `store.password_env` of \
             the config file, or use PGPASSWORD or PostgreSQL's password file",
            "quell.yaml: store: found an object; allowed: `password_file` or `password_env`, not both",
            "quell.yaml: log: found \"amqp://x\"; allowed: kafka://HOST:PORT[,HOST:PORT][/PREFIX]",
            "quell.yaml: retention.age: found 7; allowed: a duration, as 30s, 5m, 1h30m or 7d",
            "quell.yaml: intake.waiting_records: found 0; allowed: a whole number of 1 or more",
            "quell.yaml: intake.speed: found an unknown key; allowed: waiting_records, waiting_bytes, body_bytes, \
             decoded_bytes, topology_bytes, spool_bytes",
            "quell.yaml: learning.enabled: found \"maybe\"; allowed: true or false",
            "quell.yaml: learning.every: found \"10ms\"; allowed: a duration of 1s or more",
            "quell.yaml: cost.person_hour: found -1; allowed: a number of 0 or more",
            "quell.yaml: cost.currency: found \"pounds sterling\"; allowed: up to 8 characters, as EUR",
            "quell.yaml: sinks[0].name: found \"Chat\"; allowed: a name no other sink has: 1 to 64 lower-case \
             letters, digits, - and _",
            "quell.yaml: sinks[0].url: found \"ftp://x\"; allowed: a URL, as https://host/path, without credentials",
            "quell.yaml: sinks[0]: found an object; allowed: either `secret_file` or `secret_env`: the secret that \
             bodies are signed with",
            "quell.yaml: sinks[1].url: found \"https://user:pw@x/\"; allowed: a URL, as https://host/path, without \
             credentials",
            "quell.yaml: egress.allow[0]: found \"everything\"; allowed: host:port, address:port or network:port, as \
             hooks.example.net:443, 10.0.0.0/8:443 or [fd00::/8]:443",
            "quell.yaml: port: found an unknown key; allowed: listen, data_dir, rules_dir, pipelines_dir, store, log, \
             shards, roles, retention, intake, history, learning, cost, sinks, kafka, topics, egress",
        ]
    );
}

#[test]
fn shards_have_a_label_and_a_count() {
    for (text, expected) in [
        ("{}", "quell.yaml: shards.label: found nothing; allowed: the name of a label, as region"),
        ("{label: region}", "quell.yaml: shards.count: found nothing; allowed: a whole number from 2 to 64"),
        ("{label: region, count: 1}", "quell.yaml: shards.count: found 1; allowed: a whole number from 2 to 64"),
        ("{label: region, count: 65}", "quell.yaml: shards.count: found 65; allowed: a whole number from 2 to 64"),
        ("{label: '', count: 4}", "quell.yaml: shards.label: found \"\"; allowed: a text"),
        ("{label: a, count: 4, by: b}", "quell.yaml: shards.by: found an unknown key; allowed: label, count"),
    ] {
        let mistakes = decode("quell.yaml", &format!("shards: {text}")).expect_err("a mistake");
        assert_eq!(mistakes[0].to_string(), expected);
    }
}
