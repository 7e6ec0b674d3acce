//! Losses as rows.

use uuid::Uuid;
use weltenwind_core::{
    AccountId, DeviceId, SessionId,
    revocations::{LoggedLoss, Loss, LossSeq, Lost},
};

use crate::{
    error::BrokenRow,
    rows::{Instant, RowName, ScopeColumns},
};

/// What tells one loss from another, in its columns.
#[derive(Debug)]
pub(crate) struct LossColumns {
    pub(crate) kind: &'static str,
    pub(crate) subject: Option<Uuid>,
    pub(crate) scope_kind: Option<String>,
    pub(crate) scope_id: Option<Uuid>,
}

impl From<&Lost> for LossColumns {
    fn from(lost: &Lost) -> Self {
        let subject = match lost {
            Lost::Session(id) => Some(id.uuid()),
            Lost::Device(id) => Some(id.uuid()),
            _ => None,
        };
        let scope = match lost {
            Lost::Rights(scope) => Some(ScopeColumns::from(*scope)),
            _ => None,
        };
        let (scope_kind, scope_id) = scope.map_or((None, None), |scope| (Some(scope.scope_kind), scope.scope_id));
        Self { kind: lost.kind(), subject, scope_kind, scope_id }
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct LossRow {
    seq: i64,
    at: Instant,
    account_id: Uuid,
    kind: String,
    subject: Option<Uuid>,
    scope_kind: Option<String>,
    scope_id: Option<Uuid>,
}

impl TryFrom<LossRow> for LoggedLoss {
    type Error = BrokenRow;

    fn try_from(row: LossRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("revocations", row.seq);
        let LossRow { seq, at, account_id, kind, subject, scope_kind, scope_id } = row;
        let lost = match (kind.as_str(), subject, scope_kind) {
            ("session", Some(id), None) => Lost::Session(SessionId::new(id)),
            ("device", Some(id), None) => Lost::Device(DeviceId::new(id)),
            ("rights", None, Some(scope_kind)) => Lost::Rights(name.scope(&ScopeColumns { scope_kind, scope_id })?),
            ("name", None, None) => Lost::Name,
            ("account", None, None) => Lost::Account,
            _ => return Err(name.broken("kind")),
        };
        Ok(Self { seq: LossSeq::new(seq), at: at.0, loss: Loss { account: AccountId::new(account_id), lost } })
    }
}
