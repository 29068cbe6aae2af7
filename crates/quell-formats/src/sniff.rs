//! What a body posted to the wrong door looks like, so that the answer can name the right one.
//!
//! Absent on purpose: decoding; a guess here never changes what is done with the body.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::text::Text;

/// The outermost form of a JSON text.
enum Form {
    /// An object with these keys.
    Object(Vec<String>),
    /// An array, and the form of its first element.
    Array(Option<Box<Form>>),
    /// A string, a number, `true`, `false` or `null`.
    Scalar,
}

/// Keys that are looked at; a body with more is judged by its first ones.
const MAX_KEYS: usize = 256;

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FormVisitor;

        impl<'de> Visitor<'de> for FormVisitor {
            type Value = Form;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Form, A::Error> {
                let mut keys = Vec::new();
                while let Some(Text(key)) = map.next_key()? {
                    map.next_value::<IgnoredAny>()?;
                    if keys.len() < MAX_KEYS {
                        keys.push(key.into_owned());
                    }
                }
                Ok(Form::Object(keys))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Form, A::Error> {
                let first = seq.next_element::<Form>()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Form::Array(first.map(Box::new)))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Form, E> {
                Ok(Form::Scalar)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Form, E> {
                Ok(Form::Scalar)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Form, E> {
                Ok(Form::Scalar)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Form, E> {
                Ok(Form::Scalar)
            }

            fn visit_str<E>(self, _: &str) -> Result<Form, E> {
                Ok(Form::Scalar)
            }

            fn visit_unit<E>(self) -> Result<Form, E> {
                Ok(Form::Scalar)
            }
        }

        deserializer.deserialize_any(FormVisitor)
    }
}

/// Why a body is refused as a whole: what was found, where, what is allowed, and which door it was meant for.
///
/// `allowed` says what this door takes; `own` is this door's path: a hint that ends in it is left out.
pub(crate) fn refusal(text: &str, error: &serde_json::Error, allowed: &str, own: &str) -> String {
    if text.trim_ascii().is_empty() {
        return format!("the body is empty; allowed: {allowed}");
    }
    let form = match serde_json::from_str::<Form>(text) {
        Ok(form) => form,
        Err(not_json) => return format!("the body is not JSON: {not_json}; allowed: {allowed}"),
    };
    let found = match &form {
        Form::Object(_) => "an object",
        Form::Array(_) => "an array",
        Form::Scalar => "a single value",
    };
    let hint = meant_for(&form).filter(|hint| !hint.ends_with(own)).map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("found {found}: {error}; allowed: {allowed}{hint}")
}

/// Which contract a body looks like, and where it belongs.
fn meant_for(form: &Form) -> Option<&'static str> {
    let keys = match form {
        Form::Array(Some(first)) => {
            let Form::Object(keys) = &**first else { return None };
            let has = |key: &str| keys.iter().any(|k| k == key);
            return has("labels").then_some("this looks like Alertmanager API v2: post it to /api/v2/alerts");
        }
        Form::Object(keys) => keys,
        Form::Array(None) | Form::Scalar => return None,
    };
    let has = |key: &str| keys.iter().any(|k| k == key);
    if has("routing_key") || has("event_action") {
        Some("this looks like PagerDuty Events v2: post it to /v2/enqueue")
    } else if has("service_key") {
        Some("this looks like PagerDuty Events v1: switch the sender to Events v2, which posts to /v2/enqueue")
    } else if has("evalMatches") || (has("alerts") && has("orgId")) {
        Some(
            "this looks like Grafana's webhook contact point: use one of type Alertmanager instead, and give it this \
             server's address without a path",
        )
    } else if has("alerts") && (has("groupKey") || has("receiver")) {
        Some("this looks like Alertmanager's webhook: post it to /api/v1/webhooks/alertmanager")
    } else if has("labels") {
        Some("this looks like one alert of Alertmanager API v2: put it into an array")
    } else {
        None
    }
}
