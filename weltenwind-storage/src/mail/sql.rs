//! Statements on letters that read the same in both databases.

macro_rules! columns {
    () => {
        "id, dedupe_key, recipient, locale, letter, state, attempts, resent, error"
    };
}

pub(super) const FIND: &str = concat!("SELECT ", columns!(), " FROM mail_intents WHERE id = $1");

pub(super) const FIND_BY_KEY: &str = concat!("SELECT ", columns!(), " FROM mail_intents WHERE dedupe_key = $1");

/// Makes no row if the key is taken; waits for another transaction that is about to take it.
pub(super) const INSERT: &str = concat!(
    "INSERT INTO mail_intents
        (id, dedupe_key, account_id, recipient, locale, letter, state, attempts, resent, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, 'queued', 0, FALSE, $7, $7)
    ON CONFLICT (dedupe_key) DO NOTHING
    RETURNING ",
    columns!()
);

/// Whoever comes second finds it on its way.
pub(super) const BEGIN: &str = concat!(
    "UPDATE mail_intents SET state = 'sending', attempts = attempts + 1, updated_at = $2
    WHERE id = $1 AND state = 'queued'
    RETURNING ",
    columns!()
);

pub(super) const BEGIN_AGAIN: &str = concat!(
    "UPDATE mail_intents SET attempts = attempts + 1, resent = TRUE, updated_at = $2
    WHERE id = $1 AND state = 'sending' AND NOT resent
    RETURNING ",
    columns!()
);

pub(super) const GIVE_UP: &str = concat!(
    "UPDATE mail_intents SET state = 'unknown', updated_at = $2 WHERE id = $1 AND state = 'sending' RETURNING ",
    columns!()
);

/// An attempt that was given up may still say that the letter was accepted, and nothing else.
pub(super) const SETTLE: &str = "
    UPDATE mail_intents SET state = $3, error = $4, updated_at = $5
    WHERE id = $1 AND attempts = $2 AND (state = 'sending' OR state = 'unknown' AND $3 = 'accepted')";

pub(super) const PURGE: &str = "
    DELETE FROM mail_intents WHERE id IN (
        SELECT id FROM mail_intents WHERE state IN ('accepted', 'unknown', 'failed') AND updated_at < $1
        ORDER BY updated_at LIMIT $2
    )";
