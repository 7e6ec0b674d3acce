-- Accounts that are no more. The ledger outlives them, so that a backup of before, once restored, can be made to forget them
-- again; and it says which erasures are not through yet, so that whoever starts next goes on with them.

-- No column refers to another table: a row outlives what it speaks of. `unsettled_since` is empty once nothing bears the old
-- name any more.
CREATE TABLE erasures (
    account_id UUID NOT NULL PRIMARY KEY,
    erased_at TIMESTAMPTZ NOT NULL,
    erased_by UUID,
    unsettled_since TIMESTAMPTZ
);
CREATE INDEX erasures_unsettled ON erasures (unsettled_since) WHERE unsettled_since IS NOT NULL;

-- By what an erased account would be known again if it was banned: keyed hashes of its username, its address and the
-- fingerprints of its devices. They are deleted by age.
CREATE TABLE erasure_marks (
    kind TEXT NOT NULL CHECK (kind IN ('username', 'email', 'device')),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    account_id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (kind, hash, account_id)
);
CREATE INDEX erasure_marks_by_age ON erasure_marks (at);

-- Whose request it was, so that answers go with their account. Empty in records of before, which are a day old at most.
ALTER TABLE idempotency_records ADD COLUMN account_id UUID;
CREATE INDEX idempotency_records_by_account ON idempotency_records (account_id);

-- What an account did, and what was done to it, is found without reading the whole log.
CREATE INDEX audit_log_by_actor ON audit_log (actor, id);
CREATE INDEX audit_log_by_target ON audit_log (target, id);
