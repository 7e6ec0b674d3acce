-- Worlds under slugs that are theirs for ever, and the grants that bind roles to accounts in a scope: an owner's grant is
-- made with the world, and members are whoever holds one.

CREATE TABLE worlds (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The name in lower case as the program folds it: SQLite knows no letters beyond ASCII, and both must find the same.
    name_folded TEXT NOT NULL,
    description TEXT NOT NULL,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'unlisted', 'private')),
    join_policy TEXT NOT NULL CHECK (join_policy IN ('open', 'invite')),
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    archived_at INTEGER
) STRICT;

-- Every slug ever, the present ones included: the key is what makes a slug one world's alone.
CREATE TABLE world_slug_history (
    slug TEXT NOT NULL PRIMARY KEY,
    world_id BLOB NOT NULL REFERENCES worlds (id),
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX world_slug_history_by_world ON world_slug_history (world_id);

-- A revoked grant stays as a row, so that a repeated revocation answers what the first one did.
CREATE TABLE grants (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id BLOB NOT NULL CONSTRAINT grants_account REFERENCES accounts (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id BLOB,
    granted_by BLOB,
    reason TEXT,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    CHECK ((scope_kind = 'global') = (scope_id IS NULL))
) STRICT;
-- Two NULLs are never equal in an index; the empty BLOB stands for the global scope.
CREATE UNIQUE INDEX grants_held ON grants (account_id, role, scope_kind, COALESCE(scope_id, x''))
    WHERE revoked_at IS NULL;
CREATE INDEX grants_by_scope ON grants (scope_kind, scope_id, account_id) WHERE revoked_at IS NULL;
