-- Version 8. Problems, the signatures of incidents, and what each incident was taken for. A signature's and a problem's
-- row is one JSON text, written and read as a whole; beside it stand the columns that rows are found by.
CREATE TABLE signatures (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    number INTEGER NOT NULL,
    in_hand INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    merged_into INTEGER,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, number)
) WITHOUT ROWID;
CREATE INDEX signatures_in_hand ON signatures (tenant, shard, number) WHERE in_hand = 1;
CREATE INDEX signatures_by_merger ON signatures (tenant, shard, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX signatures_history ON signatures (tenant, shard, last_at) WHERE in_hand = 0;

-- Kept longer than incidents: it is what recurrence is learned from.
CREATE TABLE recognitions (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    incident INTEGER NOT NULL,
    signature INTEGER,
    likeness REAL NOT NULL,
    novel INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    ended_at INTEGER,
    how TEXT NOT NULL,
    alerts INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    cause TEXT,
    service TEXT,
    dependents INTEGER NOT NULL,
    traits TEXT NOT NULL,
    workaround TEXT,
    PRIMARY KEY (tenant, shard, incident)
) WITHOUT ROWID;
CREATE INDEX recognitions_by_cause ON recognitions (tenant, shard, cause, incident);
CREATE INDEX recognitions_by_signature ON recognitions (tenant, shard, signature, incident);

CREATE TABLE problems (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    number INTEGER NOT NULL,
    in_hand INTEGER NOT NULL,
    state INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, number)
) WITHOUT ROWID;
CREATE INDEX problems_in_hand ON problems (tenant, shard, number) WHERE in_hand = 1;
CREATE INDEX problems_by_state ON problems (tenant, shard, state, number);

CREATE TABLE problem_timeline (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    problem INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX problem_timeline_by_problem ON problem_timeline (tenant, shard, problem, id);

-- How many were told of an incident: what a problem costs people.
CREATE INDEX outbox_told ON outbox (tenant, shard, incident) WHERE state = 1;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('signatures', 'signatures', '4000 4000 4000 1'),
    ('signatures', 'signatures_in_hand', '4000 4000 4000 1'),
    ('signatures', 'signatures_by_merger', '100 100 100 2'),
    ('signatures', 'signatures_history', '100 100 100 1'),
    ('recognitions', 'recognitions', '100000 100000 100000 1'),
    ('recognitions', 'recognitions_by_cause', '100000 100000 100000 50 1'),
    ('recognitions', 'recognitions_by_signature', '100000 100000 100000 30 1'),
    ('problems', 'problems', '1000 1000 1000 1'),
    ('problems', 'problems_in_hand', '1000 1000 1000 1'),
    ('problems', 'problems_by_state', '1000 1000 1000 200 1'),
    ('problem_timeline', 'problem_timeline_by_problem', '10000 10000 10000 10 1'),
    ('outbox', 'outbox_told', '100000 100000 100000 5');
ANALYZE sqlite_schema;
