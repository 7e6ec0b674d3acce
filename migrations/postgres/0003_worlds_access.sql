-- Worlds under slugs that are theirs for ever, and the grants that bind roles to accounts in a scope: an owner's grant is
-- made with the world, and members are whoever holds one.

CREATE TABLE worlds (
    id UUID PRIMARY KEY,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The name in lower case as the program folds it: SQLite knows no letters beyond ASCII, and both must find the same.
    name_folded TEXT NOT NULL,
    description TEXT NOT NULL,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'unlisted', 'private')),
    join_policy TEXT NOT NULL CHECK (join_policy IN ('open', 'invite')),
    revision BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    archived_at TIMESTAMPTZ
);

-- Every slug ever, the present ones included: the key is what makes a slug one world's alone.
CREATE TABLE world_slug_history (
    slug TEXT PRIMARY KEY,
    world_id UUID NOT NULL REFERENCES worlds (id),
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX world_slug_history_by_world ON world_slug_history (world_id);

-- A revoked grant stays as a row, so that a repeated revocation answers what the first one did.
CREATE TABLE grants (
    id UUID PRIMARY KEY,
    account_id UUID NOT NULL CONSTRAINT grants_account REFERENCES accounts (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id UUID,
    granted_by UUID,
    reason TEXT,
    expires_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ,
    CHECK ((scope_kind = 'global') = (scope_id IS NULL))
);
CREATE UNIQUE INDEX grants_held ON grants (account_id, role, scope_kind, scope_id) NULLS NOT DISTINCT
    WHERE revoked_at IS NULL;
CREATE INDEX grants_by_scope ON grants (scope_kind, scope_id, account_id) WHERE revoked_at IS NULL;
