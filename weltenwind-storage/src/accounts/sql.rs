//! Statements on accounts, sessions and keys that read the same in both databases.

macro_rules! account_columns {
    () => {
        "id, kind, username, display_name, email, revision, created_at"
    };
}
pub(crate) use account_columns;

pub(super) const FIND: &str = concat!("SELECT ", account_columns!(), " FROM accounts WHERE id = $1");

/// No row if the username is taken.
pub(super) const INSERT: &str = concat!(
    "INSERT INTO accounts (",
    account_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (username) DO NOTHING"
);

pub(super) const INSERT_PASSWORD: &str = "INSERT INTO passwords (account_id, hash, set_at) VALUES ($1, $2, $3)";

pub(super) const IDENTITY: &str = "SELECT account_id FROM external_identities WHERE issuer = $1 AND subject = $2";

/// Changes no row if the identity leads somewhere; waits for one who is about to say where.
pub(super) const LINK_IDENTITY: &str = "
    INSERT INTO external_identities (issuer, subject, account_id, linked_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (issuer, subject) DO NOTHING";

pub(super) const FORGET_ACCOUNT: &str = "DELETE FROM accounts WHERE id = $1";

pub(super) const CREDENTIALS: &str = "
    SELECT p.account_id, p.hash FROM accounts a JOIN passwords p ON p.account_id = a.id WHERE a.username = $1";

pub(super) const PASSWORD: &str = "SELECT hash FROM passwords WHERE account_id = $1";

/// Changes no row if the password is no longer the one that was checked.
pub(super) const REPLACE_PASSWORD: &str =
    "UPDATE passwords SET hash = $3, set_at = $4 WHERE account_id = $1 AND hash = $2";

/// Changes no row if the account is no guest's.
pub(super) const UPGRADE: &str = "
    UPDATE accounts SET kind = 'registered', username = $2, email = $3, revision = revision + 1
    WHERE id = $1 AND kind = 'guest'";

/// Usernames are lower case, so the pattern need be no more than that.
pub(super) const PAGE: &str = concat!(
    "SELECT ",
    account_columns!(),
    r" FROM accounts WHERE ($1 IS NULL OR username LIKE $1 ESCAPE '\') AND ($2 IS NULL OR id > $2) ORDER BY id LIMIT $3"
);

pub(super) const RENAME: &str = concat!(
    "UPDATE accounts SET display_name = $2, revision = revision + 1 WHERE id = $1 RETURNING ",
    account_columns!()
);

pub(super) const INSERT_BOOTSTRAP_TOKEN: &str = "
    INSERT INTO bootstrap_tokens (hash, created_at, expires_at) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING";

/// Changes no row if the token is unknown or spent; waits for another transaction that spends it.
pub(super) const SPEND_BOOTSTRAP_TOKEN: &str =
    "UPDATE bootstrap_tokens SET spent_at = $2 WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2";

pub(super) const HAS_BOOTSTRAP_TOKEN: &str = "SELECT EXISTS (SELECT 1 FROM bootstrap_tokens WHERE hash = $1)";

/// Answers the device that the account has with the same fingerprint, if there is one. The name that it has is its owner's.
pub(super) const SAVE_DEVICE: &str = "
    INSERT INTO devices (id, account_id, name, fingerprint, created_at, seen_at, address)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (account_id, fingerprint) DO UPDATE SET
        name = COALESCE(devices.name, EXCLUDED.name),
        seen_at = EXCLUDED.seen_at,
        address = COALESCE(EXCLUDED.address, devices.address)
    RETURNING id";

/// Changes no row if the device was seen in the same step from the same place.
pub(super) const SEE_DEVICE: &str = "
    UPDATE devices SET seen_at = $2, address = COALESCE($3, address)
    WHERE id = $1 AND (seen_at IS NULL OR seen_at < $2 OR seen_at = $2 AND address IS DISTINCT FROM COALESCE($3, address))";

pub(super) const INSERT_SESSION: &str = "
    INSERT INTO sessions (id, account_id, device_id, generation, created_at, idle_expires_at, expires_at)
    VALUES ($1, $2, $3, 0, $4, $5, $6)";

macro_rules! signed_in {
    () => {
        "a.id, a.kind, a.username, a.display_name, a.email, a.revision, a.created_at,
        s.id AS session_id, s.device_id, s.generation, s.created_at AS opened_at, s.idle_expires_at, s.expires_at, s.ended_at"
    };
}
pub(super) use signed_in;

/// Reads sessions with their accounts; `$is_wanted` is the condition on a session's id.
macro_rules! find_sessions {
    ($is_wanted:literal) => {
        concat!(
            "SELECT ",
            crate::accounts::sql::signed_in!(),
            " FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.id ",
            $is_wanted
        )
    };
}
pub(super) use find_sessions;

pub(super) const FIND_SESSION: &str = find_sessions!("= $1");

pub(super) const PAGE_SESSIONS: &str = concat!(
    "SELECT ",
    signed_in!(),
    ", d.account_id AS device_account_id, d.name AS device_name, d.fingerprint, d.created_at AS device_created_at,
        d.seen_at, d.address
    FROM sessions s
    JOIN accounts a ON a.id = s.account_id
    JOIN devices d ON d.id = s.device_id
    WHERE ($1 IS NULL OR s.account_id = $1)
        AND s.ended_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2
        AND s.id < $3
    ORDER BY s.id DESC
    LIMIT $4"
);

/// Changes no row if another rotation was faster or the session has ended; waits for one that is under way.
pub(super) const ROTATE: &str = "
    UPDATE sessions SET generation = generation + 1, idle_expires_at = $3
    WHERE id = $1 AND generation = $2 AND ended_at IS NULL AND idle_expires_at > $4 AND expires_at > $4";

pub(super) const END_SESSION: &str =
    "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL RETURNING account_id";

/// What has run out needs no end.
pub(super) const END_SESSIONS: &str = "
    UPDATE sessions SET ended_at = $3
    WHERE account_id = $1 AND id <> $2 AND ended_at IS NULL AND idle_expires_at > $3 AND expires_at > $3
    RETURNING id";

pub(super) const SESSION_HOLDS: &str = "
    SELECT EXISTS (
        SELECT 1 FROM sessions
        WHERE id = $1 AND account_id = $2 AND ended_at IS NULL AND idle_expires_at > $3 AND expires_at > $3
    )";

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

pub(super) const YOUNGEST_SIGNING_KEY: &str =
    "SELECT id FROM server_keys WHERE kind = 'signing' ORDER BY created_at DESC, id DESC LIMIT 1";

pub(super) const DROP_SIGNING_KEY: &str = "DELETE FROM server_keys WHERE id = $1 AND kind = 'signing'";
