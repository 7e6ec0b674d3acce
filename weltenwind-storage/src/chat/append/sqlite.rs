//! Appending to SQLite: one script for a whole batch, which travels as JSON.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{FromRow as _, Row as _, SqliteConnection, query, query_as, sqlite::SqliteRow, types::Json};
use weltenwind_core::{
    AccountId, ChannelId, MessageId,
    chat::{Appended, Change, ClientId, Message, NewMessage, Refusal, Seq},
};

use super::{
    Verdict, answers,
    pause::{Paced, PastRow},
};
use crate::{chat::rows::MessageRow, error::BrokenRow};

/// Judges, numbers and writes a batch, and answers a row per message.
///
/// It is one query for the driver, because every trip to the connection's thread costs more than what SQLite does there.
/// Between the insertion and the update, a message above its channel's counter is one of this batch: so the rows tell
/// what was written from what was known, and the update finds the new counters.
///
/// Of messages with one client id the first is written that is sound, whatever stood before it: a bare column beside
/// `min` comes from the row that has it. A reply is looked up in what was stored before the batch: who replies has seen
/// the message, so it was committed.
///
/// `CROSS JOIN` and `LEFT JOIN` keep the order: each input is looked up, whatever SQLite believes of the table's size.
macro_rules! append {
    () => {
        "
    WITH sound AS (
        SELECT min(input.key) AS n, c.id AS channel_id, c.last_seq, c.last_change, unhex(input.value ->> 1) AS id,
            unhex(input.value ->> 2) AS author_id, input.value ->> 3 AS author_name, input.value ->> 4 AS body,
            unhex(input.value ->> 5) AS fingerprint, input.value ->> 6 AS client_id,
            unhex(input.value ->> 7) AS reply_to, input.value ->> 8 AS sent_at
        FROM json_each($1) input CROSS JOIN chat_channels c ON c.id = unhex(input.value ->> 0)
        WHERE c.archived_at IS NULL
            AND NOT EXISTS (
                SELECT 1 FROM chat_messages m
                WHERE m.channel_id = c.id AND m.author_id = unhex(input.value ->> 2) AND m.client_id = input.value ->> 6
            )
            AND (input.value ->> 7 IS NULL OR EXISTS (
                SELECT 1 FROM chat_messages m WHERE m.id = unhex(input.value ->> 7) AND m.channel_id = c.id
            ))
        GROUP BY c.id, input.value ->> 2, COALESCE(input.value ->> 6, input.key)
    ), placed AS (
        SELECT *, row_number() OVER (PARTITION BY channel_id ORDER BY n) AS place FROM sound
    )
    INSERT INTO chat_messages
        (channel_id, seq, change, posted_change, id, author_id, author_name, body, fingerprint, client_id, reply_to,
        sent_at)
    SELECT channel_id, last_seq + place, last_change + place, last_change + place, id, author_id, author_name, body,
        fingerprint, client_id, reply_to, sent_at
    FROM placed;

    SELECT
        CASE
            WHEN c.id IS NULL THEN 'closed'
            WHEN known.fingerprint = unhex(input.value ->> 5) THEN 'known'
            WHEN known.fingerprint IS NOT NULL THEN 'reused'
            WHEN fresh.id IS NOT NULL THEN 'written'
            ELSE 'unwritten'
        END AS verdict,
        fresh.seq AS new_seq, fresh.change AS new_change, known.*
    FROM json_each($1) input
    LEFT JOIN chat_channels c ON c.id = unhex(input.value ->> 0) AND c.archived_at IS NULL
    LEFT JOIN chat_messages known ON known.channel_id = c.id AND known.author_id = unhex(input.value ->> 2)
        AND known.client_id = input.value ->> 6 AND known.seq <= c.last_seq
    LEFT JOIN chat_messages fresh ON fresh.id = unhex(input.value ->> 1) AND fresh.channel_id = c.id
        AND fresh.seq > c.last_seq AND fresh.fingerprint = unhex(input.value ->> 5)
    ORDER BY input.rowid;

    UPDATE chat_channels AS c
    SET (last_seq, last_change) = (
        SELECT seq, change FROM chat_messages m WHERE m.channel_id = c.id ORDER BY seq DESC LIMIT 1
    )
    WHERE c.id IN (SELECT unhex(value ->> 0) FROM json_each($1))
        AND c.last_seq < (SELECT max(seq) FROM chat_messages m WHERE m.channel_id = c.id);
    "
    };
}

const APPEND: &str = append!();

const BEGIN_APPEND_COMMIT: &str = concat!("BEGIN IMMEDIATE;", append!(), "COMMIT");

/// Reads what tells whether messages come too soon after their authors' last ones.
///
/// Without a hint SQLite walks the whole history for an author's last: it knows nothing of how many authors there are.
const PAST: &str = "
    WITH input AS (
        SELECT key AS n, unhex(value ->> 0) AS channel_id, unhex(value ->> 2) AS author_id, value ->> 6 AS client_id,
            unhex(value ->> 7) AS reply_to,
            row_number() OVER (PARTITION BY value ->> 0, value ->> 2 ORDER BY key) AS turn
        FROM json_each($1)
    )
    SELECT
        EXISTS (
            SELECT 1 FROM chat_channels c WHERE c.id = input.channel_id AND c.archived_at IS NULL
        ) AND NOT EXISTS (
            SELECT 1 FROM chat_messages m
            WHERE m.channel_id = input.channel_id AND m.author_id = input.author_id AND m.client_id = input.client_id
        ) AND (input.reply_to IS NULL OR EXISTS (
            SELECT 1 FROM chat_messages m WHERE m.id = input.reply_to AND m.channel_id = input.channel_id
        )) AS is_fresh,
        CASE WHEN turn = 1 THEN (
            SELECT sent_at FROM chat_messages m WHERE m.channel_id = input.channel_id AND m.seq = (
                SELECT max(seq) FROM chat_messages own INDEXED BY chat_messages_client_id
                WHERE own.channel_id = input.channel_id AND own.author_id = input.author_id
            )
        ) END AS last_sent_at
    FROM input
    ORDER BY n";

/// Returns whether a batch asks nobody for a pause, so that the script alone appends it.
pub(in crate::chat) fn is_unpaced(batch: &[NewMessage]) -> bool {
    Paced::of(batch).is_empty()
}

/// Appends a batch that asks nobody for a pause. The script begins and commits by itself.
pub(in crate::chat) async fn append_in(
    connection: &mut SqliteConnection,
    batch: &[NewMessage],
) -> sqlx::Result<Vec<Appended>> {
    run_in(connection, BEGIN_APPEND_COMMIT, batch).await
}

/// Appends what comes soon enough, within a transaction.
pub(in crate::chat) async fn append_paced_in(
    tx: &mut SqliteConnection,
    batch: &[NewMessage],
) -> sqlx::Result<Vec<Appended>> {
    let paced = Paced::of(batch);
    let rows: Vec<_> = paced.messages(batch).map(input).collect();
    let past: Vec<PastRow> = query_as(PAST).bind(Json(rows)).fetch_all(&mut *tx).await?;
    let too_soon = paced.judge(batch, past);
    let rest = too_soon.rest(batch);
    Ok(too_soon.among(run_in(tx, APPEND, &rest).await?))
}

async fn run_in(
    connection: &mut SqliteConnection,
    script: &'static str,
    batch: &[NewMessage],
) -> sqlx::Result<Vec<Appended>> {
    let rows: Vec<_> = batch.iter().map(input).collect();
    // Read to the end before a row is judged: who stopped at a broken one would stop the script before its commit.
    let rows = query(script).bind(Json(rows)).fetch_all(connection).await?;
    let mut firsts: HashMap<(ChannelId, AccountId, &ClientId), usize> = HashMap::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for (n, (new, row)) in batch.iter().zip(&rows).enumerate() {
        let key = new.client_id.as_ref().map(|client_id| (new.channel, new.author.id, client_id));
        let verdict = match key.as_ref().and_then(|key| firsts.get(key)) {
            Some(&first) => Verdict::Follows(first),
            None => verdict(row, n)?,
        };
        if matches!(verdict, Verdict::Written(..)) {
            firsts.extend(key.map(|key| (key, n)));
        }
        verdicts.push(verdict);
    }
    Ok(answers(batch, verdicts))
}

/// What the script reads of a message, in its order.
fn input(new: &NewMessage) -> impl Serialize {
    (
        Hex(new.channel.uuid()),
        Hex(new.id.uuid()),
        Hex(new.author.id.uuid()),
        new.author.display_name.as_str(),
        new.body.as_str(),
        Hex(new.fingerprint()),
        new.client_id.as_ref().map(ClientId::as_str),
        new.reply_to.map(MessageId::uuid).map(Hex),
        new.sent_at.as_microsecond(),
    )
}

/// The verdict on a message that follows no other one of its batch.
fn verdict(row: &SqliteRow, n: usize) -> sqlx::Result<Verdict> {
    Ok(match row.try_get("verdict")? {
        "closed" => Verdict::Refused(Refusal::ChannelNotFound),
        "known" => Verdict::Known(Box::new(Message::try_from(MessageRow::from_row(row)?)?)),
        "reused" => Verdict::ClientIdReused,
        "written" => Verdict::Written(Seq::new(row.try_get("new_seq")?), Change::new(row.try_get("new_change")?)),
        "unwritten" => Verdict::Refused(Refusal::ReplyNotFound),
        _ => return Err(BrokenRow::new("chat_messages", "verdict", n).into()),
    })
}

/// Bytes as JSON carries them and `unhex` reads them.
struct Hex<B>(B);

impl<B: AsRef<[u8]>> Serialize for Hex<B> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = self.0.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        serializer.serialize_str(&nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _};

    use super::*;

    /// A walk through the messages would make each post slower than the one before.
    #[tokio::test]
    async fn every_lookup_goes_by_an_index() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        crate::migrate::SQLITE.apply(&mut connection).await.unwrap();
        let mut plans = Vec::new();
        for statement in APPEND.split(';').chain([PAST]).filter(|statement| statement.contains("chat_messages")) {
            let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let plan = query(explained).bind("[]").fetch_all(&mut connection).await.unwrap();
            plans.push(plan.iter().map(|row| row.get("detail")).collect::<Vec<String>>());
        }

        let reads = |plan: &Vec<String>| {
            let tables = ["c", "m", "own", "known", "fresh", "chat_channels", "chat_messages"];
            let of_a_table = |line: &&String| line.split(' ').nth(1).is_some_and(|name| tables.contains(&name));
            plan.iter().filter(of_a_table).cloned().collect::<Vec<_>>()
        };
        let insertion = [
            "SEARCH c USING INDEX sqlite_autoindex_chat_channels_1 (id=?)",
            "SEARCH m USING COVERING INDEX chat_messages_client_id (channel_id=? AND author_id=? AND client_id=?)",
            "SEARCH m USING INDEX sqlite_autoindex_chat_messages_2 (id=?)",
        ];
        let verdicts = [
            "SEARCH c USING INDEX sqlite_autoindex_chat_channels_1 (id=?) LEFT-JOIN",
            "SEARCH known USING INDEX chat_messages_client_id \
             (channel_id=? AND author_id=? AND client_id=? AND seq<?) LEFT-JOIN",
            "SEARCH fresh USING INDEX sqlite_autoindex_chat_messages_2 (id=? AND channel_id=? AND seq>?) LEFT-JOIN",
        ];
        // The newest message of a channel, which is the last of its range.
        let update = [
            "SEARCH c USING INDEX sqlite_autoindex_chat_channels_1 (id=?)",
            "SEARCH m USING PRIMARY KEY (channel_id=?)",
            "SEARCH m USING PRIMARY KEY (channel_id=?)",
        ];
        let past = [
            "SEARCH c USING INDEX sqlite_autoindex_chat_channels_1 (id=?)",
            "SEARCH m USING COVERING INDEX chat_messages_client_id (channel_id=? AND author_id=? AND client_id=?)",
            "SEARCH m USING INDEX sqlite_autoindex_chat_messages_2 (id=?)",
            "SEARCH m USING PRIMARY KEY (channel_id=? AND seq=?)",
            "SEARCH own USING COVERING INDEX chat_messages_client_id (channel_id=? AND author_id=?)",
        ];
        let expected = [&insertion[..], &verdicts, &update, &past];
        assert_eq!(plans.iter().map(reads).collect::<Vec<_>>(), expected, "{plans:#?}");
        assert!(!plans[1].iter().chain(&plans[2]).any(|line| line.contains("TEMP B-TREE")), "{plans:#?}");
    }
}
