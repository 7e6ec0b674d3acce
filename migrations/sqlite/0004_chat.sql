-- Channels with their two counters, their messages, and how far accounts have read. No column refers to another domain's
-- table: a program that embeds chat alone keeps accounts and worlds of its own, and a message outlives its author.

CREATE TABLE chat_channels (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id BLOB,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    guests_may_post INTEGER NOT NULL,
    slowmode_seconds INTEGER NOT NULL,
    retention_days INTEGER,
    revision INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0,
    last_change INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    archived_at INTEGER,
    CHECK ((scope_kind = 'global') = (scope_id IS NULL))
) STRICT;
-- Two NULLs are never equal in an index; the empty BLOB stands for the global scope.
CREATE UNIQUE INDEX chat_channels_open_slug ON chat_channels (scope_kind, COALESCE(scope_id, x''), slug)
    WHERE archived_at IS NULL;

-- The table is its primary key: a page of history lies together on disk, however many channels are written at once.
--
-- Every index costs each message, so there are just those that keep the four promises of uniqueness. The last one, which
-- takes messages without client id too, also finds what an author last wrote in a channel.
--
-- `author_name` is the name at the time of writing. A purge empties `body`; `fingerprint` stays, so that a repeat is known.
CREATE TABLE chat_messages (
    channel_id BLOB NOT NULL CHECK (length(channel_id) = 16),
    seq INTEGER NOT NULL,
    change INTEGER NOT NULL,
    posted_change INTEGER NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    author_id BLOB NOT NULL CHECK (length(author_id) = 16),
    author_name TEXT NOT NULL,
    body TEXT,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    client_id TEXT,
    reply_to BLOB CHECK (length(reply_to) = 16),
    sent_at INTEGER NOT NULL,
    edited_at INTEGER,
    removed_by BLOB,
    removal_reason TEXT,
    removed_at INTEGER,
    removal_mode TEXT CHECK (removal_mode IN ('mask', 'purge')),
    PRIMARY KEY (channel_id, seq),
    CONSTRAINT chat_messages_id UNIQUE (id),
    CONSTRAINT chat_messages_change UNIQUE (channel_id, change),
    CHECK ((removed_at IS NULL) = (removal_mode IS NULL)),
    CHECK ((removed_at IS NULL) = (removal_reason IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX chat_messages_client_id ON chat_messages (channel_id, author_id, client_id);

CREATE TABLE chat_read_marks (
    account_id BLOB NOT NULL CHECK (length(account_id) = 16),
    channel_id BLOB NOT NULL CHECK (length(channel_id) = 16),
    seq INTEGER NOT NULL,
    PRIMARY KEY (account_id, channel_id)
) STRICT, WITHOUT ROWID;
