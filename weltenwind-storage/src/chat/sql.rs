//! Statements that read the same in both databases, or differ in a clause.

use sqlx::AssertSqlSafe;
use weltenwind_core::Limit;

macro_rules! channel_columns {
    () => {
        "id, scope_kind, scope_id, slug, name, guests_may_post, slowmode_seconds, retention_days, revision, epoch, \
         created_at, archived_at"
    };
}
pub(super) use channel_columns;

macro_rules! message_columns {
    () => {
        "channel_id, seq, change, posted_change, id, author_id, author_name, body, client_id, reply_to, sent_at, \
         edited_at, removed_by, removal_reason, removed_at, removal_mode"
    };
}
pub(super) use message_columns;

/// Makes a channel, or no row if the slug is taken. `$slug` are the columns of the index that keeps open slugs apart.
macro_rules! create_channel {
    ($slug:literal) => {
        concat!(
            "INSERT INTO chat_channels
                 (id, scope_kind, scope_id, slug, name, guests_may_post, slowmode_seconds, retention_days, epoch,
                 created_at, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1)
             ON CONFLICT (",
            $slug,
            ") WHERE archived_at IS NULL DO NOTHING RETURNING ",
            $crate::chat::sql::channel_columns!(),
        )
    };
}
pub(super) use create_channel;

/// Reads the open channels of a scope; `$in_scope` compares `scope_id` with `$2` in the way that uses the database's
/// index.
macro_rules! channels {
    ($in_scope:literal) => {
        concat!(
            "SELECT ",
            $crate::chat::sql::channel_columns!(),
            " FROM chat_channels
             WHERE scope_kind = $1 AND ",
            $in_scope,
            " AND archived_at IS NULL AND ($3 IS NULL OR id > $3)
             ORDER BY id LIMIT $4",
        )
    };
}
pub(super) use channels;

pub(super) const FIND_CHANNEL: &str = concat!("SELECT ", channel_columns!(), " FROM chat_channels WHERE id = $1");

pub(super) const AMEND_CHANNEL: &str = concat!(
    "UPDATE chat_channels
     SET slug = $2, name = $3, guests_may_post = $4, slowmode_seconds = $5, retention_days = $6, revision = $7,
         archived_at = $8
     WHERE id = $1 RETURNING ",
    channel_columns!(),
);

pub(super) const CHANNELS_WITH_RETENTION: &str = concat!(
    "SELECT ",
    channel_columns!(),
    " FROM chat_channels WHERE retention_days IS NOT NULL AND archived_at IS NULL ORDER BY id",
);

pub(super) const FIND_MESSAGE: &str = concat!("SELECT ", message_columns!(), " FROM chat_messages WHERE id = $1");

pub(super) const HEAD: &str = "SELECT epoch, last_change, purged_change FROM chat_channels WHERE id = $1";

/// Reads one range of an index and the channel's counters in one statement, so both are of one instant. Without
/// messages there is one row, without the channel none.
macro_rules! history {
    ($range:literal, $order:literal) => {
        concat!(
            "SELECT c.epoch, c.last_change, c.purged_change, m.* FROM chat_channels c LEFT JOIN (SELECT ",
            message_columns!(),
            " FROM chat_messages WHERE channel_id = $1 AND ",
            $range,
            " ORDER BY ",
            $order,
            " LIMIT {limit}) m ON TRUE WHERE c.id = $1 ORDER BY m.",
            $order,
        )
    };
}

/// Returns the statement that reads messages before `$2`, newest first.
pub(super) fn history_before(limit: Limit) -> AssertSqlSafe<String> {
    limited(format!(history!("seq < $2", "seq DESC"), limit = limit.with_probe()))
}

/// Returns the statement that reads messages after `$2`, oldest first.
pub(super) fn history_after(limit: Limit) -> AssertSqlSafe<String> {
    limited(format!(history!("seq > $2", "seq"), limit = limit.with_probe()))
}

/// Returns the statement that reads what changed after `$2`, oldest change first.
pub(super) fn changes(limit: Limit) -> AssertSqlSafe<String> {
    limited(format!(history!("change > $2", "change"), limit = limit.with_probe()))
}

/// The limit stands in the statement as a number: Postgres takes a parameter for a tenth of the table, finds the prepared
/// plan too dear and plans each page anew, which costs as much as reading it.
const fn limited(statement: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement)
}

pub(super) const NEXT_CHANGE: &str =
    "UPDATE chat_channels SET last_change = last_change + 1 WHERE id = $1 RETURNING last_change";

pub(super) const EDIT: &str = concat!(
    "UPDATE chat_messages SET change = $2, body = $3, edited_at = $4 WHERE id = $1 RETURNING ",
    message_columns!()
);

pub(super) const REMOVE: &str = concat!(
    "UPDATE chat_messages
     SET change = $2, removed_by = $3, removal_reason = $4, removed_at = $5, removal_mode = $6,
         body = CASE WHEN $6 = 'purge' THEN NULL ELSE body END
     WHERE id = $1 RETURNING ",
    message_columns!(),
);

/// Takes so many changes at once and answers the one before the first of them; holds the channel until the transaction ends.
pub(super) const TAKE_CHANGES: &str =
    "UPDATE chat_channels SET last_change = last_change + $2 WHERE id = $1 RETURNING last_change - $2";

/// Finds an author's messages channel by channel, in the index that tells client ids apart. `$index` names it where the
/// database does not choose it by itself.
macro_rules! written {
    ($index:literal) => {
        concat!(
            "SELECT m.channel_id, m.seq, m.change FROM chat_channels c
             JOIN chat_messages m ",
            $index,
            " ON m.channel_id = c.id AND m.author_id = $1
             WHERE ($2 IS NULL OR m.author_name <> $2) AND c.id >= $3 AND (c.id > $3 OR m.seq > $4)
             ORDER BY m.channel_id, m.seq LIMIT $5",
        )
    };
}
pub(super) use written;

/// Reads some messages of a channel; `$places` says in the database's own way that a place is among `$2`.
macro_rules! messages_at {
    ($places:literal) => {
        concat!(
            "SELECT ",
            $crate::chat::sql::message_columns!(),
            " FROM chat_messages WHERE channel_id = $1 AND seq ",
            $places,
            " ORDER BY seq",
        )
    };
}
pub(super) use messages_at;

/// Finds which of the places are the author's and bear another name.
macro_rules! named_otherwise {
    ($places:literal) => {
        concat!(
            "SELECT seq FROM chat_messages
             WHERE channel_id = $1 AND seq ",
            $places,
            " AND author_id = $3 AND author_name <> $4 ORDER BY seq"
        )
    };
}
pub(super) use named_otherwise;

/// Gives each of these places the change behind `$4` that its turn among them says.
macro_rules! rename_author {
    ($places:literal) => {
        concat!(
            "UPDATE chat_messages SET author_name = $3, change = $4 + ranked.turn FROM (
                 SELECT seq AS place, row_number() OVER (ORDER BY seq) AS turn FROM chat_messages
                 WHERE channel_id = $1 AND seq ",
            $places,
            ") AS ranked
             WHERE channel_id = $1 AND seq = ranked.place RETURNING ",
            $crate::chat::sql::message_columns!(),
        )
    };
}
pub(super) use rename_author;

pub(super) const MARK_READ: &str = "
    INSERT INTO chat_read_marks AS mark (account_id, channel_id, seq)
    SELECT $1, id, CASE WHEN last_seq < $3 THEN last_seq ELSE $3 END FROM chat_channels WHERE id = $2
    ON CONFLICT (account_id, channel_id)
        DO UPDATE SET seq = CASE WHEN mark.seq < excluded.seq THEN excluded.seq ELSE mark.seq END
    RETURNING channel_id, seq, (SELECT last_seq FROM chat_channels WHERE id = $2) AS last_seq";

pub(super) const UNREAD: &str = "
    SELECT mark.channel_id, mark.seq, c.last_seq
    FROM chat_read_marks mark JOIN chat_channels c ON c.id = mark.channel_id
    WHERE mark.account_id = $1 AND mark.seq < c.last_seq AND c.archived_at IS NULL
    ORDER BY mark.channel_id";

/// Deletes from the oldest message on and stops before the first that stays: messages are not sorted by the instant
/// they were sent at, and only this reads no more rows than it deletes. A trigger notes the newest change that is gone.
pub(super) const PURGE: &str = "
    WITH oldest AS MATERIALIZED (
        SELECT seq, sent_at FROM chat_messages WHERE channel_id = $1 ORDER BY seq LIMIT $3
    )
    DELETE FROM chat_messages
    WHERE channel_id = $1
        AND seq < COALESCE(
            (SELECT min(seq) FROM oldest WHERE sent_at >= $2),
            (SELECT max(seq) + 1 FROM oldest)
        )";
