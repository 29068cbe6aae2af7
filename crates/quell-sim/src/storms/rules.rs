//! What monitors watch for on each kind of CI: names, severities and waits as they are met in the wild.
//!
//! Most names and waits are those of the collection "awesome-prometheus-alerts" (CC BY 4.0) and of the kubernetes-mixin
//! (Apache-2.0). Deliberately absent: when they fire.

use super::estate::Kind;

/// How badly a CI is hit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Works badly.
    Degraded,
    /// Does not work, or cannot be reached.
    Down,
}

/// One rule of a monitor.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// As the rule claims.
    pub severity: &'static str,
    /// How likely it fires when its condition could hold.
    pub chance: f64,
    /// Seconds that the condition must hold: the shortest and longest found in one estate or another.
    pub wait: (f64, f64),
    /// Who scrapes.
    pub job: &'static str,
}

const fn rule(name: &'static str, severity: &'static str, chance: f64, wait: (f64, f64), job: &'static str) -> Rule {
    Rule { name, severity, chance, wait, job }
}

/// What may fire on a CI of that kind at that level.
#[must_use]
pub fn rules(kind: Kind, level: Level) -> &'static [Rule] {
    use Level::{Degraded, Down};
    match (kind, level) {
        (Kind::Zone, _) => ZONE,
        (Kind::Switch, Down) => SWITCH_DOWN,
        (Kind::Switch, Degraded) => SWITCH_WEAK,
        (Kind::Host, Down) => HOST_DOWN,
        (Kind::Host, Degraded) => HOST_WEAK,
        (Kind::Instance, Down) => INSTANCE_DOWN,
        (Kind::Instance, Degraded) => INSTANCE_WEAK,
        (Kind::Service, _) => SERVICE,
        (Kind::Database, Down) => DATABASE_DOWN,
        (Kind::Database, Degraded) => DATABASE_WEAK,
        (Kind::Storage, _) => STORAGE,
        (Kind::Volume, _) => VOLUME,
        (Kind::Cache, Down) => CACHE_DOWN,
        (Kind::Cache, Degraded) => CACHE_WEAK,
        (Kind::Queue, _) => QUEUE,
        (Kind::Balancer, _) => BALANCER,
        (Kind::Certificate, _) => CERTIFICATE,
        (Kind::Business, _) => BUSINESS,
    }
}

const ZONE: &[Rule] = &[
    rule("PowerFeedLost", "critical", 0.95, (5.0, 30.0), "dcim"),
    rule("CoolingUnitFailed", "warning", 0.4, (60.0, 300.0), "dcim"),
];
const SWITCH_DOWN: &[Rule] = &[
    rule("SNMPTargetDown", "critical", 0.95, (60.0, 300.0), "snmp"),
    rule("JuniperSwitchDown", "critical", 0.6, (15.0, 60.0), "junos"),
];
const SWITCH_WEAK: &[Rule] = &[
    rule("SNMPInterfaceHighInboundErrorRate", "warning", 0.8, (120.0, 300.0), "snmp"),
    rule("SNMPInterfaceDown", "critical", 0.5, (60.0, 120.0), "snmp"),
];
const HOST_DOWN: &[Rule] = &[
    rule("HostDown", "critical", 0.95, (30.0, 120.0), "node"),
    rule("BlackboxProbeFailed", "critical", 0.5, (30.0, 90.0), "blackbox-icmp"),
    rule("KubeNodeNotReady", "warning", 0.6, (60.0, 600.0), "kube-state-metrics"),
];
const HOST_WEAK: &[Rule] = &[
    rule("HostUnusualDiskWriteLatency", "warning", 0.5, (60.0, 120.0), "node"),
    rule("HostOutOfMemory", "warning", 0.5, (60.0, 120.0), "node"),
    rule("HostHighCpuLoad", "warning", 0.6, (120.0, 600.0), "node"),
];
const INSTANCE_DOWN: &[Rule] = &[
    rule("PrometheusTargetMissing", "critical", 0.7, (30.0, 60.0), "kubernetes-pods"),
    rule("KubePodNotReady", "warning", 0.6, (120.0, 900.0), "kube-state-metrics"),
];
const INSTANCE_WEAK: &[Rule] = &[
    rule("KubernetesContainerHighLatency", "warning", 0.4, (60.0, 180.0), "kubernetes-pods"),
    rule("CPUThrottlingHigh", "info", 0.3, (60.0, 600.0), "cadvisor"),
];
const SERVICE: &[Rule] = &[
    rule("IstioHigh5xxErrorRate", "warning", 0.75, (30.0, 90.0), "istio"),
    rule("IstioHighRequestLatency", "warning", 0.65, (60.0, 120.0), "istio"),
    rule("ErrorBudgetBurn", "critical", 0.35, (120.0, 480.0), "slo"),
];
const DATABASE_DOWN: &[Rule] = &[
    rule("PostgresqlDown", "critical", 0.95, (30.0, 60.0), "postgres"),
    rule("PostgresqlExporterError", "critical", 0.4, (15.0, 30.0), "postgres"),
];
const DATABASE_WEAK: &[Rule] = &[
    rule("PostgresqlLongRunningTransaction", "warning", 0.5, (60.0, 120.0), "postgres"),
    rule("PostgresqlTooManyConnections", "warning", 0.5, (60.0, 120.0), "postgres"),
    rule("PostgresqlReplicationLag", "warning", 0.5, (30.0, 60.0), "postgres"),
];
const STORAGE: &[Rule] = &[
    rule("CephHealthError", "critical", 0.85, (30.0, 90.0), "ceph"),
    rule("CephHighOSDLatency", "warning", 0.7, (60.0, 120.0), "ceph"),
];
const VOLUME: &[Rule] = &[rule("KubePersistentVolumeErrors", "critical", 0.6, (60.0, 300.0), "kube-state-metrics")];
const CACHE_DOWN: &[Rule] = &[rule("RedisDown", "critical", 0.95, (30.0, 60.0), "redis")];
const CACHE_WEAK: &[Rule] = &[
    rule("RedisTooManyConnections", "warning", 0.5, (60.0, 120.0), "redis"),
    rule("RedisRejectedConnections", "warning", 0.4, (15.0, 30.0), "redis"),
];
const QUEUE: &[Rule] = &[
    rule("RabbitMQDown", "critical", 0.8, (30.0, 60.0), "rabbitmq"),
    rule("RabbitMQTooManyMessagesInQueue", "warning", 0.5, (60.0, 120.0), "rabbitmq"),
];
const BALANCER: &[Rule] = &[
    rule("HAProxyHighHTTP5xxErrorRateBackend", "critical", 0.7, (30.0, 60.0), "haproxy"),
    rule("HAProxyServerHealthcheckFailure", "warning", 0.5, (15.0, 60.0), "haproxy"),
];
const CERTIFICATE: &[Rule] = &[
    rule("BlackboxSSLCertificateExpired", "critical", 0.85, (5.0, 60.0), "blackbox-https"),
    rule("SSLCertificateProbeFailed", "critical", 0.6, (30.0, 60.0), "blackbox-https"),
];
const BUSINESS: &[Rule] = &[
    rule("BlackboxProbeHTTPFailure", "critical", 0.7, (30.0, 60.0), "synthetics"),
    rule("CheckoutConversionLow", "warning", 0.2, (180.0, 600.0), "analytics"),
];

/// What a bad release does to the service itself; its replicas crash.
pub const BAD_DEPLOY: &[Rule] = &[
    rule("KubeDeploymentRolloutStuck", "warning", 0.8, (60.0, 600.0), "kube-state-metrics"),
    rule("IstioHigh5xxErrorRate", "warning", 0.9, (30.0, 90.0), "istio"),
    rule("IstioHighRequestLatency", "warning", 0.5, (60.0, 120.0), "istio"),
];
/// What a bad release does to a replica.
pub const CRASH: &[Rule] = &[
    rule("KubePodCrashLooping", "warning", 0.8, (60.0, 300.0), "kube-state-metrics"),
    rule("KubernetesContainerOomKiller", "warning", 0.3, (5.0, 15.0), "kube-state-metrics"),
];
/// What a database does when it is the one at fault.
pub const FULL_DISK: &[Rule] = &[
    rule("PostgresqlDiskAlmostFull", "warning", 0.7, (60.0, 120.0), "postgres"),
    rule("PostgresqlTooManyLocksAcquired", "critical", 0.5, (60.0, 120.0), "postgres"),
    rule("PostgresqlNotEnoughConnections", "critical", 0.5, (60.0, 120.0), "postgres"),
];
/// What more requests than usual look like: who retries loads whom it calls.
pub const RETRIES: &[Rule] = &[rule("IstioHighTotalRequestRate", "warning", 0.6, (60.0, 120.0), "istio")];

/// What fires on any day, and means nothing.
#[must_use]
pub fn noise(kind: Kind) -> &'static [Rule] {
    match kind {
        Kind::Host => HOST_NOISE,
        Kind::Instance => INSTANCE_NOISE,
        Kind::Database => DATABASE_NOISE,
        Kind::Service => SERVICE_NOISE,
        Kind::Switch => SWITCH_NOISE,
        Kind::Cache => CACHE_NOISE,
        _ => &[],
    }
}

const fn chatter(name: &'static str, severity: &'static str, job: &'static str) -> Rule {
    rule(name, severity, 1.0, (0.0, 1.0), job)
}

const HOST_NOISE: &[Rule] = &[
    chatter("HostClockSkew", "warning", "node"),
    chatter("HostHighCpuLoad", "warning", "node"),
    chatter("HostOutOfDiskSpace", "warning", "node"),
    chatter("HostSystemdServiceCrashed", "warning", "node"),
    chatter("HostContextSwitchingHigh", "warning", "node"),
];
const INSTANCE_NOISE: &[Rule] = &[
    chatter("CPUThrottlingHigh", "info", "cadvisor"),
    chatter("KubeJobFailed", "warning", "kube-state-metrics"),
    chatter("KubeContainerWaiting", "warning", "kube-state-metrics"),
];
const DATABASE_NOISE: &[Rule] = &[
    chatter("PostgresqlTooManyDeadTuples", "warning", "postgres"),
    chatter("PostgresqlTableNotAutoVacuumed", "warning", "postgres"),
];
const SERVICE_NOISE: &[Rule] = &[
    chatter("KubeHpaMaxedOut", "warning", "kube-state-metrics"),
    chatter("IstioHigh4xxErrorRate", "warning", "istio"),
];
const SWITCH_NOISE: &[Rule] = &[chatter("SNMPInterfaceHighBandwidthUsageInbound", "warning", "snmp")];
const CACHE_NOISE: &[Rule] = &[chatter("RedisMissingBackup", "critical", "redis")];
