//! Statements on what is held on accounts that read the same in both databases.

use crate::{
    access::{api_key_columns, grant_columns},
    accounts::{account_columns, device_columns},
};

pub(super) const ACCOUNT: &str = concat!("SELECT ", account_columns!(), " FROM accounts WHERE id = $1");

pub(super) const PASSWORD_SET_AT: &str = "SELECT set_at FROM passwords WHERE account_id = $1";

pub(super) const SECOND_FACTOR_SINCE: &str =
    "SELECT confirmed_at FROM second_factors WHERE account_id = $1 AND confirmed_at IS NOT NULL";

pub(super) const IDENTITIES: &str =
    "SELECT issuer, subject, linked_at FROM external_identities WHERE account_id = $1 ORDER BY issuer, subject";

pub(super) const SESSIONS: &str = "
    SELECT id, account_id, device_id, generation, created_at, idle_expires_at, expires_at, ended_at
    FROM sessions WHERE account_id = $1 ORDER BY id";

pub(super) const DEVICES: &str =
    concat!("SELECT ", device_columns!(), ", ended_at FROM devices WHERE account_id = $1 ORDER BY id");

pub(super) const GRANTS: &str =
    concat!("SELECT ", grant_columns!(), ", revoked_at FROM grants WHERE account_id = $1 ORDER BY id");

pub(super) const READ_MARKS: &str =
    "SELECT channel_id, seq FROM chat_read_marks WHERE account_id = $1 ORDER BY channel_id";

pub(super) const KEYS: &str =
    concat!("SELECT ", api_key_columns!(), " FROM api_keys WHERE created_by = $1 AND deleted_at IS NULL ORDER BY id");

pub(super) const REQUESTS: &str =
    "SELECT since, status FROM idempotency_records WHERE account_id = $1 ORDER BY since, key";

pub(super) const NOTIFICATIONS: &str = "
    SELECT id, topic, title, body, created_at, read_at, dismissed_at
    FROM notifications WHERE account_id = $1 ORDER BY created_at, id";

/// What goes with an account and has no row that refers to it; the rest goes with its row. A domain that keeps something on
/// accounts either refers to `accounts` with `ON DELETE CASCADE`, or is named here.
pub(super) const LOOSE_ENDS: [&str; 2] =
    ["DELETE FROM chat_read_marks WHERE account_id = $1", "DELETE FROM idempotency_records WHERE account_id = $1"];

pub(super) const DELETE_ACCOUNT: &str = "DELETE FROM accounts WHERE id = $1";

/// The scopes in which an account is an owner who stays, in one order for all transactions. An archived world needs no owner.
pub(super) const OWNED: &str = "
    SELECT g.id, g.scope_kind, g.scope_id, g.role
    FROM grants g LEFT JOIN worlds w ON g.scope_kind = 'world' AND w.id = g.scope_id
    WHERE g.account_id = $1 AND g.revoked_at IS NULL AND g.expires_at IS NULL
        AND g.role IN ('owner', 'world_owner', 'group_owner') AND w.archived_at IS NULL
    ORDER BY g.scope_kind, g.scope_id, g.role";

/// Whether somebody else than `$4` is an owner who stays.
pub(super) const HAS_OTHER_OWNER: &str = "
    SELECT EXISTS (
        SELECT 1 FROM grants
        WHERE scope_kind = $1 AND scope_id IS NOT DISTINCT FROM $2 AND role = $3 AND account_id <> $4
            AND revoked_at IS NULL AND expires_at IS NULL
    )";

pub(super) const INSERT_MARK: &str =
    "INSERT INTO erasure_marks (kind, hash, account_id, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

/// Fingerprints are kept as hashes already.
pub(super) const MARK_DEVICES: &str = "
    INSERT INTO erasure_marks (kind, hash, account_id, at)
    SELECT 'device', fingerprint, account_id, $2 FROM devices WHERE account_id = $1 AND fingerprint IS NOT NULL
    ON CONFLICT DO NOTHING";

pub(super) const PURGE_MARKS: &str = "DELETE FROM erasure_marks WHERE at < $1";

macro_rules! ledger_columns {
    () => {
        "account_id, erased_at, erased_by, unsettled_since"
    };
}

/// An account that is erased again keeps when and by whom it was first.
pub(super) const ENTER: &str = concat!(
    "INSERT INTO erasures (",
    ledger_columns!(),
    ") VALUES ($1, $2, $3, $4) ON CONFLICT (account_id) DO UPDATE SET unsettled_since = excluded.unsettled_since RETURNING ",
    ledger_columns!(),
);

pub(super) const FIND: &str = concat!("SELECT ", ledger_columns!(), " FROM erasures WHERE account_id = $1");

pub(super) const PAGE: &str =
    concat!("SELECT ", ledger_columns!(), " FROM erasures WHERE account_id > $1 ORDER BY account_id LIMIT $2");

pub(super) const UNSETTLED: &str = concat!(
    "SELECT ",
    ledger_columns!(),
    " FROM erasures WHERE unsettled_since IS NOT NULL ORDER BY unsettled_since LIMIT 100"
);

pub(super) const SETTLE: &str =
    "UPDATE erasures SET unsettled_since = NULL WHERE account_id = $1 AND unsettled_since <= $2";

/// Reads both sides in the index of each, and a row that is on both once. `$among` says in the database's own way that a target
/// is among `$2`.
macro_rules! audit {
    ($among:literal) => {
        concat!(
            "SELECT id, at, actor, correlation_id, action, scope_kind, scope_id, target, reason FROM audit_log
             WHERE id IN (
                 SELECT id FROM (
                     SELECT id FROM audit_log WHERE actor = $1 AND id > $3 ORDER BY id LIMIT $4
                 ) AS done
                 UNION
                 SELECT id FROM (
                     SELECT id FROM audit_log WHERE target ",
            $among,
            " AND id > $3 ORDER BY id LIMIT $4
                 ) AS suffered
             )
             ORDER BY id LIMIT $4",
        )
    };
}
pub(super) use audit;
