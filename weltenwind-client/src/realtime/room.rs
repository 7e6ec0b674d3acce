//! One room, by name.

use weltenwind_core::{Room, wire::MessageBody};

use super::{Joined, Present, RealtimeHandle};
use crate::{api::Draft, error::ClientError};

/// A [`RealtimeHandle`] for one room. It can be had before the room is joined, and be cloned and sent to other tasks.
///
/// ```no_run
/// # async fn greet(realtime: weltenwind_client::Realtime) -> Result<(), weltenwind_client::ClientError> {
/// use weltenwind_client::Room;
///
/// let everybody = realtime.room(Room::Global);
/// everybody.join(None).await?;
/// everybody.say(Some("looking for a raid")).await?;
/// if let Some(present) = everybody.presence().await? {
///     println!("{} are here", present.count);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RoomHandle {
    handle: RealtimeHandle,
    room: Room,
}

impl RoomHandle {
    pub(super) const fn new(handle: RealtimeHandle, room: Room) -> Self {
        Self { handle, room }
    }

    /// Returns the room's name.
    pub const fn room(&self) -> Room {
        self.room
    }

    /// Joins the room; see [`RealtimeHandle::join`].
    pub async fn join(&self, since: Option<&str>) -> Result<Joined, ClientError> {
        self.handle.join(self.room, since).await
    }

    /// Leaves the room; see [`RealtimeHandle::leave`].
    pub async fn leave(&self) -> Result<(), ClientError> {
        self.handle.leave(self.room).await
    }

    /// Posts a message; see [`RealtimeHandle::publish`].
    ///
    /// # Errors
    ///
    /// [`ClientError::NotAChannel`], [`ClientError::QueueFull`], or the server's refusal.
    pub async fn publish(&self, body: impl Into<String>) -> Result<MessageBody, ClientError> {
        let Room::Channel(channel) = self.room else { return Err(ClientError::NotAChannel(self.room)) };
        self.handle.publish_draft(Draft::new(channel, body)).await
    }

    /// Says something of oneself; see [`RealtimeHandle::say`].
    pub async fn say(&self, state: Option<&str>) -> Result<(), ClientError> {
        self.handle.say(self.room, state).await
    }

    /// Tells that something is being written; see [`RealtimeHandle::typing`].
    pub async fn typing(&self) -> Result<(), ClientError> {
        self.handle.typing(self.room).await
    }

    /// Answers who is in the room; see [`RealtimeHandle::presence`].
    pub async fn presence(&self) -> Result<Option<Present>, ClientError> {
        self.handle.presence(self.room).await
    }
}
