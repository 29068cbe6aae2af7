-- Version 4. Times in which nothing could be received, and the bounds of what a forecast expects of an incident.
CREATE TABLE outages (
    tenant BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    from_at BIGINT NOT NULL,
    to_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, shard, from_at)
);

ALTER TABLE forecasts
    ADD COLUMN fewest_dependents DOUBLE PRECISION,
    ADD COLUMN most_dependents DOUBLE PRECISION,
    ADD COLUMN fewest_minutes DOUBLE PRECISION,
    ADD COLUMN most_minutes DOUBLE PRECISION;
CREATE INDEX forecasts_by_name ON forecasts (tenant, shard, subject, horizon, name, at) WHERE scored = 1;
