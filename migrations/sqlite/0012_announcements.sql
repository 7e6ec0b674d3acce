-- Announcements: what whoever runs a place tells everybody, the members of a world or those who hold a role, from one time on
-- and until another. They are found by their words, and by how words begin.

-- Counts every announcement that is made, changed or withdrawn.
CREATE TABLE announcement_epoch (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO announcement_epoch (id, version) VALUES (1, 0);

-- `number` is the epoch's version that the announcement was made with, and what the index of words knows the row by. One that
-- was withdrawn stays as a row for a while, so that its dedupe key is known.
CREATE TABLE announcements (
    number INTEGER NOT NULL PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('global', 'world', 'group')),
    scope_id BLOB,
    -- Whoever holds it in the scope is the audience; everybody there if it is absent.
    role TEXT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    dedupe_key TEXT,
    publish_at INTEGER NOT NULL,
    expires_at INTEGER,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    dispatched_at INTEGER,
    -- Up to which account its audience has been notified, as long as not everybody is.
    told_through BLOB,
    withdrawn_at INTEGER,
    CHECK ((scope_kind = 'global') = (scope_id IS NULL)),
    CHECK (expires_at > publish_at)
) STRICT;
-- Two NULLs are never equal in an index; the empty BLOB stands for the global scope.
CREATE UNIQUE INDEX announcements_dedupe ON announcements (scope_kind, COALESCE(scope_id, x''), dedupe_key)
    WHERE dedupe_key IS NOT NULL;
CREATE INDEX announcements_by_time ON announcements
    (scope_kind, COALESCE(scope_id, x'00000000000000000000000000000000'), publish_at, id) WHERE withdrawn_at IS NULL;
-- When a list changes though nobody writes: something begins, or ends.
CREATE INDEX announcements_begin ON announcements (publish_at);
CREATE INDEX announcements_end ON announcements (expires_at) WHERE expires_at IS NOT NULL;
-- Those that were withdrawn are deleted by age.
CREATE INDEX announcements_withdrawn ON announcements (withdrawn_at) WHERE withdrawn_at IS NOT NULL;

-- The words alone; the text is read from the table. The triggers keep both in step, whoever writes.
CREATE VIRTUAL TABLE announcements_words USING fts5 (
    title, body, content = 'announcements', content_rowid = 'number', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER announcements_words_made AFTER INSERT ON announcements BEGIN
    INSERT INTO announcements_words (rowid, title, body) VALUES (new.number, new.title, new.body);
END;
CREATE TRIGGER announcements_words_changed AFTER UPDATE OF title, body ON announcements BEGIN
    INSERT INTO announcements_words (announcements_words, rowid, title, body)
    VALUES ('delete', old.number, old.title, old.body);
    INSERT INTO announcements_words (rowid, title, body) VALUES (new.number, new.title, new.body);
END;
CREATE TRIGGER announcements_words_gone AFTER DELETE ON announcements BEGIN
    INSERT INTO announcements_words (announcements_words, rowid, title, body)
    VALUES ('delete', old.number, old.title, old.body);
END;
