-- Version 1: what SQLite's file has in its seventh version. Times are microseconds since 1970, positions and other
-- unsigned 64-bit numbers have the same bits as BIGINT. JSON is TEXT, because JSONB knows no U+0000; in other texts that
-- character and U+001A are written with an escape (see escape.rs).
CREATE TABLE shards (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    applied BIGINT NOT NULL,
    folded BIGINT NOT NULL,
    commands BIGINT NOT NULL,
    changes BIGINT NOT NULL,
    engine_now BIGINT,
    last_alert BIGINT NOT NULL,
    last_incident BIGINT NOT NULL,
    topology BYTEA,
    rules BYTEA,
    learned BYTEA,
    PRIMARY KEY (tenant, shard)
) WITH (fillfactor = 50);

-- Rows are written again while their alert lives, so each page keeps room for the next versions of its rows.
CREATE TABLE alerts (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    id BIGINT NOT NULL,
    in_hand SMALLINT NOT NULL,
    fingerprint BYTEA NOT NULL,
    source SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    severity SMALLINT NOT NULL,
    content BIGINT NOT NULL,
    ci TEXT,
    confidence DOUBLE PRECISION,
    incident BIGINT,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    ending SMALLINT NOT NULL,
    timed_out BOOLEAN NOT NULL,
    count BIGINT NOT NULL,
    first_seen BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    opened_position BIGINT NOT NULL,
    opened_ordinal BIGINT NOT NULL,
    closed_position BIGINT,
    folded_through BIGINT NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    bound_because TEXT,
    unbound_because TEXT,
    member_because TEXT,
    twin_of BIGINT,
    PRIMARY KEY (tenant, shard, id)
) WITH (fillfactor = 85);
CREATE INDEX alerts_by_fingerprint ON alerts (tenant, shard, fingerprint, opened_position);
CREATE INDEX alerts_by_incident ON alerts (tenant, shard, incident, id);
CREATE INDEX alerts_in_hand ON alerts (tenant, shard, id) WHERE in_hand = 1;
CREATE INDEX alerts_history ON alerts (tenant, shard, ends_at) WHERE in_hand = 0;

-- What repeats changed of an alert since its row was written. Narrow, so that a flush of many alerts does not write
-- all their text again; writing the whole row removes it.
CREATE TABLE folds (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    alert BIGINT NOT NULL,
    count BIGINT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    timed_out BOOLEAN NOT NULL,
    last_seen BIGINT NOT NULL,
    folded_through BIGINT NOT NULL,
    PRIMARY KEY (tenant, shard, alert)
) WITH (fillfactor = 70);

CREATE TABLE incidents (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    number BIGINT NOT NULL,
    in_hand SMALLINT NOT NULL,
    change BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    title TEXT NOT NULL,
    priority SMALLINT NOT NULL,
    impact SMALLINT NOT NULL,
    urgency SMALLINT NOT NULL,
    opened_position BIGINT NOT NULL,
    opened_ordinal BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    last_fired_at BIGINT NOT NULL,
    resolved_at BIGINT,
    resolved_by TEXT,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    reopened BIGINT NOT NULL,
    alerts BIGINT NOT NULL,
    firing BIGINT NOT NULL,
    causes TEXT NOT NULL,
    blast_radius TEXT NOT NULL,
    review_at BIGINT,
    transitions BIGINT NOT NULL,
    merged_into BIGINT,
    moved TEXT NOT NULL,
    split_from BIGINT,
    verdicts TEXT NOT NULL,
    acts TEXT NOT NULL,
    held_apart BOOLEAN NOT NULL,
    looked_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, shard, number)
);
CREATE UNIQUE INDEX incidents_by_opening ON incidents (tenant, shard, opened_position, opened_ordinal);
CREATE INDEX incidents_by_change ON incidents (tenant, shard, change, number, state);
CREATE INDEX incidents_by_state ON incidents (tenant, shard, state, number);
CREATE INDEX incidents_in_hand ON incidents (tenant, shard, number) WHERE in_hand = 1;
CREATE INDEX incidents_history ON incidents (tenant, shard, resolved_at) WHERE in_hand = 0;
CREATE INDEX incidents_by_merger ON incidents (tenant, shard, merged_into, number) WHERE merged_into IS NOT NULL;
CREATE INDEX incidents_by_origin ON incidents (tenant, shard, split_from, number) WHERE split_from IS NOT NULL;

CREATE TABLE timeline (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    incident BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX timeline_by_incident ON timeline (tenant, shard, incident, id);

CREATE TABLE parked (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    position BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    item BIGINT,
    source SMALLINT NOT NULL,
    received_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    raw TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, position, ordinal)
);
CREATE INDEX parked_by_time ON parked (tenant, shard, received_at);

-- Decided commands: a replay puts them back where they were.
CREATE TABLE command_outcomes (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    command BIGINT NOT NULL,
    after BIGINT NOT NULL,
    verdict SMALLINT NOT NULL,
    PRIMARY KEY (tenant, shard, command)
);

-- What operators said, by the command that said it. standing: 0 counts, 1 taken back, 2 crowded out by later ones.
CREATE TABLE feedback (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    command BIGINT NOT NULL,
    incident BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    standing SMALLINT NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, command)
);
CREATE INDEX feedback_in_force ON feedback (tenant, shard, command) WHERE standing = 0;
CREATE INDEX feedback_history ON feedback (tenant, shard, at) WHERE standing <> 0;

-- Changes told of: evidence for causes while they are in hand, history afterwards. A CI's name may be longer than an
-- ordered index takes, so that one is of hashes.
CREATE TABLE change_events (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    position BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    in_hand SMALLINT NOT NULL,
    fingerprint BYTEA NOT NULL,
    source SMALLINT NOT NULL,
    summary TEXT NOT NULL,
    told_by TEXT NOT NULL,
    link TEXT,
    labels TEXT NOT NULL,
    ci TEXT,
    confidence DOUBLE PRECISION,
    bound_because TEXT,
    unbound_because TEXT,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, shard, position, ordinal)
);
CREATE INDEX change_events_in_hand ON change_events (tenant, shard, position, ordinal) WHERE in_hand = 1;
CREATE INDEX change_events_by_ci ON change_events USING hash (ci);
CREATE INDEX change_events_by_fingerprint ON change_events (tenant, shard, fingerprint);
CREATE INDEX change_events_history ON change_events (tenant, shard, received_at) WHERE in_hand = 0;

-- state: 0 waits, 1 delivered, 2 dead.
CREATE TABLE outbox (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    sink TEXT NOT NULL,
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    incident BIGINT NOT NULL,
    number BIGINT NOT NULL,
    transition SMALLINT NOT NULL,
    at BIGINT NOT NULL,
    title TEXT NOT NULL,
    priority SMALLINT NOT NULL,
    cause TEXT,
    alerts BIGINT NOT NULL,
    reason TEXT NOT NULL,
    state SMALLINT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    done_at BIGINT,
    last_error TEXT
);
CREATE INDEX outbox_waiting ON outbox (sink, seq) WHERE state = 0;
CREATE INDEX outbox_in_order ON outbox (sink, tenant, shard, incident, number) WHERE state = 0;
CREATE INDEX outbox_done ON outbox (tenant, shard, done_at) WHERE state <> 0;

CREATE TABLE artefacts (
    kind SMALLINT NOT NULL,
    digest BYTEA NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (kind, digest)
);

-- Which artefact was in force since when, so that a past instant can be asked about.
CREATE TABLE activations (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    kind SMALLINT NOT NULL,
    at BIGINT NOT NULL,
    position BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    PRIMARY KEY (tenant, shard, kind, at, position)
);
