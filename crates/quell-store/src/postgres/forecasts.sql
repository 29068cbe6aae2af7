-- Version 3. Forecasts that were made and what came, the models that made them, and incidents of other systems.
CREATE TABLE forecasts (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    subject SMALLINT NOT NULL,
    horizon BIGINT NOT NULL,
    at BIGINT NOT NULL,
    name TEXT NOT NULL,
    ci TEXT,
    probability DOUBLE PRECISION NOT NULL,
    low DOUBLE PRECISION NOT NULL,
    high DOUBLE PRECISION NOT NULL,
    rank DOUBLE PRECISION NOT NULL,
    ewma DOUBLE PRECISION NOT NULL,
    last_window DOUBLE PRECISION NOT NULL,
    base_rate DOUBLE PRECISION NOT NULL,
    rests_on TEXT NOT NULL,
    abstains TEXT,
    early BIGINT,
    middle BIGINT,
    late BIGINT,
    seen BIGINT NOT NULL,
    dependents DOUBLE PRECISION,
    minutes DOUBLE PRECISION,
    model BYTEA NOT NULL,
    scored SMALLINT NOT NULL,
    marked SMALLINT NOT NULL,
    first_at BIGINT,
    PRIMARY KEY (tenant, shard, subject, horizon, at, name)
);
CREATE INDEX forecasts_waiting ON forecasts (tenant, shard, subject, horizon, at) WHERE scored = 1 AND marked = 0;

CREATE TABLE forecast_models (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    subject SMALLINT NOT NULL,
    horizon BIGINT NOT NULL,
    at BIGINT NOT NULL,
    incidents BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, subject, horizon, at)
);

CREATE TABLE imported_incidents (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    signature TEXT NOT NULL,
    ci TEXT NOT NULL,
    service TEXT NOT NULL,
    priority SMALLINT
);
-- Names may be longer than an ordered index takes.
CREATE UNIQUE INDEX imported_incidents_once
    ON imported_incidents (tenant, shard, opened_at, md5(signature), md5(ci), md5(service));
