-- Version 11. How a tenant's inputs are shared out among shards: said once, when the store is first served. A store that
-- was served before has one shard.
CREATE TABLE sharding (
    tenant INTEGER NOT NULL,
    label TEXT,
    shards INTEGER NOT NULL,
    PRIMARY KEY (tenant)
) WITHOUT ROWID;
INSERT INTO sharding (tenant, label, shards) SELECT DISTINCT tenant, NULL, 1 FROM shards;

-- What waits for a sink is asked for by shard.
DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox (sink, tenant, shard, seq) WHERE state = 0;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('outbox', 'outbox_waiting', '1000 300 300 300 1'),
    ('outbox', 'outbox_in_order', '1000 300 300 300 2 1');
ANALYZE sqlite_schema;
