-- How lively an incident is: masses and the times of its first and last alert. An incident from before is at rest.
ALTER TABLE incidents ADD COLUMN pulse TEXT NOT NULL DEFAULT '[]';
