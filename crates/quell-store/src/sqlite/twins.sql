-- The alert that one repeats in other words: the same fault, seen by another monitor.
ALTER TABLE alerts ADD COLUMN twin_of INTEGER;
