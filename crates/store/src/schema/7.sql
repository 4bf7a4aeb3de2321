-- Units lent to the sight of another organisation, with the assignment of an owner.
CREATE TABLE sights (
    unit TEXT NOT NULL REFERENCES units (name),
    owner TEXT NOT NULL,
    organisation TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (unit, owner)
) STRICT, WITHOUT ROWID;
