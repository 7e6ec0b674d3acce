//! Preferences as rows.

use uuid::Uuid;
use weltenwind_core::{
    Revision,
    accounts::{LocaleTag, Preferences, QuietHours, TimeOfDay, Topic},
};

use crate::{error::BrokenRow, rows::RowName};

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PreferencesRow {
    account_id: Uuid,
    locale: Option<String>,
    theme: String,
    muted: String,
    quiet_start: Option<i64>,
    quiet_end: Option<i64>,
    time_zone: Option<String>,
    revision: i64,
}

impl TryFrom<PreferencesRow> for Preferences {
    type Error = BrokenRow;

    fn try_from(row: PreferencesRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("preferences", row.account_id);
        let time = |column, minutes| {
            let minutes = name.number(column, minutes)?;
            TimeOfDay::from_minutes(minutes).ok_or_else(|| name.broken(column))
        };
        let quiet_hours = match (row.quiet_start, row.quiet_end, row.time_zone) {
            (Some(start), Some(end), Some(time_zone)) => {
                Some(QuietHours { start: time("quiet_start", start)?, end: time("quiet_end", end)?, time_zone })
            }
            (None, None, None) => None,
            _ => return Err(name.broken("time_zone")),
        };
        Ok(Self {
            locale: row.locale.map(LocaleTag::from_stored),
            theme: name.parse("theme", &row.theme)?,
            // A topic of a later program is passed over.
            muted: row.muted.split_whitespace().filter_map(|topic| topic.parse().ok()).collect(),
            quiet_hours,
            revision: Revision::new(row.revision),
        })
    }
}

/// Writes topics as one text.
pub(super) fn muted(preferences: &Preferences) -> String {
    preferences.muted.iter().copied().map(Topic::as_str).collect::<Vec<_>>().join(" ")
}
