//! The JSON inside columns: reasons, labels, causes and blast radii. Private to the store.
//! Absent on purpose: any promise to the outside; the API has forms of its own.

use std::borrow::Cow;
use std::sync::Arc;

use quell_domain::{BlastRadius, Cause, CiId, Criticality, Fact, Labels, Reason, ServiceAtRisk, Timestamp};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a value. None of these types can fail to serialise: they have text keys and plain values.
pub(crate) fn write<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain values with text keys always serialise")
}

/// Reads a value back.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Labels as an object, in order.
pub(crate) struct LabelsOut<'a>(pub(crate) &'a Labels);

impl Serialize for LabelsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Labels from an object.
pub(crate) struct LabelsIn(pub(crate) Labels);

impl<'de> Deserialize<'de> for LabelsIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = LabelsIn;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LabelsIn, A::Error> {
                let mut pairs: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::with_capacity(16);
                while let Some(pair) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    pairs.push((pair.0.0, pair.1.0));
                }
                Ok(LabelsIn(Labels::new(pairs)))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A reason. Numbers that JSON cannot say (NaN, infinities) are kept as null and come back as NaN.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredReason<'a> {
    #[serde(rename = "c", borrow)]
    code: Cow<'a, str>,
    #[serde(rename = "t", borrow)]
    template: Cow<'a, str>,
    #[serde(rename = "f", borrow, default, skip_serializing_if = "Vec::is_empty")]
    facts: Vec<(Cow<'a, str>, StoredFact<'a>)>,
}

#[derive(Serialize, Deserialize)]
enum StoredFact<'a> {
    #[serde(rename = "t", borrow)]
    Text(Cow<'a, str>),
    #[serde(rename = "c")]
    Count(u64),
    #[serde(rename = "n")]
    Number(Option<f64>),
    #[serde(rename = "at")]
    Time(i64),
    #[serde(rename = "l")]
    List(Cow<'a, [String]>),
}

impl<'a> From<&'a Reason> for StoredReason<'a> {
    fn from(reason: &'a Reason) -> Self {
        let Reason { code, template, facts } = reason;
        let fact = |fact: &'a Fact| match fact {
            Fact::Text(text) => StoredFact::Text(Cow::Borrowed(text)),
            Fact::Count(count) => StoredFact::Count(*count),
            Fact::Number(number) => StoredFact::Number(Some(*number)),
            Fact::Time(at) => StoredFact::Time(at.micros()),
            Fact::List(names) => StoredFact::List(Cow::Borrowed(names)),
        };
        let facts = facts.iter().map(|(name, value)| (Cow::Borrowed(&**name), fact(value))).collect();
        StoredReason { code: Cow::Borrowed(code), template: Cow::Borrowed(template), facts }
    }
}

impl From<StoredReason<'_>> for Reason {
    fn from(stored: StoredReason<'_>) -> Self {
        let StoredReason { code, template, facts } = stored;
        let fact = |fact| match fact {
            StoredFact::Text(text) => Fact::Text(text.into_owned()),
            StoredFact::Count(count) => Fact::Count(count),
            StoredFact::Number(number) => Fact::Number(number.unwrap_or(f64::NAN)),
            StoredFact::Time(micros) => Fact::Time(Timestamp::from_micros(micros)),
            StoredFact::List(names) => Fact::List(names.into_owned()),
        };
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let facts = facts.into_iter().map(|(name, value)| (own(name), fact(value))).collect();
        Reason { code: own(code), template: own(template), facts }
    }
}

/// Writes a reason.
pub(crate) fn write_reason(reason: &Reason) -> String {
    write(&StoredReason::from(reason))
}

/// Reads a reason back.
pub(crate) fn read_reason(text: &str) -> Result<Reason, String> {
    serde_json::from_str::<StoredReason<'_>>(text).map(Reason::from).map_err(|error| error.to_string())
}

#[derive(Serialize, Deserialize)]
struct StoredCause<'a> {
    #[serde(borrow)]
    ci: Cow<'a, str>,
    score: f64,
    #[serde(borrow)]
    evidence: Vec<StoredReason<'a>>,
}

/// Writes probable causes.
pub(crate) fn write_causes(causes: &[Cause]) -> String {
    fn stored(cause: &Cause) -> StoredCause<'_> {
        let Cause { ci, score, evidence } = cause;
        let evidence = evidence.iter().map(StoredReason::from).collect();
        StoredCause { ci: Cow::Borrowed(ci.as_str()), score: *score, evidence }
    }
    write(&causes.iter().map(stored).collect::<Vec<_>>())
}

/// Reads probable causes back.
pub(crate) fn read_causes(text: &str) -> Result<Vec<Cause>, String> {
    let stored: Vec<StoredCause<'_>> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let cause = |StoredCause { ci, score, evidence }| Cause {
        ci: CiId::new(&ci),
        score,
        evidence: evidence.into_iter().map(Reason::from).collect(),
    };
    Ok(stored.into_iter().map(cause).collect())
}

#[derive(Serialize, Deserialize)]
struct StoredBlast {
    cis: u64,
    services: Vec<(String, String, u8, Option<String>)>,
    partial: bool,
    /// How many relationships were stale, and when the longest unseen was last seen; missing in older rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale: Option<(u64, Option<i64>)>,
}

/// Writes a blast radius.
pub(crate) fn write_blast(blast: &BlastRadius) -> String {
    let BlastRadius { cis, services, partial, stale_relationships, oldest_seen } = blast;
    let stale = (*stale_relationships, oldest_seen.map(Timestamp::micros));
    let service = |service: &Arc<ServiceAtRisk>| {
        let ServiceAtRisk { ci, name, criticality, owner } = &**service;
        (ci.as_str().to_owned(), name.clone(), *criticality as u8, owner.clone())
    };
    let services = services.iter().map(service).collect();
    write(&StoredBlast { cis: *cis, services, partial: *partial, stale: Some(stale).filter(|stale| stale.0 > 0) })
}

/// Reads a blast radius back.
pub(crate) fn read_blast(text: &str) -> Result<BlastRadius, String> {
    let StoredBlast { cis, services, partial, stale } = read(text)?;
    let service = |(ci, name, criticality, owner): (String, String, u8, Option<String>)| {
        let criticality = Criticality::ALL.into_iter().find(|known| *known as u8 == criticality);
        let criticality = criticality.ok_or_else(|| "a criticality is unknown".to_owned())?;
        Ok(Arc::new(ServiceAtRisk { ci: CiId::new(&ci), name, criticality, owner }))
    };
    let services = services.into_iter().map(service).collect::<Result<_, String>>()?;
    let (stale_relationships, oldest_seen) = stale.unwrap_or_default();
    let oldest_seen = oldest_seen.map(Timestamp::from_micros);
    Ok(BlastRadius { cis, services, partial, stale_relationships, oldest_seen })
}
