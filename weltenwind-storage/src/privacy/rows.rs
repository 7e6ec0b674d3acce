//! Sessions, marks, requests, audit rows and erasures as rows; the rest is read as its own domain reads it.

use uuid::Uuid;
use weltenwind_core::{
    AccountId, ChannelId, DeviceId, SessionId,
    accounts::Session,
    chat::Seq,
    privacy::{AuditEntry, Erasure, HeldDevice, HeldGrant, HeldIdentity, HeldRequest, ReadMark},
};

use crate::{
    access::GrantRow,
    accounts::DeviceRow,
    error::BrokenRow,
    rows::{Instant, RowName, ScopeColumns},
};

#[derive(Debug, sqlx::FromRow)]
pub(super) struct IdentityRow {
    issuer: String,
    subject: String,
    linked_at: Instant,
}

impl From<IdentityRow> for HeldIdentity {
    fn from(row: IdentityRow) -> Self {
        Self { issuer: row.issuer, subject: row.subject, linked_at: row.linked_at.0 }
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct SessionRow {
    id: Uuid,
    account_id: Uuid,
    device_id: Uuid,
    generation: i64,
    created_at: Instant,
    idle_expires_at: Instant,
    expires_at: Instant,
    ended_at: Option<Instant>,
}

impl TryFrom<SessionRow> for Session {
    type Error = BrokenRow;

    fn try_from(row: SessionRow) -> Result<Self, BrokenRow> {
        Ok(Self {
            id: SessionId::new(row.id),
            account: AccountId::new(row.account_id),
            device: DeviceId::new(row.device_id),
            generation: RowName::new("sessions", row.id).number("generation", row.generation)?,
            created_at: row.created_at.0,
            idle_expires_at: row.idle_expires_at.0,
            expires_at: row.expires_at.0,
            ended_at: row.ended_at.map(|at| at.0),
        })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct HeldDeviceRow {
    #[sqlx(flatten)]
    device: DeviceRow,
    ended_at: Option<Instant>,
}

impl TryFrom<HeldDeviceRow> for HeldDevice {
    type Error = BrokenRow;

    fn try_from(row: HeldDeviceRow) -> Result<Self, BrokenRow> {
        Ok(Self { device: row.device.try_into()?, ended_at: row.ended_at.map(|at| at.0) })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct HeldGrantRow {
    #[sqlx(flatten)]
    grant: GrantRow,
    revoked_at: Option<Instant>,
}

impl TryFrom<HeldGrantRow> for HeldGrant {
    type Error = BrokenRow;

    fn try_from(row: HeldGrantRow) -> Result<Self, BrokenRow> {
        Ok(Self { grant: row.grant.try_into()?, revoked_at: row.revoked_at.map(|at| at.0) })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct MarkRow {
    channel_id: Uuid,
    seq: i64,
}

impl From<MarkRow> for ReadMark {
    fn from(row: MarkRow) -> Self {
        Self { channel: ChannelId::new(row.channel_id), seq: Seq::new(row.seq) }
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct RequestRow {
    since: Instant,
    status: Option<i32>,
}

impl TryFrom<RequestRow> for HeldRequest {
    type Error = BrokenRow;

    fn try_from(row: RequestRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("idempotency_records", row.since.0);
        let status = row.status.map(|status| name.number("status", i64::from(status))).transpose()?;
        Ok(Self { since: row.since.0, status })
    }
}

/// A scope in which an account is an owner.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct OwnedRow {
    pub(super) id: Uuid,
    #[sqlx(flatten)]
    pub(super) scope: ScopeColumns,
    pub(super) role: String,
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct AuditRow {
    id: i64,
    at: Instant,
    actor: Option<Uuid>,
    correlation_id: String,
    action: String,
    #[sqlx(flatten)]
    scope: ScopeColumns,
    target: String,
    reason: Option<String>,
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = BrokenRow;

    fn try_from(row: AuditRow) -> Result<Self, BrokenRow> {
        Ok(Self {
            id: row.id,
            at: row.at.0,
            actor: row.actor.map(AccountId::new),
            correlation_id: row.correlation_id,
            action: row.action,
            scope: RowName::new("audit_log", row.id).scope(&row.scope)?,
            target: row.target,
            reason: row.reason,
        })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct ErasureRow {
    account_id: Uuid,
    erased_at: Instant,
    erased_by: Option<Uuid>,
    unsettled_since: Option<Instant>,
}

impl From<ErasureRow> for Erasure {
    fn from(row: ErasureRow) -> Self {
        Self {
            account: AccountId::new(row.account_id),
            erased_at: row.erased_at.0,
            erased_by: row.erased_by.map(AccountId::new),
            unsettled_since: row.unsettled_since.map(|at| at.0),
        }
    }
}
