//! What clients ask for, carried to the services and back.

use std::{pin::Pin, sync::Arc, time::Duration};

use weltenwind_core::{
    Actor, Code, CorrelationId, CursorInvalid, Room, Scope, Services, Timestamp,
    access::{Because, Pass, Permission, Place, SanctionKind},
    chat::Draft,
    limits::Policy,
    presence::{Presence, PresenceState, SocketId},
    revocations::Ended,
    wire::{MessageBody, PresenceRecord, ServerRecord},
    worlds::WorldRef,
};

use crate::{
    bell::Bell,
    feed::{self, Attendance},
    host::Host,
    reader::Reader,
    records::{Failure, Refusal},
    sign_in::SignIn,
};

/// How long a request may take, but for the commit of a post, which the lane that writes it bounds. A store that does not answer
/// must not keep a socket from being heard.
const PATIENCE: Duration = Duration::from_secs(10);

/// On whose behalf something is asked for, and under which name it stands in the log.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) host: Arc<Host>,
    pub(crate) sign_in: SignIn,
    pub(crate) request: CorrelationId,
    pub(crate) bell: Arc<Bell>,
    /// The socket, as presence knows it.
    pub(crate) socket: SocketId,
}

/// That others see one in a room, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    presence: Arc<Presence>,
    room: Room,
    socket: SocketId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.presence.leave(self.room, self.socket);
    }
}

/// Who is in a room that was just entered.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) snapshot: PresenceRecord,
    pub(crate) seat: Seat,
}

/// What became of a request.
pub(crate) enum Answer {
    /// The answer is a record and nothing else.
    Record(Box<ServerRecord>),
    /// A room may be joined.
    Joined {
        id: i64,
        cursor: Option<String>,
        recovered: bool,
        attendance: Attendance,
        reader: Reader,
        present: Option<Present>,
        /// When it is to be looked at anew.
        until: Option<Timestamp>,
    },
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

    /// Waits for what is asked for, and gives it up if that takes too long.
    async fn answer_to(&self, id: Option<i64>, asked: impl Future<Output = Result<Answer, Failure>>) -> Answer {
        let result = tokio::time::timeout(PATIENCE, asked).await;
        self.answer(id, result.unwrap_or_else(|_| Err(Refusal::TooSlow.into())))
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
        self.answer_to(Some(id), self.try_join(id, room, since)).await
    }

    async fn try_join(&self, id: i64, room: Room, since: Option<String>) -> Result<Answer, Failure> {
        let services = self.services();
        let actor = self.sign_in.actor(services, self.request.clone()).await?;
        services.limits.charge(&actor, Policy::Join).await?;
        let Pass { scope, until } = self.require_room(&actor, room).await?;
        let feeds = &self.host.feeds;
        let Room::Channel(channel) = room else {
            if since.is_some() {
                return Err(CursorInvalid.into());
            }
            let attendance = feeds.attend_silent(room, &self.bell);
            // First in the room, then who is there: whoever comes behind that is heard.
            let reader = Reader::passing(attendance.feed.head(), attendance.feed.position());
            let present = self.enter(&actor, room).await;
            return Ok(Answer::Joined { id, cursor: None, recovered: false, attendance, reader, present, until });
        };
        let since = since.map(|cursor| services.cursors.open_room(channel, &cursor)).transpose()?;
        // First in the room, then the position: what happens behind it is heard.
        let attendance = feeds.attend(room, &self.bell).await?;
        attendance.feed.lies_in(scope);
        let (reader, told, recovered) = attendance.feed.reader(since).await?;
        let cursor = Some(services.cursors.seal_room(channel, told));
        Ok(Answer::Joined { id, cursor, recovered, attendance, reader, present: None, until })
    }

    /// Lets others see that the actor is in a room, if that is told of it. Game servers and bots are not seen.
    async fn enter(&self, actor: &Actor, room: Room) -> Option<Present> {
        let (Some(account), Some(name)) = (actor.account_id(), actor.name()) else { return None };
        if !feed::has_presence(room) {
            return None;
        }
        let presence = &self.services().presence;
        let seat = Seat { presence: Arc::clone(presence), room, socket: self.socket };
        let snapshot = presence.enter(room, self.socket, account, name).await;
        Some(Present { snapshot: feed::snapshot(&snapshot), seat })
    }

    /// Says something of the actor in a room that is told who is in it.
    pub(crate) async fn say(self, id: Option<i64>, room: Room, state: Option<String>) -> Answer {
        self.answer_to(id, self.try_say(id, room, state)).await
    }

    async fn try_say(&self, id: Option<i64>, room: Room, state: Option<String>) -> Result<Answer, Failure> {
        let services = self.services();
        let actor = self.sign_in.actor(services, self.request.clone()).await?;
        let state = state.map(|state| PresenceState::new(&state)).transpose()?;
        services.limits.charge(&actor, Policy::Write).await?;
        if !services.presence.say(room, self.socket, state) {
            return Err(Refusal::NoPresence.into());
        }
        Ok(Answer::Record(Box::new(ServerRecord::Ok { id, message: None })))
    }

    /// Tells a room that the actor is writing; only who may post in a channel is heard there.
    pub(crate) async fn type_in(self, id: Option<i64>, room: Room) -> Answer {
        self.answer_to(id, self.try_type_in(id, room)).await
    }

    async fn try_type_in(&self, id: Option<i64>, room: Room) -> Result<Answer, Failure> {
        let services = self.services();
        let actor = self.sign_in.actor(services, self.request.clone()).await?;
        services.limits.charge(&actor, Policy::Write).await?;
        if let Room::Channel(channel) = room {
            services.chat.check_post(&actor, channel).await?;
        }
        if let (Some(account), Some(name)) = (actor.account_id(), actor.name()) {
            services.presence.type_in(room, account, name).await;
        }
        Ok(Answer::Record(Box::new(ServerRecord::Ok { id, message: None })))
    }

    /// Passes if the actor may be in a room.
    async fn require_room(&self, actor: &Actor, room: Room) -> Result<Pass, Failure> {
        let services = self.services();
        let Room::World(id) = room else { return self.require_still(actor, room).await };
        // Looked up, so that a world that was just opened can be entered at once.
        let world = services.worlds.resolve(actor, &WorldRef::Id(id)).await?.world;
        let decision = services.access.decide(actor, Permission::WorldRead, &Place::world(&world)).await?;
        Ok(Pass { scope: Scope::World(id), until: decision.until })
    }

    /// Passes if the actor may still be in a room, as believed for a second, and no longer than until a loss is known.
    async fn require_still(&self, actor: &Actor, room: Room) -> Result<Pass, Failure> {
        let services = self.services();
        Ok(match room {
            Room::Global => {
                services.access.require(actor, Permission::ChatRead, &Place::global()).await?;
                EVERYWHERE
            }
            Room::World(id) => services.worlds.check_read(actor, id).await?,
            Room::Channel(id) => services.chat.check_read(actor, id).await?,
            Room::User(account) if account == self.sign_in.account => EVERYWHERE,
            // Groups are not kept yet, and what others are told in their rooms is theirs.
            Room::User(_) | Room::Group(_) => return Err(Refusal::RoomNotFound.into()),
        })
    }

    pub(crate) async fn post(self, id: i64, draft: Draft) -> Answer {
        self.answer_to(Some(id), self.clone().try_post(id, draft)).await
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
        self.answer_to(id, self.try_refresh(id, &token)).await
    }

    /// Takes a token of the same session, or the same key: who holds another one opens another socket.
    async fn try_refresh(&self, id: Option<i64>, token: &str) -> Result<Answer, Failure> {
        let services = self.services();
        let actor = self.sign_in.actor(services, self.request.clone()).await?;
        services.limits.charge(&actor, Policy::Write).await?;
        let newer = self.sign_in.again(services, token, self.request.clone()).await?;
        let sign_in = newer.ok_or(Refusal::ForeignToken)?;
        Ok(Answer::Refreshed { id, sign_in })
    }

    /// Looks whether the session still holds and may still be in its rooms.
    pub(crate) async fn check(self, rooms: Vec<Room>) -> Checked {
        let look = async {
            let _turn = self.host.looks.acquire().await;
            self.try_check(rooms).await
        };
        let checked = match tokio::time::timeout(PATIENCE, look).await {
            Ok(checked) => checked,
            Err(_) => Err(Refusal::TooSlow.into()),
        };
        checked.unwrap_or_else(|failure| match failure.code() {
            Code::SessionEnded => Checked::Ended(Ended::Session),
            Code::DeviceRevoked => Checked::Ended(Ended::Device),
            _ => {
                failure.log(&self.request);
                Checked::Undecided
            }
        })
    }

    async fn try_check(&self, rooms: Vec<Room>) -> Result<Checked, Failure> {
        let services = self.services();
        let actor = self.sign_in.actor(services, self.request.clone()).await?;
        let everywhere = services.access.decide(&actor, Permission::ChatRead, &Place::global()).await?;
        if everywhere.because == Because::Sanctioned(SanctionKind::Ban, Scope::Global) {
            return Ok(Checked::Banned);
        }
        if let Some(Scope::World(id)) = self.sign_in.narrowed_to()
            && let Err(refused) = services.worlds.check_read(&actor, id).await
        {
            let refused = Failure::from(refused);
            return if refused.is_ours() { Err(refused) } else { Ok(Checked::HoldsNowhere) };
        }
        let (mut lost, mut until) = (Vec::new(), self.sign_in.ends_at);
        for room in rooms {
            match self.require_still(&actor, room).await {
                Ok(pass) => until = [until, pass.until].into_iter().flatten().min(),
                Err(failure) if failure.is_ours() => return Err(failure),
                Err(failure) => lost.push((room, failure.code())),
            }
        }
        Ok(Checked::Holds { lost, until })
    }
}

/// Leave for what is no place of its own.
const EVERYWHERE: Pass = Pass { scope: Scope::Global, until: None };

/// What a look at the session and its rooms found.
#[derive(Debug)]
pub(crate) enum Checked {
    /// The session holds, and lost these rooms.
    Holds {
        lost: Vec<(Room, Code)>,
        /// When to look again though nothing is taken, because something ends by itself.
        until: Option<Timestamp>,
    },
    /// The sign-in is over.
    Ended(Ended),
    /// The account is banned from everything.
    Banned,
    /// The account has no more right to the scope that its token is narrowed to.
    HoldsNowhere,
    /// The store could not be asked.
    Undecided,
}
