//! Statements on second factors that read the same in both databases.

pub(super) const FIND: &str = "SELECT secret_root, secret, confirmed_at FROM second_factors WHERE account_id = $1";

/// Changes no row if the second factor is enabled.
pub(super) const BEGIN: &str = "
    INSERT INTO second_factors (account_id, secret_root, secret, last_step, begun_at) VALUES ($1, $2, $3, 0, $4)
    ON CONFLICT (account_id) DO UPDATE SET
        secret_root = EXCLUDED.secret_root, secret = EXCLUDED.secret, begun_at = EXCLUDED.begun_at
    WHERE second_factors.confirmed_at IS NULL";

/// Changes no row if the second factor is enabled, or another secret was begun with.
pub(super) const CONFIRM: &str = "
    UPDATE second_factors SET last_step = $3, confirmed_at = $4
    WHERE account_id = $1 AND secret = $2 AND confirmed_at IS NULL";

/// Changes no row if a code of this step or a later one was used, or it was another secret's; waits for another use.
pub(super) const USE_STEP: &str = "
    UPDATE second_factors SET last_step = $3
    WHERE account_id = $1 AND secret = $2 AND confirmed_at IS NOT NULL AND last_step < $3";

pub(super) const INSERT_RECOVERY: &str = "INSERT INTO recovery_codes (account_id, hash) VALUES ($1, $2)";

/// Changes no row if the code is unknown or was used; waits for another use.
pub(super) const USE_RECOVERY: &str = "DELETE FROM recovery_codes WHERE account_id = $1 AND hash = $2";

/// Takes the recovery codes along. Changes no row if the second factor is not enabled.
pub(super) const FORGET: &str = "DELETE FROM second_factors WHERE account_id = $1 AND confirmed_at IS NOT NULL";
