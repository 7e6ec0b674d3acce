// The jobs of weltenwind bench outbox in the way a BullMQ service is usually written: a queue, a worker with 100 jobs at once,
// and nothing kept of what is done. Standard output gets one JSON document with what was measured.
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const number = (name) => {
  const value = Number(process.env[name]);
  if (!Number.isInteger(value) || value < 0) throw new Error(`${name} is a number`);
  return value;
};
const [jobs, pickups, warmUp, pauseMs] = ["JOBS", "PICKUPS", "WARM_UP", "PAUSE_MS"].map(number);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const redis = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const prefix = `weltenwind-bench-${process.pid}`;
const defaultJobOptions = { removeOnComplete: true, removeOnFail: true };
const queue = new Queue("trivial", { connection: redis, prefix, defaultJobOptions });

// Redis begins its file anew when it is switched on, and that work is none of the queue's.
async function keep(appendonly, appendfsync) {
  await redis.config("SET", "appendfsync", appendfsync);
  await redis.config("SET", "appendonly", appendonly);
  for (;;) {
    const info = await redis.info("persistence");
    if (!/aof_rewrite_(in_progress|scheduled):1/.test(info)) break;
    await sleep(20);
  }
}

const setting = async (name) => (await redis.config("GET", name))[1];

// A worker that has begun to wait, and ends with `close`.
async function working(process) {
  const worker = new Worker("trivial", process, { connection: redis, prefix, concurrency: 100, autorun: false });
  worker.on("error", (error) => console.error(error));
  await worker.waitUntilReady();
  return worker;
}

async function throughput() {
  const enqueueFrom = performance.now();
  for (let left = jobs; left > 0; left -= 100) {
    await queue.addBulk(Array.from({ length: Math.min(left, 100) }, (_, n) => ({ name: "trivial", data: { n } })));
  }
  const enqueueSeconds = (performance.now() - enqueueFrom) / 1000;

  let begun = 0;
  let completed = 0;
  const worker = await working(async () => {
    begun += 1;
  });
  const workFrom = performance.now();
  await new Promise((resolve) => {
    worker.on("completed", () => {
      completed += 1;
      if (completed === jobs) resolve();
    });
    worker.run();
  });
  const workSeconds = (performance.now() - workFrom) / 1000;
  await worker.close();
  if (begun !== jobs) throw new Error(`${begun} of ${jobs} jobs were begun`);
  return { enqueueSeconds, workSeconds };
}

async function latencies() {
  let begin;
  const worker = await working(async () => begin(performance.now()));
  worker.run();
  const fromCallMs = [];
  const fromCommitMs = [];
  for (let n = 0; n < warmUp + pickups; n += 1) {
    await sleep(pauseMs);
    const begun = new Promise((resolve) => {
      begin = resolve;
    });
    const called = performance.now();
    await queue.add("trivial", { n });
    const committed = performance.now();
    const at = await begun;
    if (n >= warmUp) {
      fromCallMs.push(at - called);
      // Redis may answer the worker before it answers the queue.
      fromCommitMs.push(Math.max(0, at - committed));
    }
  }
  await worker.close();
  return { fromCallMs, fromCommitMs };
}

const before = [await setting("appendonly"), await setting("appendfsync")];
try {
  await keep("yes", process.env.APPENDFSYNC);
  const measured = { ...(await throughput()), ...(await latencies()) };
  console.log(JSON.stringify(measured));
} finally {
  await queue.obliterate({ force: true });
  await keep(...before);
  await queue.close();
  await redis.quit();
}
