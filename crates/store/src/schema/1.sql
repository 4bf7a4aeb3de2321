-- Times are milliseconds since 1970, UTC. A span ends before `until_ms`; one without end has the largest number there is.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO counters VALUES ('version', 0), ('tokens', 0);

-- docs/formats/audit.md says what each hash covers.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    principal TEXT NOT NULL,
    role TEXT NOT NULL,
    organisation TEXT,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    seen BLOB,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (time_ms);
CREATE INDEX audit_by_principal ON audit (principal, time_ms);

-- The row before the first: what retention removed last.
CREATE TABLE audit_anchor (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;
INSERT INTO audit_anchor VALUES (1, 0, zeroblob(32));

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    principal TEXT NOT NULL,
    role TEXT NOT NULL,
    organisation TEXT,
    digest BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;
CREATE INDEX tokens_by_principal ON tokens (principal);

CREATE TABLE organisations (
    name TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    parent TEXT REFERENCES organisations (name),
    territory BLOB NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX organisations_by_parent ON organisations (parent);

CREATE TABLE commands (
    organisation TEXT NOT NULL REFERENCES organisations (name),
    under TEXT NOT NULL REFERENCES organisations (name),
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (organisation, under, from_ms)
) STRICT;
CREATE INDEX commands_by_under ON commands (under);

-- A retired unit stays as a tombstone, without parts.
CREATE TABLE units (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    organisation TEXT,
    capabilities TEXT NOT NULL,
    covert INTEGER NOT NULL,
    call_sign TEXT NOT NULL,
    duty_from_ms INTEGER,
    duty_until_ms INTEGER,
    duty_zone TEXT,
    version INTEGER NOT NULL,
    retired_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX units_by_version ON units (version);
CREATE INDEX units_by_organisation ON units (organisation);

CREATE TABLE unit_devices (
    unit TEXT NOT NULL REFERENCES units (name),
    place INTEGER NOT NULL,
    device TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (unit, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX unit_devices_by_device ON unit_devices (device);

CREATE TABLE unit_crew (
    unit TEXT NOT NULL REFERENCES units (name),
    place INTEGER NOT NULL,
    person TEXT NOT NULL REFERENCES units (name),
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (unit, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX unit_crew_by_person ON unit_crew (person);

CREATE TABLE unit_external (
    unit TEXT NOT NULL REFERENCES units (name),
    place INTEGER NOT NULL,
    system TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (unit, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX unit_external_by_id ON unit_external (system, id);
