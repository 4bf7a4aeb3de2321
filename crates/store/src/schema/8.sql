-- The devices that the holder of a token may report for, as a JSON list of patterns; empty: all.
ALTER TABLE tokens ADD COLUMN devices TEXT NOT NULL DEFAULT '[]';
