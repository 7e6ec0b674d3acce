-- Second factors: a secret that an authenticator shares, and codes on paper that stand in for it. And what accounts prefer.

-- The secret is encrypted under a key that is derived from the root key `secret_root`, for this account alone. `last_step` is the
-- last step of 30 seconds whose code was used: none of that step or an earlier one passes again.
CREATE TABLE second_factors (
    account_id UUID PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    secret_root TEXT NOT NULL,
    secret BYTEA NOT NULL,
    last_step BIGINT NOT NULL,
    begun_at TIMESTAMPTZ NOT NULL,
    confirmed_at TIMESTAMPTZ
);

-- Keyed hashes. A code that was used is deleted.
CREATE TABLE recovery_codes (
    account_id UUID NOT NULL REFERENCES second_factors (account_id) ON DELETE CASCADE,
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (account_id, hash)
);

-- An account without a row has the defaults, as revision 1. `muted` are the topics that are off, with a blank between two; a node
-- that does not know one of them yet passes over it. Times of day are minutes since midnight.
CREATE TABLE preferences (
    account_id UUID PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    locale TEXT,
    theme TEXT NOT NULL CHECK (theme IN ('system', 'light', 'dark')),
    muted TEXT NOT NULL,
    quiet_start BIGINT CHECK (quiet_start BETWEEN 0 AND 1439),
    quiet_end BIGINT CHECK (quiet_end BETWEEN 0 AND 1439),
    time_zone TEXT,
    revision BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CHECK ((quiet_start IS NULL) = (quiet_end IS NULL) AND (quiet_start IS NULL) = (time_zone IS NULL))
);
