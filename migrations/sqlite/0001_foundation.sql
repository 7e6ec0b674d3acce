-- What every domain's transactions write beside their own rows: who did what, and which request has had its effect.
-- And the keys of the installation, which all processes on this file share.
--
-- Here and in all later migrations: identifiers are BLOBs of 16 bytes, instants are INTEGER microseconds since 1970 in UTC
-- (as text, fractions would sort wrongly), booleans are 0 or 1.

-- No column refers to another table: a row outlives what it speaks of.
CREATE TABLE audit_log (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor BLOB,
    session BLOB,
    device BLOB,
    correlation_id TEXT NOT NULL,
    action TEXT NOT NULL,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id BLOB,
    target TEXT NOT NULL,
    reason TEXT,
    details TEXT,
    CHECK ((scope_kind = 'global') = (scope_id IS NULL))
) STRICT;

-- `target` names what the request made. It is empty only inside the transaction that makes it.
CREATE TABLE effect_keys (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    target TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
-- Old keys are deleted by age.
CREATE INDEX effect_keys_by_age ON effect_keys (at);

CREATE TABLE server_keys (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('root', 'signing')),
    secret BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
