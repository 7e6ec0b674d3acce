-- What every domain's transactions write beside their own rows: who did what, and which request has had its effect.
-- And the keys of the installation, which all nodes share.

-- No column refers to another table: a row outlives what it speaks of.
CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    actor UUID,
    session UUID,
    device UUID,
    correlation_id TEXT NOT NULL,
    action TEXT NOT NULL,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id UUID,
    target TEXT NOT NULL,
    reason TEXT,
    details JSONB,
    CHECK ((scope_kind = 'global') = (scope_id IS NULL))
);

-- `target` names what the request made. It is empty only inside the transaction that makes it: taking the key first makes
-- a second transaction with the same key wait for the first.
CREATE TABLE effect_keys (
    key BYTEA PRIMARY KEY CHECK (length(key) = 32),
    target TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL
);
-- Old keys are deleted by age.
CREATE INDEX effect_keys_by_age ON effect_keys (at);

CREATE TABLE server_keys (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('root', 'signing')),
    secret BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
