-- Version 5. Which artefact was in force since when, so that a past instant can be asked about.
CREATE TABLE activations (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    position INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (tenant, shard, kind, at, position)
) WITHOUT ROWID;
-- Of what came into force before, only the last is known, and that it was by now.
INSERT INTO activations (tenant, shard, kind, at, position, digest)
    SELECT tenant, shard, 1, ifnull(engine_now, 0), applied, topology FROM shards WHERE topology IS NOT NULL;
INSERT INTO activations (tenant, shard, kind, at, position, digest)
    SELECT tenant, shard, 2, ifnull(engine_now, 0), applied, rules FROM shards WHERE rules IS NOT NULL;
INSERT INTO activations (tenant, shard, kind, at, position, digest)
    SELECT tenant, shard, 3, ifnull(engine_now, 0), applied, learned FROM shards WHERE learned IS NOT NULL;
