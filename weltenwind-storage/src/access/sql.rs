//! Statements on grants that read the same in both databases.

macro_rules! grant_columns {
    () => {
        "id, account_id, role, scope_kind, scope_id, granted_by, reason, expires_at, created_at"
    };
}
pub(crate) use grant_columns;

/// The same role of the same account in the same scope.
macro_rules! held {
    () => {
        concat!(
            "SELECT ",
            $crate::access::sql::grant_columns!(),
            " FROM grants
            WHERE account_id = $1 AND role = $2 AND scope_kind = $3 AND scope_id IS NOT DISTINCT FROM $4
                AND revoked_at IS NULL"
        )
    };
}
pub(super) use held;

/// A revoked one, too.
pub(super) const FIND: &str = concat!("SELECT ", grant_columns!(), " FROM grants WHERE id = $1");

pub(super) const FIND_HELD: &str =
    concat!("SELECT ", grant_columns!(), " FROM grants WHERE id = $1 AND revoked_at IS NULL");

pub(super) const OF: &str = concat!(
    "SELECT ",
    grant_columns!(),
    " FROM grants
    WHERE account_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)"
);

pub(super) const PAGE: &str = concat!(
    "SELECT ",
    grant_columns!(),
    " FROM grants
    WHERE revoked_at IS NULL
        AND ($1 IS NULL OR account_id = $1)
        AND ($2 IS NULL OR scope_kind = $2 AND scope_id IS NOT DISTINCT FROM $3)
        AND id > $4
    ORDER BY id
    LIMIT $5"
);

pub(super) const REVOKE: &str =
    concat!("UPDATE grants SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING ", grant_columns!());

pub(super) const REVOKE_ALL: &str = concat!(
    "UPDATE grants SET revoked_at = $4
    WHERE account_id = $1 AND scope_kind = $2 AND scope_id IS NOT DISTINCT FROM $3 AND revoked_at IS NULL
    RETURNING ",
    grant_columns!()
);

pub(super) const HAS_LASTING: &str = "
    SELECT EXISTS (
        SELECT 1 FROM grants
        WHERE scope_kind = $1 AND scope_id IS NOT DISTINCT FROM $2 AND role = $3
            AND revoked_at IS NULL AND expires_at IS NULL
    )";

/// Every role of the accounts that are on the page.
pub(super) const MEMBERS: &str = "
    SELECT g.id, g.account_id, a.display_name, g.role, g.created_at
    FROM grants g
    JOIN accounts a ON a.id = g.account_id
    WHERE g.scope_kind = 'world' AND g.scope_id = $1 AND g.revoked_at IS NULL
        AND (g.expires_at IS NULL OR g.expires_at > $2)
        AND g.account_id IN (
            SELECT DISTINCT account_id FROM grants
            WHERE scope_kind = 'world' AND scope_id = $1 AND revoked_at IS NULL
                AND (expires_at IS NULL OR expires_at > $2)
                AND account_id > $3
            ORDER BY account_id
            LIMIT $4
        )
    ORDER BY g.account_id";
