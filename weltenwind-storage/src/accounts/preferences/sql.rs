//! Statements on preferences that read the same in both databases.

macro_rules! columns {
    () => {
        "account_id, locale, theme, muted, quiet_start, quiet_end, time_zone, revision"
    };
}

pub(crate) const FIND: &str = concat!("SELECT ", columns!(), " FROM preferences WHERE account_id = $1");

pub(super) const SAVE: &str = concat!(
    "INSERT INTO preferences (",
    columns!(),
    ", updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (account_id) DO UPDATE SET
        locale = EXCLUDED.locale, theme = EXCLUDED.theme, muted = EXCLUDED.muted, quiet_start = EXCLUDED.quiet_start,
        quiet_end = EXCLUDED.quiet_end, time_zone = EXCLUDED.time_zone, revision = EXCLUDED.revision,
        updated_at = EXCLUDED.updated_at"
);
