-- The learned state in force.
ALTER TABLE shards ADD COLUMN learned BLOB;
