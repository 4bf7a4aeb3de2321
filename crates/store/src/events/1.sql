-- Times are milliseconds since 1970, UTC.

CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    noted_ms INTEGER NOT NULL,
    unit TEXT,
    zone TEXT,
    organisation TEXT,
    zone_organisation TEXT,
    lat_e7 INTEGER,
    lon_e7 INTEGER,
    detail TEXT NOT NULL
) STRICT;

-- `log` and `entry`: what the watcher had looked at when it wrote last. `last`: the number of the last event ever.
CREATE TABLE reached (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO reached VALUES ('log', 0), ('entry', 0), ('last', 0);

-- Which units are in which zones, or on their way in or out, by the numbers of the journal.
CREATE TABLE stays (
    unit INTEGER NOT NULL,
    zone TEXT NOT NULL,
    is_in INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    turning_ms INTEGER,
    told INTEGER NOT NULL,
    PRIMARY KEY (unit, zone)
) STRICT, WITHOUT ROWID;

-- The zones that the stays were made with.
CREATE TABLE zones_seen (
    zone TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was told to have begun and has not ended: a unit out of contact, a zone below its minimum.
CREATE TABLE marks (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
