//! Statements on the log of losses that read the same in both databases.

/// Takes so many numbers and answers the newest; holds the counter until the transaction ends.
pub(crate) const TAKE_NUMBERS: &str =
    "UPDATE revocation_counter SET last_seq = last_seq + $1 WHERE id = 1 RETURNING last_seq";

pub(super) const PAGE: &str = "
    SELECT seq, at, account_id, kind, subject, scope_kind, scope_id FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2";

/// One statement, so that log and counter are of the same instant.
pub(super) const POSITION_AT: &str = "
    SELECT COALESCE((SELECT min(seq) - 1 FROM revocations WHERE at >= $1), (SELECT last_seq FROM revocation_counter))";

pub(super) const PURGE: &str = "
    DELETE FROM revocations
    WHERE seq IN (SELECT seq FROM revocations WHERE at < $1 ORDER BY seq LIMIT $2)";
