-- Channels with their two counters, their messages, and how far accounts have read. No column refers to another domain's
-- table: a program that embeds chat alone keeps accounts and worlds of its own, and a message outlives its author.

-- The counters change with every batch of messages: room in each page keeps those updates off the indexes.
CREATE TABLE chat_channels (
    id UUID PRIMARY KEY,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id UUID,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    guests_may_post BOOLEAN NOT NULL,
    slowmode_seconds BIGINT NOT NULL,
    retention_days BIGINT,
    revision BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    last_seq BIGINT NOT NULL DEFAULT 0,
    last_change BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    archived_at TIMESTAMPTZ,
    CHECK ((scope_kind = 'global') = (scope_id IS NULL))
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX chat_channels_open_slug ON chat_channels (scope_kind, scope_id, slug) NULLS NOT DISTINCT
    WHERE archived_at IS NULL;

-- Every index costs each message, so there are just those that keep the four promises of uniqueness. The last one, which
-- takes messages without client id too, also finds what an author last wrote in a channel.
--
-- `author_name` is the name at the time of writing. A purge empties `body`; `fingerprint` stays, so that a repeat is known.
CREATE TABLE chat_messages (
    channel_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    change BIGINT NOT NULL,
    posted_change BIGINT NOT NULL,
    id UUID NOT NULL,
    author_id UUID NOT NULL,
    author_name TEXT NOT NULL,
    body TEXT,
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
    client_id TEXT,
    reply_to UUID,
    sent_at TIMESTAMPTZ NOT NULL,
    edited_at TIMESTAMPTZ,
    removed_by UUID,
    removal_reason TEXT,
    removed_at TIMESTAMPTZ,
    removal_mode TEXT CHECK (removal_mode IN ('mask', 'purge')),
    PRIMARY KEY (channel_id, seq),
    CONSTRAINT chat_messages_id UNIQUE (id),
    CONSTRAINT chat_messages_change UNIQUE (channel_id, change),
    CONSTRAINT chat_messages_client_id UNIQUE (channel_id, author_id, client_id) INCLUDE (seq),
    CHECK ((removed_at IS NULL) = (removal_mode IS NULL)),
    CHECK ((removed_at IS NULL) = (removal_reason IS NULL))
);

CREATE TABLE chat_read_marks (
    account_id UUID NOT NULL,
    channel_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (account_id, channel_id)
);
