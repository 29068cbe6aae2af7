-- Version 2. Problems, the signatures of incidents, and what each incident was taken for. A signature's and a problem's
-- row is one JSON text, written and read as a whole; beside it stand the columns that rows are found by.
CREATE TABLE signatures (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    number BIGINT NOT NULL,
    in_hand SMALLINT NOT NULL,
    last_at BIGINT NOT NULL,
    merged_into BIGINT,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, number)
);
CREATE INDEX signatures_in_hand ON signatures (tenant, shard, number) WHERE in_hand = 1;
CREATE INDEX signatures_by_merger ON signatures (tenant, shard, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX signatures_history ON signatures (tenant, shard, last_at) WHERE in_hand = 0;

-- Kept longer than incidents: it is what recurrence is learned from.
CREATE TABLE recognitions (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    incident BIGINT NOT NULL,
    signature BIGINT,
    likeness DOUBLE PRECISION NOT NULL,
    novel BOOLEAN NOT NULL,
    opened_at BIGINT NOT NULL,
    ended_at BIGINT,
    how TEXT NOT NULL,
    alerts BIGINT NOT NULL,
    priority SMALLINT NOT NULL,
    cause TEXT,
    service TEXT,
    dependents BIGINT NOT NULL,
    traits TEXT NOT NULL,
    workaround TEXT,
    PRIMARY KEY (tenant, shard, incident)
);
-- A CI's name may be longer than an ordered index takes.
CREATE INDEX recognitions_by_cause ON recognitions USING hash (cause);
CREATE INDEX recognitions_by_signature ON recognitions (tenant, shard, signature, incident);

CREATE TABLE problems (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    number BIGINT NOT NULL,
    in_hand SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, number)
);
CREATE INDEX problems_in_hand ON problems (tenant, shard, number) WHERE in_hand = 1;
CREATE INDEX problems_by_state ON problems (tenant, shard, state, number);

CREATE TABLE problem_timeline (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    problem BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX problem_timeline_by_problem ON problem_timeline (tenant, shard, problem, id);

-- How many were told of an incident: what a problem costs people.
CREATE INDEX outbox_told ON outbox (tenant, shard, incident) WHERE state = 1;
