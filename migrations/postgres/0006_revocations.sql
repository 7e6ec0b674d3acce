-- The log of losses, which every node follows by number: what somebody may no longer do. And when and from where devices
-- were seen, and that one has ended.

-- No column refers to another table: a row outlives what it speaks of.
CREATE TABLE revocations (
    seq BIGINT PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    account_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('session', 'device', 'rights', 'name', 'account')),
    -- The session or the device.
    subject UUID,
    scope_kind TEXT CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id UUID,
    CHECK ((kind IN ('session', 'device')) = (subject IS NOT NULL)),
    CHECK ((kind = 'rights') = (scope_kind IS NOT NULL)),
    CHECK (scope_kind IS NULL OR (scope_kind = 'global') = (scope_id IS NULL))
);
-- A starting node reads the last minutes, and old losses are deleted by age.
CREATE INDEX revocations_by_age ON revocations (at);

-- The newest number. The row is the last that a transaction locks, and stays locked until the commit: so numbers are given
-- out in the order of commits, which an identity column does not do, and none is left out.
CREATE TABLE revocation_counter (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    last_seq BIGINT NOT NULL
);
INSERT INTO revocation_counter (id, last_seq) VALUES (1, 0);

-- Empty for devices of before, and for what nodes of the version before write: then it is the time it was made.
ALTER TABLE devices ADD COLUMN seen_at TIMESTAMPTZ;
ALTER TABLE devices ADD COLUMN address BYTEA CHECK (length(address) = 32);
-- A device that has ended stays as a row without its fingerprint, so that the next sign-in from there makes another one.
ALTER TABLE devices ADD COLUMN ended_at TIMESTAMPTZ;
