-- Accounts and how they are proven: sessions on devices, refresh tokens that are used once, tickets for sockets, and the
-- one-time tokens that make an owner. Of every token only a SHA-256 is kept.

CREATE TABLE accounts (
    id UUID PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('guest', 'registered')),
    username TEXT,
    display_name TEXT NOT NULL,
    email TEXT,
    revision BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT accounts_username UNIQUE (username)
);

-- Apart from the account, so that no list of accounts ever reads a hash.
CREATE TABLE passwords (
    account_id UUID PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    set_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE devices (
    id UUID PRIMARY KEY,
    account_id UUID NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT,
    fingerprint BYTEA CHECK (length(fingerprint) = 32),
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT devices_fingerprint UNIQUE (account_id, fingerprint)
);

CREATE TABLE sessions (
    id UUID PRIMARY KEY,
    account_id UUID NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    device_id UUID NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    idle_expires_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);
CREATE INDEX sessions_by_account ON sessions (account_id);
CREATE INDEX sessions_by_device ON sessions (device_id);

CREATE TABLE refresh_tokens (
    hash BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    session_id UUID NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL,
    used_at TIMESTAMPTZ,
    CONSTRAINT refresh_tokens_generation UNIQUE (session_id, generation)
);

CREATE TABLE tickets (
    hash BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    session_id UUID NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    origin TEXT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX tickets_by_session ON tickets (session_id);
CREATE INDEX tickets_by_end ON tickets (expires_at);

CREATE TABLE bootstrap_tokens (
    hash BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    spent_at TIMESTAMPTZ
);
