-- What only this server knows, by what it is for. Codes and the like are derived from it, and none of them is kept.
CREATE TABLE secrets (
    purpose TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
