//! Second factors in Postgres.

use async_trait::async_trait;
use sqlx::{PgConnection, query, query_as};
use weltenwind_core::{
    AccountId, Outcome, Step, StorageError,
    accounts::{
        AccountError, Confirmation, NewSession, Proof, Removal, SealedSecret, SecondFactor, SecondFactorStore, SignedIn,
    },
};

use super::{rows::SecondFactorRow, sql};
use crate::{
    accounts::postgres::{
        KEEP_ACCOUNT, end_sessions_in, find_in, find_session_in, lock_in, open_session_in, replace_sessions_in,
    },
    error::{
        Abort::{self, Refused},
        failed,
    },
    postgres::PgDatabase,
    rows::Instant,
    step::{self, Begun::Repeated},
};

/// Keeps second factors in Postgres.
#[derive(Debug, Clone)]
pub struct PgSecondFactorStore {
    db: PgDatabase,
}

impl PgSecondFactorStore {
    /// Keeps second factors in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl SecondFactorStore for PgSecondFactorStore {
    async fn find(&self, account: AccountId) -> Result<Option<SecondFactor>, StorageError> {
        let row: Option<SecondFactorRow> = query_as(sql::FIND)
            .bind(account.uuid())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("find a second factor"))?;
        Ok(row.map(SecondFactor::from))
    }

    async fn begin(&self, step: &Step, account: AccountId, secret: &SealedSecret) -> Result<(), AccountError> {
        self.db.write("begin a second factor", async |tx| begin_in(tx, step, account, secret).await).await
    }

    async fn confirm(&self, step: &Step, confirmation: &Confirmation) -> Result<SignedIn, AccountError> {
        self.db.write("enable a second factor", async |tx| confirm_in(tx, step, confirmation).await).await
    }

    async fn open(
        &self,
        step: &Step,
        account: AccountId,
        session: &NewSession,
        proof: &Proof,
    ) -> Result<SignedIn, AccountError> {
        self.db
            .write("open a session with a second factor", async |tx| open_in(tx, step, account, session, proof).await)
            .await
    }

    async fn disable(&self, step: &Step, removal: &Removal) -> Result<SignedIn, AccountError> {
        self.db.write("disable a second factor", async |tx| disable_in(tx, step, removal).await).await
    }

    async fn remove(&self, step: &Step, account: AccountId) -> Result<u64, AccountError> {
        self.db.write("remove a second factor", async |tx| remove_in(tx, step, account).await).await
    }
}

async fn begin_in(
    tx: &mut PgConnection,
    step: &Step,
    account: AccountId,
    secret: &SealedSecret,
) -> Result<(), Abort<AccountError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(());
    }
    lock_in(tx, account).await?;
    match find_in(&mut *tx, account).await? {
        None => return Err(Refused(AccountError::NotFound)),
        Some(account) if account.kind.is_guest() => return Err(Refused(AccountError::RegistrationRequired)),
        Some(_) => {}
    }
    let begun = query(sql::BEGIN)
        .bind(account.uuid())
        .bind(&secret.root)
        .bind(&secret.bytes)
        .bind(Instant(step.at))
        .execute(&mut *tx)
        .await?;
    if begun.rows_affected() == 0 {
        return Err(Refused(AccountError::TwoFactorEnabled));
    }
    step::finish(tx, step, &Outcome::of(account)).await?;
    Ok(())
}

async fn confirm_in(
    tx: &mut PgConnection,
    step: &Step,
    confirmation: &Confirmation,
) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    let Confirmation { account, secret, step: code_step, recovery, session } = confirmation;
    lock_in(tx, *account).await?;
    let confirmed = query(sql::CONFIRM)
        .bind(account.uuid())
        .bind(&secret.bytes)
        .bind(code_step)
        .bind(Instant(step.at))
        .execute(&mut *tx)
        .await?;
    if confirmed.rows_affected() == 0 {
        let present: Option<SecondFactorRow> =
            query_as(sql::FIND).bind(account.uuid()).fetch_optional(&mut *tx).await?;
        let is_enabled = present.map(SecondFactor::from).is_some_and(|factor| factor.is_enabled());
        return Err(Refused(if is_enabled {
            AccountError::TwoFactorEnabled
        } else {
            AccountError::TwoFactorNotEnabled
        }));
    }
    for hash in recovery {
        let hash = hash.as_bytes().as_slice();
        query(sql::INSERT_RECOVERY).bind(account.uuid()).bind(hash).execute(&mut *tx).await?;
    }
    replace_sessions_in(tx, step, *account, session).await
}

async fn open_in(
    tx: &mut PgConnection,
    step: &Step,
    account: AccountId,
    session: &NewSession,
    proof: &Proof,
) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    // The account before the device, as in every step that locks both.
    if query(KEEP_ACCOUNT).bind(account.uuid()).fetch_optional(&mut *tx).await?.is_none() {
        return Err(Refused(AccountError::NotFound));
    }
    spend_in(tx, account, proof).await?;
    let signed_in = open_session_in(tx, account, session, step.at).await?;
    step::finish(tx, step, &Outcome::of(signed_in.session.id)).await?;
    Ok(signed_in)
}

async fn disable_in(tx: &mut PgConnection, step: &Step, removal: &Removal) -> Result<SignedIn, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_session_in(tx, target.id()?).await?)?);
    }
    let Removal { account, proof, session } = removal;
    lock_in(tx, *account).await?;
    spend_in(tx, *account, proof).await?;
    query(sql::FORGET).bind(account.uuid()).execute(&mut *tx).await?;
    replace_sessions_in(tx, step, *account, session).await
}

async fn remove_in(tx: &mut PgConnection, step: &Step, account: AccountId) -> Result<u64, Abort<AccountError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(0);
    }
    lock_in(tx, account).await?;
    if query(sql::FORGET).bind(account.uuid()).execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(Refused(AccountError::TwoFactorNotEnabled));
    }
    let losses = end_sessions_in(tx, account, None, step.at).await?;
    let ended = losses.len() as u64;
    step::finish(tx, step, &Outcome::of(account).losing(losses)).await?;
    Ok(ended)
}

/// Spends a proof, or refuses one that does not hold.
async fn spend_in(tx: &mut PgConnection, account: AccountId, proof: &Proof) -> Result<(), Abort<AccountError>> {
    let spent = match proof {
        Proof::Code { secret, step } => query(sql::USE_STEP).bind(account.uuid()).bind(&secret.bytes).bind(step),
        Proof::Recovery(hash) => query(sql::USE_RECOVERY).bind(account.uuid()).bind(hash.as_bytes().as_slice()),
    };
    if spent.execute(tx).await?.rows_affected() == 0 {
        return Err(Refused(AccountError::TwoFactorCodeInvalid));
    }
    Ok(())
}
