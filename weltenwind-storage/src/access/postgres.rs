//! Grants in Postgres.

use async_trait::async_trait;
use sqlx::{PgConnection, PgExecutor, query, query_as, query_scalar};
use weltenwind_core::{
    AccountId, GrantId, Outcome, Page, Scope, Step, StorageError, Timestamp,
    access::{AccessError, Grant, GrantQuery, GrantStore, Member, MemberQuery, NewGrant},
    revocations::{Loss, Lost},
};

use super::{
    rows::{GrantRow, is_lasting_owner, members},
    sql,
};
use crate::{
    error::{
        Abort::{self, Refused},
        failed, violates_foreign_key,
    },
    postgres::PgDatabase,
    rows::{FIRST, Instant, ScopeColumns, all, one},
    step::{self, Begun::Repeated},
};

/// Keeps grants in Postgres.
#[derive(Debug, Clone)]
pub struct PgGrantStore {
    db: PgDatabase,
}

impl PgGrantStore {
    /// Keeps grants in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl GrantStore for PgGrantStore {
    async fn of(&self, account: AccountId, at: Timestamp) -> Result<Vec<Grant>, StorageError> {
        let rows: Vec<GrantRow> = query_as(sql::OF)
            .bind(account.uuid())
            .bind(Instant(at))
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("read an account's grants"))?;
        all(rows).map_err(failed("read an account's grants"))
    }

    async fn find(&self, id: GrantId) -> Result<Option<Grant>, StorageError> {
        let row: Option<GrantRow> = query_as(sql::FIND_HELD)
            .bind(id.uuid())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("find a grant"))?;
        one(row).map_err(failed("find a grant"))
    }

    async fn page(&self, query: &GrantQuery) -> Result<Page<Grant>, StorageError> {
        let scope = query.scope.map(ScopeColumns::from);
        let rows: Vec<GrantRow> = query_as(sql::PAGE)
            .bind(query.account.map(AccountId::uuid))
            .bind(scope.as_ref().map(|scope| &scope.scope_kind))
            .bind(scope.as_ref().and_then(|scope| scope.scope_id))
            .bind(query.after.map_or(FIRST, GrantId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list grants"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list grants"))?, query.limit))
    }

    async fn grant(&self, step: &Step, grant: &NewGrant) -> Result<Grant, AccessError> {
        self.db.write("grant a role", async |tx| grant_in(tx, step, grant).await).await
    }

    async fn revoke(&self, step: &Step, grant: GrantId) -> Result<Grant, AccessError> {
        self.db.write("revoke a grant", async |tx| revoke_in(tx, step, grant).await).await
    }

    async fn revoke_all(&self, step: &Step, account: AccountId, scope: Scope) -> Result<(), AccessError> {
        self.db.write("revoke an account's grants", async |tx| revoke_all_in(tx, step, account, scope).await).await
    }

    async fn members(&self, query: &MemberQuery) -> Result<Page<Member>, StorageError> {
        let rows = query_as(sql::MEMBERS)
            .bind(query.world.uuid())
            .bind(Instant(query.at))
            .bind(query.after.map_or(FIRST, AccountId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list members"))?;
        let members = members(rows).map_err(|broken| failed("list members")(broken.into()))?;
        Ok(Page::from_probe(members, query.limit))
    }
}

const UPSERT: &str = concat!(
    "INSERT INTO grants (",
    sql::grant_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (account_id, role, scope_kind, scope_id) WHERE revoked_at IS NULL
        DO UPDATE SET expires_at = EXCLUDED.expires_at, reason = EXCLUDED.reason
    RETURNING ",
    sql::grant_columns!()
);

const HELD_FOR_UPDATE: &str = concat!(sql::held!(), " FOR UPDATE");

/// Who leaves a scope waits for everybody else who does, until the end of the transaction.
const LOCK_OWNERS: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";

async fn find_in(executor: impl PgExecutor<'_>, id: GrantId) -> sqlx::Result<Option<Grant>> {
    one(query_as::<_, GrantRow>(sql::FIND).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn grant_in(tx: &mut PgConnection, step: &Step, grant: &NewGrant) -> Result<Grant, Abort<AccessError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let before = if grant.expires_at.is_some() { held_in(tx, grant).await? } else { None };
    let given = insert_in(tx, step, grant).await.map_err(|error| match error {
        error if violates_foreign_key(&error, "grants_account") => Refused(AccessError::AccountNotFound),
        error => error.into(),
    })?;
    // What was not there and has another id was given in between, perhaps for good.
    let was_between = grant.expires_at.is_some() && before.is_none() && given.id != grant.id;
    let (lasted, is_shorter) = before
        .map_or((was_between, was_between), |before| (before.expires_at.is_none(), given.ends_sooner_than(&before)));
    if given.role.is_owner() && lasted {
        keep_an_owner_in(tx, &given).await?;
    }
    let loss = is_shorter.then(|| Loss::of(given.account, Lost::Rights(given.scope)));
    step::finish(tx, step, &Outcome::of(given.id).losing(loss)).await?;
    Ok(given)
}

/// Reads the same role of the same account, and keeps others from changing it.
async fn held_in(tx: &mut PgConnection, grant: &NewGrant) -> sqlx::Result<Option<Grant>> {
    let ScopeColumns { scope_kind, scope_id } = grant.scope.into();
    let row: Option<GrantRow> = query_as(HELD_FOR_UPDATE)
        .bind(grant.account.uuid())
        .bind(grant.role.as_str())
        .bind(scope_kind)
        .bind(scope_id)
        .fetch_optional(tx)
        .await?;
    one(row)
}

/// Binds a role inside a larger step; an account that does not exist violates `grants_account`.
pub(crate) async fn insert_in(tx: &mut PgConnection, step: &Step, grant: &NewGrant) -> sqlx::Result<Grant> {
    let ScopeColumns { scope_kind, scope_id } = grant.scope.into();
    let row: GrantRow = query_as(UPSERT)
        .bind(grant.id.uuid())
        .bind(grant.account.uuid())
        .bind(grant.role.as_str())
        .bind(scope_kind)
        .bind(scope_id)
        .bind(step.actor.map(AccountId::uuid))
        .bind(grant.reason.as_deref())
        .bind(grant.expires_at.map(Instant))
        .bind(Instant(step.at))
        .fetch_one(tx)
        .await?;
    Ok(row.try_into()?)
}

async fn revoke_in(tx: &mut PgConnection, step: &Step, id: GrantId) -> Result<Grant, Abort<AccessError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let row: Option<GrantRow> =
        query_as(sql::REVOKE).bind(id.uuid()).bind(Instant(step.at)).fetch_optional(&mut *tx).await?;
    let Some(grant) = one(row)? else { return Err(Refused(AccessError::GrantNotFound)) };
    if is_lasting_owner(&grant) {
        keep_an_owner_in(tx, &grant).await?;
    }
    let loss = Loss::of(grant.account, Lost::Rights(grant.scope));
    step::finish(tx, step, &Outcome::of(grant.id).losing([loss])).await?;
    Ok(grant)
}

async fn revoke_all_in(
    tx: &mut PgConnection,
    step: &Step,
    account: AccountId,
    scope: Scope,
) -> Result<(), Abort<AccessError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(());
    }
    let ScopeColumns { scope_kind, scope_id } = scope.into();
    let rows: Vec<GrantRow> = query_as(sql::REVOKE_ALL)
        .bind(account.uuid())
        .bind(scope_kind)
        .bind(scope_id)
        .bind(Instant(step.at))
        .fetch_all(&mut *tx)
        .await?;
    let revoked: Vec<Grant> = all(rows)?;
    if revoked.is_empty() {
        return Err(Refused(AccessError::MemberNotFound));
    }
    if let Some(owner) = revoked.iter().find(|grant| is_lasting_owner(grant)) {
        keep_an_owner_in(tx, owner).await?;
    }
    let loss = Loss::of(account, Lost::Rights(scope));
    step::finish(tx, step, &Outcome::of(account).losing([loss])).await?;
    Ok(())
}

/// Refuses a change that leaves the scope of `owner`, who goes or gets an end, without a lasting owner.
async fn keep_an_owner_in(tx: &mut PgConnection, owner: &Grant) -> Result<(), Abort<AccessError>> {
    // Behind the change of the own row: of two owners who leave at once, the second then sees that the first has left.
    query(LOCK_OWNERS).bind(format!("owners of {}", owner.scope)).execute(&mut *tx).await?;
    let ScopeColumns { scope_kind, scope_id } = owner.scope.into();
    let kept: bool = query_scalar(sql::HAS_LASTING)
        .bind(scope_kind)
        .bind(scope_id)
        .bind(owner.role.as_str())
        .fetch_one(&mut *tx)
        .await?;
    if kept { Ok(()) } else { Err(Refused(AccessError::LastOwner)) }
}
