-- Notifications: what an account is told, once, and what it has made of that. Announcements to everybody have no rows here until
-- an account does something with one; those to a world or a role are copied to whoever belongs to it, without their text.

-- An account that was told nothing, and has read nothing, has no row. `version` counts every change of what it is told: a feed in
-- the same state has the same number. Announcements to everybody are read up to `read_number`, if they were visible at
-- `read_until`.
CREATE TABLE feeds (
    account_id UUID PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    read_number BIGINT NOT NULL DEFAULT 0,
    read_until TIMESTAMPTZ NOT NULL DEFAULT '1970-01-01T00:00:00Z'
) WITH (fillfactor = 70);

-- `arrival` is the feed's version that the row came with, and zero for an announcement to everybody. A row without a text is of the
-- announcement with the same id. A dismissed one stays as a row, so that it does not come again.
CREATE TABLE notifications (
    account_id UUID NOT NULL CONSTRAINT notifications_feed REFERENCES feeds (account_id) ON DELETE CASCADE,
    id UUID NOT NULL,
    arrival BIGINT NOT NULL,
    topic TEXT NOT NULL,
    dedupe_key TEXT,
    title TEXT,
    body TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    dispatched_at TIMESTAMPTZ,
    read_at TIMESTAMPTZ,
    dismissed_at TIMESTAMPTZ,
    PRIMARY KEY (account_id, id),
    CHECK ((title IS NULL) = (body IS NULL)),
    CHECK ((title IS NULL) = (dedupe_key IS NULL))
);
CREATE UNIQUE INDEX notifications_dedupe ON notifications (account_id, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX notifications_by_time ON notifications (account_id, created_at, id) WHERE dismissed_at IS NULL;
CREATE INDEX notifications_unread ON notifications (account_id, created_at, id)
    WHERE read_at IS NULL AND dismissed_at IS NULL;
CREATE INDEX notifications_end ON notifications (account_id, expires_at) WHERE expires_at IS NOT NULL;
-- They are deleted by age.
CREATE INDEX notifications_by_age ON notifications USING brin (created_at);

-- Letters, from when they are meant: what is to be sent is written down first, and that it is on its way before the mail server is
-- asked.
CREATE TABLE mail_intents (
    id UUID PRIMARY KEY,
    dedupe_key TEXT NOT NULL,
    account_id UUID REFERENCES accounts (id) ON DELETE CASCADE,
    recipient TEXT NOT NULL,
    locale TEXT NOT NULL CHECK (locale IN ('de', 'en')),
    letter JSONB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'sending', 'accepted', 'unknown', 'failed')),
    attempts BIGINT NOT NULL,
    -- It was sent again though nobody knew whether it had gone out.
    resent BOOLEAN NOT NULL,
    error TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT mail_intents_key UNIQUE (dedupe_key)
);
CREATE INDEX mail_intents_by_account ON mail_intents (account_id) WHERE account_id IS NOT NULL;
-- They are deleted by age.
CREATE INDEX mail_intents_by_age ON mail_intents (updated_at) WHERE state IN ('accepted', 'unknown', 'failed');
