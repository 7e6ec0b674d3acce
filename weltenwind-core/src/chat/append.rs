//! Group commit: posts that wait for the same commit are written together.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use tokio::sync::{mpsc, oneshot};

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
}

impl Default for AppendConfig {
    /// One lane, 256 messages in a batch, 8192 waiting.
    fn default() -> Self {
        Self { lanes: 1, batch: 256, waiting: 8192 }
    }
}

/// Writes messages in batches, each answered after its commit and announced on the bus in the order of its changes.
///
/// One batch is under way per lane while the next one gathers, so under load commits are shared and an idle system adds
/// no delay. A queued message is written even if its caller goes away.
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
        let appended = self.0.await.map_err(|_| {
            StorageError::transient("append chat messages", "the lane ended before the message was written")
        })??;
        Ok(appended?)
    }
}

#[derive(Debug)]
struct Waiting {
    message: NewMessage,
    epoch: u32,
    answer: oneshot::Sender<Result<Appended, StorageError>>,
}

impl Appender {
    /// Starts the lanes; they end when the appender is dropped and every queued message is written.
    pub fn start(store: &Arc<dyn ChatStore>, bus: &Arc<dyn Bus>, config: &AppendConfig) -> Self {
        let lanes = (0..config.lanes.max(1)).map(|_| {
            let (lane, queue) = mpsc::channel(config.waiting.max(1));
            tokio::spawn(run(Arc::clone(store), Arc::clone(bus), queue, config.batch.max(1)));
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
        lane.try_send(Waiting { message, epoch, answer }).map_err(|_| ChatError::Overloaded)?;
        Ok(Queued(answered))
    }

    fn lane_of(&self, message: &NewMessage) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(message.channel);
        usize::try_from(hash % self.lanes.len() as u64).expect("a remainder of a usize is a usize")
    }
}

async fn run(store: Arc<dyn ChatStore>, bus: Arc<dyn Bus>, mut queue: mpsc::Receiver<Waiting>, batch: usize) {
    let mut waiting = Vec::with_capacity(batch);
    while queue.recv_many(&mut waiting, batch).await > 0 {
        let mut messages = Vec::with_capacity(waiting.len());
        let mut callers = Vec::with_capacity(waiting.len());
        for Waiting { message, epoch, answer } in waiting.drain(..) {
            callers.push((message.id, epoch, answer));
            messages.push(message);
        }
        match store.append(&messages).await {
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
