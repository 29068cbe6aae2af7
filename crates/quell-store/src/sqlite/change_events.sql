-- Version 7. Changes told of: evidence for causes while they are in hand, history afterwards.
CREATE TABLE change_events (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    in_hand INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    source INTEGER NOT NULL,
    summary TEXT NOT NULL,
    told_by TEXT NOT NULL,
    link TEXT,
    labels TEXT NOT NULL,
    ci TEXT,
    confidence REAL,
    bound_because TEXT,
    unbound_because TEXT,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, shard, position, ordinal)
) WITHOUT ROWID;
CREATE INDEX change_events_in_hand ON change_events (tenant, shard, position, ordinal) WHERE in_hand = 1;
CREATE INDEX change_events_by_ci ON change_events (tenant, shard, ci, position, ordinal);
CREATE INDEX change_events_by_fingerprint ON change_events (tenant, shard, fingerprint);
CREATE INDEX change_events_history ON change_events (tenant, shard, received_at) WHERE in_hand = 0;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('change_events', 'change_events', '100000 100000 100000 1 1'),
    ('change_events', 'change_events_in_hand', '10000 10000 10000 1 1'),
    ('change_events', 'change_events_by_ci', '100000 100000 100000 50 1 1'),
    ('change_events', 'change_events_by_fingerprint', '100000 100000 100000 1'),
    ('change_events', 'change_events_history', '90000 90000 90000 2');
ANALYZE sqlite_schema;
