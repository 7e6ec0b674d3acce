//! Channels and their messages.
//!
//! A channel lives in a scope and keeps two counters without holes: `seq` numbers its messages, `change` numbers everything
//! that happens to them (a new message, an edit, a removal). Readers page by `seq` and keep up by `change`.
//!
//! ```
//! use weltenwind_core::{Actor, Scope, chat::{Chat, ChannelDraft, Draft, LiveEvent}};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), weltenwind_core::chat::ChatError> {
//! let chat = Chat::in_memory();
//! let lobby = chat.open_channel(&Actor::operator(), ChannelDraft::new(Scope::Global, "lobby", "Lobby")).await?;
//! let mira = Actor::player("Mira");
//! let mut live = chat.listen(&mira, lobby.id, None).await?;
//!
//! chat.post(&mira, Draft::new(lobby.id, "anybody there?")).await?;
//!
//! assert!(matches!(live.next().await?, LiveEvent::Live));
//! let LiveEvent::Posted(event) = live.next().await? else { panic!("a message is expected") };
//! assert_eq!(event.message.text(), Some("anybody there?"));
//! # Ok(())
//! # }
//! ```

mod append;
mod authors;
mod body;
mod channels;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod directory;
mod error;
mod heads;
mod listen;
mod memory;
mod model;
mod service;
mod shared;
mod store;
mod tail;

pub use self::{
    append::{AppendConfig, Appender},
    body::{Body, ClientId},
    error::{ChatError, Refusal},
    listen::{GapCause, LiveChannel, LiveEvent},
    memory::MemoryChatStore,
    model::{
        Author, AuthorRenaming, Change, ChangeQuery, Changes, Channel, ChannelAmendment, ChannelChange, ChannelDraft,
        ChannelName, ChannelQuery, Draft, Edit, History, Message, MessageQuery, NewChannel, NewMessage, Position,
        Posted, Removal, RemovalMode, RoomCursor, RoomHead, RoomPosition, Seq, SharedMessage, Tombstone, Unread,
        Written, WrittenQuery,
    },
    service::{Chat, ChatBuilder, REPLAY_WINDOW, Submitted},
    shared::SharedChannel,
    store::{Appended, ChatStore},
};
