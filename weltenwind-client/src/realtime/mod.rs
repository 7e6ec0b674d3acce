//! The socket: live messages, exactly once and in order, over as many connections as it takes.

mod connection;
mod conversation;
mod event;
mod membership;
mod owner;
mod posts;
mod present;
mod room;
mod seen;
mod socket;
mod statement;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use weltenwind_core::{ChannelId, Room, wire::MessageBody};

use self::{connection::Program, conversation::Command, owner::Owner, statement::Asker};
pub use self::{
    event::{Event, GapCause},
    present::Present,
    room::RoomHandle,
};
use crate::{api::Draft, client::Client, error::ClientError};

/// Commands that may wait for the task that owns the socket; it takes them at once.
const COMMANDS: usize = 16;

/// How a [`Realtime`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealtimeOptions {
    /// The shortest pause before a lost connection is opened again, or a message sent again that the server could not store for
    /// the moment, unless the server names another.
    pub shortest_pause: Duration,
    /// The longest one: pauses are drawn at random, up to a bound that doubles with each attempt that fails.
    pub longest_pause: Duration,
    /// Events that may wait for the program. With so many, the server holds back what comes next, and nothing is lost; if it has
    /// to for 30 seconds, it closes the connection, and what was held back comes over the next one.
    pub events: usize,
    /// Messages that may wait for their acknowledgement; one more is refused as [`ClientError::QueueFull`].
    pub pending_posts: usize,
}

impl Default for RealtimeOptions {
    /// 0.5 to 20 s, 1024 events, 256 messages.
    fn default() -> Self {
        Self {
            shortest_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
            events: 1024,
            pending_posts: 256,
        }
    }
}

/// A room was joined.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The position that the program starts from; rooms that are not replayed have none.
    pub cursor: Option<String>,
    /// Whether everything since the asked position follows. If not, a [`Event::Gap`] says why.
    pub recovered: bool,
}

/// A socket that stays open.
///
/// It is one connection after the other: when one breaks, the next one joins the same rooms from the last position that was
/// told of, posts that were not acknowledged are sent again under their client ids, and what the program says of itself is said
/// again. The program hears of each message once, and posts it once.
///
/// A program that is slow to take events slows the server down, and nothing else: nothing is queued beyond
/// [`RealtimeOptions::events`] here and a bounded number of frames there. If it takes nothing while more comes than fits there and
/// on the line, the server closes the connection after 30 seconds (4001): it is opened again, and goes on from the last event
/// that was kept. Dropping this closes the socket.
///
/// ```no_run
/// # async fn listen(client: weltenwind_client::Client) -> Result<(), weltenwind_client::ClientError> {
/// use weltenwind_client::{Event, Realtime, Room};
///
/// let lobby = client.find_channel("welcome", "general").await?.expect("the channel is open");
/// let mut realtime = Realtime::connect(&client).await?;
/// realtime.join(Room::Channel(lobby.id), None).await?;
/// while let Some(event) = realtime.next().await {
///     match event {
///         Event::Message { message, .. } if message.body.as_deref() == Some("ping") => {
///             realtime.publish(lobby.id, "pong").await?;
///         }
///         Event::Closed { error } => return Err(error),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Realtime {
    handle: RealtimeHandle,
    events: mpsc::Receiver<Event>,
}

/// Joins, leaves, posts and says, from any task, while another one takes the events of the [`Realtime`].
#[derive(Debug, Clone)]
pub struct RealtimeHandle {
    commands: mpsc::Sender<Command>,
}

impl Realtime {
    /// Opens a socket as whoever is signed in, with everything else by default.
    ///
    /// A server that is away is waited for, as long as this future is. It must be called on a tokio runtime, where the task
    /// runs that owns the socket.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotSignedIn`], or the server's refusal unless it [is retryable](ClientError::is_retryable): a defect
    /// (`internal`) is told here, and so is an answer below 500 that is not the server's. Once the socket was open, neither ends
    /// it, for it may pass: then only what the server refuses by name does, `session-ended` for example.
    pub async fn connect(client: &Client) -> Result<Self, ClientError> {
        Self::connect_with(client, &RealtimeOptions::default()).await
    }

    /// Opens a socket with options; see [`Realtime::connect`].
    pub async fn connect_with(client: &Client, options: &RealtimeOptions) -> Result<Self, ClientError> {
        let (commands, commands_taken) = mpsc::channel(COMMANDS);
        let (events_told, events) = mpsc::channel(options.events.max(1));
        let (opened, is_opened) = oneshot::channel();
        let program = Program { commands: commands_taken, events: events_told };
        tokio::spawn(Owner::new(client.clone(), program, options).run(opened));
        is_opened.await.map_err(|_| ClientError::Closed)??;
        Ok(Self { handle: RealtimeHandle { commands }, events })
    }

    /// Waits for the next event; none follows once the socket is closed for good. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Returns what other tasks join and post by.
    pub fn handle(&self) -> RealtimeHandle {
        self.handle.clone()
    }

    /// Joins a room; see [`RealtimeHandle::join`].
    pub async fn join(&self, room: Room, since: Option<&str>) -> Result<Joined, ClientError> {
        self.handle.join(room, since).await
    }

    /// Leaves a room; see [`RealtimeHandle::leave`].
    pub async fn leave(&self, room: Room) -> Result<(), ClientError> {
        self.handle.leave(room).await
    }

    /// Posts a message; see [`RealtimeHandle::publish`].
    pub async fn publish(&self, channel: ChannelId, body: impl Into<String>) -> Result<MessageBody, ClientError> {
        self.handle.publish(channel, body).await
    }

    /// Posts a message under a client id that the program knows; see [`RealtimeHandle::publish_draft`].
    pub async fn publish_draft(&self, draft: Draft) -> Result<MessageBody, ClientError> {
        self.handle.publish_draft(draft).await
    }

    /// Says something of oneself; see [`RealtimeHandle::say`].
    pub async fn say(&self, room: Room, state: Option<&str>) -> Result<(), ClientError> {
        self.handle.say(room, state).await
    }

    /// Tells that something is being written; see [`RealtimeHandle::typing`].
    pub async fn typing(&self, room: Room) -> Result<(), ClientError> {
        self.handle.typing(room).await
    }

    /// Says whether somebody looks at the program; see [`RealtimeHandle::foreground`].
    pub async fn foreground(&self, on: bool) -> Result<(), ClientError> {
        self.handle.foreground(on).await
    }

    /// Answers who is in a room; see [`RealtimeHandle::presence`].
    pub async fn presence(&self, room: Room) -> Result<Option<Present>, ClientError> {
        self.handle.presence(room).await
    }

    /// Returns a handle for one room, joined or not.
    pub fn room(&self, room: Room) -> RoomHandle {
        self.handle.room(room)
    }

    /// Closes the socket, and waits until the server was told.
    pub async fn close(mut self) {
        self.events.close();
        self.handle.commands.closed().await;
    }
}

impl RealtimeHandle {
    /// Joins a room and stays in it, over all connections, until it is left or the server takes it away.
    ///
    /// With `since`, everything after that position is replayed first: a `room_cursor` of the history, or the `cursor` of the
    /// last event that an earlier run of the program has dealt with.
    ///
    /// # Errors
    ///
    /// [`ClientError::AlreadyJoined`], or the server's refusal.
    pub async fn join(&self, room: Room, since: Option<&str>) -> Result<Joined, ClientError> {
        let (asker, answer) = oneshot::channel();
        let since = since.map(str::to_owned);
        self.command(Command::Join { room, since, asker }).await?;
        answer.await.map_err(|_| ClientError::Closed)?
    }

    /// Leaves a room. Events of it that were received before may still come.
    pub async fn leave(&self, room: Room) -> Result<(), ClientError> {
        let (asker, answer) = oneshot::channel();
        self.command(Command::Leave { room, asker }).await?;
        answer.await.map_err(|_| ClientError::Closed)
    }

    /// Posts a message to a channel that is joined, under a fresh client id.
    ///
    /// When this answers, the message is stored. While the connection is lost, the message waits for the next one; dropping
    /// the future does not take it back. A server that fails may have stored it all the same, so it is sent again under its
    /// client id, up to ten times, and this waits for a plain answer; later messages to the same room wait behind it, unless
    /// they were on their way already.
    ///
    /// A message that came too often (`rate-limited`, `slow-mode`) is refused at once if it was sent at once. If it had to wait
    /// before, it is sent again after the pause that the server names, up to two minutes and ten times, and keeps its place.
    ///
    /// # Errors
    ///
    /// [`ClientError::QueueFull`], the server's refusal, [`ClientError::Closed`] if the socket was closed before it was sent, or
    /// [`ClientError::OutcomeUnknown`] if nobody knows what became of the message: post it again under the client id that is
    /// named there, or not at all.
    pub async fn publish(&self, channel: ChannelId, body: impl Into<String>) -> Result<MessageBody, ClientError> {
        self.publish_draft(Draft::new(channel, body)).await
    }

    /// Posts a message under a client id that the program knows, so that it may be posted again, here or over HTTP, after an
    /// error that [is retryable](ClientError::is_retryable) or leaves the outcome [unknown](ClientError::OutcomeUnknown).
    pub async fn publish_draft(&self, draft: Draft) -> Result<MessageBody, ClientError> {
        let (asker, answer) = oneshot::channel();
        self.command(Command::Publish { draft, asker }).await?;
        answer.await.map_err(|_| ClientError::Closed)?
    }

    /// Says something of oneself in a room with presence: 1 to 64 characters on one line; without `state`, nothing any more.
    ///
    /// It holds for as long as the room is joined: after a reconnect it is said again. While the connection is lost it waits
    /// for the next one; of several that wait, the newest is said, and answers for all. Dropping the future does not take it
    /// back.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotConnected`] in a room that the program has not joined, or the server's refusal.
    pub async fn say(&self, room: Room, state: Option<&str>) -> Result<(), ClientError> {
        let state = state.map(str::to_owned);
        self.ask(|asker| Command::Say { room, state, asker }).await
    }

    /// Tells a room that something is being written. The server passes over more than one in three seconds, so a program may
    /// call this with every key.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotConnected`] while the connection is lost: what has passed is not told later. Or the server's refusal.
    pub async fn typing(&self, room: Room) -> Result<(), ClientError> {
        self.ask(|asker| Command::Type { room, asker }).await
    }

    /// Says whether somebody looks at the program right now, which nobody does until it is said; it holds over all connections,
    /// as with [`say`](Self::say).
    ///
    /// # Errors
    ///
    /// The server's refusal.
    pub async fn foreground(&self, on: bool) -> Result<(), ClientError> {
        self.ask(|asker| Command::Foreground { on, asker }).await
    }

    /// Answers who is in a room that is joined, as far as the socket has heard: what the program takes as
    /// [`Event::Presence`] may lie behind. While the connection is lost, it is who was there. None in rooms without presence,
    /// and in those that are not joined.
    ///
    /// # Errors
    ///
    /// [`ClientError::Closed`].
    pub async fn presence(&self, room: Room) -> Result<Option<Present>, ClientError> {
        let (asker, answer) = oneshot::channel();
        self.command(Command::Look { room, asker }).await?;
        answer.await.map_err(|_| ClientError::Closed)
    }

    /// Returns a handle for one room, joined or not.
    pub fn room(&self, room: Room) -> RoomHandle {
        RoomHandle::new(self.clone(), room)
    }

    async fn ask(&self, command: impl FnOnce(Asker) -> Command) -> Result<(), ClientError> {
        let (asker, answer) = oneshot::channel();
        self.command(command(asker)).await?;
        answer.await.map_err(|_| ClientError::Closed)?
    }

    async fn command(&self, command: Command) -> Result<(), ClientError> {
        self.commands.send(command).await.map_err(|_| ClientError::Closed)
    }
}
