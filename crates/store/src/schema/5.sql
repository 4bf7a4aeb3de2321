-- Where events are sent. The secret is kept as it is: it must sign. `made` is the version of the first change, and tells a webhook
-- from an older one of its name; `begin` is the last event before it.
CREATE TABLE webhooks (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    organisation TEXT,
    wanted TEXT NOT NULL,
    is_enabled INTEGER NOT NULL,
    begin INTEGER NOT NULL,
    made INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_by_organisation ON webhooks (organisation);
INSERT INTO counters VALUES ('webhooks', 0);
