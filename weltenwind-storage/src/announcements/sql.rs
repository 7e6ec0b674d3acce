//! Statements on announcements that read the same in both databases.

macro_rules! columns {
    () => {
        "number, id, scope_kind, scope_id, role, title, body, dedupe_key, publish_at, expires_at, revision, created_at, \
         updated_at, dispatched_at, withdrawn_at"
    };
}

pub(super) use columns;

pub(super) const FIND: &str = concat!("SELECT ", columns!(), " FROM announcements WHERE id = $1");

/// The first announcement under a key; its scope is global where `$2` is absent.
pub(super) const FIND_BY_KEY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM announcements WHERE scope_kind = $1 AND scope_id IS NOT DISTINCT FROM $2 AND dedupe_key = $3"
);

/// Counts a change. The row stays locked until the commit, so that numbers are given out in the order of commits.
pub(crate) const COUNT: &str = "UPDATE announcement_epoch SET version = version + 1 WHERE id = 1 RETURNING version";

/// Makes no row if the dedupe key is taken; waits for another transaction that is about to take it.
pub(super) const INSERT: &str = concat!(
    "INSERT INTO announcements
        (number, id, scope_kind, scope_id, role, title, body, dedupe_key, publish_at, expires_at, revision, created_at,
         updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
    ON CONFLICT DO NOTHING
    RETURNING ",
    columns!()
);

pub(super) const UPDATE: &str = concat!(
    "UPDATE announcements
    SET title = $2, body = $3, publish_at = $4, expires_at = $5, revision = $6, updated_at = $7, withdrawn_at = $8
    WHERE id = $1
    RETURNING ",
    columns!()
);

pub(super) const PURGE: &str = "
    DELETE FROM announcements WHERE id IN (
        SELECT id FROM announcements WHERE withdrawn_at < $1 ORDER BY withdrawn_at LIMIT $2
    )";

/// What is listed. `$nowhere` stands for the id of the global scope, and `$position` is the database's name for where a text stands
/// in another.
macro_rules! listed {
    ($nowhere:literal, $position:literal, $behind:literal) => {
        concat!(
            " WHERE scope_kind = $1 AND COALESCE(scope_id, ",
            $nowhere,
            ") = $2 AND withdrawn_at IS NULL
                AND (role IS NULL OR $3 OR ",
            $position,
            "($4, ' ' || role || ' ') > 0)
                AND CASE $5
                    WHEN 'scheduled' THEN publish_at > $6
                    WHEN 'expired' THEN expires_at <= $6
                    ELSE publish_at <= $6 AND (expires_at IS NULL OR expires_at > $6)
                END
                AND (publish_at, id) ",
            $behind,
            " ($7, $8)"
        )
    };
}

/// A part of a list; `$found` is what else must hold.
macro_rules! page {
    ($nowhere:literal, $position:literal, $behind:literal, $order:literal, $found:expr) => {
        concat!(
            "SELECT ",
            sql::columns!(),
            " FROM announcements",
            sql::listed!($nowhere, $position, $behind),
            $found,
            " ORDER BY publish_at ",
            $order,
            ", id ",
            $order,
            " LIMIT $9"
        )
    };
}

/// The four lists of a database: newest and oldest first, without and with `$found`.
macro_rules! pages {
    ($nowhere:literal, $position:literal, $($newest:ident, $oldest:ident: $found:literal;)+) => {
        $(
            const $newest: &str = sql::page!($nowhere, $position, "<", "DESC", $found);
            const $oldest: &str = sql::page!($nowhere, $position, ">", "ASC", $found);
        )+
    };
}

pub(super) use {listed, page, pages};
