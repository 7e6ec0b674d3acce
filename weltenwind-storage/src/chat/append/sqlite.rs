//! Appending to SQLite: a few statements for a whole batch, which travels as JSON.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use sqlx::{FromRow, Row as _, SqliteConnection, query, query_as, query_scalar, sqlite::SqliteRow, types::Json};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, ChannelId, MessageId,
    chat::{Appended, Change, ClientId, Message, NewMessage, Refusal, Seq},
};

use super::{Verdict, answers};
use crate::chat::rows::MessageRow;

const OPEN: &str = "
    SELECT id, last_seq, last_change FROM chat_channels
    WHERE archived_at IS NULL AND id IN (SELECT unhex(value) FROM json_each($1))";

/// `CROSS JOIN` keeps the order: each input is looked up, whatever SQLite believes of the table's size.
const KNOWN: &str = "
    SELECT input.value ->> 0 AS n, m.*
    FROM json_each($1) input CROSS JOIN chat_messages m
    WHERE m.channel_id = unhex(input.value ->> 1) AND m.author_id = unhex(input.value ->> 2)
        AND m.client_id = input.value ->> 3";

const REPLIES: &str = "
    SELECT input.value ->> 0
    FROM json_each($1) input CROSS JOIN chat_messages m
    WHERE m.id = unhex(input.value ->> 1) AND m.channel_id = unhex(input.value ->> 2)";

const COUNT_UP: &str = "
    UPDATE chat_channels SET last_seq = input.value ->> 1, last_change = input.value ->> 2
    FROM json_each($1) input WHERE chat_channels.id = unhex(input.value ->> 0)";

const WRITE: &str = "
    INSERT INTO chat_messages
        (channel_id, seq, change, posted_change, id, author_id, author_name, body, fingerprint, client_id, reply_to,
        sent_at)
    SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 2, unhex(value ->> 3), unhex(value ->> 4),
        value ->> 5, value ->> 6, unhex(value ->> 7), value ->> 8, unhex(value ->> 9), value ->> 10
    FROM json_each($1)";

/// Appends a batch inside a transaction. It is the only one that writes, so what is read stays true.
pub(in crate::chat) async fn append_in(tx: &mut SqliteConnection, batch: &[NewMessage]) -> sqlx::Result<Vec<Appended>> {
    let mut open = open_in(tx, batch).await?;
    let mut known = known_in(tx, batch).await?;
    let replies = replies_in(tx, batch).await?;
    let mut firsts: HashMap<(ChannelId, AccountId, &ClientId), usize> = HashMap::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for (n, new) in batch.iter().enumerate() {
        let key = new.client_id.as_ref().map(|client_id| (new.channel, new.author.id, client_id));
        let Some(counters) = open.get_mut(&new.channel) else {
            verdicts.push(Verdict::Refused(Refusal::ChannelNotFound));
            continue;
        };
        verdicts.push(if let Some(known) = known.remove(&n) {
            if known.fingerprint == new.fingerprint() {
                Verdict::Known(Box::new(known.message))
            } else {
                Verdict::ClientIdReused
            }
        } else if let Some(&first) = key.as_ref().and_then(|key| firsts.get(key)) {
            Verdict::Follows(first)
        } else if new.reply_to.is_some() && !replies.contains(&n) {
            Verdict::Refused(Refusal::ReplyNotFound)
        } else {
            firsts.extend(key.map(|key| (key, n)));
            *counters = Counters { seq: counters.seq.next(), change: counters.change.next(), taken: true };
            Verdict::Written(counters.seq, counters.change)
        });
    }
    write_in(tx, batch, &verdicts, &open).await?;
    Ok(answers(batch, verdicts))
}

/// A channel's last numbers.
struct Counters {
    seq: Seq,
    change: Change,
    /// Whether the batch has moved them.
    taken: bool,
}

async fn open_in(tx: &mut SqliteConnection, batch: &[NewMessage]) -> sqlx::Result<BTreeMap<ChannelId, Counters>> {
    let channels: HashSet<ChannelId> = batch.iter().map(|new| new.channel).collect();
    let rows: Vec<(Uuid, i64, i64)> = query_as(OPEN)
        .bind(Json(channels.into_iter().map(|id| Hex(id.uuid())).collect::<Vec<_>>()))
        .fetch_all(tx)
        .await?;
    let counters = |(id, seq, change)| {
        (ChannelId::new(id), Counters { seq: Seq::new(seq), change: Change::new(change), taken: false })
    };
    Ok(rows.into_iter().map(counters).collect())
}

struct Known {
    message: Message,
    fingerprint: Vec<u8>,
}

struct KnownRow(usize, Known);

impl FromRow<'_, SqliteRow> for KnownRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let n = usize::try_from(row.try_get::<i64, _>("n")?).map_err(sqlx::Error::decode)?;
        Ok(Self(n, Known { message: MessageRow::from_row(row)?.try_into()?, fingerprint: row.try_get("fingerprint")? }))
    }
}

/// Finds the stored messages that carry the batch's client ids.
async fn known_in(tx: &mut SqliteConnection, batch: &[NewMessage]) -> sqlx::Result<HashMap<usize, Known>> {
    let named = batch.iter().enumerate().filter_map(|(n, new)| {
        Some((n, Hex(new.channel.uuid()), Hex(new.author.id.uuid()), new.client_id.as_ref()?.as_str()))
    });
    let rows: Vec<KnownRow> = query_as(KNOWN).bind(Json(named.collect::<Vec<_>>())).fetch_all(tx).await?;
    Ok(rows.into_iter().map(|KnownRow(n, known)| (n, known)).collect())
}

/// Finds which of the batch's messages reply to a message of their channel. It is looked up in what was stored before
/// the batch: who replies has seen the message, so it was committed.
async fn replies_in(tx: &mut SqliteConnection, batch: &[NewMessage]) -> sqlx::Result<HashSet<usize>> {
    let replies: Vec<_> = batch
        .iter()
        .enumerate()
        .filter_map(|(n, new)| Some((n, Hex(new.reply_to?.uuid()), Hex(new.channel.uuid()))))
        .collect();
    if replies.is_empty() {
        return Ok(HashSet::new());
    }
    let found: Vec<i64> = query_scalar(REPLIES).bind(Json(replies)).fetch_all(tx).await?;
    found.into_iter().map(|n| usize::try_from(n).map_err(sqlx::Error::decode)).collect()
}

async fn write_in(
    tx: &mut SqliteConnection,
    batch: &[NewMessage],
    verdicts: &[Verdict],
    channels: &BTreeMap<ChannelId, Counters>,
) -> sqlx::Result<()> {
    let rows: Vec<_> = batch
        .iter()
        .zip(verdicts)
        .filter_map(|(new, verdict)| match verdict {
            Verdict::Written(seq, change) => Some((
                Hex(new.channel.uuid()),
                seq,
                change,
                Hex(new.id.uuid()),
                Hex(new.author.id.uuid()),
                new.author.display_name.as_str(),
                new.body.as_str(),
                Hex(new.fingerprint()),
                new.client_id.as_ref().map(ClientId::as_str),
                new.reply_to.map(MessageId::uuid).map(Hex),
                new.sent_at.as_microsecond(),
            )),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let counters: Vec<_> = channels
        .iter()
        .filter(|(_, counters)| counters.taken)
        .map(|(id, counters)| (Hex(id.uuid()), counters.seq, counters.change))
        .collect();
    query(COUNT_UP).bind(Json(counters)).execute(&mut *tx).await?;
    query(WRITE).bind(Json(rows)).execute(tx).await?;
    Ok(())
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
