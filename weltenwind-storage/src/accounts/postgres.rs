//! Accounts, sessions and keys in Postgres.

use async_trait::async_trait;
use sqlx::{PgConnection, PgExecutor, query, query_as, query_scalar};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, DeviceId, Outcome, Page, Revision, SessionId, Step, StorageError, Timestamp,
    accounts::{
        Account, AccountError, AccountKind, AccountQuery, AccountStore, Bootstrap, Credentials, DisplayName, Email,
        ExternalSignIn, KeyRotation, KeyStore, NewBootstrapToken, NewGuest, NewSession, NewTicket, NextSession,
        PasswordChange, PasswordRecord, RefreshToken, Registration, RootKey, Rotation, ServerKeys, SessionEntry,
        SessionQuery, SessionStore, SignedIn, Ticket, TokenHash, Upgrade, Username,
    },
    revocations::{Loss, Lost},
};

use super::{
    rows::{
        AccountRow, CredentialsRow, RefreshTokenRow, SessionEntryRow, SignedInRow, TicketRow, lost_sessions,
        owner_grant, server_keys,
    },
    sql,
};
use crate::{
    access,
    error::{
        Abort::{self, Refused},
        failed, violates_unique,
    },
    postgres::PgDatabase,
    rows::{FIRST, Instant, LAST, all, containing, one},
    step::{self, Begun::Repeated},
};

/// Keeps accounts in Postgres.
#[derive(Debug, Clone)]
pub struct PgAccountStore {
    db: PgDatabase,
}

impl PgAccountStore {
    /// Keeps accounts in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl AccountStore for PgAccountStore {
    async fn open_guest(&self, step: &Step, guest: &NewGuest) -> Result<SignedIn, AccountError> {
        self.db.write("open a guest account", async |tx| open_guest_in(tx, step, guest).await).await
    }

    async fn register(&self, step: &Step, registration: &Registration) -> Result<SignedIn, AccountError> {
        self.db.write("register an account", async |tx| register_in(tx, step, registration).await).await
    }

    async fn credentials(&self, username: &Username) -> Result<Option<Credentials>, StorageError> {
        let row: Option<CredentialsRow> = query_as(sql::CREDENTIALS)
            .bind(username.as_str())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read credentials"))?;
        Ok(row.map(Credentials::from))
    }

    async fn password(&self, account: AccountId) -> Result<Option<PasswordRecord>, StorageError> {
        let hash: Option<String> = query_scalar(sql::PASSWORD)
            .bind(account.uuid())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read a password's record"))?;
        Ok(hash.map(PasswordRecord::from_stored))
    }

    async fn change_password(&self, step: &Step, change: &PasswordChange) -> Result<SignedIn, AccountError> {
        self.db.write("change a password", async |tx| change_password_in(tx, step, change).await).await
    }

    async fn upgrade(&self, step: &Step, upgrade: &Upgrade) -> Result<SignedIn, AccountError> {
        self.db.write("upgrade a guest", async |tx| upgrade_in(tx, step, upgrade).await).await
    }

    async fn page(&self, query: &AccountQuery) -> Result<Page<Account>, StorageError> {
        let rows: Vec<AccountRow> = query_as(sql::PAGE)
            .bind(query.text.as_deref().map(|text| containing(&text.to_lowercase())))
            .bind(query.after.map(AccountId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list accounts"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list accounts"))?, query.limit))
    }

    async fn sign_in_external(&self, step: &Step, sign_in: &ExternalSignIn) -> Result<SignedIn, AccountError> {
        self.db.write("sign an identity in", async |tx| sign_in_external_in(tx, step, sign_in).await).await
    }

    async fn issue_bootstrap(&self, step: &Step, token: &NewBootstrapToken) -> Result<(), AccountError> {
        self.db.write("issue a bootstrap token", async |tx| issue_bootstrap_in(tx, step, token).await).await
    }

    async fn bootstrap(&self, step: &Step, bootstrap: &Bootstrap) -> Result<SignedIn, AccountError> {
        self.db.write("make an owner", async |tx| bootstrap_in(tx, step, bootstrap).await).await
    }

    async fn find(&self, id: AccountId) -> Result<Option<Account>, StorageError> {
        find_in(self.db.pool(), id).await.map_err(failed("find an account"))
    }

    async fn rename(&self, step: &Step, id: AccountId, name: &DisplayName) -> Result<Account, AccountError> {
        self.db.write("rename an account", async |tx| rename_in(tx, step, id, name).await).await
    }
}

/// Waits until nobody opens a session of an account, and lets nobody do so until the end of the transaction: what ends many
/// sessions then sees all of them. It comes before every other lock on the account's rows.
pub(super) async fn lock_in(tx: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    query("SELECT FROM accounts WHERE id = $1 FOR UPDATE").bind(account.uuid()).execute(tx).await?;
    Ok(())
}

/// Opening a session takes this lock anyway, by its reference to the account, but later.
pub(super) const KEEP_ACCOUNT: &str = "SELECT FROM accounts WHERE id = $1 FOR KEY SHARE";

pub(super) async fn find_in(executor: impl PgExecutor<'_>, id: AccountId) -> sqlx::Result<Option<Account>> {
    one(query_as::<_, AccountRow>(sql::FIND).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn open_guest_in(tx: &mut PgConnection, step: &Step, guest: &NewGuest) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    insert_in(tx, guest.id, AccountKind::Guest, None, &guest.display_name, None, step.at).await?;
    let signed_in = open_session_in(tx, guest.id, &guest.session, step.at).await?;
    step::finish(tx, step, &Outcome::of(signed_in.session.id)).await?;
    Ok(signed_in)
}

async fn register_in(
    tx: &mut PgConnection,
    step: &Step,
    registration: &Registration,
) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    let Registration { id, username, display_name, email, password, session } = registration;
    insert_registered_in(tx, *id, username, display_name, email.as_ref(), password, step.at).await?;
    let signed_in = open_session_in(tx, *id, session, step.at).await?;
    step::finish(tx, step, &Outcome::of(signed_in.session.id)).await?;
    Ok(signed_in)
}

async fn open_in(
    tx: &mut PgConnection,
    step: &Step,
    account: AccountId,
    session: &NewSession,
) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    // The account before the device, as in every step that locks both.
    if query(KEEP_ACCOUNT).bind(account.uuid()).fetch_optional(&mut *tx).await?.is_none() {
        return Err(Refused(AccountError::NotFound));
    }
    let signed_in = open_session_in(tx, account, session, step.at).await?;
    step::finish(tx, step, &Outcome::of(signed_in.session.id)).await?;
    Ok(signed_in)
}

async fn sign_in_external_in(
    tx: &mut PgConnection,
    step: &Step,
    sign_in: &ExternalSignIn,
) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    let account = identified_in(tx, sign_in, step.at).await?;
    // The account before the device, as in every step that locks both.
    query(KEEP_ACCOUNT).bind(account.uuid()).execute(&mut *tx).await?;
    let signed_in = open_session_in(tx, account, &sign_in.session, step.at).await?;
    step::finish(tx, step, &Outcome::of(signed_in.session.id)).await?;
    Ok(signed_in)
}

/// Finds the account that an identity leads to, or makes it.
async fn identified_in(tx: &mut PgConnection, sign_in: &ExternalSignIn, at: Timestamp) -> sqlx::Result<AccountId> {
    let ExternalSignIn { issuer, subject, account, display_name, .. } = sign_in;
    let linked: Option<Uuid> =
        query_scalar(sql::IDENTITY).bind(issuer.as_str()).bind(subject.as_str()).fetch_optional(&mut *tx).await?;
    if let Some(linked) = linked {
        return Ok(AccountId::new(linked));
    }
    insert_in(tx, *account, AccountKind::Registered, None, display_name, None, at).await?;
    let made = query(sql::LINK_IDENTITY)
        .bind(issuer.as_str())
        .bind(subject.as_str())
        .bind(account.uuid())
        .bind(Instant(at))
        .execute(&mut *tx)
        .await?;
    if made.rows_affected() == 1 {
        return Ok(*account);
    }
    // Somebody else was faster: that account it is.
    query(sql::FORGET_ACCOUNT).bind(account.uuid()).execute(&mut *tx).await?;
    let linked = query_scalar(sql::IDENTITY).bind(issuer.as_str()).bind(subject.as_str()).fetch_one(tx).await?;
    Ok(AccountId::new(linked))
}

/// Inserts a registered account with its password, or refuses a username that is taken.
async fn insert_registered_in(
    tx: &mut PgConnection,
    id: AccountId,
    username: &Username,
    display_name: &DisplayName,
    email: Option<&Email>,
    password: &PasswordRecord,
    at: Timestamp,
) -> Result<(), Abort<AccountError>> {
    if !insert_in(tx, id, AccountKind::Registered, Some(username), display_name, email, at).await? {
        return Err(Refused(AccountError::UsernameTaken(username.clone())));
    }
    query(sql::INSERT_PASSWORD).bind(id.uuid()).bind(password.phc().expose()).bind(Instant(at)).execute(tx).await?;
    Ok(())
}

async fn issue_bootstrap_in(
    tx: &mut PgConnection,
    step: &Step,
    token: &NewBootstrapToken,
) -> Result<(), Abort<AccountError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(());
    }
    query(sql::INSERT_BOOTSTRAP_TOKEN)
        .bind(token.hash.as_bytes().as_slice())
        .bind(Instant(step.at))
        .bind(Instant(token.expires_at))
        .execute(&mut *tx)
        .await?;
    step::finish(tx, step, &Outcome::of("bootstrap token")).await?;
    Ok(())
}

async fn bootstrap_in(
    tx: &mut PgConnection,
    step: &Step,
    bootstrap: &Bootstrap,
) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    let token = bootstrap.token.as_bytes().as_slice();
    let spent = query(sql::SPEND_BOOTSTRAP_TOKEN).bind(token).bind(Instant(step.at)).execute(&mut *tx).await?;
    if spent.rows_affected() == 0 {
        let issued: bool = query_scalar(sql::HAS_BOOTSTRAP_TOKEN).bind(token).fetch_one(&mut *tx).await?;
        let refusal = if issued { AccountError::BootstrapTokenSpent } else { AccountError::BootstrapTokenInvalid };
        return Err(Refused(refusal));
    }
    let Bootstrap { id, username, display_name, password, .. } = bootstrap;
    insert_registered_in(tx, *id, username, display_name, None, password, step.at).await?;
    access::postgres::insert_in(tx, step, &owner_grant(bootstrap)).await?;
    let signed_in = open_session_in(tx, bootstrap.id, &bootstrap.session, step.at).await?;
    step::finish(tx, step, &Outcome::of(signed_in.session.id)).await?;
    Ok(signed_in)
}

async fn rename_in(
    tx: &mut PgConnection,
    step: &Step,
    id: AccountId,
    name: &DisplayName,
) -> Result<Account, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let row: Option<AccountRow> =
        query_as(sql::RENAME).bind(id.uuid()).bind(name.as_str()).fetch_optional(&mut *tx).await?;
    let Some(account) = one::<Account, _>(row)? else { return Err(Refused(AccountError::NotFound)) };
    let outcome = Outcome::of(account.id).losing([Loss::of(account.id, Lost::Name)]);
    step::finish(tx, step, &outcome).await?;
    Ok(account)
}

/// Inserts an account and answers whether its username was free.
async fn insert_in(
    tx: &mut PgConnection,
    id: AccountId,
    kind: AccountKind,
    username: Option<&Username>,
    display_name: &DisplayName,
    email: Option<&Email>,
    at: Timestamp,
) -> sqlx::Result<bool> {
    let inserted = query(sql::INSERT)
        .bind(id.uuid())
        .bind(kind.as_str())
        .bind(username.map(Username::as_str))
        .bind(display_name.as_str())
        .bind(email.map(Email::as_str))
        .bind(Revision::FIRST.get())
        .bind(Instant(at))
        .execute(tx)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(super) async fn open_session_in(
    tx: &mut PgConnection,
    account: AccountId,
    session: &NewSession,
    at: Timestamp,
) -> sqlx::Result<SignedIn> {
    let device: Uuid = query_scalar(sql::SAVE_DEVICE)
        .bind(session.device.id.uuid())
        .bind(account.uuid())
        .bind(session.device.name.as_deref())
        .bind(session.device.fingerprint.as_ref().map(|hash| hash.as_bytes().as_slice()))
        .bind(Instant(at))
        .bind(Instant(session.device.seen.at))
        .bind(session.device.seen.address.as_ref().map(|hash| hash.as_bytes().as_slice()))
        .fetch_one(&mut *tx)
        .await?;
    let device = DeviceId::new(device);
    let NewSession { id, refresh, idle_expires_at, expires_at, .. } = session;
    insert_session_in(tx, account, *id, device, refresh, [at, *idle_expires_at, *expires_at]).await
}

/// Inserts a session with its first refresh token; `times` are when it is opened, idles out and ends.
async fn insert_session_in(
    tx: &mut PgConnection,
    account: AccountId,
    id: SessionId,
    device: DeviceId,
    refresh: &TokenHash,
    times: [Timestamp; 3],
) -> sqlx::Result<SignedIn> {
    let [opened_at, idle_expires_at, expires_at] = times.map(Instant);
    query(sql::INSERT_SESSION)
        .bind(id.uuid())
        .bind(account.uuid())
        .bind(device.uuid())
        .bind(opened_at)
        .bind(idle_expires_at)
        .bind(expires_at)
        .execute(&mut *tx)
        .await?;
    insert_refresh_in(tx, id, 0, refresh).await?;
    find_session_in(tx, id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Ends the sessions of an account that hold, except one, and answers what is lost by that.
pub(super) async fn end_sessions_in(
    tx: &mut PgConnection,
    account: AccountId,
    kept: Option<SessionId>,
    at: Timestamp,
) -> sqlx::Result<Vec<Loss>> {
    let ended = query_scalar(sql::END_SESSIONS)
        .bind(account.uuid())
        .bind(kept.map_or(FIRST, SessionId::uuid))
        .bind(Instant(at))
        .fetch_all(tx)
        .await?;
    Ok(lost_sessions(account, ended))
}

async fn change_password_in(
    tx: &mut PgConnection,
    step: &Step,
    change: &PasswordChange,
) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    let PasswordChange { account, checked, password, session } = change;
    lock_in(tx, *account).await?;
    let replaced = query(sql::REPLACE_PASSWORD)
        .bind(account.uuid())
        .bind(checked.phc().expose())
        .bind(password.phc().expose())
        .bind(Instant(step.at))
        .execute(&mut *tx)
        .await?;
    if replaced.rows_affected() == 0 {
        return Err(Refused(AccountError::InvalidCredentials));
    }
    replace_sessions_in(tx, step, *account, session).await
}

async fn upgrade_in(tx: &mut PgConnection, step: &Step, upgrade: &Upgrade) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    let Upgrade { account, username, email, password, session } = upgrade;
    lock_in(tx, *account).await?;
    let upgraded = query(sql::UPGRADE)
        .bind(account.uuid())
        .bind(username.as_str())
        .bind(email.as_ref().map(Email::as_str))
        .execute(&mut *tx)
        .await
        .map_err(|error| match error {
            error if violates_unique(&error, "accounts_username") => {
                Refused(AccountError::UsernameTaken(username.clone()))
            }
            error => error.into(),
        })?;
    if upgraded.rows_affected() == 0 {
        let is_there = find_in(&mut *tx, *account).await?.is_some();
        return Err(Refused(if is_there { AccountError::AlreadyRegistered } else { AccountError::NotFound }));
    }
    query(sql::INSERT_PASSWORD)
        .bind(account.uuid())
        .bind(password.phc().expose())
        .bind(Instant(step.at))
        .execute(&mut *tx)
        .await?;
    replace_sessions_in(tx, step, *account, session).await
}

/// Finishes a step that leaves an account one session: the next one.
pub(super) async fn replace_sessions_in(
    tx: &mut PgConnection,
    step: &Step,
    account: AccountId,
    session: &NextSession,
) -> Result<SignedIn, Abort<AccountError>> {
    let holds: bool = query_scalar(sql::SESSION_HOLDS)
        .bind(session.replaces.uuid())
        .bind(account.uuid())
        .bind(Instant(step.at))
        .fetch_one(&mut *tx)
        .await?;
    if !holds {
        return Err(Refused(AccountError::SessionEnded));
    }
    let losses = end_sessions_in(tx, account, None, step.at).await?;
    let NextSession { id, device, refresh, idle_expires_at, expires_at, .. } = session;
    let times = [step.at, *idle_expires_at, *expires_at];
    let signed_in = insert_session_in(tx, account, *id, *device, refresh, times).await?;
    step::finish(tx, step, &Outcome::of(signed_in.session.id).losing(losses)).await?;
    Ok(signed_in)
}

async fn insert_refresh_in(
    tx: &mut PgConnection,
    session: SessionId,
    generation: u32,
    hash: &TokenHash,
) -> sqlx::Result<()> {
    query(sql::INSERT_REFRESH)
        .bind(hash.as_bytes().as_slice())
        .bind(session.uuid())
        .bind(i64::from(generation))
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn find_session_in(executor: impl PgExecutor<'_>, id: SessionId) -> sqlx::Result<Option<SignedIn>> {
    one(query_as::<_, SignedInRow>(sql::FIND_SESSION).bind(id.uuid()).fetch_optional(executor).await?)
}

const FIND_SESSIONS: &str = sql::find_sessions!("= ANY($1)");

/// Keeps sessions in Postgres.
#[derive(Debug, Clone)]
pub struct PgSessionStore {
    db: PgDatabase,
}

impl PgSessionStore {
    /// Keeps sessions in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl SessionStore for PgSessionStore {
    async fn open(&self, step: &Step, account: AccountId, session: &NewSession) -> Result<SignedIn, AccountError> {
        self.db.write("open a session", async |tx| open_in(tx, step, account, session).await).await
    }

    async fn find_all(&self, ids: &[SessionId]) -> Result<Vec<SignedIn>, StorageError> {
        let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
        let reading = query_as::<_, SignedInRow>(FIND_SESSIONS).bind(ids);
        let rows = self.db.readers().run(async |connection| reading.fetch_all(connection).await).await;
        rows.and_then(all).map_err(failed("find sessions"))
    }

    async fn page(&self, query: &SessionQuery) -> Result<Page<SessionEntry>, StorageError> {
        let rows: Vec<SessionEntryRow> = query_as(sql::PAGE_SESSIONS)
            .bind(query.account.map(AccountId::uuid))
            .bind(Instant(query.at))
            .bind(query.after.map_or(LAST, SessionId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list sessions"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list sessions"))?, query.limit))
    }

    async fn find_refresh(&self, hash: &TokenHash) -> Result<Option<RefreshToken>, StorageError> {
        let row: Option<RefreshTokenRow> = query_as(sql::FIND_REFRESH)
            .bind(hash.as_bytes().as_slice())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("find a refresh token"))?;
        one(row).map_err(failed("find a refresh token"))
    }

    async fn rotate(&self, step: &Step, rotation: &Rotation) -> Result<bool, StorageError> {
        self.db.write("rotate a refresh token", async |tx| rotate_in(tx, step, rotation).await).await
    }

    async fn end(&self, step: &Step, id: SessionId) -> Result<(), StorageError> {
        self.db.write("end a session", async |tx| end_in(tx, step, id).await).await
    }

    async fn end_others(&self, step: &Step, account: AccountId, kept: Option<SessionId>) -> Result<u64, StorageError> {
        self.db.write("end an account's sessions", async |tx| end_others_in(tx, step, account, kept).await).await
    }

    async fn save_ticket(&self, ticket: &NewTicket, at: Timestamp) -> Result<(), StorageError> {
        self.db.write("save a ticket", async |tx| save_ticket_in(tx, ticket, at).await).await
    }

    async fn spend_ticket(&self, hash: &TokenHash) -> Result<Option<Ticket>, StorageError> {
        let row: Option<TicketRow> = query_as(sql::SPEND_TICKET)
            .bind(hash.as_bytes().as_slice())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("spend a ticket"))?;
        one(row).map_err(failed("spend a ticket"))
    }
}

/// Leaves out what another transaction is deleting, which then need not be waited for.
const FORGET_TICKETS: &str = "
    DELETE FROM tickets
    WHERE hash IN (SELECT hash FROM tickets WHERE expires_at < $1 FOR UPDATE SKIP LOCKED)";

/// Makes rotations wait for one another; what they read behind it is what the other one left.
const LOCK_KEYS: &str = "SELECT id FROM server_keys WHERE id = 'root' FOR UPDATE";

async fn rotate_in(tx: &mut PgConnection, step: &Step, rotation: &Rotation) -> Result<bool, Abort<StorageError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(true);
    }
    // Before the session, as in every step that touches both.
    let (device, seen) = &rotation.device;
    query(sql::SEE_DEVICE)
        .bind(device.uuid())
        .bind(Instant(seen.at))
        .bind(seen.address.as_ref().map(|hash| hash.as_bytes().as_slice()))
        .execute(&mut *tx)
        .await?;
    let rotated = query(sql::ROTATE)
        .bind(rotation.session.uuid())
        .bind(i64::from(rotation.from))
        .bind(Instant(rotation.idle_expires_at))
        .bind(Instant(step.at))
        .execute(&mut *tx)
        .await?;
    if rotated.rows_affected() == 0 {
        step::skip(tx, step).await?;
        return Ok(false);
    }
    query(sql::USE_REFRESH)
        .bind(rotation.session.uuid())
        .bind(i64::from(rotation.from))
        .bind(Instant(step.at))
        .execute(&mut *tx)
        .await?;
    insert_refresh_in(tx, rotation.session, rotation.from + 1, &rotation.successor).await?;
    step::finish(tx, step, &Outcome::of(rotation.session)).await?;
    Ok(true)
}

async fn end_in(tx: &mut PgConnection, step: &Step, id: SessionId) -> Result<(), Abort<StorageError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(());
    }
    let account: Option<Uuid> =
        query_scalar(sql::END_SESSION).bind(id.uuid()).bind(Instant(step.at)).fetch_optional(&mut *tx).await?;
    let Some(account) = account.map(AccountId::new) else {
        step::skip(tx, step).await?;
        return Ok(());
    };
    let outcome = Outcome::of(id).losing([Loss::of(account, Lost::Session(id))]);
    step::finish(tx, step, &outcome).await?;
    Ok(())
}

async fn end_others_in(
    tx: &mut PgConnection,
    step: &Step,
    account: AccountId,
    kept: Option<SessionId>,
) -> Result<u64, Abort<StorageError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.id()?);
    }
    lock_in(tx, account).await?;
    let losses = end_sessions_in(tx, account, kept, step.at).await?;
    let ended = losses.len() as u64;
    if ended == 0 {
        step::skip(tx, step).await?;
        return Ok(0);
    }
    step::finish(tx, step, &Outcome::of(ended).losing(losses)).await?;
    Ok(ended)
}

async fn save_ticket_in(tx: &mut PgConnection, ticket: &NewTicket, at: Timestamp) -> Result<(), Abort<StorageError>> {
    query(FORGET_TICKETS).bind(Instant(at)).execute(&mut *tx).await?;
    query(sql::INSERT_TICKET)
        .bind(ticket.hash.as_bytes().as_slice())
        .bind(ticket.session.uuid())
        .bind(ticket.origin.as_str())
        .bind(Instant(ticket.expires_at))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Keeps the keys of an installation in Postgres.
#[derive(Debug, Clone)]
pub struct PgKeyStore {
    db: PgDatabase,
}

impl PgKeyStore {
    /// Keeps keys in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl KeyStore for PgKeyStore {
    async fn adopt(&self, fresh: &ServerKeys) -> Result<ServerKeys, StorageError> {
        self.db.write("adopt the keys of the installation", async |tx| adopt_in(tx, fresh).await).await
    }

    async fn read(&self) -> Result<ServerKeys, StorageError> {
        let rows = query_as(sql::KEYS).fetch_all(self.db.pool()).await;
        let keys = rows.and_then(|rows| Ok(server_keys(rows)?));
        keys.map_err(failed("read the keys of the installation"))
    }

    async fn add_root(&self, step: &Step, root: &RootKey) -> Result<(), StorageError> {
        self.db.write("add a root key", async |tx| add_root_in(tx, step, root).await).await
    }

    async fn rotate(&self, step: &Step, rotation: &KeyRotation) -> Result<bool, StorageError> {
        self.db.write("rotate the keys", async |tx| rotate_keys_in(tx, step, rotation).await).await
    }

    async fn drop_signing(&self, step: &Step, signing: &[String]) -> Result<u64, StorageError> {
        self.db.write("delete signing keys", async |tx| drop_signing_in(tx, step, signing).await).await
    }
}

async fn adopt_in(tx: &mut PgConnection, fresh: &ServerKeys) -> Result<ServerKeys, Abort<StorageError>> {
    let (founding, others) = fresh.roots.split_last().expect("an installation has a root key");
    // Whoever stores the founding key stores the rest.
    if insert_root_in(tx, founding).await? {
        for root in others {
            insert_root_in(tx, root).await?;
        }
        for key in &fresh.signing {
            insert_key_in(tx, &key.id, "signing", key.pkcs8.expose(), key.created_at).await?;
        }
    }
    Ok(server_keys(query_as(sql::KEYS).fetch_all(&mut *tx).await?)?)
}

async fn add_root_in(tx: &mut PgConnection, step: &Step, root: &RootKey) -> Result<(), Abort<StorageError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(());
    }
    if insert_root_in(tx, root).await? {
        step::finish(tx, step, &Outcome::of(&root.id)).await?;
    } else {
        step::skip(tx, step).await?;
    }
    Ok(())
}

async fn rotate_keys_in(
    tx: &mut PgConnection,
    step: &Step,
    rotation: &KeyRotation,
) -> Result<bool, Abort<StorageError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(true);
    }
    query(LOCK_KEYS).execute(&mut *tx).await?;
    let youngest: Option<String> = query_scalar(sql::YOUNGEST_SIGNING_KEY).fetch_optional(&mut *tx).await?;
    if youngest.as_ref() != Some(&rotation.follows) {
        step::skip(tx, step).await?;
        return Ok(false);
    }
    let KeyRotation { signing, root, dropped, .. } = rotation;
    insert_key_in(tx, &signing.id, "signing", signing.pkcs8.expose(), signing.created_at).await?;
    insert_root_in(tx, root).await?;
    for id in dropped {
        query(sql::DROP_SIGNING_KEY).bind(id).execute(&mut *tx).await?;
    }
    step::finish(tx, step, &Outcome::of(&signing.id)).await?;
    Ok(true)
}

async fn drop_signing_in(tx: &mut PgConnection, step: &Step, signing: &[String]) -> Result<u64, Abort<StorageError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(0);
    }
    query(LOCK_KEYS).execute(&mut *tx).await?;
    let youngest: Option<String> = query_scalar(sql::YOUNGEST_SIGNING_KEY).fetch_optional(&mut *tx).await?;
    let mut dropped = 0;
    for id in signing.iter().filter(|id| Some(*id) != youngest.as_ref()) {
        dropped += query(sql::DROP_SIGNING_KEY).bind(id).execute(&mut *tx).await?.rows_affected();
    }
    if dropped > 0 {
        step::finish(tx, step, &Outcome::of("signing keys")).await?;
    } else {
        step::skip(tx, step).await?;
    }
    Ok(dropped)
}

async fn insert_root_in(tx: &mut PgConnection, root: &RootKey) -> sqlx::Result<bool> {
    insert_key_in(tx, &root.id, "root", root.secret.expose(), root.created_at).await
}

async fn insert_key_in(
    tx: &mut PgConnection,
    id: &str,
    kind: &str,
    secret: &[u8],
    created_at: Timestamp,
) -> sqlx::Result<bool> {
    let inserted =
        query(sql::INSERT_KEY).bind(id).bind(kind).bind(secret).bind(Instant(created_at)).execute(tx).await?;
    Ok(inserted.rows_affected() == 1)
}
