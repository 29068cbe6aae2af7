-- Version 9. Forecasts that were made and what came, the models that made them, and incidents of other systems.
CREATE TABLE forecasts (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    horizon INTEGER NOT NULL,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    ci TEXT,
    probability REAL NOT NULL,
    low REAL NOT NULL,
    high REAL NOT NULL,
    rank REAL NOT NULL,
    ewma REAL NOT NULL,
    last_window REAL NOT NULL,
    base_rate REAL NOT NULL,
    rests_on TEXT NOT NULL,
    abstains TEXT,
    early INTEGER,
    middle INTEGER,
    late INTEGER,
    seen INTEGER NOT NULL,
    dependents REAL,
    minutes REAL,
    model BLOB NOT NULL,
    scored INTEGER NOT NULL,
    marked INTEGER NOT NULL,
    first_at INTEGER,
    PRIMARY KEY (tenant, shard, subject, horizon, at, name)
) WITHOUT ROWID;
CREATE INDEX forecasts_waiting ON forecasts (tenant, shard, subject, horizon, at) WHERE scored = 1 AND marked = 0;

CREATE TABLE forecast_models (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    horizon INTEGER NOT NULL,
    at INTEGER NOT NULL,
    incidents INTEGER NOT NULL,
    digest BLOB NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, subject, horizon, at)
) WITHOUT ROWID;

CREATE TABLE imported_incidents (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    signature TEXT NOT NULL,
    ci TEXT NOT NULL,
    service TEXT NOT NULL,
    priority INTEGER
);
CREATE UNIQUE INDEX imported_incidents_once
    ON imported_incidents (tenant, shard, signature, opened_at, ci, service);

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('forecasts', 'forecasts', '1000000 1000000 1000000 500000 250000 1000 1'),
    ('forecasts', 'forecasts_waiting', '8000 8000 8000 4000 2000 1000'),
    ('forecast_models', 'forecast_models', '20 20 20 10 5 1'),
    ('imported_incidents', 'imported_incidents_once', '1000000 1000000 1000000 20 1 1 1');
ANALYZE sqlite_schema;
