//! Statements on accounts, sessions and keys that read the same in both databases.

macro_rules! columns {
    () => {
        "id, kind, username, display_name, email, revision, created_at"
    };
}

pub(super) const FIND: &str = concat!("SELECT ", columns!(), " FROM accounts WHERE id = $1");

/// No row if the username is taken.
pub(super) const INSERT: &str = concat!(
    "INSERT INTO accounts (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (username) DO NOTHING"
);

pub(super) const INSERT_PASSWORD: &str = "INSERT INTO passwords (account_id, hash, set_at) VALUES ($1, $2, $3)";

pub(super) const CREDENTIALS: &str = "
    SELECT p.account_id, p.hash FROM accounts a JOIN passwords p ON p.account_id = a.id WHERE a.username = $1";

/// Usernames are lower case, so the pattern need be no more than that.
pub(super) const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    r" FROM accounts WHERE ($1 IS NULL OR username LIKE $1 ESCAPE '\') AND ($2 IS NULL OR id > $2) ORDER BY id LIMIT $3"
);

pub(super) const RENAME: &str =
    concat!("UPDATE accounts SET display_name = $2, revision = revision + 1 WHERE id = $1 RETURNING ", columns!());

pub(super) const INSERT_BOOTSTRAP_TOKEN: &str = "
    INSERT INTO bootstrap_tokens (hash, created_at, expires_at) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING";

/// Changes no row if the token is unknown or spent; waits for another transaction that spends it.
pub(super) const SPEND_BOOTSTRAP_TOKEN: &str =
    "UPDATE bootstrap_tokens SET spent_at = $2 WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2";

pub(super) const HAS_BOOTSTRAP_TOKEN: &str = "SELECT EXISTS (SELECT 1 FROM bootstrap_tokens WHERE hash = $1)";

/// Answers the device that the account has with the same fingerprint, if there is one.
pub(super) const SAVE_DEVICE: &str = "
    INSERT INTO devices (id, account_id, name, fingerprint, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (account_id, fingerprint) DO UPDATE SET name = COALESCE(EXCLUDED.name, devices.name)
    RETURNING id";

pub(super) const INSERT_SESSION: &str = "
    INSERT INTO sessions (id, account_id, device_id, generation, created_at, idle_expires_at, expires_at)
    VALUES ($1, $2, $3, 0, $4, $5, $6)";

pub(super) const FIND_SESSION: &str = "
    SELECT a.id, a.kind, a.username, a.display_name, a.email, a.revision, a.created_at,
        s.id AS session_id, s.device_id, s.generation, s.created_at AS opened_at, s.idle_expires_at, s.expires_at, s.ended_at
    FROM sessions s
    JOIN accounts a ON a.id = s.account_id
    WHERE s.id = $1";

/// Changes no row if another rotation was faster or the session has ended; waits for one that is under way.
pub(super) const ROTATE: &str = "
    UPDATE sessions SET generation = generation + 1, idle_expires_at = $3
    WHERE id = $1 AND generation = $2 AND ended_at IS NULL AND idle_expires_at > $4 AND expires_at > $4";

pub(super) const END_SESSION: &str = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";

pub(super) const INSERT_REFRESH: &str = "INSERT INTO refresh_tokens (hash, session_id, generation) VALUES ($1, $2, $3)";

pub(super) const FIND_REFRESH: &str = "SELECT session_id, generation, used_at FROM refresh_tokens WHERE hash = $1";

pub(super) const USE_REFRESH: &str = "UPDATE refresh_tokens SET used_at = $3 WHERE session_id = $1 AND generation = $2";

pub(super) const INSERT_TICKET: &str =
    "INSERT INTO tickets (hash, session_id, origin, expires_at) VALUES ($1, $2, $3, $4)";

pub(super) const SPEND_TICKET: &str = "DELETE FROM tickets WHERE hash = $1 RETURNING session_id, origin, expires_at";

/// Changes no row if another node's keys are there; waits for one that is about to store its own.
pub(super) const INSERT_KEY: &str = "
    INSERT INTO server_keys (id, kind, secret, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";

pub(super) const KEYS: &str = "SELECT id, kind, secret, created_at FROM server_keys ORDER BY created_at DESC, id DESC";
