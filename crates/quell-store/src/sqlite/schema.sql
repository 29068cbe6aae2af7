-- Version 1. Times are microseconds since 1970, positions and other unsigned 64-bit numbers have the same bits as i64.
CREATE TABLE shards (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    folded INTEGER NOT NULL,
    commands INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    engine_now INTEGER,
    last_alert INTEGER NOT NULL,
    last_incident INTEGER NOT NULL,
    topology BLOB,
    rules BLOB,
    PRIMARY KEY (tenant, shard)
) WITHOUT ROWID;

CREATE TABLE alerts (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    id INTEGER NOT NULL,
    in_hand INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    source INTEGER NOT NULL,
    state INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    content INTEGER NOT NULL,
    ci TEXT,
    confidence REAL,
    incident INTEGER,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER,
    ending INTEGER NOT NULL,
    timed_out INTEGER NOT NULL,
    count INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    opened_position INTEGER NOT NULL,
    opened_ordinal INTEGER NOT NULL,
    closed_position INTEGER,
    folded_through INTEGER NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    bound_because TEXT,
    unbound_because TEXT,
    member_because TEXT,
    PRIMARY KEY (tenant, shard, id)
) WITHOUT ROWID;
CREATE INDEX alerts_by_fingerprint ON alerts (tenant, shard, fingerprint, opened_position);
CREATE INDEX alerts_by_incident ON alerts (tenant, shard, incident);
CREATE INDEX alerts_in_hand ON alerts (tenant, shard, id) WHERE in_hand = 1;
CREATE INDEX alerts_history ON alerts (tenant, shard, ends_at) WHERE in_hand = 0;

-- What repeats changed of an alert since its row was written. Narrow, so that a flush of many alerts does not write
-- all their text again; writing the whole row removes it.
CREATE TABLE folds (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    alert INTEGER NOT NULL,
    count INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER,
    timed_out INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    folded_through INTEGER NOT NULL,
    PRIMARY KEY (tenant, shard, alert)
) WITHOUT ROWID;

CREATE TABLE incidents (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    number INTEGER NOT NULL,
    in_hand INTEGER NOT NULL,
    change INTEGER NOT NULL,
    state INTEGER NOT NULL,
    title TEXT NOT NULL,
    priority INTEGER NOT NULL,
    impact INTEGER NOT NULL,
    urgency INTEGER NOT NULL,
    opened_position INTEGER NOT NULL,
    opened_ordinal INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    last_fired_at INTEGER NOT NULL,
    resolved_at INTEGER,
    resolved_by TEXT,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    reopened INTEGER NOT NULL,
    alerts INTEGER NOT NULL,
    firing INTEGER NOT NULL,
    causes TEXT NOT NULL,
    blast_radius TEXT NOT NULL,
    review_at INTEGER,
    transitions INTEGER NOT NULL,
    PRIMARY KEY (tenant, shard, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX incidents_by_opening ON incidents (tenant, shard, opened_position, opened_ordinal);
CREATE INDEX incidents_by_change ON incidents (tenant, shard, change, number, state);
CREATE INDEX incidents_by_state ON incidents (tenant, shard, state, number);
CREATE INDEX incidents_in_hand ON incidents (tenant, shard, number) WHERE in_hand = 1;
CREATE INDEX incidents_history ON incidents (tenant, shard, resolved_at) WHERE in_hand = 0;

CREATE TABLE timeline (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    incident INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX timeline_by_incident ON timeline (tenant, shard, incident, id);

CREATE TABLE parked (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    item INTEGER,
    source INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    raw TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, position, ordinal)
);
CREATE INDEX parked_by_time ON parked (tenant, shard, received_at);

-- Decided commands: a replay puts them back where they were.
CREATE TABLE command_outcomes (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    command INTEGER NOT NULL,
    after INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    PRIMARY KEY (tenant, shard, command)
) WITHOUT ROWID;

-- state: 0 waits, 1 delivered, 2 dead.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    sink TEXT NOT NULL,
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    incident INTEGER NOT NULL,
    number INTEGER NOT NULL,
    transition INTEGER NOT NULL,
    at INTEGER NOT NULL,
    title TEXT NOT NULL,
    priority INTEGER NOT NULL,
    cause TEXT,
    alerts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    done_at INTEGER,
    last_error TEXT
);
CREATE INDEX outbox_waiting ON outbox (sink, seq) WHERE state = 0;
CREATE INDEX outbox_in_order ON outbox (sink, tenant, shard, incident, number) WHERE state = 0;
CREATE INDEX outbox_done ON outbox (tenant, shard, done_at) WHERE state <> 0;

CREATE TABLE artefacts (
    kind INTEGER NOT NULL,
    digest BLOB NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (kind, digest)
);

-- What the planner would find out in a large installation. Without it every first column looks selective, although there
-- is one tenant and one shard, and a look-up by incident would read all alerts there ever were.
ANALYZE;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('alerts', 'alerts', '1000000 1000000 1000000 1'),
    ('alerts', 'alerts_by_incident', '1000000 1000000 1000000 50'),
    ('alerts', 'alerts_by_fingerprint', '1000000 1000000 1000000 4 1'),
    ('alerts', 'alerts_in_hand', '20000 20000 20000 1'),
    ('alerts', 'alerts_history', '1000000 1000000 1000000 2'),
    ('incidents', 'incidents', '100000 100000 100000 1'),
    ('incidents', 'incidents_in_hand', '2000 2000 2000 1'),
    ('incidents', 'incidents_by_state', '100000 100000 100000 5000 1'),
    ('incidents', 'incidents_by_opening', '100000 100000 100000 2 1'),
    ('incidents', 'incidents_by_change', '100000 100000 100000 1 1 1'),
    ('incidents', 'incidents_history', '100000 100000 100000 2');
ANALYZE sqlite_schema;
