-- Standing queries by number. One that ended stays, with why, until its end was told.
CREATE TABLE standing (
    number INTEGER PRIMARY KEY,
    principal TEXT NOT NULL,
    role TEXT NOT NULL,
    organisation TEXT,
    incident TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    question TEXT NOT NULL,
    ended TEXT
) STRICT;
INSERT INTO counters VALUES ('standing', 0);
