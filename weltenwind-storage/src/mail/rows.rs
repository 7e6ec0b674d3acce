//! Letters as rows.

use sqlx::types::Json;
use uuid::Uuid;
use weltenwind_core::{
    DedupeKey, MailId,
    accounts::Email,
    mail::{Letter, MailIntent},
};

use crate::{error::BrokenRow, rows::RowName};

#[derive(Debug, sqlx::FromRow)]
pub(super) struct MailRow {
    id: Uuid,
    dedupe_key: String,
    recipient: String,
    locale: String,
    letter: Json<Letter>,
    state: String,
    attempts: i64,
    pub(super) resent: bool,
    error: Option<String>,
}

impl TryFrom<MailRow> for MailIntent {
    type Error = BrokenRow;

    fn try_from(row: MailRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("mail_intents", row.id);
        Ok(Self {
            id: MailId::new(row.id),
            dedupe_key: DedupeKey::from_stored(row.dedupe_key),
            to: Email::from_stored(row.recipient),
            locale: name.parse("locale", &row.locale)?,
            letter: row.letter.0,
            state: name.parse("state", &row.state)?,
            attempts: name.number("attempts", row.attempts)?,
            error: row.error,
        })
    }
}
