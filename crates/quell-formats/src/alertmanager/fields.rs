//! One alert's fields as both of Alertmanager's contracts write them, read without an allocation per label.
//!
//! Absent on purpose: judging them; that needs to know which contract it is.

use std::borrow::Cow;
use std::fmt;

use quell_domain::Timestamp;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::text::{MaybeText, Text};

/// Names and values in the order they were written.
pub(super) type Pairs<'de> = Vec<(Cow<'de, str>, Cow<'de, str>)>;

/// What an alert says beside its labels and annotations.
#[derive(Default)]
pub(super) struct Fields<'de> {
    pub(super) starts_at: Option<Timestamp>,
    pub(super) ends_at: Option<Timestamp>,
    pub(super) generator_url: Option<Cow<'de, str>>,
    pub(super) status: Option<Cow<'de, str>>,
    pub(super) fingerprint: Option<Cow<'de, str>>,
}

/// Reads one alert: its pairs into room that is used again, the rest as the value.
pub(super) struct FieldsSeed<'s, 'de> {
    pub(super) labels: &'s mut Pairs<'de>,
    pub(super) annotations: &'s mut Pairs<'de>,
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_, 'de> {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'de>, D::Error> {
        self.labels.clear();
        self.annotations.clear();
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_, 'de> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an alert: an object with `labels`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Labels => map.next_value_seed(PairsSeed { pairs: self.labels, what: "labels" })?,
                Key::Annotations => map.next_value_seed(PairsSeed { pairs: self.annotations, what: "annotations" })?,
                Key::StartsAt => fields.starts_at = instant("startsAt", map.next_value()?).map_err(A::Error::custom)?,
                Key::EndsAt => fields.ends_at = instant("endsAt", map.next_value()?).map_err(A::Error::custom)?,
                Key::GeneratorUrl => fields.generator_url = map.next_value::<MaybeText<'de>>()?.0,
                Key::Status => fields.status = map.next_value::<Status<'de>>()?.0,
                Key::Fingerprint => fields.fingerprint = map.next_value::<MaybeText<'de>>()?.0,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

/// An instant, where one is given. `null`, an empty string and Go's zero time are none.
fn instant(field: &str, MaybeText(text): MaybeText<'_>) -> Result<Option<Timestamp>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    match Timestamp::parse_rfc3339(&text) {
        Some(at) if at.is_go_zero() => Ok(None),
        Some(at) => Ok(Some(at)),
        None => Err(format!("{field}: found {text:?}; allowed: a time in RFC 3339, as 2026-01-31T08:00:00Z")),
    }
}

/// The webhook's `status` is a text; API v2's read side has an object there, which senders may post back.
struct Status<'de>(Option<Cow<'de, str>>);

impl<'de> Deserialize<'de> for Status<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusVisitor;

        impl<'de> Visitor<'de> for StatusVisitor {
            type Value = Status<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"firing\" or \"resolved\"")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Status<'de>, E> {
                Ok(Status(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Status<'de>, E> {
                Ok(Status(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_unit<E>(self) -> Result<Status<'de>, E> {
                Ok(Status(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Status<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Status(None))
            }
        }

        deserializer.deserialize_any(StatusVisitor)
    }
}

/// A label set; `null` is an empty one.
struct PairsSeed<'s, 'de> {
    pairs: &'s mut Pairs<'de>,
    what: &'static str,
}

impl<'de> DeserializeSeed<'de> for PairsSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Of a field given twice the last one counts, as with every decoder of JSON.
        self.pairs.clear();
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PairsSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` as an object of strings", self.what)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(name), Text(value))) = map.next_entry()? {
            self.pairs.push((name, value));
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The fields of an alert that mean something here.
enum Key {
    Labels,
    Annotations,
    StartsAt,
    EndsAt,
    GeneratorUrl,
    Status,
    Fingerprint,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(match name {
                    "labels" => Key::Labels,
                    "annotations" => Key::Annotations,
                    "startsAt" => Key::StartsAt,
                    "endsAt" => Key::EndsAt,
                    "generatorURL" => Key::GeneratorUrl,
                    "status" => Key::Status,
                    "fingerprint" => Key::Fingerprint,
                    _ => Key::Other,
                })
            }
        }

        deserializer.deserialize_identifier(KeyVisitor)
    }
}
