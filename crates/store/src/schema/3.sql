-- Each version of a zone and when it is in force: versions of one name do not overlap. What was in force stays; what was to
-- come and never was goes when it is replaced.
CREATE TABLE zones (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    label TEXT NOT NULL,
    layer INTEGER NOT NULL,
    organisation TEXT,
    shape BLOB NOT NULL,
    rest TEXT NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (name, from_ms)
) STRICT;
CREATE UNIQUE INDEX zones_by_version ON zones (version);
CREATE INDEX zones_by_until ON zones (until_ms);
CREATE INDEX zones_by_from ON zones (from_ms);
CREATE INDEX zones_by_organisation ON zones (organisation);
INSERT INTO counters VALUES ('zones', 0);
