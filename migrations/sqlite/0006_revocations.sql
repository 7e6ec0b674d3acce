-- The log of losses, which every process follows by number: what somebody may no longer do. And when and from where devices
-- were seen, and that one has ended.

-- No column refers to another table: a row outlives what it speaks of.
CREATE TABLE revocations (
    seq INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    account_id BLOB NOT NULL CHECK (length(account_id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('session', 'device', 'rights', 'name', 'account')),
    -- The session or the device.
    subject BLOB CHECK (length(subject) = 16),
    scope_kind TEXT CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id BLOB,
    CHECK ((kind IN ('session', 'device')) = (subject IS NOT NULL)),
    CHECK ((kind = 'rights') = (scope_kind IS NOT NULL)),
    CHECK (scope_kind IS NULL OR (scope_kind = 'global') = (scope_id IS NULL))
) STRICT;
-- A starting process reads the last minutes, and old losses are deleted by age.
CREATE INDEX revocations_by_age ON revocations (at);

-- The newest number, kept apart so that it goes on when losses are deleted.
CREATE TABLE revocation_counter (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    last_seq INTEGER NOT NULL
) STRICT;
INSERT INTO revocation_counter (id, last_seq) VALUES (1, 0);

-- Empty for devices of before: then it is the time it was made.
ALTER TABLE devices ADD COLUMN seen_at INTEGER;
ALTER TABLE devices ADD COLUMN address BLOB CHECK (length(address) = 32);
-- A device that has ended stays as a row without its fingerprint, so that the next sign-in from there makes another one.
ALTER TABLE devices ADD COLUMN ended_at INTEGER;
