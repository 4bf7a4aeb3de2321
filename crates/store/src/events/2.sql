-- How far each webhook is: all up to `after` is delivered, was not for it, or is in `dead`. `made` tells it from an older webhook of
-- its name. `lost`: events that retention removed before they could be sent; `forgotten`: rows of `dead` that were one too many.
CREATE TABLE delivered (
    webhook TEXT PRIMARY KEY,
    made INTEGER NOT NULL,
    after INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a webhook gave up: the events of these numbers that were for it.
CREATE TABLE dead (
    webhook TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    events INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    given_up_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (webhook, first)
) STRICT, WITHOUT ROWID;
