//! What both drivers do alike: the sections of an export, one for each domain, and the erasure that takes the same away.

use sqlx::{query, query_as, query_scalar};
use weltenwind_core::{
    AccountId, Outcome, Scope, Step,
    accounts::{Account, TokenHash},
    privacy::{Erasure, HeldIdentity, Holdings, LastOwner, NewErasure, PrivacyError, ReadMark},
    revocations::{Loss, Lost},
};

use super::{
    rows::{ErasureRow, HeldDeviceRow, HeldGrantRow, IdentityRow, MarkRow, OwnedRow, RequestRow, SessionRow},
    sql,
};
use crate::{
    access::ApiKeyRow,
    accounts::{AccountRow, FIND_PREFERENCES, PreferencesRow},
    error::Abort::{self, Refused},
    notifications::HeldNotificationRow,
    rows::{Instant, RowName, all, one},
    step::{self, Begun::Repeated},
};

/// What is held on accounts, as a connection finds it.
pub(super) trait Held {
    /// Reads every section.
    async fn holdings(&mut self, account: AccountId) -> sqlx::Result<Option<Holdings>>;

    /// Reads the scopes whose only lasting owner the account is.
    async fn last_owner_of(&mut self, account: AccountId) -> sqlx::Result<Vec<Scope>>;

    /// Deletes every section, and what has no section, in one step.
    async fn erase(&mut self, step: &Step, erasure: &NewErasure) -> Result<Erasure, Abort<PrivacyError>>;

    /// Deletes what belongs to an account without a row that refers to it.
    async fn tie_loose_ends(&mut self, account: AccountId) -> sqlx::Result<()>;
}

/// `$lock` finds an account and keeps others off it; `$lock_owners` keeps others from leaving the scope that it is bound to.
macro_rules! held {
    ($connection:ty, $lock:literal, $lock_owners:expr) => {
        impl Held for $connection {
            async fn holdings(&mut self, account: AccountId) -> sqlx::Result<Option<Holdings>> {
                let id = account.uuid();
                let row: Option<AccountRow> = query_as(sql::ACCOUNT).bind(id).fetch_optional(&mut *self).await?;
                let Some(account) = one::<Account, _>(row)? else { return Ok(None) };
                let set_at: Option<Instant> =
                    query_scalar(sql::PASSWORD_SET_AT).bind(id).fetch_optional(&mut *self).await?;
                let factor: Option<Instant> =
                    query_scalar(sql::SECOND_FACTOR_SINCE).bind(id).fetch_optional(&mut *self).await?;
                let preferences: Option<PreferencesRow> =
                    query_as(FIND_PREFERENCES).bind(id).fetch_optional(&mut *self).await?;
                let identities: Vec<IdentityRow> = query_as(sql::IDENTITIES).bind(id).fetch_all(&mut *self).await?;
                let sessions: Vec<SessionRow> = query_as(sql::SESSIONS).bind(id).fetch_all(&mut *self).await?;
                let devices: Vec<HeldDeviceRow> = query_as(sql::DEVICES).bind(id).fetch_all(&mut *self).await?;
                let grants: Vec<HeldGrantRow> = query_as(sql::GRANTS).bind(id).fetch_all(&mut *self).await?;
                let marks: Vec<MarkRow> = query_as(sql::READ_MARKS).bind(id).fetch_all(&mut *self).await?;
                let keys: Vec<ApiKeyRow> = query_as(sql::KEYS).bind(id).fetch_all(&mut *self).await?;
                let requests: Vec<RequestRow> = query_as(sql::REQUESTS).bind(id).fetch_all(&mut *self).await?;
                let notifications: Vec<HeldNotificationRow> =
                    query_as(sql::NOTIFICATIONS).bind(id).fetch_all(&mut *self).await?;
                Ok(Some(Holdings {
                    account,
                    password_set_at: set_at.map(|at| at.0),
                    second_factor_since: factor.map(|at| at.0),
                    preferences: one(preferences)?.unwrap_or_default(),
                    identities: identities.into_iter().map(HeldIdentity::from).collect(),
                    sessions: all(sessions)?,
                    devices: all(devices)?,
                    grants: all(grants)?,
                    read_marks: marks.into_iter().map(ReadMark::from).collect(),
                    keys: all(keys)?,
                    requests: all(requests)?,
                    notifications: all(notifications)?,
                }))
            }

            async fn last_owner_of(&mut self, account: AccountId) -> sqlx::Result<Vec<Scope>> {
                let owned: Vec<OwnedRow> = query_as(sql::OWNED).bind(account.uuid()).fetch_all(&mut *self).await?;
                let mut left = Vec::new();
                for OwnedRow { id, scope, role } in owned {
                    let others: bool = query_scalar(sql::HAS_OTHER_OWNER)
                        .bind(&scope.scope_kind)
                        .bind(scope.scope_id)
                        .bind(&role)
                        .bind(account.uuid())
                        .fetch_one(&mut *self)
                        .await?;
                    if !others {
                        left.push(RowName::new("grants", id).scope(&scope)?);
                    }
                }
                Ok(left)
            }

            async fn erase(&mut self, step: &Step, erasure: &NewErasure) -> Result<Erasure, Abort<PrivacyError>> {
                let id = erasure.account.uuid();
                if let Repeated(target) = step::begin(self, step).await? {
                    let known: Option<ErasureRow> = query_as(sql::FIND).bind(id).fetch_optional(&mut *self).await?;
                    return Ok(target.found(known)?.into());
                }
                let known: Option<ErasureRow> = query_as(sql::FIND).bind(id).fetch_optional(&mut *self).await?;
                let is_there: Option<i32> = query_scalar($lock).bind(id).fetch_optional(&mut *self).await?;
                match (is_there, known, erasure.last_owner) {
                    (Some(_), _, _) | (None, None, LastOwner::Goes) => {}
                    (None, _, LastOwner::Stays) => return Err(Refused(PrivacyError::NotFound)),
                    (None, Some(known), LastOwner::Goes) => {
                        step::skip(self, step).await?;
                        return Ok(known.into());
                    }
                }
                if erasure.last_owner == LastOwner::Stays {
                    let owned: Vec<OwnedRow> = query_as(sql::OWNED).bind(id).fetch_all(&mut *self).await?;
                    let lock: Option<&'static str> = $lock_owners;
                    for (OwnedRow { id, scope, .. }, lock) in owned.iter().zip(lock.into_iter().cycle()) {
                        let scope = RowName::new("grants", id).scope(scope)?;
                        query(lock).bind(format!("owners of {scope}")).execute(&mut *self).await?;
                    }
                    let left = self.last_owner_of(erasure.account).await?;
                    if !left.is_empty() {
                        return Err(Refused(PrivacyError::LastOwner(left)));
                    }
                }
                let marks = [("username", &erasure.marks.username), ("email", &erasure.marks.email)];
                for (kind, hash) in marks {
                    let Some(hash) = hash.as_ref().map(TokenHash::as_bytes) else { continue };
                    query(sql::INSERT_MARK)
                        .bind(kind)
                        .bind(hash.as_slice())
                        .bind(id)
                        .bind(Instant(step.at))
                        .execute(&mut *self)
                        .await?;
                }
                query(sql::MARK_DEVICES).bind(id).bind(Instant(step.at)).execute(&mut *self).await?;
                self.tie_loose_ends(erasure.account).await?;
                query(sql::DELETE_ACCOUNT).bind(id).execute(&mut *self).await?;
                let entered: ErasureRow = query_as(sql::ENTER)
                    .bind(id)
                    .bind(Instant(erasure.erased_at))
                    .bind(erasure.erased_by.map(AccountId::uuid))
                    .bind(Instant(step.at))
                    .fetch_one(&mut *self)
                    .await?;
                let loss = Loss::of(erasure.account, Lost::Account);
                step::finish(self, step, &Outcome::of(erasure.account).losing([loss])).await?;
                Ok(entered.into())
            }

            async fn tie_loose_ends(&mut self, account: AccountId) -> sqlx::Result<()> {
                for statement in sql::LOOSE_ENDS {
                    query(statement).bind(account.uuid()).execute(&mut *self).await?;
                }
                Ok(())
            }
        }
    };
}

// The locks are those under which roles are given and taken: of two owners who leave at once, the second then sees that the
// first has left.
#[cfg(feature = "postgres")]
held!(
    sqlx::PgConnection,
    "SELECT 1 FROM accounts WHERE id = $1 FOR UPDATE",
    Some("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
);
#[cfg(feature = "sqlite")]
held!(sqlx::SqliteConnection, "SELECT 1 FROM accounts WHERE id = $1", None);
