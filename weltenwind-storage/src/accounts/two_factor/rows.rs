//! Second factors as rows.

use weltenwind_core::accounts::{SealedSecret, SecondFactor};

use crate::rows::Instant;

#[derive(sqlx::FromRow)]
pub(super) struct SecondFactorRow {
    secret_root: String,
    secret: Vec<u8>,
    confirmed_at: Option<Instant>,
}

impl From<SecondFactorRow> for SecondFactor {
    fn from(row: SecondFactorRow) -> Self {
        Self {
            secret: SealedSecret { root: row.secret_root, bytes: row.secret },
            confirmed_at: row.confirmed_at.map(|at| at.0),
        }
    }
}
