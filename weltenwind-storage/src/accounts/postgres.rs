//! Accounts, sessions and keys in Postgres.

use async_trait::async_trait;
use sqlx::{PgConnection, PgExecutor, query, query_as, query_scalar};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, Outcome, Page, Revision, SessionId, Step, StorageError, Timestamp,
    accounts::{
        Account, AccountError, AccountKind, AccountQuery, AccountStore, Bootstrap, Credentials, DisplayName, Email,
        KeyStore, NewBootstrapToken, NewGuest, NewSession, NewTicket, PasswordRecord, RefreshToken, Registration,
        RootKey, Rotation, ServerKeys, SessionStore, SignedIn, Ticket, TokenHash, Username,
    },
};

use super::{
    rows::{AccountRow, CredentialsRow, RefreshTokenRow, SignedInRow, TicketRow, owner_grant, server_keys},
    sql,
};
use crate::{
    access,
    error::{
        Abort::{self, Refused},
        failed,
    },
    postgres::PgDatabase,
    rows::{Instant, all, containing, one},
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

async fn find_in(executor: impl PgExecutor<'_>, id: AccountId) -> sqlx::Result<Option<Account>> {
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
    if find_in(&mut *tx, account).await?.is_none() {
        return Err(Refused(AccountError::NotFound));
    }
    let signed_in = open_session_in(tx, account, session, step.at).await?;
    step::finish(tx, step, &Outcome::of(signed_in.session.id)).await?;
    Ok(signed_in)
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
    step::finish(tx, step, &Outcome::of(account.id)).await?;
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

async fn open_session_in(
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
        .fetch_one(&mut *tx)
        .await?;
    query(sql::INSERT_SESSION)
        .bind(session.id.uuid())
        .bind(account.uuid())
        .bind(device)
        .bind(Instant(at))
        .bind(Instant(session.idle_expires_at))
        .bind(Instant(session.expires_at))
        .execute(&mut *tx)
        .await?;
    insert_refresh_in(tx, session.id, 0, &session.refresh).await?;
    find_session_in(tx, session.id).await?.ok_or(sqlx::Error::RowNotFound)
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

async fn find_session_in(executor: impl PgExecutor<'_>, id: SessionId) -> sqlx::Result<Option<SignedIn>> {
    one(query_as::<_, SignedInRow>(sql::FIND_SESSION).bind(id.uuid()).fetch_optional(executor).await?)
}

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

    async fn find(&self, id: SessionId) -> Result<Option<SignedIn>, StorageError> {
        find_session_in(self.db.pool(), id).await.map_err(failed("find a session"))
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

async fn rotate_in(tx: &mut PgConnection, step: &Step, rotation: &Rotation) -> Result<bool, Abort<StorageError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(true);
    }
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
    let ended = query(sql::END_SESSION).bind(id.uuid()).bind(Instant(step.at)).execute(&mut *tx).await?;
    if ended.rows_affected() == 0 {
        step::skip(tx, step).await?;
        return Ok(());
    }
    step::finish(tx, step, &Outcome::of(id)).await?;
    Ok(())
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
