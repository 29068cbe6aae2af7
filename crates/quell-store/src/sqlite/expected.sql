-- Version 10. Times in which nothing could be received, and the bounds of what a forecast expects of an incident.
CREATE TABLE outages (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, shard, from_at)
) WITHOUT ROWID;

ALTER TABLE forecasts ADD COLUMN fewest_dependents REAL;
ALTER TABLE forecasts ADD COLUMN most_dependents REAL;
ALTER TABLE forecasts ADD COLUMN fewest_minutes REAL;
ALTER TABLE forecasts ADD COLUMN most_minutes REAL;
CREATE INDEX forecasts_by_name ON forecasts (tenant, shard, subject, horizon, name, at) WHERE scored = 1;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('outages', 'outages', '1000 1000 1000 1'),
    ('forecasts', 'forecasts_by_name', '900000 900000 900000 450000 225000 90 1');
ANALYZE sqlite_schema;
