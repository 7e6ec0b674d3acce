-- Notifications: what an account is told, once, and what it has made of that. Announcements to everybody have no rows here until
-- an account does something with one; those to a world or a role are copied to whoever belongs to it, without their text.

-- An account that was told nothing, and has read nothing, has no row. `version` counts every change of what it is told: a feed in
-- the same state has the same number. Announcements to everybody are read up to `read_number`, if they were visible at
-- `read_until`.
CREATE TABLE feeds (
    account_id BLOB NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    read_number INTEGER NOT NULL DEFAULT 0,
    read_until INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- `arrival` is the feed's version that the row came with, and zero for an announcement to everybody. A row without a text is of the
-- announcement with the same id. A dismissed one stays as a row, so that it does not come again.
CREATE TABLE notifications (
    account_id BLOB NOT NULL CONSTRAINT notifications_feed REFERENCES feeds (account_id) ON DELETE CASCADE,
    id BLOB NOT NULL CHECK (length(id) = 16),
    arrival INTEGER NOT NULL,
    topic TEXT NOT NULL,
    dedupe_key TEXT,
    title TEXT,
    body TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    dispatched_at INTEGER,
    read_at INTEGER,
    dismissed_at INTEGER,
    PRIMARY KEY (account_id, id),
    CHECK ((title IS NULL) = (body IS NULL)),
    CHECK ((title IS NULL) = (dedupe_key IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX notifications_dedupe ON notifications (account_id, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX notifications_by_time ON notifications (account_id, created_at, id) WHERE dismissed_at IS NULL;
CREATE INDEX notifications_unread ON notifications (account_id, created_at, id)
    WHERE read_at IS NULL AND dismissed_at IS NULL;
CREATE INDEX notifications_end ON notifications (account_id, expires_at) WHERE expires_at IS NOT NULL;
-- They are deleted by age.
CREATE INDEX notifications_by_age ON notifications (created_at);

-- Letters, from when they are meant: what is to be sent is written down first, and that it is on its way before the mail server is
-- asked.
CREATE TABLE mail_intents (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    dedupe_key TEXT NOT NULL,
    account_id BLOB REFERENCES accounts (id) ON DELETE CASCADE,
    recipient TEXT NOT NULL,
    locale TEXT NOT NULL CHECK (locale IN ('de', 'en')),
    letter TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'sending', 'accepted', 'unknown', 'failed')),
    attempts INTEGER NOT NULL,
    -- It was sent again though nobody knew whether it had gone out.
    resent INTEGER NOT NULL,
    error TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT mail_intents_key UNIQUE (dedupe_key)
) STRICT;
CREATE INDEX mail_intents_by_account ON mail_intents (account_id) WHERE account_id IS NOT NULL;
-- They are deleted by age.
CREATE INDEX mail_intents_by_age ON mail_intents (updated_at) WHERE state IN ('accepted', 'unknown', 'failed');
