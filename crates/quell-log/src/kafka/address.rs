//! Where the brokers are: `kafka://HOST:PORT[,HOST:PORT][/PREFIX]`. Absent on purpose: whether anybody answers there.

use std::fmt;
use std::str::FromStr;

/// Brokers to begin with, and what the names of the topics begin with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// `HOST:PORT`, separated by commas.
    pub brokers: String,
    /// The topics are `PREFIX.main` and `PREFIX.commands`.
    pub prefix: String,
}

/// A text that is no address of brokers.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{found:?} names no Kafka brokers; allowed: kafka://HOST:PORT[,HOST:PORT][/PREFIX], as kafka://10.0.0.1:9092/quell; \
     the prefix of topics has 1 to 200 letters, digits, dots, - and _"
)]
pub struct BadAddress {
    found: String,
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress { found: text.to_owned() };
        let rest = text.strip_prefix("kafka://").ok_or_else(bad)?;
        let (brokers, prefix) = rest.split_once('/').unwrap_or((rest, "quell"));
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let named = (1..=200).contains(&prefix.len()) && prefix.bytes().all(fits);
        let good = named && brokers.split(',').all(is_broker);
        good.then(|| Address { brokers: brokers.to_owned(), prefix: prefix.to_owned() }).ok_or_else(bad)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka://{}/{}", self.brokers, self.prefix)
    }
}

fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(named),
    };
    host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, wanted: Option<(&str, &str)>| {
            let found: Result<Address, _> = text.parse();
            let found = found.map(|found| (found.brokers, found.prefix)).ok();
            assert_eq!(found, wanted.map(|(brokers, prefix)| (brokers.to_owned(), prefix.to_owned())), "{text}");
        };
        check("kafka://127.0.0.1:9092", Some(("127.0.0.1:9092", "quell")));
        check("kafka://a:1,b-2.example:2,[::1]:3/alerts.prod", Some(("a:1,b-2.example:2,[::1]:3", "alerts.prod")));
        for bad in ["a:1", "kafka://", "kafka://a", "kafka://a:0", "kafka://a:1,", "kafka://a:1/", "kafka://a:1/b/c"] {
            check(bad, None);
        }
        check("kafka://user:password@a:1", None);
    }
}
