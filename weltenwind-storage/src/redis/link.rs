//! The one connection: made, used, lost and made again.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use weltenwind_core::{RandomSource as _, Room, SystemRandom, bus::RoomEvent, chain, notifications::Notice};

use super::{
    partition::Partition,
    pulse::Deaf,
    shared::{Ear, Shared},
};

/// How long connecting and every answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How often a sign of life is sent.
const BEAT: Duration = Duration::from_secs(1);
/// Commands that are sent together.
const BATCH: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A listener's wish for its room; confirmed once Redis tells of it.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) room: Room,
    pub(super) confirm: oneshot::Sender<()>,
}

/// What is to be told to other nodes.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Something happened in a room.
    Event(Arc<RoomEvent>),
    /// The log of losses has grown.
    Losses,
    /// There is news for accounts.
    Notice(Notice),
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("the connection was closed")]
    Closed,
    #[error(transparent)]
    Deaf(#[from] Deaf),
}

#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    shared: Arc<Shared>,
    outgoing: mpsc::Receiver<Outgoing>,
    joins: mpsc::UnboundedReceiver<Join>,
    linger: Duration,
}

impl Link {
    pub(super) const fn new(
        client: Client,
        shared: Arc<Shared>,
        outgoing: mpsc::Receiver<Outgoing>,
        joins: mpsc::UnboundedReceiver<Join>,
        linger: Duration,
    ) -> Self {
        Self { client, shared, outgoing, joins, linger }
    }

    /// Connects as often as it takes; ends by being aborted.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut is_first_failure = true;
        loop {
            let Err(lost) = self.session().await;
            // A sign of life came back, so this was a connection and no mere attempt.
            if self.shared.pulse.round_trip().is_some() {
                pause = FIRST_PAUSE;
                is_first_failure = true;
            }
            let why = chain(&lost);
            if is_first_failure {
                tracing::warn!(error = why, "the bus is away: messages from other nodes come late until it is back");
            } else {
                tracing::debug!(error = why, "the bus is still away");
            }
            is_first_failure = false;
            self.shared.go_down(why);
            self.give_up_what_waits();
            tokio::time::sleep(with_jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Uses one connection until it is lost.
    async fn session(&mut self) -> Result<Infallible, Lost> {
        self.shared.pulse.begin();
        let closed = Arc::new(Notify::new());
        let ear = Ear { shared: Arc::clone(&self.shared), closed: Arc::clone(&closed) };
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT))
            .set_push_sender(ear);
        let mut redis = self.client.get_multiplexed_async_connection_with_config(&options).await?;
        let names = [self.shared.own_name(), self.shared.losses_name(), self.shared.notices_name()];
        send(&mut redis, "SSUBSCRIBE", names).await?;

        // From here on whoever listens asks for its partition; those of who came before are in the list.
        self.shared.come_up();
        self.follow(&mut redis, self.shared.heard()).await?;
        self.shared.local.miss_all();
        self.shared.local.hint();
        self.shared.tally.connected();
        tracing::info!("the bus is connected");

        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut joins, mut outgoing) = (Vec::new(), Vec::with_capacity(BATCH));
        loop {
            tokio::select! {
                // In this order, because a flood of events should keep nobody from joining or from noticing the end.
                biased;
                () = closed.notified() => return Err(Lost::Closed),
                _ = beat.tick() => self.beat(&mut redis).await?,
                n = self.joins.recv_many(&mut joins, BATCH) => {
                    if n == 0 {
                        return Err(Lost::Closed);
                    }
                    self.join(&mut redis, &mut joins).await?;
                }
                n = self.outgoing.recv_many(&mut outgoing, BATCH) => {
                    if n == 0 {
                        return Err(Lost::Closed);
                    }
                    self.publish(&mut redis, &mut outgoing).await?;
                }
            }
        }
    }

    /// Sends a sign of life, and leaves partitions that nobody listens to.
    async fn beat(&self, redis: &mut MultiplexedConnection) -> Result<(), Lost> {
        if let Some(sign) = self.shared.pulse.beat(Instant::now())? {
            let name = self.shared.own_name();
            redis::cmd("SPUBLISH").arg(name).arg(&sign[..]).exec_async(redis).await?;
        }
        let left = self.shared.unfollow(self.linger, Instant::now());
        if !left.is_empty() {
            send(redis, "SUNSUBSCRIBE", left.into_iter().map(|partition| self.shared.name_of(partition))).await?;
        }
        Ok(())
    }

    async fn join(&self, redis: &mut MultiplexedConnection, joins: &mut Vec<Join>) -> Result<(), Lost> {
        let mut partitions: BTreeSet<Partition> = joins.iter().map(|join| Partition::of(join.room)).collect();
        partitions.retain(|partition| !self.shared.follows(*partition));
        self.follow(redis, partitions).await?;
        for Join { room, confirm } in joins.drain(..) {
            if confirm.send(()).is_err() {
                // Nobody waits any more, so the listener may have looked into the store before it could hear.
                self.shared.local.miss(room);
            }
        }
        Ok(())
    }

    async fn follow(&self, redis: &mut MultiplexedConnection, partitions: BTreeSet<Partition>) -> Result<(), Lost> {
        if !partitions.is_empty() {
            send(redis, "SSUBSCRIBE", partitions.iter().map(|partition| self.shared.name_of(*partition))).await?;
            self.shared.follow(partitions);
        }
        Ok(())
    }

    async fn publish(&self, redis: &mut MultiplexedConnection, outgoing: &mut Vec<Outgoing>) -> Result<(), Lost> {
        let count = outgoing.len() as u64;
        let mut commands = redis::pipe();
        let mut payload = Vec::new();
        for outgoing in outgoing.drain(..) {
            payload.clear();
            let name = match outgoing {
                Outgoing::Event(event) => {
                    self.shared.write(&event, &mut payload);
                    self.shared.name_of(Partition::of(Room::Channel(event.channel())))
                }
                Outgoing::Notice(notice) => {
                    self.shared.write_notice(notice, &mut payload);
                    self.shared.notices_name()
                }
                Outgoing::Losses => {
                    self.shared.write_hint(&mut payload);
                    self.shared.losses_name()
                }
            };
            commands.cmd("SPUBLISH").arg(name).arg(&payload).ignore();
        }
        match commands.exec_async(redis).await {
            Ok(()) => {
                self.shared.tally.published(count);
                Ok(())
            }
            Err(error) => {
                self.shared.tally.dropped(count);
                Err(error.into())
            }
        }
    }

    /// Lets go of what came for a connection that is no more: listeners read the store, and are followed with the next one.
    fn give_up_what_waits(&mut self) {
        while self.joins.try_recv().is_ok() {}
        let mut dropped = 0;
        while self.outgoing.try_recv().is_ok() {
            dropped += 1;
        }
        self.shared.tally.dropped(dropped);
    }
}

/// Sends one command a name: in a cluster, no two need live on the same shard.
async fn send<'n>(
    redis: &mut MultiplexedConnection,
    command: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), RedisError> {
    let mut commands = redis::pipe();
    for name in names {
        commands.cmd(command).arg(name).ignore();
    }
    commands.exec_async(redis).await
}

/// Returns half of a pause or more: nodes that lost the same Redis should not come back at the same moment.
pub(super) fn with_jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    SystemRandom.fill(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_keeps_half_of_itself_and_grows_no_longer() {
        for _ in 0..1000 {
            let pause = with_jitter(LONGEST_PAUSE);

            assert!((LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(&pause), "{pause:?}");
        }
    }
}
