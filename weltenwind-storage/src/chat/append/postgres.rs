//! Appending to Postgres: one statement for a whole batch.

use sqlx::{FromRow, PgConnection, Row as _, postgres::PgRow, query, query_as};
use uuid::Uuid;
use weltenwind_core::{
    MessageId,
    chat::{Appended, Change, ClientId, Message, NewMessage, Refusal, Seq},
};

use super::{
    Verdict, answers,
    pause::{Paced, PastRow, TooSoon},
};
use crate::{
    chat::{rows::MessageRow, sql},
    error::BrokenRow,
    postgres::PgDatabase,
    rows::Instant,
};

/// Locks the open channels of a batch, in the order that every writer keeps.
macro_rules! lock {
    ($channels:literal) => {
        concat!(
            "SELECT id FROM chat_channels WHERE id = ANY (",
            $channels,
            ") AND archived_at IS NULL ORDER BY id FOR NO KEY UPDATE"
        )
    };
}

const LOCK: &str = lock!("$1");

/// Judges, numbers and writes a batch, and answers a row per message.
///
/// Under READ COMMITTED all of it reads one snapshot, taken before `locked` waits for other writers, with two
/// exceptions: a row that is locked or updated is taken in its newest version. So whether a channel is open is told
/// by `locked`, and the numbers come from what `counted_up` returns; nothing else may read the counters. What the
/// snapshot may lack is a message under the same client id, committed during the wait: then the index of client ids
/// fails the statement.
///
/// Lookups in messages are subqueries with a limit, because a plan is kept while the table grows: a join could be
/// turned into a hash of the whole table when that was small. A reply is looked up in what was stored before the
/// batch: who replies has seen the message, so it was committed.
const APPEND: &str = concat!(
    "WITH input AS MATERIALIZED (
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY
             AS input (channel_id, id, author_id, author_name, body, fingerprint, client_id, reply_to, sent_at, n)
     ), locked AS MATERIALIZED (",
    lock!("$1"),
    "), judged AS (
         SELECT input.n, input.channel_id, input.author_id, input.client_id, known.seq AS known_seq,
             CASE
                 WHEN locked.id IS NULL THEN 'closed'
                 WHEN known.fingerprint = input.fingerprint THEN 'known'
                 WHEN known.fingerprint IS NOT NULL THEN 'reused'
                 WHEN input.reply_to IS NOT NULL AND (
                     SELECT seq FROM chat_messages m
                     WHERE m.id = input.reply_to AND m.channel_id = input.channel_id
                     LIMIT 1
                 ) IS NULL THEN 'reply'
                 ELSE 'sound'
             END AS verdict
         FROM input
         LEFT JOIN locked ON locked.id = input.channel_id
         LEFT JOIN LATERAL (
             SELECT seq, fingerprint FROM chat_messages m
             WHERE m.channel_id = input.channel_id AND m.author_id = input.author_id AND m.client_id = input.client_id
             LIMIT 1
         ) known ON TRUE
     ), folded AS (
         SELECT n, channel_id, known_seq, verdict,
             CASE
                 WHEN client_id IS NOT NULL
                     THEN min(n) FILTER (WHERE verdict = 'sound') OVER (PARTITION BY channel_id, author_id, client_id)
                 WHEN verdict = 'sound' THEN n
             END AS first
         FROM judged
     ), placed AS (
         SELECT n, channel_id, row_number() OVER (PARTITION BY channel_id ORDER BY n) AS place
         FROM folded WHERE first = n
     ), counted_up AS (
         UPDATE chat_channels c
         SET last_seq = c.last_seq + fresh.messages, last_change = c.last_change + fresh.messages
         FROM (SELECT channel_id, count(*) AS messages FROM placed GROUP BY channel_id) fresh
         WHERE c.id = fresh.channel_id
         RETURNING c.id, c.last_seq - fresh.messages AS seq, c.last_change - fresh.messages AS change
     ), numbered AS (
         SELECT placed.n, counted_up.seq + placed.place AS seq, counted_up.change + placed.place AS change
         FROM placed JOIN counted_up ON counted_up.id = placed.channel_id
     ), written AS (
         INSERT INTO chat_messages
             (channel_id, seq, change, posted_change, id, author_id, author_name, body, fingerprint, client_id,
             reply_to, sent_at)
         SELECT channel_id, seq, change, change, id, author_id, author_name, body, fingerprint, client_id,
             reply_to, sent_at
         FROM numbered JOIN input USING (n)
         ORDER BY n
     )
     SELECT folded.verdict, folded.n, folded.first, numbered.seq AS new_seq, numbered.change AS new_change, known.*
     FROM folded
     LEFT JOIN numbered USING (n)
     LEFT JOIN LATERAL (
         SELECT ",
    sql::message_columns!(),
    "    FROM chat_messages m WHERE m.channel_id = folded.channel_id AND m.seq = folded.known_seq LIMIT 1
     ) known ON folded.verdict = 'known'
     ORDER BY folded.n",
);

/// Reads what tells whether messages come too soon after their authors' last ones.
///
/// Its lookups are subqueries with a limit for the reason that those of [`APPEND`] are. The author's messages are found in an
/// index of their own first: a plan that walks the history backwards instead reads all of it for who never wrote.
const PAST: &str = "
    WITH input AS MATERIALIZED (
        SELECT *, row_number() OVER (PARTITION BY channel_id, author_id ORDER BY n) AS turn
        FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS input (channel_id, author_id, client_id, reply_to, n)
    )
    SELECT
        (
            SELECT id FROM chat_channels c WHERE c.id = input.channel_id AND c.archived_at IS NULL LIMIT 1
        ) IS NOT NULL AND (
            SELECT seq FROM chat_messages m
            WHERE m.channel_id = input.channel_id AND m.author_id = input.author_id AND m.client_id = input.client_id
            LIMIT 1
        ) IS NULL AND (
            input.reply_to IS NULL OR (
                SELECT seq FROM chat_messages m
                WHERE m.id = input.reply_to AND m.channel_id = input.channel_id
                LIMIT 1
            ) IS NOT NULL
        ) AS is_fresh,
        CASE WHEN turn = 1 THEN (
            WITH own AS MATERIALIZED (
                SELECT seq FROM chat_messages m
                WHERE m.channel_id = input.channel_id AND m.author_id = input.author_id
            )
            SELECT sent_at FROM chat_messages m
            WHERE m.channel_id = input.channel_id AND m.seq = (SELECT max(seq) FROM own)
            LIMIT 1
        ) END AS last_sent_at
    FROM input
    ORDER BY n";

/// Appends a batch. If a client id was stored while the first attempt waited, a second one locks before it looks; so does the
/// first where a pause is asked for, because what the statement sees of others is as old as its beginning.
pub(in crate::chat) async fn append_in(db: &PgDatabase, batch: &[NewMessage]) -> sqlx::Result<Vec<Appended>> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let paced = Paced::of(batch);
    if paced.is_empty() {
        match db.appends().run(async |connection| append_at_once_in(connection, batch).await).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
            appended => return appended,
        }
    }
    db.appends().transaction(async |tx| append_behind_locks_in(tx, batch, &paced).await).await
}

async fn append_at_once_in(connection: &mut PgConnection, batch: &[NewMessage]) -> sqlx::Result<Vec<Appended>> {
    let rows = Columns::of(batch).append_in(connection).await?;
    Ok(answers(batch, rows.into_iter().map(|row| row.verdict)))
}

/// Appends what comes soon enough, once nobody else writes in the channels of the batch.
async fn append_behind_locks_in(
    tx: &mut PgConnection,
    batch: &[NewMessage],
    paced: &Paced,
) -> sqlx::Result<Vec<Appended>> {
    let channels: Vec<Uuid> = batch.iter().map(|new| new.channel.uuid()).collect();
    query(LOCK).bind(channels).execute(&mut *tx).await?;
    if paced.is_empty() {
        return append_at_once_in(tx, batch).await;
    }
    let too_soon = too_soon_in(tx, batch, paced).await?;
    let rest = too_soon.rest(batch);
    Ok(too_soon.among(append_at_once_in(tx, &rest).await?))
}

async fn too_soon_in(tx: &mut PgConnection, batch: &[NewMessage], paced: &Paced) -> sqlx::Result<TooSoon> {
    let (mut channels, mut authors, mut client_ids, mut replies) = (vec![], vec![], vec![], vec![]);
    for new in paced.messages(batch) {
        channels.push(new.channel.uuid());
        authors.push(new.author.id.uuid());
        client_ids.push(new.client_id.as_ref().map(ClientId::as_str));
        replies.push(new.reply_to.map(MessageId::uuid));
    }
    let past: Vec<PastRow> =
        query_as(PAST).bind(channels).bind(authors).bind(client_ids).bind(replies).fetch_all(tx).await?;
    Ok(paced.judge(batch, past))
}

/// A batch, column by column.
#[derive(Default)]
struct Columns<'a> {
    channels: Vec<Uuid>,
    ids: Vec<Uuid>,
    authors: Vec<Uuid>,
    author_names: Vec<&'a str>,
    bodies: Vec<&'a str>,
    fingerprints: Vec<[u8; 32]>,
    client_ids: Vec<Option<&'a str>>,
    replies: Vec<Option<Uuid>>,
    instants: Vec<Instant>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [NewMessage]) -> Self {
        let mut columns = Self::default();
        for new in batch {
            columns.channels.push(new.channel.uuid());
            columns.ids.push(new.id.uuid());
            columns.authors.push(new.author.id.uuid());
            columns.author_names.push(new.author.display_name.as_str());
            columns.bodies.push(new.body.as_str());
            columns.fingerprints.push(new.fingerprint());
            columns.client_ids.push(new.client_id.as_ref().map(ClientId::as_str));
            columns.replies.push(new.reply_to.map(MessageId::uuid));
            columns.instants.push(Instant(new.sent_at));
        }
        columns
    }

    async fn append_in(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<VerdictRow>> {
        query_as(APPEND)
            .bind(&self.channels)
            .bind(&self.ids)
            .bind(&self.authors)
            .bind(&self.author_names)
            .bind(&self.bodies)
            .bind(&self.fingerprints)
            .bind(&self.client_ids)
            .bind(&self.replies)
            .bind(&self.instants)
            .fetch_all(connection)
            .await
    }
}

struct VerdictRow {
    verdict: Verdict,
}

impl FromRow<'_, PgRow> for VerdictRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let (n, first): (i64, Option<i64>) = (row.try_get("n")?, row.try_get("first")?);
        let verdict = match (row.try_get("verdict")?, first) {
            ("closed", _) => Verdict::Refused(Refusal::ChannelNotFound),
            ("known", _) => Verdict::Known(Box::new(Message::try_from(MessageRow::from_row(row)?)?)),
            ("reused", _) => Verdict::ClientIdReused,
            ("sound", Some(first)) if first == n => {
                Verdict::Written(Seq::new(row.try_get("new_seq")?), Change::new(row.try_get("new_change")?))
            }
            // Ordinality counts from 1.
            ("sound" | "reply", Some(first)) if first < n => {
                Verdict::Follows(usize::try_from(first - 1).map_err(sqlx::Error::decode)?)
            }
            ("reply", _) => Verdict::Refused(Refusal::ReplyNotFound),
            _ => return Err(BrokenRow::new("chat_messages", "verdict", n).into()),
        };
        Ok(Self { verdict })
    }
}
