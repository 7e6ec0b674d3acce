//! The steps that both drivers take alike.

use sqlx::{query_as, types::Json};
use weltenwind_core::{
    AccountId, MailId, Outcome, Step, Timestamp,
    mail::{Begun, MailIntent, NewMail, Queued},
};

use super::{rows::MailRow, sql};
use crate::{
    rows::{Instant, one},
    step::{self, Begun::Repeated},
};

/// The steps of a connection inside a transaction.
pub(super) trait Letters {
    async fn queue(&mut self, step: &Step, new: &NewMail) -> sqlx::Result<Queued>;

    async fn begin_letter(&mut self, id: MailId, at: Timestamp) -> sqlx::Result<Begun>;
}

macro_rules! letters {
    ($connection:ty) => {
        impl Letters for $connection {
            async fn queue(&mut self, step: &Step, new: &NewMail) -> sqlx::Result<Queued> {
                if let Repeated(target) = step::begin(self, step).await? {
                    let id: MailId = target.id()?;
                    let row: Option<MailRow> = query_as(sql::FIND).bind(id.uuid()).fetch_optional(&mut *self).await?;
                    return Ok(Queued { intent: target.found(one(row)?)?, is_new: true });
                }
                let row: Option<MailRow> = query_as(sql::INSERT)
                    .bind(new.id.uuid())
                    .bind(new.dedupe_key.as_str())
                    .bind(new.account.map(AccountId::uuid))
                    .bind(new.to.as_str())
                    .bind(new.locale.as_str())
                    .bind(Json(&new.letter))
                    .bind(Instant(step.at))
                    .fetch_optional(&mut *self)
                    .await?;
                if let Some(intent) = one::<MailIntent, _>(row)? {
                    step::finish(self, step, &Outcome::of(intent.id)).await?;
                    return Ok(Queued { intent, is_new: true });
                }
                let row: MailRow =
                    query_as(sql::FIND_BY_KEY).bind(new.dedupe_key.as_str()).fetch_one(&mut *self).await?;
                step::skip(self, step).await?;
                Ok(Queued { intent: row.try_into()?, is_new: false })
            }

            async fn begin_letter(&mut self, id: MailId, at: Timestamp) -> sqlx::Result<Begun> {
                for statement in [sql::BEGIN, sql::BEGIN_AGAIN, sql::GIVE_UP] {
                    if statement == sql::BEGIN_AGAIN {
                        let row: Option<MailRow> =
                            query_as(sql::FIND).bind(id.uuid()).fetch_optional(&mut *self).await?;
                        let Some(row) = row else { return Ok(Begun::Gone) };
                        let is_resent = row.resent;
                        let intent: MailIntent = row.try_into()?;
                        if intent.state != weltenwind_core::mail::MailState::Sending {
                            return Ok(Begun::Nothing(intent.state));
                        }
                        if is_resent || !intent.letter.is_resendable() {
                            continue;
                        }
                    }
                    let row: Option<MailRow> =
                        query_as(statement).bind(id.uuid()).bind(Instant(at)).fetch_optional(&mut *self).await?;
                    if let Some(intent) = one::<MailIntent, _>(row)? {
                        return Ok(if statement == sql::GIVE_UP {
                            Begun::Nothing(intent.state)
                        } else {
                            Begun::Send(intent)
                        });
                    }
                }
                // Another one was faster, and is on its way with it.
                Ok(Begun::Nothing(weltenwind_core::mail::MailState::Sending))
            }
        }
    };
}

#[cfg(feature = "postgres")]
letters!(sqlx::PgConnection);
#[cfg(feature = "sqlite")]
letters!(sqlx::SqliteConnection);
