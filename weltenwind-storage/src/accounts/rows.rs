//! Accounts, sessions, tokens and keys as rows.

use uuid::Uuid;
use weltenwind_core::{
    AccountId, DeviceId, Revision, Scope, Secret, SessionId,
    access::{NewGrant, Role},
    accounts::{
        Account, Bootstrap, Credentials, DisplayName, Email, PasswordRecord, RefreshToken, RootKey, ServerKeys,
        Session, SessionEntry, SignedIn, SigningKey, Ticket, Username,
    },
    revocations::{Loss, Lost},
};

use super::devices::DeviceRow;
use crate::{
    error::BrokenRow,
    rows::{Instant, RowName},
};

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct AccountRow {
    id: Uuid,
    kind: String,
    username: Option<String>,
    display_name: String,
    email: Option<String>,
    revision: i64,
    created_at: Instant,
}

impl TryFrom<AccountRow> for Account {
    type Error = BrokenRow;

    fn try_from(row: AccountRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("accounts", row.id);
        Ok(Self {
            id: AccountId::new(row.id),
            kind: name.parse("kind", &row.kind)?,
            username: row.username.map(Username::from_stored),
            display_name: DisplayName::from_stored(row.display_name),
            email: row.email.map(Email::from_stored),
            revision: Revision::new(row.revision),
            created_at: row.created_at.0,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct CredentialsRow {
    account_id: Uuid,
    hash: String,
}

impl From<CredentialsRow> for Credentials {
    fn from(row: CredentialsRow) -> Self {
        Self { account: AccountId::new(row.account_id), password: PasswordRecord::from_stored(row.hash) }
    }
}

/// A session beside its account's row; what both have is named apart.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct SignedInRow {
    #[sqlx(flatten)]
    account: AccountRow,
    session_id: Uuid,
    device_id: Uuid,
    generation: i64,
    opened_at: Instant,
    idle_expires_at: Instant,
    expires_at: Instant,
    ended_at: Option<Instant>,
}

impl TryFrom<SignedInRow> for SignedIn {
    type Error = BrokenRow;

    fn try_from(row: SignedInRow) -> Result<Self, BrokenRow> {
        let account: Account = row.account.try_into()?;
        let session = Session {
            id: SessionId::new(row.session_id),
            account: account.id,
            device: DeviceId::new(row.device_id),
            generation: RowName::new("sessions", row.session_id).number("generation", row.generation)?,
            created_at: row.opened_at.0,
            idle_expires_at: row.idle_expires_at.0,
            expires_at: row.expires_at.0,
            ended_at: row.ended_at.map(|at| at.0),
        };
        Ok(Self { account, session })
    }
}

/// A session beside its account's row and its device's.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct SessionEntryRow {
    #[sqlx(flatten)]
    signed_in: SignedInRow,
    #[sqlx(flatten)]
    device: DeviceRow,
}

impl TryFrom<SessionEntryRow> for SessionEntry {
    type Error = BrokenRow;

    fn try_from(row: SessionEntryRow) -> Result<Self, BrokenRow> {
        let SignedIn { account, session } = row.signed_in.try_into()?;
        Ok(Self { account, session, device: row.device.try_into()? })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct RefreshTokenRow {
    session_id: Uuid,
    generation: i64,
    used_at: Option<Instant>,
}

impl TryFrom<RefreshTokenRow> for RefreshToken {
    type Error = BrokenRow;

    fn try_from(row: RefreshTokenRow) -> Result<Self, BrokenRow> {
        Ok(Self {
            session: SessionId::new(row.session_id),
            generation: RowName::new("refresh_tokens", row.session_id).number("generation", row.generation)?,
            used_at: row.used_at.map(|at| at.0),
        })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct TicketRow {
    session_id: Uuid,
    origin: String,
    expires_at: Instant,
}

impl TryFrom<TicketRow> for Ticket {
    type Error = BrokenRow;

    fn try_from(row: TicketRow) -> Result<Self, BrokenRow> {
        Ok(Self { session: SessionId::new(row.session_id), origin: row.origin, expires_at: row.expires_at.0 })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct KeyRow {
    id: String,
    kind: String,
    secret: Vec<u8>,
    created_at: Instant,
}

/// Gathers the keys of an installation, youngest first.
pub(super) fn server_keys(rows: Vec<KeyRow>) -> Result<ServerKeys, BrokenRow> {
    let (mut roots, mut signing) = (Vec::new(), Vec::new());
    for KeyRow { id, kind, secret, created_at: Instant(created_at) } in rows {
        match kind.as_str() {
            "root" => {
                let secret = Secret::new(RowName::new("server_keys", &id).bytes("secret", &secret)?);
                roots.push(RootKey { id, secret, created_at });
            }
            "signing" => signing.push(SigningKey { id, pkcs8: Secret::new(secret), created_at }),
            _ => return Err(BrokenRow::new("server_keys", "kind", id)),
        }
    }
    // Whatever its clock said when it was made: the founding key was there first.
    roots.sort_by_key(|root| root.id == RootKey::FOUNDING);
    let is_founded = roots.last().is_some_and(|root| root.id == RootKey::FOUNDING);
    if is_founded && !signing.is_empty() {
        return Ok(ServerKeys { signing, roots });
    }
    Err(BrokenRow::new("server_keys", "kind", RootKey::FOUNDING))
}

/// The losses of sessions that ended together.
pub(super) fn lost_sessions(account: AccountId, ended: Vec<Uuid>) -> Vec<Loss> {
    let loss = |id| Loss::of(account, Lost::Session(SessionId::new(id)));
    ended.into_iter().map(loss).collect()
}

/// The grant that makes an account an owner of the installation.
pub(super) fn owner_grant(bootstrap: &Bootstrap) -> NewGrant {
    NewGrant {
        id: bootstrap.grant,
        account: bootstrap.id,
        role: Role::Owner,
        scope: Scope::Global,
        reason: None,
        expires_at: None,
    }
}
