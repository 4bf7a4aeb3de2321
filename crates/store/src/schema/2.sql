-- The newest that each owner said of a unit. A value that is null was taken back.
CREATE TABLE unit_said (
    unit TEXT NOT NULL REFERENCES units (name),
    what TEXT NOT NULL,
    owner TEXT NOT NULL,
    value TEXT,
    time_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (unit, what, owner)
) STRICT, WITHOUT ROWID;

-- Keys of changes that were taken: the same key twice is one change.
CREATE TABLE said_keys (
    key TEXT PRIMARY KEY,
    time_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX said_keys_by_time ON said_keys (time_ms);
