//! The topics: made where they are missing, and looked at before anything is put on them.
//!
//! Several nodes may do this at the same moment: a topic that another one has just made is as good as one's own. Absent
//! on purpose: changing a topic that is there; its owner is told what does not fit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::time::sleep;

use super::client::{self, Context};
use super::security::Security;
use super::{OpenError, Options};
use crate::contract::Stream;

/// Replicas that a new topic gets where there are so many brokers.
const REPLICAS: usize = 3;
/// The shortest time that a topic must keep records.
const RETENTION: Duration = Duration::from_secs(3_600);
/// How much larger than a body a record may be: header, key and the batch around it.
pub(super) const OVERHEAD: usize = 64 << 10;
/// Between two looks at what is not there yet.
const LOOK: Duration = Duration::from_millis(200);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// The topic of a stream.
pub(super) fn name(prefix: &str, stream: Stream) -> String {
    match stream {
        Stream::Main => format!("{prefix}.main"),
        Stream::Commands => format!("{prefix}.commands"),
    }
}

/// The topic of what cannot be decided.
pub(super) fn dead(prefix: &str) -> String {
    format!("{prefix}.dead")
}

/// What is found of a topic.
#[derive(Debug)]
struct Found {
    partitions: usize,
    replicas: usize,
    settings: BTreeMap<String, String>,
}

/// Makes what is missing and checks what is there.
pub(super) async fn prepare(options: &Options) -> Result<(), OpenError> {
    let few = look_after(options).await?;
    for (topic, replicas) in few {
        tracing::warn!(
            topic,
            replicas,
            "each record lies on fewer than {REPLICAS} brokers: what is acknowledged can be lost with them"
        );
    }
    Ok(())
}

/// The same; gives the topics whose records lie on too few brokers.
pub(super) async fn look_after(options: &Options) -> Result<Vec<(String, usize)>, OpenError> {
    let until = Instant::now() + options.patience;
    let brokers = options.address.brokers.clone();
    let admin = administrator(&brokers, &options.security).await.map_err(|source| OpenError::Client { source })?;
    let away = |source| OpenError::Away { brokers: brokers.clone(), source };
    let count = again(until, || Box::pin(look(&admin, None, |found| found.brokers().len()))).await.map_err(away)?;
    let prefix = &options.address.prefix;
    let shards = options.shards as usize;
    let wanted = [(name(prefix, Stream::Main), shards), (name(prefix, Stream::Commands), shards), (dead(prefix), 1)];
    let (mut faults, mut few) = (Vec::new(), Vec::new());
    for (topic, partitions) in &wanted {
        let replicas = count.clamp(1, REPLICAS);
        let found = again(until, || Box::pin(find_or_make(&admin, topic, (*partitions, replicas), options)));
        let found = found.await.map_err(|source| OpenError::Topic { topic: topic.clone(), source })?;
        if found.replicas < REPLICAS {
            few.push((topic.clone(), found.replicas));
        }
        faults.extend(unfit(&found, *partitions, options).into_iter().map(|fault| format!("{topic}: {fault}")));
    }
    if faults.is_empty() { Ok(few) } else { Err(OpenError::Unfit { faults }) }
}

async fn administrator(brokers: &str, security: &Security) -> KafkaResult<Admin> {
    let config = client::admin(brokers, security);
    let made = client::aside(move || config.create_with_context::<_, AdminClient<Context>>(Context)).await?;
    Ok(std::sync::Arc::new(client::Lingering::new(made)))
}

/// Partitions that a new topic for others gets.
const PARTITIONS: i32 = 6;

/// Makes a topic for others where it is missing; one that is there is taken as it is.
pub(super) async fn find_or_make_plain(
    brokers: &str,
    security: &Security,
    topic: &str,
    until: Instant,
) -> KafkaResult<()> {
    let admin = administrator(brokers, security).await?;
    let admin = &admin;
    let made = again(until, || {
        Box::pin(async move {
            let found = look(admin, Some(topic.to_owned()), shape).await?.map_err(KafkaError::MetadataFetch)?;
            if found.is_some() {
                return Ok(());
            }
            let count = look(admin, None, |found| found.brokers().len()).await?;
            let replicas = i32::try_from(count.clamp(1, REPLICAS)).unwrap_or(1);
            create(admin, NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(replicas))).await?;
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))
        })
    });
    made.await
}

/// Asks until there is an answer, or the time is over; then the last refusal.
async fn again<'a, R>(until: Instant, mut ask: impl FnMut() -> BoxFuture<'a, KafkaResult<R>>) -> KafkaResult<R> {
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= until || !passes(&error) => return Err(error),
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Whether it may be otherwise in a moment.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let denied = [
        Code::TopicAuthorizationFailed,
        Code::ClusterAuthorizationFailed,
        Code::PolicyViolation,
        Code::InvalidConfig,
        Code::InvalidTopic,
        Code::InvalidRequest,
    ];
    error.rdkafka_error_code().is_none_or(|code| !denied.contains(&code))
}

type Admin = std::sync::Arc<client::Lingering<AdminClient<Context>>>;

async fn look<R: Send + 'static>(
    admin: &Admin,
    topic: Option<String>,
    seen: fn(&rdkafka::metadata::Metadata) -> R,
) -> KafkaResult<R> {
    let admin = std::sync::Arc::clone(admin);
    client::aside(move || {
        let client: &Client<Context> = admin.inner();
        client.fetch_metadata(topic.as_deref(), REQUEST).map(|found| seen(&found))
    })
    .await
}

/// Partitions and replicas of a topic, if it is there and every partition has a leader.
fn shape(found: &rdkafka::metadata::Metadata) -> Result<Option<(usize, usize)>, RDKafkaErrorCode> {
    let Some(topic) = found.topics().first() else { return Ok(None) };
    match topic.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
        Some(code) => return Err(code),
        None => {}
    }
    if topic.partitions().is_empty() || topic.partitions().iter().any(|partition| partition.leader() < 0) {
        return Err(RDKafkaErrorCode::LeaderNotAvailable);
    }
    let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
    Ok(Some((topic.partitions().len(), replicas.unwrap_or(0))))
}

async fn find_or_make(
    admin: &Admin,
    topic: &str,
    (partitions, replicas): (usize, usize),
    options: &Options,
) -> KafkaResult<Found> {
    let found = look(admin, Some(topic.to_owned()), shape).await?.map_err(KafkaError::MetadataFetch)?;
    let Some((partitions, replicas)) = found else {
        make(admin, topic, (partitions, replicas), options).await?;
        // It is there for everybody only after a while.
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    };
    let asked = AdminOptions::new().request_timeout(Some(REQUEST));
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &asked).await?;
    let mut settings = BTreeMap::new();
    for resource in described {
        let entries = resource.map_err(KafkaError::AdminOp)?.entries;
        settings.extend(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
    }
    Ok(Found { partitions, replicas, settings })
}

async fn make(
    admin: &Admin,
    topic: &str,
    (partitions, replicas): (usize, usize),
    options: &Options,
) -> KafkaResult<()> {
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    let count = i32::try_from(replicas).unwrap_or(1);
    let settings = [
        ("cleanup.policy", "delete".to_owned()),
        ("compression.type", "lz4".to_owned()),
        ("max.message.bytes", (options.body_bytes + OVERHEAD).to_string()),
        ("min.insync.replicas", if replicas < REPLICAS { 1 } else { 2 }.to_string()),
        ("retention.bytes", options.retention_bytes.to_string()),
        ("retention.ms", options.retention_age.max(RETENTION).as_millis().to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(count));
    for (name, value) in &settings {
        new = new.set(name, value);
    }
    create(admin, new).await
}

async fn create(admin: &Admin, new: NewTopic<'_>) -> KafkaResult<()> {
    let asked = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
    let made = admin.create_topics(&[new], &asked).await?;
    for made in made {
        match made {
            Ok(topic) => tracing::info!(topic, "made a topic"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(())
}

/// What of a topic does not fit, each with what was found and what is allowed.
fn unfit(found: &Found, wanted: usize, options: &Options) -> Vec<String> {
    let Found { partitions, replicas, settings } = found;
    let mut faults = Vec::new();
    if *partitions != wanted {
        faults.push(format!("it has {partitions} partitions; allowed: {wanted}, one for each shard"));
    }
    let mut check = |name: &str, good: &dyn Fn(&str) -> bool, allowed: String| {
        // A broker that does not name a setting does not have it.
        if let Some(value) = settings.get(name)
            && !good(value)
        {
            faults.push(format!("{name} is {value}; allowed: {allowed}"));
        }
    };
    let number = |value: &str| value.parse::<i64>().unwrap_or(0);
    check("cleanup.policy", &|value| value == "delete", "delete".into());
    let known = ["producer", "lz4", "snappy", "uncompressed"];
    check("compression.type", &|value| known.contains(&value), known.join(", "));
    let bytes = i64::try_from(options.body_bytes + OVERHEAD).unwrap_or(i64::MAX);
    check(
        "max.message.bytes",
        &|value| number(value) >= bytes,
        format!("{bytes} or more, because one request may have {} bytes", options.body_bytes),
    );
    let least = if *replicas < REPLICAS { 1 } else { 2 };
    let most = i64::try_from(*replicas).unwrap_or(i64::MAX);
    check(
        "min.insync.replicas",
        &|value| (least..=most).contains(&number(value)),
        format!("{least} to {most}, because each record has {replicas} replicas"),
    );
    let age = i64::try_from(RETENTION.as_millis()).unwrap_or(i64::MAX);
    check("retention.ms", &|value| number(value) == -1 || number(value) >= age, format!("-1, or {age} or more"));
    let room = bytes.saturating_mul(4);
    check("retention.bytes", &|value| number(value) == -1 || number(value) >= room, format!("-1, or {room} or more"));
    check("unclean.leader.election.enable", &|value| value == "false", "false".into());
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(partitions: usize, replicas: usize, settings: &[(&str, &str)], wanted: &[&str]) {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = Options { body_bytes: 1_000_000, ..Options::at("kafka://a:1".parse().expect("good")) };
        assert_eq!(unfit(&Found { partitions, replicas, settings }, 1, &options), wanted);
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_is_allowed() {
        check(1, 3, &[("cleanup.policy", "delete"), ("min.insync.replicas", "2"), ("retention.ms", "-1")], &[]);
        check(6, 1, &[], &["it has 6 partitions; allowed: 1, one for each shard"]);
        check(
            1,
            3,
            &[("min.insync.replicas", "1"), ("cleanup.policy", "compact"), ("compression.type", "zstd")],
            &[
                "cleanup.policy is compact; allowed: delete",
                "compression.type is zstd; allowed: producer, lz4, snappy, uncompressed",
                "min.insync.replicas is 1; allowed: 2 to 3, because each record has 3 replicas",
            ],
        );
        check(
            1,
            1,
            &[("max.message.bytes", "1048588"), ("min.insync.replicas", "2"), ("retention.ms", "60000")],
            &[
                "max.message.bytes is 1048588; allowed: 1065536 or more, because one request may have 1000000 bytes",
                "min.insync.replicas is 2; allowed: 1 to 1, because each record has 1 replicas",
                "retention.ms is 60000; allowed: -1, or 3600000 or more",
            ],
        );
    }
}
