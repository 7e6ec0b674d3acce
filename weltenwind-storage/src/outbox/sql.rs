//! Statements on jobs that read the same in both databases.

/// What a worker learns of a job that it has claimed.
macro_rules! claimed {
    () => {
        "id, fence, kind, payload, correlation_id, created_at, failures, crashes"
    };
}

macro_rules! live_columns {
    () => {
        "id, kind, payload, order_key, dedupe_key, correlation_id, created_at, run_at, failures, crashes, worker,
        lease_until, deadline_at, errors, replay_of"
    };
}

macro_rules! dead_columns {
    () => {
        "id, kind, payload, order_key, dedupe_key, correlation_id, created_at, died_at, failures, crashes, errors, replay_of"
    };
}

pub(super) use claimed;

pub(super) const PAGE: &str = concat!(
    "SELECT ",
    live_columns!(),
    " FROM outbox_jobs WHERE id > $1 AND ($2 IS NULL OR kind = $2) ORDER BY id LIMIT $3"
);

pub(super) const FIND: &str = concat!("SELECT ", live_columns!(), " FROM outbox_jobs WHERE id = $1");

pub(super) const BLOCKER: &str = concat!(
    "SELECT ",
    live_columns!(),
    " FROM outbox_jobs older
    WHERE older.id < $1
        AND (older.kind, older.order_key) IN (SELECT kind, order_key FROM outbox_jobs WHERE id = $1)
    ORDER BY older.id LIMIT 1"
);

pub(super) const PAGE_DEAD: &str = concat!(
    "SELECT ",
    dead_columns!(),
    " FROM outbox_dead WHERE id > $1 AND ($2 IS NULL OR kind = $2) ORDER BY id LIMIT $3"
);

pub(super) const FIND_DEAD: &str = concat!("SELECT ", dead_columns!(), " FROM outbox_dead WHERE id = $1");

pub(super) const EXHUME: &str = "DELETE FROM outbox_dead WHERE id = $1";

pub(super) const PURGE_DEAD: &str =
    "DELETE FROM outbox_dead WHERE id IN (SELECT id FROM outbox_dead WHERE died_at < $1 ORDER BY died_at LIMIT $2)";

/// The job that waits or runs under a dedupe key; Postgres also locks it.
#[cfg(feature = "sqlite")]
pub(super) const FIND_NAMESAKE: &str = "SELECT id, worker FROM outbox_jobs WHERE kind = $1 AND dedupe_key = $2";

/// One that runs may have read before: it gives its key up.
pub(super) const GIVE_KEY_UP: &str = "UPDATE outbox_jobs SET dedupe_key = NULL WHERE id = $1";

pub(super) const KNOW_SCHEDULE: &str =
    "INSERT INTO outbox_schedules (name, spec, next_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";

pub(super) const MOVE_SCHEDULE: &str = "
    UPDATE outbox_schedules SET spec = $2, next_at = $3 WHERE name = $1 AND spec = $4 AND next_at = $5";
