//! Statements on API keys that read the same in both databases.

macro_rules! api_key_columns {
    () => {
        "id, hash, name, scope_kind, scope_id, permissions, rank, created_by, created_at, expires_at, last_used_at"
    };
}
pub(crate) use api_key_columns;

/// A deleted one, too.
pub(super) const FIND: &str = concat!("SELECT ", api_key_columns!(), " FROM api_keys WHERE id = $1");

pub(super) const FIND_KEPT: &str =
    concat!("SELECT ", api_key_columns!(), " FROM api_keys WHERE id = $1 AND deleted_at IS NULL");

pub(super) const PAGE: &str = concat!(
    "SELECT ",
    api_key_columns!(),
    " FROM api_keys
    WHERE deleted_at IS NULL
        AND ($1 IS NULL OR scope_kind = $1 AND scope_id IS NOT DISTINCT FROM $2)
        AND id > $3
    ORDER BY id
    LIMIT $4"
);

pub(super) const INSERT: &str = concat!(
    "INSERT INTO api_keys (id, hash, name, scope_kind, scope_id, permissions, rank, created_by, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    RETURNING ",
    api_key_columns!()
);

pub(super) const DELETE: &str =
    concat!("UPDATE api_keys SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL RETURNING ", api_key_columns!());

pub(super) const USED: &str =
    "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
