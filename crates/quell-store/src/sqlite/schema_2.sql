-- Version 2: incidents merged and split, what people said of causes, and what they said at all.
ALTER TABLE incidents ADD COLUMN merged_into INTEGER;
ALTER TABLE incidents ADD COLUMN moved TEXT NOT NULL DEFAULT '[]';
ALTER TABLE incidents ADD COLUMN split_from INTEGER;
ALTER TABLE incidents ADD COLUMN verdicts TEXT NOT NULL DEFAULT '[]';
ALTER TABLE incidents ADD COLUMN acts TEXT NOT NULL DEFAULT '[]';
ALTER TABLE incidents ADD COLUMN held_apart INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN looked_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX incidents_by_merger ON incidents (tenant, shard, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX incidents_by_origin ON incidents (tenant, shard, split_from) WHERE split_from IS NOT NULL;

-- What operators said, by the command that said it. standing: 0 counts, 1 taken back, 2 crowded out by later ones.
CREATE TABLE feedback (
    tenant INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    command INTEGER NOT NULL,
    incident INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    standing INTEGER NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (tenant, shard, command)
) WITHOUT ROWID;
CREATE INDEX feedback_in_force ON feedback (tenant, shard, command) WHERE standing = 0;
CREATE INDEX feedback_history ON feedback (tenant, shard, at) WHERE standing <> 0;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('incidents', 'incidents_by_merger', '2000 2000 2000 2'),
    ('incidents', 'incidents_by_origin', '2000 2000 2000 2'),
    ('feedback', 'feedback', '2000 2000 2000 1'),
    ('feedback', 'feedback_in_force', '1000 1000 1000 1'),
    ('feedback', 'feedback_history', '1000 1000 1000 2');
ANALYZE sqlite_schema;
