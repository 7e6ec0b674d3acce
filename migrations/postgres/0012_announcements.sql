-- Announcements: what whoever runs a place tells everybody, the members of a world or those who hold a role, from one time on
-- and until another. They are found by their words in German and English, and by titles that are written nearly alike.

-- Comes with PostgreSQL's own extensions; whoever owns the database may make it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Counts every announcement that is made, changed or withdrawn, in the order of commits: the row stays locked until then.
CREATE TABLE announcement_epoch (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL
);
INSERT INTO announcement_epoch (id, version) VALUES (1, 0);

-- `number` is the epoch's version that the announcement was made with. One that was withdrawn stays as a row for a while, so
-- that its dedupe key is known.
CREATE TABLE announcements (
    number BIGINT NOT NULL,
    id UUID PRIMARY KEY,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id UUID,
    -- Whoever holds it in the scope is the audience; everybody there if it is absent.
    role TEXT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    dedupe_key TEXT,
    publish_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    revision BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    dispatched_at TIMESTAMPTZ,
    -- Up to which account its audience has been notified, as long as not everybody is.
    told_through UUID,
    withdrawn_at TIMESTAMPTZ,
    CONSTRAINT announcements_number UNIQUE (number),
    CHECK ((scope_kind = 'global') = (scope_id IS NULL)),
    CHECK (expires_at > publish_at)
);
CREATE UNIQUE INDEX announcements_dedupe ON announcements (scope_kind, scope_id, dedupe_key) NULLS NOT DISTINCT
    WHERE dedupe_key IS NOT NULL;
CREATE INDEX announcements_by_time ON announcements
    (scope_kind, COALESCE(scope_id, '00000000-0000-0000-0000-000000000000'), publish_at, id) WHERE withdrawn_at IS NULL;
-- When a list changes though nobody writes: something begins, or ends.
CREATE INDEX announcements_begin ON announcements (publish_at);
CREATE INDEX announcements_end ON announcements (expires_at) WHERE expires_at IS NOT NULL;
-- Those that were withdrawn are deleted by age.
CREATE INDEX announcements_withdrawn ON announcements (withdrawn_at) WHERE withdrawn_at IS NOT NULL;

-- Every word as each of the dictionaries knows it: a search asks all three, so nobody says which language it is in.
CREATE FUNCTION announcement_words(title TEXT, body TEXT) RETURNS TSVECTOR
    LANGUAGE SQL IMMUTABLE PARALLEL SAFE STRICT
    RETURN to_tsvector('pg_catalog.german'::REGCONFIG, title || ' ' || body)
        || to_tsvector('pg_catalog.english'::REGCONFIG, title || ' ' || body)
        || to_tsvector('pg_catalog.simple'::REGCONFIG, title || ' ' || body);
CREATE INDEX announcements_by_words ON announcements USING gin (announcement_words(title, body));
CREATE INDEX announcements_by_title ON announcements USING gin (title gin_trgm_ops);
