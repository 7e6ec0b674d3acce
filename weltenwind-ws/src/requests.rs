//! What clients ask for, carried to the services and back.

use std::{pin::Pin, sync::Arc};

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
    bell::Bell,
    feed::Attendance,
    host::Host,
    reader::Reader,
    records::{Failure, Refusal},
    sign_in::SignIn,
};

/// On whose behalf something is asked for, and under which name it stands in the log.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) host: Arc<Host>,
    pub(crate) sign_in: SignIn,
    pub(crate) request: CorrelationId,
    pub(crate) bell: Arc<Bell>,
}

/// What became of a request.
pub(crate) enum Answer {
    /// The answer is a record and nothing else.
    Record(Box<ServerRecord>),
    /// A room may be joined.
    Joined { id: i64, cursor: Option<String>, recovered: bool, attendance: Attendance, reader: Reader },
    /// A message has its place; the answer comes with its commit.
    Posted(Pin<Box<dyn Future<Output = Answer> + Send>>),
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
        self.require_room(&actor, room).await?;
        let feeds = &self.host.feeds;
        let Room::Channel(channel) = room else {
            if since.is_some() {
                return Err(CursorInvalid.into());
            }
            let attendance = feeds.attend_silent(room, &self.bell);
            let reader = Reader::new(attendance.feed.position());
            return Ok(Answer::Joined { id, cursor: None, recovered: false, attendance, reader });
        };
        let since = since.map(|cursor| services.cursors.open_room(channel, &cursor)).transpose()?;
        // First in the room, then the position: what happens behind it is heard.
        let attendance = feeds.attend(room, &self.bell).await?;
        let (reader, at, recovered) = attendance.feed.reader(since).await?;
        let cursor = Some(services.cursors.seal_room(channel, at));
        Ok(Answer::Joined { id, cursor, recovered, attendance, reader })
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
        let posted = self.clone().try_post(id, draft).await;
        self.answer(Some(id), posted)
    }

    async fn try_post(self, id: i64, draft: Draft) -> Result<Answer, Failure> {
        let services = self.services();
        let actor = self.sign_in.actor(services, self.request.clone()).await?;
        let submitted = services.chat.submit(&actor, draft).await?;
        Ok(Answer::Posted(Box::pin(async move {
            let stored = submitted.stored().await.map_err(Failure::from).map(|posted| {
                let message = Some(MessageBody::from(&posted.message));
                Answer::Record(Box::new(ServerRecord::Ok { id: Some(id), message }))
            });
            self.answer(Some(id), stored)
        })))
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
