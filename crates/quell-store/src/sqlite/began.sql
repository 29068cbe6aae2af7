-- When an alert began, as its sender said when it was first received; starts_at may move to an earlier time later.
ALTER TABLE alerts ADD COLUMN began_at INTEGER NOT NULL DEFAULT 0;
UPDATE alerts SET began_at = starts_at;
