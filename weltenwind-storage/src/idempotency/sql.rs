//! Statements that both databases read alike.

/// Claims a key that is free: not known, older than a day, or of the same request and with its lease over. No row says that
/// it is not free.
macro_rules! claim {
    ($leased_until:literal, $now:literal) => {
        concat!(
            "INSERT INTO idempotency_records AS present (key, account_id, fingerprint, holder, since, leased_until)
            VALUES ($1, $7, $2, $3, $4, ",
            $leased_until,
            ")
            ON CONFLICT (key) DO UPDATE SET
                account_id = excluded.account_id, fingerprint = excluded.fingerprint, holder = excluded.holder, leased_until = excluded.leased_until,
                since = CASE WHEN present.since <= $6 THEN excluded.since ELSE present.since END,
                status = NULL, location = NULL, etag = NULL, content_type = NULL, resource = NULL, body = NULL
            WHERE present.since <= $6
                OR (present.status IS NULL AND present.fingerprint = excluded.fingerprint AND present.leased_until <= ",
            $now,
            ")
            RETURNING since"
        )
    };
}
pub(super) use claim;

pub(super) const FIND: &str = "
    SELECT fingerprint, status, location, etag, content_type, resource, body FROM idempotency_records WHERE key = $1";

pub(super) const COMPLETE: &str = "
    UPDATE idempotency_records SET status = $3, location = $4, etag = $5, content_type = $6, resource = $7, body = $8
    WHERE key = $1 AND holder = $2 AND status IS NULL";

pub(super) const FORGET: &str = "DELETE FROM idempotency_records WHERE key = $1 AND holder = $2 AND status IS NULL";

/// Ends the lease, whoever's clock is asked; the new holder is nobody, so that the old one cannot come back.
pub(super) const END_LEASE: &str = "
    UPDATE idempotency_records SET leased_until = $4, holder = $3
    WHERE key = $1 AND holder = $2 AND status IS NULL";

/// Takes a thing out of the answers; the lease ends, so that the next repeat runs again.
pub(crate) const DESTROY: &str = "
    UPDATE idempotency_records
    SET status = NULL, location = NULL, etag = NULL, content_type = NULL, resource = NULL, body = NULL, leased_until = $2
    WHERE resource = $1";

macro_rules! purge {
    ($table:literal, $age:literal, $lock:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE key IN (SELECT key FROM ",
            $table,
            " WHERE ",
            $age,
            " < $1 ORDER BY ",
            $age,
            " LIMIT $2 ",
            $lock,
            ")"
        )
    };
}
pub(super) use purge;
