//! API keys as rows.

use uuid::Uuid;
use weltenwind_core::{
    AccountId, ApiKeyId,
    access::{
        Permission, PermissionSet,
        keys::{ApiKey, ApiKeyName},
    },
    accounts::TokenHash,
};

use crate::{
    error::BrokenRow,
    rows::{Instant, RowName, ScopeColumns},
};

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ApiKeyRow {
    id: Uuid,
    hash: Vec<u8>,
    name: String,
    #[sqlx(flatten)]
    scope: ScopeColumns,
    permissions: String,
    rank: i64,
    created_by: Option<Uuid>,
    created_at: Instant,
    expires_at: Option<Instant>,
    last_used_at: Option<Instant>,
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = BrokenRow;

    fn try_from(row: ApiKeyRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("api_keys", row.id);
        Ok(Self {
            id: ApiKeyId::new(row.id),
            hash: TokenHash::new(name.bytes("hash", &row.hash)?),
            scope: name.scope(&row.scope)?,
            rank: name.number("rank", row.rank)?,
            name: ApiKeyName::from_stored(row.name),
            // A newer node may have written names that this one does not know.
            permissions: row.permissions.split(' ').filter_map(|name| name.parse().ok()).collect(),
            created_by: row.created_by.map(AccountId::new),
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|at| at.0),
            last_used_at: row.last_used_at.map(|at| at.0),
        })
    }
}

/// Writes a list of permissions as the column holds it.
pub(super) fn list(permissions: PermissionSet) -> String {
    permissions.iter().map(Permission::as_str).collect::<Vec<_>>().join(" ")
}
