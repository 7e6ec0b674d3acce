//! The clients: all sockets in one loop on one thread, so that what generates the load costs a fraction of what is measured.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{
    dialect::{Dialect, Heard, Stamp},
    frames::{self, Kind},
    tally::{Ledger, Wrong},
    workload::{Pace, What},
};
use crate::failure::Failure;

/// Sockets that are opened at once.
const AT_ONCE: usize = 64;
/// Longer than a server is silent while it is of any use.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long stragglers are waited for once nothing comes any more.
const STRAGGLERS: Duration = Duration::from_secs(5);
/// How often it is looked whether the last message was heard everywhere.
const LOOK: Duration = Duration::from_millis(20);
/// More than a socket's receive buffer holds: what is there is read by one call.
const BUFFER: usize = 1 << 20;

/// Who comes, and where to.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) token: Arc<str>,
    /// The account that the token is of.
    pub(super) user: Arc<str>,
    /// Which of the rooms.
    pub(super) room: usize,
    pub(super) publishes: bool,
    /// The position from which on the room's messages were not heard.
    pub(super) since: Option<String>,
}

/// Sockets that have joined their rooms.
#[derive(Debug)]
pub(super) struct Crowd {
    poll: Poll,
    events: Events,
    buffer: Box<[u8]>,
    clock: Instant,
    players: Vec<Player>,
    stage: Stage,
}

/// What the players share.
#[derive(Debug)]
struct Stage {
    dialect: Dialect,
    what: What,
    rooms: Vec<Room>,
    publishers: Vec<Publisher>,
    measured: Measured,
    /// Words that each publisher keeps under way; none while nobody posts, or at a rate.
    under_way: usize,
    joined: usize,
    live: usize,
    elsewhere: u64,
    /// Records of any kind that came in.
    records: u64,
}

#[derive(Debug)]
struct Room {
    name: String,
    finder: Finder<'static>,
    /// The number of the last message that was accepted.
    last: u64,
    /// When each word was heard by anybody, in microseconds; 0 if it was not.
    first_heard: Vec<u64>,
}

#[derive(Debug)]
struct Player {
    place: Place,
    stream: TcpStream,
    state: State,
    began: Duration,
    live: Duration,
    /// The beginning of a frame whose end is still to come.
    rest: Vec<u8>,
    out: Vec<u8>,
    ledger: Ledger,
    /// Of what is of the moment: how much of each publisher was heard, or when what was heard of it last was said.
    heard: Vec<u64>,
    /// The last change of who is there, and changes that were not heard.
    version: u64,
    missed: u64,
    cursor: Option<String>,
    publisher: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Upgrading,
    Open,
    Joined,
    Live,
}

#[derive(Debug)]
struct Publisher {
    player: usize,
    user: Arc<str>,
    /// When each word was sent, in microseconds.
    sent: Vec<u64>,
    accepted: usize,
    under_way: usize,
    due: Duration,
}

/// What was seen while it counted. Times are in microseconds.
#[derive(Debug)]
pub(super) struct Measured {
    counts: bool,
    pub(super) deliveries: u64,
    pub(super) messages: u64,
    /// From the moment something is sent until a socket hears it.
    pub(super) latency: Histogram<u64>,
    /// From the moment the first socket hears something until another does.
    pub(super) lag: Histogram<u64>,
    /// From the moment something is sent until its publisher is told that it is kept, or taken.
    pub(super) accepted: Histogram<u64>,
    /// From the connect until the room is joined.
    pub(super) joined: Histogram<u64>,
}

/// Keeps times up to five minutes with three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 300_000_000, 3).expect("the bounds are in order")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("a bench ends before the clock does")
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::failed(format!("a socket was lost: {error}"))
}

impl Crowd {
    /// Has everybody connect and join, 64 at once.
    pub(super) fn gather(
        dialect: Dialect,
        what: What,
        rooms: Vec<String>,
        places: Vec<Place>,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("cannot wait for sockets: {error}"));
        let rooms = rooms
            .into_iter()
            .map(|name| {
                let finder = Finder::new(&format!("\"{name}\"")).into_owned();
                Room { name, finder, last: 0, first_heard: Vec::new() }
            })
            .collect();
        let measured = Measured {
            counts: false,
            deliveries: 0,
            messages: 0,
            latency: histogram(),
            lag: histogram(),
            accepted: histogram(),
            joined: histogram(),
        };
        let count = places.len();
        let mut crowd = Self {
            poll: Poll::new().map_err(failed)?,
            events: Events::with_capacity(1024),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            clock: Instant::now(),
            players: Vec::with_capacity(count),
            stage: Stage {
                dialect,
                what,
                rooms,
                publishers: Vec::new(),
                measured,
                under_way: 0,
                joined: 0,
                live: 0,
                elsewhere: 0,
                records: 0,
            },
        };
        let mut places = places.into_iter();
        let (mut progress, mut seen) = (crowd.clock.elapsed(), (0, 0, 0));
        while crowd.stage.live < count {
            while crowd.players.len() - crowd.stage.joined < AT_ONCE {
                let Some(place) = places.next() else { break };
                crowd.open(place)?;
            }
            crowd.turn(LOOK)?;
            let heard = crowd.stage.measured.deliveries;
            if (crowd.stage.joined, crowd.stage.live, heard) != seen {
                (progress, seen) = (crowd.clock.elapsed(), (crowd.stage.joined, crowd.stage.live, heard));
            } else if crowd.clock.elapsed() > progress + PATIENCE {
                let still = count - crowd.stage.live;
                return Err(Failure::failed(format!("{still} of {count} sockets wait in vain to join")));
            }
        }
        Ok(crowd)
    }

    fn open(&mut self, place: Place) -> Result<(), Failure> {
        let began = self.clock.elapsed();
        let mut stream = TcpStream::connect(place.address).map_err(|error| lost(&error))?;
        let n = self.players.len();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(n), interest).map_err(|error| lost(&error))?;
        let publisher = place.publishes.then_some(self.stage.publishers.len());
        if place.publishes {
            let (user, sent, due) = (Arc::clone(&place.user), Vec::new(), Duration::ZERO);
            self.stage.publishers.push(Publisher { player: n, user, sent, accepted: 0, under_way: 0, due });
        }
        self.players.push(Player {
            out: self.stage.dialect.handshake(&place.address.to_string(), &place.token, &place.user),
            place,
            stream,
            state: State::Connecting,
            began,
            live: Duration::ZERO,
            rest: Vec::new(),
            ledger: Ledger::default(),
            heard: Vec::new(),
            version: 0,
            missed: 0,
            cursor: None,
            publisher,
        });
        Ok(())
    }

    /// The position at which the first player joined.
    pub(super) fn cursor(&self) -> Option<String> {
        self.players.first().and_then(|player| player.cursor.clone())
    }

    /// What the first player heard, what of so many messages did not come as it should, and how long after the connect it was
    /// live.
    pub(super) fn replayed(&self, expected: u64) -> (u64, Wrong, Duration) {
        let player = self.players.first().expect("a replay is somebody's");
        let mut wrong = player.ledger.wrong(expected);
        wrong.elsewhere = self.stage.elsewhere;
        (self.stage.measured.deliveries, wrong, player.live.saturating_sub(player.began))
    }

    /// How many records came in so far.
    pub(super) const fn records(&self) -> u64 {
        self.stage.records
    }

    /// How much of what was taken and is of the moment did not come, of all sockets together. It may be passed over.
    pub(super) fn dropped(&self) -> u64 {
        let Stage { what, publishers, .. } = &self.stage;
        let of_player = |player: &Player| match what {
            What::Messages => 0,
            What::Presence => player.missed,
            What::Typing => {
                let told = publishers.iter().map(|publisher| publisher.accepted as u64).sum::<u64>();
                told.saturating_sub(player.heard.iter().sum())
            }
        };
        self.players.iter().map(of_player).sum()
    }

    /// Lets time pass in which nobody posts; pings are answered.
    pub(super) fn idle(&mut self, time: Duration) -> Result<(), Failure> {
        let end = self.clock.elapsed() + time;
        loop {
            let left = end.saturating_sub(self.clock.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    /// Posts at that pace: first to warm up, then counted. `edge` is called at both ends of the time that counts.
    ///
    /// Afterwards it waits until every message that was accepted was heard by every socket of its room, or nothing comes any
    /// more.
    pub(super) fn post(
        &mut self,
        pace: Pace,
        warm_up: Duration,
        time: Duration,
        mut edge: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let pause = match pace {
            Pace::Rate(rate) => {
                let publishers = u32::try_from(self.stage.publishers.len()).expect("a workload has fewer");
                let pause = Duration::from_secs(1) * publishers / rate;
                // Not all at the same moment.
                let begin = self.clock.elapsed();
                for (n, publisher) in (0..).zip(&mut self.stage.publishers) {
                    publisher.due = begin + pause * n / publishers;
                }
                pause
            }
            Pace::UnderWay(_) => Duration::ZERO,
        };
        self.post_until(self.clock.elapsed() + warm_up, pace, pause)?;
        edge()?;
        let measured = &mut self.stage.measured;
        (measured.counts, measured.deliveries, measured.messages) = (true, 0, 0);
        self.post_until(self.clock.elapsed() + time, pace, pause)?;
        self.stage.under_way = 0;
        self.stage.measured.counts = false;
        edge()?;
        let (deliveries, messages) = (self.stage.measured.deliveries, self.stage.measured.messages);
        self.finish()?;
        (self.stage.measured.deliveries, self.stage.measured.messages) = (deliveries, messages);
        Ok(())
    }

    fn post_until(&mut self, end: Duration, pace: Pace, pause: Duration) -> Result<(), Failure> {
        loop {
            let now = self.clock.elapsed();
            if now >= end {
                return Ok(());
            }
            let mut next = end;
            for n in 0..self.stage.publishers.len() {
                match pace {
                    Pace::Rate(_) => {
                        while self.stage.publishers[n].due <= now {
                            self.stage.publishers[n].due += pause;
                            self.players[self.stage.publishers[n].player].push_post(&mut self.stage, self.clock);
                        }
                        next = next.min(self.stage.publishers[n].due);
                    }
                    Pace::UnderWay(limit) => {
                        self.stage.under_way = limit;
                        self.players[self.stage.publishers[n].player].top_up(&mut self.stage, self.clock);
                    }
                }
                let player = self.stage.publishers[n].player;
                self.players[player].flush()?;
            }
            self.turn(next.saturating_sub(now))?;
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let (mut progress, mut seen) = (self.clock.elapsed(), 0);
        loop {
            let accepted = self.stage.publishers.iter().all(|publisher| publisher.accepted == publisher.sent.len());
            let heard = |player: &Player| player.has_heard(&self.stage);
            if accepted && self.players.iter().all(heard) {
                // Whatever comes twice comes now.
                return self.idle(LOOK * 5);
            }
            self.turn(LOOK)?;
            let total = self.stage.measured.deliveries + self.stage.measured.messages;
            if total != seen {
                (progress, seen) = (self.clock.elapsed(), total);
            } else if self.clock.elapsed() > progress + STRAGGLERS {
                return if accepted {
                    Ok(())
                } else {
                    Err(Failure::failed("a message was posted and never acknowledged"))
                };
            }
        }
    }

    /// What did not come as it should, of all sockets together.
    pub(super) fn wrong(&self) -> Wrong {
        let mut wrong = Wrong { elsewhere: self.stage.elsewhere, ..Wrong::default() };
        if self.stage.what == What::Typing {
            // Nobody writes more often than was said.
            let said: Vec<u64> = self.stage.publishers.iter().map(|publisher| publisher.sent.len() as u64).collect();
            let heard = self.players.iter().flat_map(|player| player.heard.iter().zip(&said));
            wrong.doubled = heard.map(|(heard, said)| heard.saturating_sub(*said)).sum();
        }
        for player in &self.players {
            wrong.add(player.ledger.wrong(self.stage.rooms[player.place.room].last));
        }
        wrong
    }

    /// Leaves, and answers what was seen.
    pub(super) fn into_measured(self) -> Measured {
        self.stage.measured
    }

    /// Waits until something happens on a socket, at most that long, and deals with it.
    fn turn(&mut self, longest: Duration) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(longest)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled.map_err(|error| lost(&error))?,
        }
        for event in &self.events {
            let n = event.token().0;
            let player = &mut self.players[n];
            if event.is_writable() {
                if player.state == State::Connecting {
                    player.connected()?;
                }
                player.flush()?;
            }
            if event.is_readable() {
                player.read(&mut self.buffer, &mut self.stage, self.clock, event.is_read_closed())?;
                // At once: a server should not wait until everybody else was read.
                player.top_up(&mut self.stage, self.clock);
                player.flush()?;
            }
        }
        Ok(())
    }
}

impl Player {
    fn connected(&mut self) -> Result<(), Failure> {
        if let Some(error) = self.stream.take_error().map_err(|error| lost(&error))? {
            return Err(lost(&error));
        }
        self.stream.set_nodelay(true).map_err(|error| lost(&error))?;
        self.state = State::Upgrading;
        Ok(())
    }

    /// Writes what waits, as far as the socket takes it.
    fn flush(&mut self) -> Result<(), Failure> {
        if self.state == State::Connecting {
            return Ok(());
        }
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], stage: &mut Stage, clock: Instant, to_the_end: bool) -> Result<(), Failure> {
        loop {
            let kept = self.rest.len();
            if kept == buffer.len() {
                return Err(Failure::failed("a frame is too long"));
            }
            buffer[..kept].copy_from_slice(&self.rest);
            let read = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(Failure::failed("the server closed a socket")),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost(&error)),
            };
            let bytes = &buffer[..kept + read];
            let taken = self.take(bytes, stage, clock.elapsed())?;
            self.rest.clear();
            self.rest.extend_from_slice(&bytes[taken..]);
            // Less than there is room for: the socket is empty, and the next bytes are an event of their own.
            if bytes.len() < buffer.len() && !to_the_end {
                return Ok(());
            }
        }
    }

    /// Deals with whole frames, and says how many bytes they are.
    fn take(&mut self, bytes: &[u8], stage: &mut Stage, now: Duration) -> Result<usize, Failure> {
        let mut at = 0;
        if self.state == State::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let answer = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
                return Err(Failure::failed(format!("a socket was refused: {answer}"))
                    .hint("servers of --url need room for the sockets and quotas for programs; see --help"));
            }
            self.state = State::Open;
            if stage.dialect.joins_at_once() {
                self.join(stage);
            }
            at = end + 4;
        }
        while let Some(frame) = frames::next(bytes, at)? {
            at = frame.payload.end;
            let payload = &bytes[frame.payload];
            match frame.kind {
                Kind::Text => {
                    for record in payload.split(|byte| *byte == b'\n') {
                        self.hear(record, stage, now)?;
                    }
                }
                Kind::Ping => frames::push_pong(&mut self.out, payload),
                Kind::Close => {
                    let code = payload.get(..2).map_or(0, |code| u16::from_be_bytes([code[0], code[1]]));
                    return Err(Failure::failed(format!("the server closed a socket with {code}")));
                }
                Kind::Pong => {}
            }
        }
        Ok(at)
    }

    fn push_post(&mut self, stage: &mut Stage, clock: Instant) {
        let Some(n) = self.publisher else { return };
        let (publisher, micros) = (&mut stage.publishers[n], micros(clock.elapsed()));
        publisher.sent.push(micros);
        publisher.under_way += 1;
        let (stamp, id) = (Stamp { micros, publisher: n }, publisher.sent.len());
        let room = &stage.rooms[self.place.room].name;
        match stage.what {
            What::Messages => stage.dialect.push_post(&mut self.out, room, id, stamp),
            What::Typing => Dialect::push_typing(&mut self.out, room, id),
            What::Presence => Dialect::push_state(&mut self.out, room, id, stamp),
        }
    }

    /// Whether it has heard everything that was taken.
    fn has_heard(&self, stage: &Stage) -> bool {
        let heard_of = |n: usize| self.heard.get(n).copied().unwrap_or(0);
        let mut publishers = stage.publishers.iter().enumerate();
        match stage.what {
            What::Messages => self.ledger.is_complete(stage.rooms[self.place.room].last),
            What::Typing => publishers.all(|(n, publisher)| heard_of(n) >= publisher.accepted as u64),
            What::Presence => {
                publishers.all(|(n, publisher)| publisher.sent.last().is_none_or(|at| heard_of(n) >= *at))
            }
        }
    }

    /// Notes that a word was heard, which is the `at`th of its room.
    fn note(stage: &mut Stage, room: usize, at: usize, sent: u64, now: Duration) {
        let now = micros(now);
        let first_heard = &mut stage.rooms[room].first_heard;
        if first_heard.len() <= at {
            first_heard.resize(at + 1, 0);
        }
        if first_heard[at] == 0 {
            first_heard[at] = now;
        }
        if stage.measured.counts {
            stage.measured.latency.saturating_record(now.saturating_sub(sent));
            stage.measured.lag.saturating_record(now.saturating_sub(first_heard[at]));
        }
    }

    /// Takes note that somebody writes. The one that was sent first is heard first.
    fn hear_typing(&mut self, user: &[u8], stage: &mut Stage, now: Duration) {
        stage.measured.deliveries += 1;
        let Some(n) = stage.publishers.iter().position(|publisher| publisher.user.as_bytes() == user) else {
            stage.elsewhere += 1;
            return;
        };
        let count = stage.publishers.len();
        self.heard.resize(count, 0);
        let nth = usize::try_from(self.heard[n]).expect("a bench writes less");
        self.heard[n] += 1;
        let publisher = &mut stage.publishers[n];
        if self.publisher == Some(n) {
            publisher.under_way = publisher.under_way.saturating_sub(1);
        }
        if let Some(sent) = publisher.sent.get(nth).copied() {
            Self::note(stage, self.place.room, nth * count + n, sent, now);
        }
    }

    /// Takes note of what publishers say of themselves. Who has said more since is told with the newest.
    fn hear_presence(&mut self, version: u64, record: &[u8], stage: &mut Stage, now: Duration) {
        stage.measured.deliveries += 1;
        if version <= self.version {
            return;
        }
        self.missed += version - self.version - 1;
        self.version = version;
        self.heard.resize(stage.publishers.len(), 0);
        for stamp in Stamp::all(record) {
            let Some(publisher) = stage.publishers.get_mut(stamp.publisher) else { continue };
            self.heard[stamp.publisher] = self.heard[stamp.publisher].max(stamp.micros);
            if self.publisher == Some(stamp.publisher) {
                let heard = publisher.sent.partition_point(|sent| *sent <= stamp.micros);
                publisher.under_way = publisher.sent.len() - heard;
            }
            let at = usize::try_from(version).expect("a bench says less");
            Self::note(stage, self.place.room, at, stamp.micros, now);
        }
    }

    /// Posts as much as may be under way.
    fn top_up(&mut self, stage: &mut Stage, clock: Instant) {
        let Some(n) = self.publisher else { return };
        while stage.publishers[n].under_way < stage.under_way {
            self.push_post(stage, clock);
        }
    }

    fn join(&mut self, stage: &Stage) {
        let room = &stage.rooms[self.place.room].name;
        stage.dialect.push_join(&mut self.out, room, self.place.since.as_deref());
    }

    fn hear(&mut self, record: &[u8], stage: &mut Stage, now: Duration) -> Result<(), Failure> {
        let room = &mut stage.rooms[self.place.room];
        stage.records += 1;
        let plain;
        let heard = if let Ok(heard) = stage.dialect.hear(record, &room.finder) {
            heard
        } else {
            plain = stage.dialect.plain(record);
            stage.dialect.hear(&plain, &room.finder)?
        };
        match heard {
            Heard::Message { in_its_room: false, .. }
            | Heard::Typing { in_its_room: false, .. }
            | Heard::Presence { in_its_room: false, .. } => stage.elsewhere += 1,
            Heard::Typing { user, .. } => self.hear_typing(user, stage, now),
            Heard::Presence { version, record, .. } => self.hear_presence(version, record, stage, now),
            Heard::Message { seq, stamp, .. } => {
                self.ledger.note(seq);
                stage.measured.deliveries += 1;
                if self.publisher == Some(stamp.publisher) {
                    let publisher = &mut stage.publishers[stamp.publisher];
                    publisher.under_way = publisher.under_way.saturating_sub(1);
                }
                let at = usize::try_from(seq).expect("a bench posts less");
                Self::note(stage, self.place.room, at, stamp.micros, now);
            }
            Heard::Accepted { id, seq } => {
                room.last = room.last.max(seq);
                self.taken(id, stage, now)?;
            }
            Heard::Taken { id } => self.taken(id, stage, now)?,
            Heard::Joined { cursor, version } => {
                (self.cursor, self.version) = (cursor, version);
                self.joined(stage, now);
            }
            Heard::Live => {
                self.joined(stage, now);
                if self.state != State::Live {
                    (self.state, self.live) = (State::Live, now);
                    stage.live += 1;
                }
            }
            Heard::Ask(answer) => frames::push_text(&mut self.out, answer),
            Heard::MayJoin => self.join(stage),
            Heard::Refused(record) => {
                return Err(Failure::failed(format!("the server refuses: {}", String::from_utf8_lossy(record))));
            }
            Heard::Other => {}
        }
        Ok(())
    }

    fn taken(&self, id: usize, stage: &mut Stage, now: Duration) -> Result<(), Failure> {
        stage.measured.messages += 1;
        let publisher = self.publisher.map(|n| &mut stage.publishers[n]);
        let sent = publisher.and_then(|publisher| {
            publisher.accepted += 1;
            publisher.sent.get(id.checked_sub(1)?).copied()
        });
        let sent = sent.ok_or_else(|| Failure::failed("something was acknowledged that nobody sent"))?;
        if stage.measured.counts {
            stage.measured.accepted.saturating_record(micros(now).saturating_sub(sent));
        }
        Ok(())
    }

    fn joined(&mut self, stage: &mut Stage, now: Duration) {
        if self.state == State::Open {
            self.state = State::Joined;
            stage.joined += 1;
            stage.measured.joined.saturating_record(micros(now.saturating_sub(self.began)));
        }
    }
}

/// Reads whatever comes on so many sockets, until all are closed.
pub(super) fn swallow(address: SocketAddr, count: usize) -> Result<(), Failure> {
    let mut poll = Poll::new().map_err(|error| lost(&error))?;
    let (mut events, mut sockets) = (Events::with_capacity(1024), Vec::with_capacity(count));
    for n in 0..count {
        let mut stream = welcomed(address).map_err(|error| lost(&error))?;
        poll.registry().register(&mut stream, Token(n), Interest::READABLE).map_err(|error| lost(&error))?;
        sockets.push(Some(stream));
    }
    let (mut buffer, mut open) = (vec![0; BUFFER], count);
    while open > 0 {
        poll.poll(&mut events, Some(PATIENCE)).map_err(|error| lost(&error))?;
        if events.is_empty() {
            return Err(Failure::failed("nothing is written to sockets any more"));
        }
        for event in &events {
            let place = &mut sockets[event.token().0];
            while let Some(socket) = place {
                match socket.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Ok(read) if read > 0 => {}
                    // The end of whoever writes breaks sockets that are full.
                    Err(error) if error.kind() != ErrorKind::ConnectionReset => return Err(lost(&error)),
                    _ => {
                        *place = None;
                        open -= 1;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Connects, and waits for a byte that says so: more at once than a listener's queue holds would wait for seconds.
fn welcomed(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.read_exact(&mut [0])?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}
