-- Version 5. How a tenant's inputs are shared out among shards: said once, when the store is first served. A store that
-- was served before has one shard.
CREATE TABLE sharding (
    tenant BIGINT NOT NULL,
    label TEXT,
    shards BIGINT NOT NULL,
    PRIMARY KEY (tenant)
);
INSERT INTO sharding (tenant, label, shards) SELECT DISTINCT tenant, NULL, 1 FROM shards;
