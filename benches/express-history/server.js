// Pages of 50 messages out of Weltenwind's own table, in the way an Express service is usually written: a pool, one
// prepared query a request, res.json. Express adds a weak ETag and answers 304 by itself.
import express from "express";
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const channel = process.env.CHANNEL;
const app = express();

app.get("/messages", async (request, response) => {
  const before = request.query.before ?? "9223372036854775807";
  const { rows } = await pool.query({
    name: "page",
    text: `SELECT id, channel_id AS "channelId", seq, author_id AS "authorId", author_name AS "authorName", body,
             client_id AS "clientId", reply_to AS "replyTo", sent_at AS "sentAt", edited_at AS "editedAt"
           FROM chat_messages WHERE channel_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT 50`,
    values: [channel, before],
  });
  const items = rows.map(({ authorId, authorName, ...message }) => ({
    ...message,
    author: { id: authorId, displayName: authorName },
  }));
  response.json({ items, nextCursor: items.length ? String(items.at(-1).seq) : null });
});

const server = app.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
