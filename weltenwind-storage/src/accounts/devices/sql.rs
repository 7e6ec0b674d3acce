//! Statements on devices that read the same in both databases.

macro_rules! device_columns {
    () => {
        "id AS device_id, account_id AS device_account_id, name AS device_name, fingerprint,
            created_at AS device_created_at, seen_at, address"
    };
}
pub(crate) use device_columns;

pub(super) const FIND: &str = concat!("SELECT ", device_columns!(), " FROM devices WHERE id = $1");

pub(super) const PAGE: &str = concat!(
    "SELECT ",
    device_columns!(),
    " FROM devices WHERE account_id = $1 AND id < $2 AND ended_at IS NULL ORDER BY id DESC LIMIT $3"
);

/// One that has ended has no fingerprint.
pub(super) const FIND_KNOWN: &str = "SELECT id FROM devices WHERE account_id = $1 AND fingerprint = $2";

pub(super) const RENAME: &str = concat!(
    "UPDATE devices SET name = $3 WHERE id = $1 AND account_id = $2 AND ended_at IS NULL RETURNING ",
    device_columns!()
);

/// Without its fingerprint it is not known again.
pub(super) const END: &str = "
    UPDATE devices SET ended_at = $3, fingerprint = NULL WHERE id = $1 AND account_id = $2 AND ended_at IS NULL";

pub(super) const END_SESSIONS: &str = "UPDATE sessions SET ended_at = $2 WHERE device_id = $1 AND ended_at IS NULL";
