-- Work that follows from what was done: written in the same transaction, done behind it, and kept here in between.

-- Only jobs that are not done and not dead. A job is claimed by giving it a lease and the next fence; whoever finishes it
-- deletes it under that fence, in the transaction of its effect.
CREATE TABLE outbox_jobs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL CHECK (length(payload) <= 65536),
    order_key TEXT CHECK (octet_length(order_key) <= 200),
    dedupe_key TEXT CHECK (octet_length(dedupe_key) <= 200),
    correlation_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    -- Counts the claims, and is never set back.
    fence INTEGER NOT NULL DEFAULT 0,
    -- Who has it, until when, until when in any case, and with how many crashes it is dead: a sweep reads the row alone.
    worker BLOB CHECK (length(worker) = 16),
    lease_until INTEGER,
    deadline_at INTEGER,
    crash_limit INTEGER,
    -- Why attempts came to nothing, oldest first: {"at": microseconds, "error": text}.
    errors TEXT NOT NULL DEFAULT '[]',
    replay_of INTEGER,
    CHECK ((worker IS NULL) = (lease_until IS NULL)),
    CHECK ((worker IS NULL) = (deadline_at IS NULL)),
    CHECK ((worker IS NULL) = (crash_limit IS NULL))
) STRICT;
-- Jobs that wait, in the order in which they are claimed.
CREATE INDEX outbox_jobs_waiting ON outbox_jobs (kind, run_at, id) WHERE worker IS NULL;
CREATE INDEX outbox_jobs_leased ON outbox_jobs (lease_until) WHERE worker IS NOT NULL;
-- Whether an older job of the key is left.
CREATE INDEX outbox_jobs_in_order ON outbox_jobs (kind, order_key, id) WHERE order_key IS NOT NULL;
-- Of jobs that wait under one key there is one. One that runs gives its key up to a further one.
CREATE UNIQUE INDEX outbox_jobs_dedupe ON outbox_jobs (kind, dedupe_key) WHERE dedupe_key IS NOT NULL;

-- Jobs that are not tried again, until they are replayed or old.
CREATE TABLE outbox_dead (
    id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    order_key TEXT,
    dedupe_key TEXT,
    correlation_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    died_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    errors TEXT NOT NULL,
    replay_of INTEGER
) STRICT;
CREATE INDEX outbox_dead_by_age ON outbox_dead (died_at);

-- When jobs that come by themselves are due next, and by which pattern that was computed.
CREATE TABLE outbox_schedules (
    name TEXT NOT NULL PRIMARY KEY,
    spec TEXT NOT NULL,
    next_at INTEGER NOT NULL
) STRICT;
