//! Grants and members as rows.

use std::cmp::Reverse;

use uuid::Uuid;
use weltenwind_core::{
    AccountId, GrantId,
    access::{Grant, Member, Role},
    accounts::DisplayName,
};

use crate::{
    error::BrokenRow,
    rows::{Instant, RowName, ScopeColumns},
};

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct GrantRow {
    id: Uuid,
    account_id: Uuid,
    role: String,
    #[sqlx(flatten)]
    scope: ScopeColumns,
    granted_by: Option<Uuid>,
    reason: Option<String>,
    expires_at: Option<Instant>,
    created_at: Instant,
}

impl TryFrom<GrantRow> for Grant {
    type Error = BrokenRow;

    fn try_from(row: GrantRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("grants", row.id);
        Ok(Self {
            id: GrantId::new(row.id),
            account: AccountId::new(row.account_id),
            role: name.parse("role", &row.role)?,
            scope: name.scope(&row.scope)?,
            granted_by: row.granted_by.map(AccountId::new),
            reason: row.reason,
            expires_at: row.expires_at.map(|at| at.0),
            created_at: row.created_at.0,
        })
    }
}

/// Returns whether the grant makes an owner who stays.
pub(super) const fn is_lasting_owner(grant: &Grant) -> bool {
    grant.role.is_owner() && grant.expires_at.is_none()
}

/// One role of a member.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct MemberRow {
    id: Uuid,
    account_id: Uuid,
    display_name: String,
    role: String,
    created_at: Instant,
}

/// Gathers rows that are in order of their accounts.
pub(super) fn members(rows: Vec<MemberRow>) -> Result<Vec<Member>, BrokenRow> {
    let mut members: Vec<Member> = Vec::new();
    for row in rows {
        let role: Role = RowName::new("grants", row.id).parse("role", &row.role)?;
        let (account, since) = (AccountId::new(row.account_id), row.created_at.0);
        match members.last_mut().filter(|member| member.account == account) {
            Some(member) => {
                member.roles.push(role);
                member.since = member.since.min(since);
            }
            None => members.push(Member {
                account,
                display_name: DisplayName::from_stored(row.display_name),
                roles: vec![role],
                since,
            }),
        }
    }
    for member in &mut members {
        member.roles.sort_by_key(|role| Reverse(role.rank()));
    }
    Ok(members)
}
