//! Devices in SQLite.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqliteExecutor, query, query_as, query_scalar};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, DeviceId, Outcome, Page, Step, StorageError,
    accounts::{AccountError, Device, DeviceName, DeviceQuery, DeviceStore, TokenHash},
    revocations::{Loss, Lost},
};

use super::{rows::DeviceRow, sql};
use crate::{
    error::{
        Abort::{self, Refused},
        failed,
    },
    rows::{Instant, LAST, all, one},
    sqlite::{Class::Interactive, SqliteDatabase},
    step::{self, Begun::Repeated},
};

/// Keeps devices in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteDeviceStore {
    db: SqliteDatabase,
}

impl SqliteDeviceStore {
    /// Keeps devices in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl DeviceStore for SqliteDeviceStore {
    async fn page(&self, query: &DeviceQuery) -> Result<Page<Device>, StorageError> {
        let rows: Vec<DeviceRow> = query_as(sql::PAGE)
            .bind(query.account.uuid())
            .bind(query.after.map_or(LAST, DeviceId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list devices"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list devices"))?, query.limit))
    }

    async fn find_known(&self, account: AccountId, fingerprint: &TokenHash) -> Result<Option<DeviceId>, StorageError> {
        let id: Option<Uuid> = query_scalar(sql::FIND_KNOWN)
            .bind(account.uuid())
            .bind(fingerprint.as_bytes().as_slice())
            .fetch_optional(self.db.readers())
            .await
            .map_err(failed("find a device by its fingerprint"))?;
        Ok(id.map(DeviceId::new))
    }

    async fn rename(
        &self,
        step: &Step,
        account: AccountId,
        device: DeviceId,
        name: &DeviceName,
    ) -> Result<Device, AccountError> {
        let (step, name) = (step.clone(), name.clone());
        self.db
            .write(Interactive, "rename a device", move |tx| {
                Box::pin(async move { rename_in(tx, &step, account, device, &name).await })
            })
            .await
    }

    async fn end(&self, step: &Step, account: AccountId, device: DeviceId) -> Result<(), AccountError> {
        let step = step.clone();
        self.db
            .write(Interactive, "end a device", move |tx| {
                Box::pin(async move { end_in(tx, &step, account, device).await })
            })
            .await
    }
}

async fn find_in(executor: impl SqliteExecutor<'_>, id: DeviceId) -> sqlx::Result<Option<Device>> {
    one(query_as::<_, DeviceRow>(sql::FIND).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn rename_in(
    tx: &mut SqliteConnection,
    step: &Step,
    account: AccountId,
    device: DeviceId,
    name: &DeviceName,
) -> Result<Device, Abort<AccountError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let row: Option<DeviceRow> = query_as(sql::RENAME)
        .bind(device.uuid())
        .bind(account.uuid())
        .bind(name.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(device) = one::<Device, _>(row)? else { return Err(Refused(AccountError::DeviceNotFound)) };
    step::finish(tx, step, &Outcome::of(device.id)).await?;
    Ok(device)
}

async fn end_in(
    tx: &mut SqliteConnection,
    step: &Step,
    account: AccountId,
    device: DeviceId,
) -> Result<(), Abort<AccountError>> {
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(());
    }
    let ended =
        query(sql::END).bind(device.uuid()).bind(account.uuid()).bind(Instant(step.at)).execute(&mut *tx).await?;
    if ended.rows_affected() == 0 {
        return Err(Refused(AccountError::DeviceNotFound));
    }
    query(sql::END_SESSIONS).bind(device.uuid()).bind(Instant(step.at)).execute(&mut *tx).await?;
    let outcome = Outcome::of(device).losing([Loss::of(account, Lost::Device(device))]);
    step::finish(tx, step, &outcome).await?;
    Ok(())
}
