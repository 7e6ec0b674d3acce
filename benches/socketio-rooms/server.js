// Rooms in the way a socket.io service is usually written: a socket joins, posts are numbered, broadcast to the room and
// acknowledged. Nothing is kept. With REDIS_URL several processes share their rooms through the Redis adapter.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const server = createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false, perMessageDeflate: false });

if (process.env.REDIS_URL) {
  const publisher = createClient({ url: process.env.REDIS_URL });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}

// All who post to a room do so on one node: between nodes nobody numbers messages.
const last = new Map();

io.on("connection", (socket) => {
  socket.on("join", async (room, joined) => {
    await socket.join(room);
    joined();
  });
  socket.on("pub", (room, body, posted) => {
    const seq = (last.get(room) ?? 0) + 1;
    last.set(room, seq);
    io.to(room).emit("msg", { room, seq, body });
    posted(seq);
  });
});

server.listen(0, "127.0.0.1", () => console.log(`Listening 127.0.0.1:${server.address().port}`));
