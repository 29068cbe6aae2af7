//! Signatures by which a receiver knows that a notice is quell's, after the Standard Webhooks specification:
//! `v1,base64(HMAC-SHA256(secret, id.timestamp.body))`.
//!
//! Absent on purpose: checking; quell receives no signed notices.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A secret shared with a receiver. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// From its text: `whsec_` and base64, as that specification writes it, or any other text as it is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let packed = text.strip_prefix("whsec_").and_then(|rest| STANDARD.decode(rest).ok());
        Secret(packed.unwrap_or_else(|| text.as_bytes().to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of `webhook-signature`: one signature for each secret, so that secrets can be changed without a gap.
#[must_use]
pub fn sign(secrets: &[Secret], id: &str, timestamp: &str, body: &[u8]) -> String {
    let signed: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes a key of any length");
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        })
        .collect();
    signed.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's own libraries test with.
    #[test]
    fn signs_as_the_specification_says() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let (id, at) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let signature = sign(&[secret], id, at, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_not_shown_and_two_sign_twice() {
        let secrets = [Secret::new("one"), Secret::new("two")];
        assert!(!format!("{secrets:?}").contains("one"));
        assert_eq!(sign(&secrets, "i", "1", b"x").matches("v1,").count(), 2);
    }
}
