-- Work that follows from what was done: written in the same transaction, done behind it, and kept here in between.

-- Only jobs that are not done and not dead. A job is claimed by giving it a lease and the next fence; whoever finishes it
-- deletes it under that fence, in the transaction of its effect.
CREATE TABLE outbox_jobs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    payload JSONB NOT NULL CHECK (pg_column_size(payload) <= 65536),
    order_key TEXT CHECK (octet_length(order_key) <= 200),
    dedupe_key TEXT CHECK (octet_length(dedupe_key) <= 200),
    correlation_id TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    run_at TIMESTAMPTZ NOT NULL,
    failures BIGINT NOT NULL DEFAULT 0,
    crashes BIGINT NOT NULL DEFAULT 0,
    -- Counts the claims, and is never set back.
    fence BIGINT NOT NULL DEFAULT 0,
    -- Who has it, until when, until when in any case, and with how many crashes it is dead: a sweep reads the row alone.
    worker UUID,
    lease_until TIMESTAMPTZ,
    deadline_at TIMESTAMPTZ,
    crash_limit BIGINT,
    -- Why attempts came to nothing, oldest first: {"at": microseconds, "error": text}.
    errors JSONB NOT NULL DEFAULT '[]',
    replay_of BIGINT,
    CHECK ((worker IS NULL) = (lease_until IS NULL)),
    CHECK ((worker IS NULL) = (deadline_at IS NULL)),
    CHECK ((worker IS NULL) = (crash_limit IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
-- Jobs that wait, in the order in which they are claimed.
CREATE INDEX outbox_jobs_waiting ON outbox_jobs (kind, run_at, id) WHERE worker IS NULL;
CREATE INDEX outbox_jobs_leased ON outbox_jobs (lease_until) WHERE worker IS NOT NULL;
-- Whether an older job of the key is left.
CREATE INDEX outbox_jobs_in_order ON outbox_jobs (kind, order_key, id) WHERE order_key IS NOT NULL;
-- Of jobs that wait under one key there is one. One that runs gives its key up to a further one.
CREATE UNIQUE INDEX outbox_jobs_dedupe ON outbox_jobs (kind, dedupe_key) WHERE dedupe_key IS NOT NULL;

-- Jobs that are not tried again, until they are replayed or old.
CREATE TABLE outbox_dead (
    id BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    payload JSONB NOT NULL,
    order_key TEXT,
    dedupe_key TEXT,
    correlation_id TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    died_at TIMESTAMPTZ NOT NULL,
    failures BIGINT NOT NULL,
    crashes BIGINT NOT NULL,
    errors JSONB NOT NULL,
    replay_of BIGINT
);
CREATE INDEX outbox_dead_by_age ON outbox_dead (died_at);

-- When jobs that come by themselves are due next, and by which pattern that was computed.
CREATE TABLE outbox_schedules (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    next_at TIMESTAMPTZ NOT NULL
);
