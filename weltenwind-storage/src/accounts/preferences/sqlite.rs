//! Preferences in SQLite.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqliteExecutor, query, query_as};
use weltenwind_core::{
    AccountId, Outcome, Step, StorageError,
    accounts::{AccountError, LocaleTag, PreferenceStore, Preferences, PreferencesChange},
};

use super::{
    rows::{PreferencesRow, muted},
    sql,
};
use crate::{
    accounts::sqlite::find_in,
    error::{
        Abort::{self, Refused},
        failed,
    },
    rows::{Instant, one},
    sqlite::{Class::Interactive, SqliteDatabase},
    step::{self, Begun::Repeated},
};

/// Keeps preferences in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqlitePreferenceStore {
    db: SqliteDatabase,
}

impl SqlitePreferenceStore {
    /// Keeps preferences in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl PreferenceStore for SqlitePreferenceStore {
    async fn find(&self, account: AccountId) -> Result<Preferences, StorageError> {
        present_in(self.db.readers(), account).await.map_err(failed("read preferences"))
    }

    async fn amend(&self, step: &Step, change: &PreferencesChange) -> Result<Preferences, AccountError> {
        let (step, change) = (step.clone(), change.clone());
        self.db
            .write(Interactive, "change preferences", move |tx| {
                Box::pin(async move { amend_in(tx, &step, &change).await })
            })
            .await
    }
}

/// Reads the preferences of an account, whether or not it has ever said any.
async fn present_in(executor: impl SqliteExecutor<'_>, account: AccountId) -> sqlx::Result<Preferences> {
    let row = query_as::<_, PreferencesRow>(sql::FIND).bind(account.uuid()).fetch_optional(executor).await?;
    Ok(one(row)?.unwrap_or_default())
}

async fn amend_in(
    tx: &mut SqliteConnection,
    step: &Step,
    change: &PreferencesChange,
) -> Result<Preferences, Abort<AccountError>> {
    let account = change.account;
    if let Repeated(_) = step::begin(tx, step).await? {
        return Ok(present_in(tx, account).await?);
    }
    if find_in(&mut *tx, account).await?.is_none() {
        return Err(Refused(AccountError::NotFound));
    }
    let present = present_in(&mut *tx, account).await?;
    if change.expected.is_some_and(|expected| expected != present.revision) {
        return Err(Refused(AccountError::Stale(present.revision)));
    }
    let preferences = present.amended(&change.amendment);
    let quiet = preferences.quiet_hours.as_ref();
    query(sql::SAVE)
        .bind(account.uuid())
        .bind(preferences.locale.as_ref().map(LocaleTag::as_str))
        .bind(preferences.theme.as_str())
        .bind(muted(&preferences))
        .bind(quiet.map(|quiet| i64::from(quiet.start.minutes())))
        .bind(quiet.map(|quiet| i64::from(quiet.end.minutes())))
        .bind(quiet.map(|quiet| quiet.time_zone.as_str()))
        .bind(preferences.revision.get())
        .bind(Instant(step.at))
        .execute(&mut *tx)
        .await?;
    step::finish(tx, step, &Outcome::of(account)).await?;
    Ok(preferences)
}
