//! What monitors say of each kind of CI: alert names, severities and texts as they are met in the wild.
//!
//! Deliberately absent: when and why they say it; that is [`super::spread`]'s.

use quell_domain::Source;

/// How badly a CI is hit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    /// Works with less redundancy than planned.
    Reduced,
    /// Works badly.
    Degraded,
    /// Does not work.
    Down,
}

/// One alert rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) alertname: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) job: &'static str,
    /// `{}` stands for the CI's name.
    pub(crate) summary: &'static str,
    /// The contract by which this team's monitor reports.
    pub(crate) via: Source,
    /// How likely the rule fires at all.
    pub(crate) chance: f64,
    /// Seconds from the trouble to the alert: scrape interval plus the rule's `for`.
    pub(crate) delay: (f64, f64),
}

const fn rule(
    alertname: &'static str,
    severity: &'static str,
    job: &'static str,
    summary: &'static str,
    chance: f64,
    delay: (f64, f64),
) -> Rule {
    Rule { alertname, severity, job, summary, via: Source::AlertmanagerApi, chance, delay }
}

const fn by(via: Source, rule: Rule) -> Rule {
    Rule { via, ..rule }
}

const NETWORK: Source = Source::AlertmanagerWebhook;

/// The rules that fire for a CI of that kind at that level.
pub(crate) fn rules(kind: &str, level: Level) -> &'static [Rule] {
    use Level::{Degraded, Down, Reduced};
    match (kind, level) {
        ("access_switch" | "core_switch", Down) => SWITCH_DOWN,
        ("host", Down) => HOST_DOWN,
        ("instance" | "search_node" | "broker_node" | "cache", Down) => TARGET_DOWN,
        ("database", Down) => DATABASE_DOWN,
        ("database", Degraded) => DATABASE_DEGRADED,
        ("service", Down | Degraded) => SERVICE_DEGRADED,
        ("service", Reduced) => SERVICE_REDUCED,
        ("search_cluster" | "message_broker", _) => CLUSTER,
        ("business_service", Down | Degraded) => BUSINESS,
        _ => &[],
    }
}

const SWITCH_DOWN: &[Rule] = &[
    by(NETWORK, rule("SwitchUnreachable", "critical", "snmp", "Switch {} does not answer SNMP", 1.0, (5.0, 12.0))),
    by(NETWORK, rule("BGPSessionDown", "warning", "snmp", "{} lost its uplink session", 0.8, (8.0, 20.0))),
];
const HOST_DOWN: &[Rule] = &[
    rule("NodeDown", "critical", "node", "Node exporter on {} is unreachable", 1.0, (15.0, 45.0)),
    rule("HostPingFailed", "warning", "blackbox-icmp", "{} does not answer ICMP echo", 0.6, (10.0, 30.0)),
];
const TARGET_DOWN: &[Rule] = &[
    rule("TargetDown", "warning", "kubernetes-pods", "{} cannot be scraped", 1.0, (20.0, 50.0)),
    rule("KubePodNotReady", "warning", "kube-state-metrics", "Pod {} has not been ready", 0.6, (40.0, 90.0)),
];
const DATABASE_DOWN: &[Rule] =
    &[rule("PostgresqlDown", "critical", "postgres", "PostgreSQL on {} is down", 1.0, (15.0, 40.0))];
const DATABASE_DEGRADED: &[Rule] = &[rule(
    "PostgresqlReplicationLag",
    "warning",
    "postgres",
    "Replication lag on {} is above 60 s",
    1.0,
    (25.0, 60.0),
)];
const SERVICE_DEGRADED: &[Rule] = &[
    rule("HighErrorRate", "critical", "istio-mesh", "More than 5 % of requests to {} fail", 0.9, (30.0, 60.0)),
    rule("HighRequestLatency", "warning", "istio-mesh", "p99 latency of {} is above 2 s", 0.8, (30.0, 75.0)),
    rule("ErrorBudgetBurn", "critical", "slo", "{} burns its error budget 14 times too fast", 0.4, (75.0, 120.0)),
];
const SERVICE_REDUCED: &[Rule] = &[rule(
    "KubeDeploymentReplicasMismatch",
    "warning",
    "kube-state-metrics",
    "{} runs fewer replicas than it should",
    0.8,
    (45.0, 90.0),
)];
const CLUSTER: &[Rule] =
    &[rule("ClusterUnderReplicated", "warning", "platform", "{} has under-replicated partitions", 0.9, (30.0, 60.0))];
const BUSINESS: &[Rule] = &[by(
    Source::PagerDuty,
    rule("SyntheticCheckFailed", "critical", "synthetics", "Synthetic journey through {} fails", 0.9, (60.0, 110.0)),
)];

/// What announces a full disk at the database itself.
pub(crate) const DISK_FULL: &[Rule] = &[
    rule("PostgresqlDiskAlmostFull", "warning", "postgres", "Data volume of {} is 97 % full", 1.0, (0.0, 1.0)),
    rule("PostgresqlOutOfDiskSpace", "critical", "postgres", "{} refuses writes: no space left", 1.0, (14.0, 20.0)),
    rule(
        "PostgresqlTooManyConnections",
        "warning",
        "postgres",
        "{} has 97 % of its connections in use",
        0.9,
        (30.0, 45.0),
    ),
];

/// What a bad release does to the service itself.
pub(crate) const BAD_DEPLOY: &[Rule] = &[
    rule(
        "DeploymentRolloutStuck",
        "warning",
        "kube-state-metrics",
        "Roll-out of {} makes no progress",
        1.0,
        (5.0, 14.0),
    ),
    rule("HighErrorRate", "critical", "istio-mesh", "More than 5 % of requests to {} fail", 1.0, (10.0, 25.0)),
    rule("HighRequestLatency", "warning", "istio-mesh", "p99 latency of {} is above 2 s", 1.0, (15.0, 35.0)),
];

/// What a bad release does to each replica.
pub(crate) const CRASH_LOOP: &[Rule] = &[rule(
    "KubePodCrashLooping",
    "warning",
    "kube-state-metrics",
    "Pod {} restarts again and again",
    1.0,
    (15.0, 40.0),
)];

/// What an expired certificate does.
pub(crate) const CERTIFICATE: &[Rule] = &[
    rule("SSLCertificateExpired", "critical", "blackbox-https", "Certificate of {} has expired", 1.0, (0.0, 10.0)),
    rule("BlackboxProbeFailed", "critical", "blackbox-https", "TLS handshake with {} fails", 1.0, (15.0, 25.0)),
];

/// What fires on any host on any day, and means nothing.
pub(crate) const NOISE: &[Rule] = &[
    rule("NodeCPUHighUsage", "info", "node", "CPU of {} is above 90 %", 1.0, (0.0, 1.0)),
    rule("NodeClockSkewDetected", "warning", "node", "Clock of {} is off by more than 50 ms", 1.0, (0.0, 1.0)),
    rule("NodeDiskIOSaturation", "warning", "node", "Disk queue of {} is long", 1.0, (0.0, 1.0)),
    rule("CronJobFailed", "info", "kube-state-metrics", "A cron job on {} failed", 1.0, (0.0, 1.0)),
];
