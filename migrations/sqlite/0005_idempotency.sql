-- Requests that callers repeat under a key of their own: which are running, and what the others answered. A repeat within
-- the day gets the same answer.

-- `key` is the hash of who asks, how, for what and under which key; `fingerprint` is that of query and body. While a request
-- runs, `leased_until` keeps others out; once it is over, whoever repeats takes over and keeps `since`. `resource` is the thing
-- that the answer shows.
CREATE TABLE idempotency_records (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    holder BLOB NOT NULL,
    since INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    status INTEGER,
    location TEXT,
    etag TEXT,
    content_type TEXT,
    resource BLOB,
    body BLOB,
    CHECK ((status IS NULL) = (body IS NULL)),
    CHECK (status IS NOT NULL OR (location IS NULL AND etag IS NULL AND content_type IS NULL AND resource IS NULL))
) STRICT;
-- What is destroyed is destroyed in answers too.
CREATE INDEX idempotency_records_by_resource ON idempotency_records (resource) WHERE resource IS NOT NULL;
-- Old records are deleted by age.
CREATE INDEX idempotency_records_by_age ON idempotency_records (since);
