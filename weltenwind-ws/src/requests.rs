//! What clients ask for, carried to the services and back.

use std::sync::Arc;

use weltenwind_core::{
    Actor, Code, CorrelationId, CursorInvalid, Room, Services,
    access::{Permission, Place},
    accounts::AccountError,
    chat::Draft,
    revocations::Ended,
    wire::{MessageBody, ServerRecord},
    worlds::WorldRef,
};

use crate::{
    host::Host,
    records::{Failure, Refusal},
    rooms::RoomFeed,
    sign_in::SignIn,
};

/// On whose behalf something is asked for, and under which name it stands in the log.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) host: Arc<Host>,
    pub(crate) sign_in: SignIn,
    pub(crate) request: CorrelationId,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The answer is a record and nothing else.
    Record(Box<ServerRecord>),
    /// A room may be joined.
    Joined { id: i64, room: Room, cursor: Option<String>, recovered: bool, feed: Option<RoomFeed> },
    /// A newer token carries the socket.
    Refreshed { id: Option<i64>, sign_in: SignIn },
    /// The sign-in is over.
    Ended(Ended),
}

impl Asker {
    fn services(&self) -> &Services {
        &self.host.services
    }

    fn answer(&self, id: Option<i64>, result: Result<Answer, Failure>) -> Answer {
        match result {
            Ok(answer) => answer,
            Err(failure) => match failure.code() {
                Code::SessionEnded => Answer::Ended(Ended::Session),
                Code::DeviceRevoked => Answer::Ended(Ended::Device),
                _ => Answer::Record(Box::new(failure.record(id, &self.request))),
            },
        }
    }

    pub(crate) async fn join(self, id: i64, room: Room, since: Option<String>) -> Answer {
        let joined = self.try_join(id, room, since).await;
        self.answer(Some(id), joined)
    }

    async fn try_join(&self, id: i64, room: Room, since: Option<String>) -> Result<Answer, Failure> {
        let services = self.services();
        let actor = self.sign_in.actor(services, self.request.clone()).await?;
        let Room::Channel(channel) = room else {
            if since.is_some() {
                return Err(CursorInvalid.into());
            }
            self.require_room(&actor, room).await?;
            return Ok(Answer::Joined { id, room, cursor: None, recovered: false, feed: None });
        };
        let since = since.map(|cursor| services.cursors.open_room(channel, &cursor)).transpose()?;
        let live = services.chat.listen(&actor, channel, since).await?;
        let cursor = services.cursors.seal_room(channel, live.position());
        // Who names no position has nothing to recover.
        let recovered = since.is_some() && live.is_recovered();
        let feed = RoomFeed::of_channel(channel, live, services.cursors.clone());
        Ok(Answer::Joined { id, room, cursor: Some(cursor), recovered, feed: Some(feed) })
    }

    /// Passes if the actor may be in a room.
    async fn require_room(&self, actor: &Actor, room: Room) -> Result<(), Failure> {
        let services = self.services();
        match room {
            Room::Global => services.access.require(actor, Permission::ChatRead, &Place::global()).await?,
            Room::World(id) => drop(services.worlds.resolve(actor, &WorldRef::Id(id)).await?),
            Room::Channel(id) => services.chat.check_read(actor, id).await?,
            Room::User(account) if account == self.sign_in.account => {}
            // Groups are not kept yet, and what others are told in their rooms is theirs.
            Room::User(_) | Room::Group(_) => return Err(Refusal::RoomNotFound.into()),
        }
        Ok(())
    }

    pub(crate) async fn post(self, id: i64, draft: Draft) -> Answer {
        let posted = self.try_post(id, draft).await;
        self.answer(Some(id), posted)
    }

    async fn try_post(&self, id: i64, draft: Draft) -> Result<Answer, Failure> {
        let services = self.services();
        let actor = self.sign_in.actor(services, self.request.clone()).await?;
        let posted = services.chat.post(&actor, draft).await?;
        let message = Some(MessageBody::from(&posted.message));
        Ok(Answer::Record(Box::new(ServerRecord::Ok { id: Some(id), message })))
    }

    pub(crate) async fn refresh(self, id: Option<i64>, token: String) -> Answer {
        let refreshed = self.try_refresh(id, &token).await;
        self.answer(id, refreshed)
    }

    /// Takes a token of the same session, or the same key: who holds another one opens another socket.
    async fn try_refresh(&self, id: Option<i64>, token: &str) -> Result<Answer, Failure> {
        let newer = self.sign_in.again(self.services(), token, self.request.clone()).await?;
        let sign_in = newer.ok_or(Refusal::ForeignToken)?;
        Ok(Answer::Refreshed { id, sign_in })
    }

    /// Looks whether the session still holds and may still be in its rooms.
    pub(crate) async fn check(self, rooms: Vec<Room>) -> Checked {
        let actor = match self.sign_in.actor(self.services(), self.request.clone()).await {
            Ok(actor) => actor,
            Err(AccountError::SessionEnded) => return Checked::Ended(Ended::Session),
            Err(AccountError::DeviceRevoked) => return Checked::Ended(Ended::Device),
            Err(error) => {
                Failure::from(error).log(&self.request);
                return Checked::Undecided;
            }
        };
        let mut lost = Vec::new();
        for room in rooms {
            match self.require_room(&actor, room).await {
                Ok(()) => {}
                Err(failure) if failure.is_ours() => {
                    failure.log(&self.request);
                    return Checked::Undecided;
                }
                Err(failure) => lost.push((room, failure.code())),
            }
        }
        Checked::Holds { lost }
    }
}

/// What a look at the session and its rooms found.
#[derive(Debug)]
pub(crate) enum Checked {
    /// The session holds, and lost these rooms.
    Holds { lost: Vec<(Room, Code)> },
    /// The sign-in is over.
    Ended(Ended),
    /// The store could not be asked.
    Undecided,
}
