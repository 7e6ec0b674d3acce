-- API keys of game servers and bots. Of what a bearer shows only a SHA-256 is kept; the row is found by the id inside it.

-- `permissions` are the names on the key's list, with a blank between two. A node that does not know one of them yet passes
-- over it: the key may then do less there, never more. `rank` is that of whoever made the key. A deleted key stays as a row, so
-- that a repeated deletion answers what the first one did and the audit log's actor can be named.
CREATE TABLE api_keys (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    name TEXT NOT NULL,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id BLOB,
    permissions TEXT NOT NULL,
    rank INTEGER NOT NULL,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    deleted_at INTEGER,
    CHECK ((scope_kind = 'global') = (scope_id IS NULL))
) STRICT;
CREATE INDEX api_keys_by_scope ON api_keys (scope_kind, scope_id, id) WHERE deleted_at IS NULL;
