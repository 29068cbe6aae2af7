//! The one client for everything outbound, and what it refuses to connect to.
//!
//! A name is resolved here and its addresses are filtered, so the address that was checked is the one connected to;
//! redirects and proxies, which would lead elsewhere, are off.
//!
//! Absent on purpose: what is sent.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// Time for a whole exchange.
const TOTAL: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 * 1024;

/// Ranges that are blocked unless allowed: this host, private and shared networks, link-local (with the clouds'
/// metadata addresses), tests, multicast, reserved, and IPv6 ranges that carry IPv4 addresses inside.
const BLOCKED: [(IpAddr, u8); 29] = [
    (v4(0, 0, 0, 0), 8),
    (v4(10, 0, 0, 0), 8),
    (v4(100, 64, 0, 0), 10),
    (v4(127, 0, 0, 0), 8),
    (v4(169, 254, 0, 0), 16),
    (v4(172, 16, 0, 0), 12),
    (v4(192, 0, 0, 0), 24),
    (v4(192, 0, 2, 0), 24),
    (v4(192, 88, 99, 0), 24),
    (v4(192, 168, 0, 0), 16),
    (v4(198, 18, 0, 0), 15),
    (v4(198, 51, 100, 0), 24),
    (v4(203, 0, 113, 0), 24),
    (v4(224, 0, 0, 0), 4),
    (v4(240, 0, 0, 0), 4),
    (v6(0, 0, 0), 96),
    (v6(0x64, 0xff9b, 0), 96),
    (v6(0x64, 0xff9b, 1), 48),
    (v6(0x100, 0, 0), 64),
    (v6(0x2001, 0, 0), 32),
    (v6(0x2001, 2, 0), 48),
    (v6(0x2001, 0xdb8, 0), 32),
    (v6(0x2002, 0, 0), 16),
    (v6(0x3fff, 0, 0), 20),
    (v6(0x5f00, 0, 0), 16),
    (v6(0xfc00, 0, 0), 7),
    (v6(0xfe80, 0, 0), 10),
    (v6(0xfec0, 0, 0), 10),
    (v6(0xff00, 0, 0), 8),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(a: u16, b: u16, c: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
}

/// True when the address lies in the network; an IPv4 address inside an IPv6 one counts as itself.
fn contains(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

/// What may be connected to although it is blocked by default.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Allowed {
    /// This name, whatever it resolves to, at this port.
    Name { host: String, port: u16 },
    /// Every address of this network, at this port.
    Network { network: IpAddr, prefix: u8, port: u16 },
}

/// Where quell may connect to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EgressPolicy {
    allowed: Vec<Allowed>,
}

impl EgressPolicy {
    /// Reads an allow-list: `name:port`, `address:port`, `network/prefix:port`, IPv6 in brackets (`[fd00::/8]:443`).
    ///
    /// # Errors
    /// Every entry that cannot be read.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, Vec<EgressError>> {
        let read = |entry: &T| {
            let entry = entry.as_ref();
            allowed(entry).ok_or_else(|| EgressError::Entry { found: entry.to_owned() })
        };
        let (good, bad): (Vec<_>, Vec<_>) = entries.iter().map(read).partition(Result::is_ok);
        let bad: Vec<EgressError> = bad.into_iter().filter_map(Result::err).collect();
        if bad.is_empty() {
            return Ok(EgressPolicy { allowed: good.into_iter().filter_map(Result::ok).collect() });
        }
        Err(bad)
    }

    /// Whether `host`, resolved to `address`, may be connected to.
    fn check(&self, host: &str, address: SocketAddr) -> Result<(), EgressError> {
        let ip = address.ip();
        let blocked = BLOCKED.iter().any(|&(network, prefix)| contains(network, prefix, ip));
        let allowed = |allowed: &Allowed| match allowed {
            Allowed::Name { host: name, port } => *port == address.port() && name.eq_ignore_ascii_case(host),
            Allowed::Network { network, prefix, port } => *port == address.port() && contains(*network, *prefix, ip),
        };
        if !blocked || self.allowed.iter().any(allowed) {
            return Ok(());
        }
        Err(EgressError::Blocked { target: SocketAddr::new(ip.to_canonical(), address.port()).to_string() })
    }
}

fn allowed(entry: &str) -> Option<Allowed> {
    let (host, port) = entry.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = host.strip_prefix('[').map_or(Some(host), |rest| rest.strip_suffix(']'))?;
    let (address, prefix) = match host.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (host, None),
    };
    match address.parse::<IpAddr>() {
        Ok(network) => {
            let most = if network.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.unwrap_or(most);
            (prefix <= most).then_some(Allowed::Network { network, prefix, port })
        }
        Err(_) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            let name = prefix.is_none() && !host.is_empty() && host.bytes().all(plain);
            name.then(|| Allowed::Name { host: host.to_owned(), port })
        }
    }
}

/// Why nothing was sent, or no answer came.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// An entry of the allow-list that cannot be read.
    #[error("egress allow-list: found {found:?}; allowed: name:port, address:port, network/prefix:port")]
    Entry {
        /// The entry.
        found: String,
    },
    /// An address that is not one to send to.
    #[error("the address {found:?} cannot be sent to: {why}")]
    Address {
        /// The address, without anything secret in it.
        found: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The policy forbids it.
    #[error("blocked by egress policy; ask an admin to allow {target}")]
    Blocked {
        /// Address and port.
        target: String,
    },
    /// The process has not chosen its cryptography.
    #[error("no TLS provider is installed in this process")]
    NoCrypto,
    /// The client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[source] reqwest::Error),
    /// No answer came.
    #[error("no answer: {why}")]
    Exchange {
        /// The chain of causes, without the address.
        why: String,
    },
}

/// What a receiver answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What it said, cut.
    pub text: String,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// A client for one address.
#[derive(Clone, Debug)]
pub struct EgressClient {
    client: reqwest::Client,
    url: Url,
    policy: Arc<EgressPolicy>,
}

impl EgressClient {
    /// A client for an address.
    ///
    /// # Errors
    /// When the address can never be sent to, or the client cannot be built. What only the policy forbids is told at
    /// each [`Self::post`], so that it becomes visible where a delivery would.
    pub fn new(address: &str, policy: Arc<EgressPolicy>) -> Result<Self, EgressError> {
        let url = checked(address)?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(EgressError::NoCrypto);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .dns_resolver(Arc::new(Filter { policy: policy.clone(), port }))
            .user_agent(concat!("quell/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(EgressError::Client)?;
        Ok(EgressClient { client, url, policy })
    }

    /// Posts a body and reads the answer, at most 64 KiB of it.
    ///
    /// # Errors
    /// When the policy forbids it or no answer came in time.
    pub async fn post(&self, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, EgressError> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        // The client does not ask its resolver about literal addresses.
        if let Ok(ip) = host.parse::<IpAddr>() {
            self.policy.check(host, SocketAddr::new(ip, self.url.port_or_known_default().unwrap_or_default()))?;
        }
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut text = Vec::new();
        // An answer that breaks off is still an answer: its status was read.
        while let Ok(Some(chunk)) = response.chunk().await {
            text.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES - text.len())]);
            if text.len() == ANSWER_BYTES {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text).chars().filter(|c| !c.is_control()).take(200).collect();
        Ok(Answer { status, text, retry_after: retry_after.map(Duration::from_secs) })
    }
}

fn checked(address: &str) -> Result<Url, EgressError> {
    let bad = |why| EgressError::Address { found: address.split('?').next().unwrap_or_default().to_owned(), why };
    let url = Url::parse(address).map_err(|_| bad("it is no address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("allowed are http and https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not echoed: it holds a password.
        return Err(EgressError::Address { found: url.scheme().to_owned(), why: "it carries a user's name" });
    }
    match url.port_or_known_default() {
        Some(80 | 443 | 1024..) => Ok(url),
        _ => Err(bad("allowed are the ports 80, 443 and 1024 to 65535")),
    }
}

/// The refusal of the policy where there is one among the causes, else all causes in a row.
fn failed(error: reqwest::Error) -> EgressError {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(Refused(target)) = cause.downcast_ref() {
            return EgressError::Blocked { target: target.clone() };
        }
        why.push_str(": ");
        why.push_str(&cause.to_string());
        source = cause.source();
    }
    EgressError::Exchange { why }
}

/// A refusal on its way through the client.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is blocked by egress policy", self.0)
    }
}

impl Error for Refused {}

/// Resolves names and keeps only the addresses that the policy allows.
struct Filter {
    policy: Arc<EgressPolicy>,
    port: u16,
}

impl Resolve for Filter {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, port) = (self.policy.clone(), self.port);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), port)).await?.collect();
            let mut refused = None;
            let mut good = Vec::new();
            for address in found {
                match policy.check(name.as_str(), address) {
                    Ok(()) => good.push(address),
                    Err(EgressError::Blocked { target }) => refused = Some(target),
                    Err(other) => return Err(other.into()),
                }
            }
            match refused {
                Some(target) if good.is_empty() => Err(Refused(target).into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &EgressPolicy, host: &str, address: &str, expected: bool) {
        let address: SocketAddr = address.parse().expect("an address");
        assert_eq!(policy.check(host, address).is_ok(), expected, "{host} {address}");
    }

    #[test]
    fn the_inside_is_blocked_by_default() {
        let policy = EgressPolicy::default();
        for address in [
            "127.0.0.1:80",
            "10.1.2.3:443",
            "172.31.0.1:443",
            "192.168.1.1:443",
            "169.254.169.254:80",
            "100.100.100.200:80",
            "0.0.0.0:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[::]:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:10.0.0.1]:80",
            "[::7f00:1]:80",
            "[64:ff9b::a00:1]:80",
            "[2002:7f00:1::]:80",
            "[fd12::1]:80",
            "[fe80::1]:80",
            "[ff02::1]:80",
        ] {
            check(&policy, "x.example", address, false);
        }
        for address in ["93.184.216.34:443", "172.32.0.1:80", "[2606:2800:220:1::1]:443"] {
            check(&policy, "x.example", address, true);
        }
    }

    #[test]
    fn an_allowance_is_for_its_port_only() {
        let list = ["10.2.0.0/16:443", "[fd00::/8]:8443", "127.0.0.1:9000", "hooks.internal:443"];
        let policy = EgressPolicy::parse(&list).expect("valid");
        check(&policy, "x", "10.2.7.7:443", true);
        check(&policy, "x", "10.2.7.7:80", false);
        check(&policy, "x", "10.3.7.7:443", false);
        check(&policy, "x", "[fd00::1]:8443", true);
        check(&policy, "x", "[::ffff:127.0.0.1]:9000", true);
        check(&policy, "Hooks.Internal", "192.168.0.9:443", true);
        check(&policy, "other.internal", "192.168.0.9:443", false);
    }

    #[test]
    fn every_faulty_entry_is_named() {
        let faults = EgressPolicy::parse(&["10.0.0.0/33:1", "x", "ok:80", "a b:80", "name/8:80", "x:0"]);
        assert_eq!(faults.map_err(|faults| faults.len()), Err(5));
    }

    #[test]
    fn addresses_that_can_never_be() {
        for (address, good) in [
            ("https://hooks.example/x", true),
            ("http://hooks.example:8080/x", true),
            ("http://hooks.example:25/x", false),
            ("ftp://hooks.example/x", false),
            ("https://user:pass@hooks.example/", false),
            ("hooks.example", false),
        ] {
            assert_eq!(checked(address).is_ok(), good, "{address}");
        }
        let shown = checked("https://user:pass@hooks.example/").expect_err("refused").to_string();
        assert!(!shown.contains("pass"), "{shown}");
    }
}
