//! Group commit: posts that wait for the same commit are written together.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    error::ChatError,
    model::{Message, NewMessage},
    store::{Appended, ChatStore},
};
use crate::{
    bus::{Bus, RoomEvent},
    error::StorageError,
};

/// How posts are gathered into batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendConfig {
    /// Batches that may be under way at once; a channel always uses the same lane. More than one pays only where
    /// commits of one connection wait for each other, and never on SQLite.
    pub lanes: usize,
    /// Messages in one batch.
    pub batch: usize,
    /// Messages that may wait in a lane; more are refused as [`ChatError::Overloaded`].
    pub waiting: usize,
    /// How long the store may take for a batch, and a message may wait for its batch to begin. Longer than the store itself
    /// waits for a connection and a lock, shorter than whoever posts waits for an answer.
    pub patience: Duration,
}

impl Default for AppendConfig {
    /// One lane, 256 messages in a batch, 8192 waiting, 15 seconds of patience.
    fn default() -> Self {
        Self { lanes: 1, batch: 256, waiting: 8192, patience: Duration::from_secs(15) }
    }
}

const ATTEMPTED: &str = "append chat messages";

/// Writes messages in batches, each answered after its commit and announced on the bus in the order of its changes.
///
/// One batch is under way per lane while the next one gathers, so under load commits are shared and an idle system adds
/// no delay. A queued message is written even if its caller goes away.
///
/// A store that does not answer holds nobody up for ever: after [`AppendConfig::patience`] a batch is given up, and so is
/// every message that has waited as long for its turn. Their callers hear a transient failure, and the lane goes on.
/// Nobody knows then whether what was given up with its batch is written: it may be, or be later.
#[derive(Debug)]
pub struct Appender {
    lanes: Vec<mpsc::Sender<Waiting>>,
}

/// A message that has its place in a lane.
#[derive(Debug)]
pub(super) struct Queued(oneshot::Receiver<Result<Appended, StorageError>>);

impl Queued {
    /// Waits until the message is written.
    pub(super) async fn answered(self) -> Result<Message, ChatError> {
        let ended = |_| StorageError::transient(ATTEMPTED, "the lane ended before the message was written");
        let appended = self.0.await.map_err(ended)??;
        Ok(appended?)
    }
}

#[derive(Debug)]
struct Waiting {
    message: NewMessage,
    epoch: u32,
    queued_at: Instant,
    answer: oneshot::Sender<Result<Appended, StorageError>>,
}

impl Appender {
    /// Starts the lanes; they end when the appender is dropped and every queued message is written.
    pub fn start(store: &Arc<dyn ChatStore>, bus: &Arc<dyn Bus>, config: &AppendConfig) -> Self {
        let lanes = (0..config.lanes.max(1)).map(|_| {
            let (lane, queue) = mpsc::channel(config.waiting.max(1));
            tokio::spawn(run(Arc::clone(store), Arc::clone(bus), queue, config.batch.max(1), config.patience));
            lane
        });
        Self { lanes: lanes.collect() }
    }

    /// Writes one message to a channel whose counters live in `epoch`.
    pub async fn append(&self, message: NewMessage, epoch: u32) -> Result<Message, ChatError> {
        self.queue(message, epoch)?.answered().await
    }

    /// Gives one message its place in its lane.
    pub(super) fn queue(&self, message: NewMessage, epoch: u32) -> Result<Queued, ChatError> {
        let (answer, answered) = oneshot::channel();
        let lane = &self.lanes[self.lane_of(&message)];
        let queued_at = Instant::now();
        lane.try_send(Waiting { message, epoch, queued_at, answer }).map_err(|_| ChatError::Overloaded)?;
        Ok(Queued(answered))
    }

    fn lane_of(&self, message: &NewMessage) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(message.channel);
        usize::try_from(hash % self.lanes.len() as u64).expect("a remainder of a usize is a usize")
    }
}

async fn run(
    store: Arc<dyn ChatStore>,
    bus: Arc<dyn Bus>,
    mut queue: mpsc::Receiver<Waiting>,
    batch: usize,
    patience: Duration,
) {
    let mut waiting = Vec::with_capacity(batch);
    while queue.recv_many(&mut waiting, batch).await > 0 {
        let mut messages = Vec::with_capacity(waiting.len());
        let mut callers = Vec::with_capacity(waiting.len());
        let now = Instant::now();
        for Waiting { message, epoch, queued_at, answer } in waiting.drain(..) {
            if now.duration_since(queued_at) >= patience {
                // A caller that went away need not be told.
                let _ =
                    answer.send(Err(StorageError::transient(ATTEMPTED, "too long behind others; it is not written")));
                continue;
            }
            callers.push((message.id, epoch, answer));
            messages.push(message);
        }
        match append(&*store, &messages, patience).await {
            Ok(appended) => {
                for ((id, epoch, answer), appended) in callers.into_iter().zip(appended) {
                    if let Ok(message) = &appended
                        && message.id == id
                    {
                        bus.publish(Arc::new(RoomEvent::new(message.clone(), epoch))).await;
                    }
                    // A caller that went away has its message all the same.
                    let _ = answer.send(Ok(appended));
                }
            }
            Err(failure) => {
                let failure = Arc::new(failure);
                for (_, _, answer) in callers {
                    let _ = answer.send(Err(StorageError::shared(&failure)));
                }
            }
        }
        // Who was just answered and has more to say goes into the next batch: without this, posters fall into two halves
        // that wait for each other's commits, and every commit carries half of what it could.
        tokio::task::yield_now().await;
    }
}

/// Lets the store write a batch, and gives it up if that takes too long.
///
/// Dropping the store's future in the middle of a commit is sound, because nothing here follows from its not being
/// written. A connection that is left in use is not lent again (Postgres), and a job that is under way is finished by the
/// task that writes (SQLite). What is committed after all has its numbers, so listeners find it: as a hole in front of the
/// next message, or when the channel is silent and they look at its head. A repeat under the same client id meets the
/// first one in the store, where both take the channel's lock.
async fn append(
    store: &dyn ChatStore,
    messages: &[NewMessage],
    patience: Duration,
) -> Result<Vec<Appended>, StorageError> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let late =
        |_| StorageError::transient(ATTEMPTED, "the store does not answer; the batch may be written all the same");
    tokio::time::timeout(patience, store.append(messages)).await.map_err(late)?
}
