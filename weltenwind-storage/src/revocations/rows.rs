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

/// Stands for everybody who is in a place. No account has this id, so a node that does not know of such losses passes
/// over it.
const EVERYBODY: Uuid = Uuid::nil();

/// Returns what stands for whoever loses.
pub(crate) fn account_column(loss: &Loss) -> Uuid {
    loss.account.map_or(EVERYBODY, AccountId::uuid)
}

fn account_of(column: Uuid) -> Option<AccountId> {
    (column != EVERYBODY).then(|| AccountId::new(column))
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
        Ok(Self { seq: LossSeq::new(seq), at: at.0, loss: Loss { account: account_of(account_id), lost } })
    }
}
