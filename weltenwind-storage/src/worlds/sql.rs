//! Statements on worlds that read the same in both databases.

macro_rules! columns {
    () => {
        "id, slug, name, description, visibility, join_policy, revision, created_at, updated_at, archived_at"
    };
}

#[cfg(feature = "postgres")]
pub(super) use columns;

pub(super) const FIND: &str = concat!("SELECT ", columns!(), " FROM worlds WHERE id = $1");

pub(super) const FIND_BY_SLUG: &str =
    concat!("SELECT ", columns!(), " FROM worlds WHERE id = (SELECT world_id FROM world_slug_history WHERE slug = $1)");

pub(super) const INSERT: &str = concat!(
    "INSERT INTO worlds
        (id, slug, name, name_folded, description, visibility, join_policy, revision, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
    RETURNING ",
    columns!()
);

pub(super) const UPDATE: &str = concat!(
    "UPDATE worlds
    SET slug = $2, name = $3, name_folded = $4, description = $5, visibility = $6, join_policy = $7, revision = $8,
        updated_at = $9, archived_at = $10
    WHERE id = $1
    RETURNING ",
    columns!()
);

/// Changes one row if the slug is free or was this world's before, and none if it is another's; waits for another
/// transaction that wants it.
pub(super) const TAKE_SLUG: &str = "
    INSERT INTO world_slug_history (slug, world_id, created_at) VALUES ($1, $2, $3)
    ON CONFLICT (slug) DO UPDATE SET world_id = EXCLUDED.world_id
        WHERE world_slug_history.world_id = EXCLUDED.world_id";

macro_rules! page {
    ($behind:literal, $order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM worlds
            WHERE archived_at IS NULL
                AND ($1 OR visibility = 'public' OR EXISTS (
                    SELECT 1 FROM grants
                    WHERE account_id = $2 AND scope_kind = 'world' AND scope_id = worlds.id AND revoked_at IS NULL
                        AND (expires_at IS NULL OR expires_at > $6)
                ))
                AND ($3 IS NULL OR name_folded LIKE $3 ESCAPE '\\')
                AND ($7 IS NULL OR id = $7)
                AND id ",
            $behind,
            " $4 ORDER BY id ",
            $order,
            " LIMIT $5"
        )
    };
}

pub(super) const PAGE_NEWEST_FIRST: &str = page!("<", "DESC");
pub(super) const PAGE_OLDEST_FIRST: &str = page!(">", "ASC");

pub(super) const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT 1 FROM worlds)";
