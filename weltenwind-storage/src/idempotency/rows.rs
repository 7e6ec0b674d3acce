//! Rows of requests under a key.

use uuid::Uuid;
use weltenwind_core::idempotency::{Claimed, NewClaim, StoredAnswer};

use crate::rows::RowName;

/// A key that is not free.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RecordRow {
    fingerprint: Vec<u8>,
    status: Option<i32>,
    location: Option<String>,
    etag: Option<String>,
    content_type: Option<String>,
    resource: Option<Uuid>,
    body: Option<Vec<u8>>,
}

impl RecordRow {
    /// Returns what is answered to a claim that did not get the key.
    pub(super) fn answer(self, claim: &NewClaim) -> sqlx::Result<Claimed> {
        if self.fingerprint != claim.fingerprint {
            return Ok(Claimed::OtherRequest);
        }
        let (Some(status), Some(body)) = (self.status, self.body) else { return Ok(Claimed::Running) };
        let row = RowName::new("idempotency_records", format!("{:?}", claim.key));
        let status = row.number("status", status.into())?;
        let Self { location, etag, content_type, resource, .. } = self;
        Ok(Claimed::Answered(StoredAnswer { status, location, etag, content_type, resource, body }))
    }
}
