//! How brokers are reached: in the clear or by TLS, and as whom.
//!
//! Absent on purpose: where a password is found (the shell reads it), and Kerberos.

use std::fmt;
use std::path::PathBuf;

use rdkafka::config::ClientConfig;

/// How every client of one Kafka reaches its brokers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Security {
    /// By TLS, if given.
    pub tls: Option<Tls>,
    /// As whom, if the brokers ask.
    pub sasl: Option<Sasl>,
}

/// Whom to trust, and what to show.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    /// The certificates that brokers are checked against; without one those of the operating system.
    pub ca: Option<PathBuf>,
    /// This client's certificate and its key, where brokers ask for one.
    pub pair: Option<(PathBuf, PathBuf)>,
}

/// How a password is proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mechanism {
    /// It is sent as it is.
    Plain,
    /// Proved without being sent, by SHA-256.
    ScramSha256,
    /// The same by SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// Every mechanism.
    pub const ALL: [Mechanism; 3] = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];

    /// Kafka's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Self::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(name))
    }
}

/// As whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: Mechanism,
    /// The name.
    pub username: String,
    /// The password; never shown.
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What is asked for was not built in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} needs a quell that was built with TLS to Kafka: cargo build --features kafka-tls")]
pub struct NotBuilt {
    what: &'static str,
}

impl Security {
    /// Whether this binary can do it: TLS and SCRAM come with OpenSSL, which is built in only where asked for.
    ///
    /// # Errors
    /// What it cannot do.
    pub fn check(&self) -> Result<(), NotBuilt> {
        if cfg!(feature = "kafka-tls") {
            return Ok(());
        }
        match (&self.tls, &self.sasl) {
            (Some(_), _) => Err(NotBuilt { what: "TLS to Kafka" }),
            (None, Some(Sasl { mechanism: Mechanism::ScramSha256 | Mechanism::ScramSha512, .. })) => {
                Err(NotBuilt { what: "SCRAM" })
            }
            (None, _) => Ok(()),
        }
    }

    /// librdkafka's words for it.
    pub(super) fn apply(&self, config: &mut ClientConfig) {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => return,
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(Tls { ca, pair }) = &self.tls {
            if let Some(ca) = ca {
                config.set("ssl.ca.location", ca.to_string_lossy());
            }
            if let Some((certificate, key)) = pair {
                config.set("ssl.certificate.location", certificate.to_string_lossy());
                config.set("ssl.key.location", key.to_string_lossy());
            }
        }
        if let Some(Sasl { mechanism, username, password }) = &self.sasl {
            config.set("sasl.mechanisms", mechanism.as_str());
            config.set("sasl.username", username);
            config.set("sasl.password", password);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(mechanism: Mechanism) -> Option<Sasl> {
        Some(Sasl { mechanism, username: "quell".into(), password: "sesame-17".into() })
    }

    #[test]
    fn what_is_not_built_in_is_refused_in_words() {
        let built = cfg!(feature = "kafka-tls");
        let check = |security: Security, plain: bool| {
            assert_eq!(security.check().is_ok(), plain || built, "{security:?}");
        };
        check(Security::default(), true);
        check(Security { tls: None, sasl: named(Mechanism::Plain) }, true);
        check(Security { tls: None, sasl: named(Mechanism::ScramSha512) }, false);
        check(Security { tls: Some(Tls::default()), sasl: None }, false);
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", Security { tls: None, sasl: named(Mechanism::Plain) });
        assert!(shown.contains("quell") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn each_way_has_librdkafkas_words() {
        let check = |security: Security, protocol: Option<&str>| {
            let mut config = ClientConfig::new();
            security.apply(&mut config);
            assert_eq!(config.get("security.protocol"), protocol);
        };
        check(Security::default(), None);
        check(Security { tls: Some(Tls::default()), sasl: None }, Some("ssl"));
        check(Security { tls: None, sasl: named(Mechanism::Plain) }, Some("sasl_plaintext"));
        check(Security { tls: Some(Tls::default()), sasl: named(Mechanism::ScramSha256) }, Some("sasl_ssl"));
    }
}
