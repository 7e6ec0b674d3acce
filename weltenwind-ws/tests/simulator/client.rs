//! A client that comes back by its cursors, reads as fast or as slowly as it likes, and holds all it hears against the
//! oracles.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use weltenwind_core::{Actor, wire::refusal};

use crate::{
    dice::Dice,
    oracle::{Broken, Ear, Shown},
    pipe::Hose,
    square::{Told, View},
    support::raw::{CLOSE, FIN, Frame, PING, PONG, Raw, TEXT, masked},
    town::{DEN, LOBBY, Mutation, Resident, Town, in_time, request, text},
};

/// A record, as far as a client looks at it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    t: &'a str,
    id: Option<i64>,
    room: Option<&'a str>,
    cursor: Option<&'a str>,
    recovered: Option<bool>,
    seq: Option<i64>,
    cause: Option<&'a str>,
    /// A word, or the number of a `bye`.
    code: Option<serde_json::Value>,
    message: Option<Message<'a>>,
    /// In `joined` of the room of everybody.
    presence: Option<Told<'a>>,
}

#[derive(Debug, Deserialize)]
struct Message<'a> {
    id: &'a str,
    seq: i64,
    body: Option<&'a str>,
}

/// A post that is not acknowledged yet.
#[derive(Debug)]
struct Post {
    room: usize,
    client_id: String,
    body: String,
}

/// A room, and what this client makes of it.
struct Place {
    room: usize,
    name: String,
    ear: Option<Ear>,
    /// Accounts of before it joined anew without a cursor.
    former: Vec<Ear>,
    standing: Standing,
    /// Whether it hopes to hear everything to the end.
    is_wanted: bool,
}

/// The room of everybody, and who this client believes is there.
#[derive(Debug)]
struct Square {
    standing: Standing,
    view: View,
    /// What it says of itself.
    said: Option<String>,
}

/// The number of the request to join it.
const JOIN_SQUARE: i64 = 2;
/// The number of what it says of itself.
const SAY: i64 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Out,
    Asked { since: bool },
    In,
}

pub(crate) struct Client {
    town: Arc<Town>,
    n: usize,
    resident: Arc<Resident>,
    token: String,
    refresh: String,
    dice: Dice,
    places: Vec<Place>,
    /// The room of everybody.
    square: Square,
    posts: VecDeque<Post>,
    counted: u64,
    /// What the pings of this socket carry that were not answered yet.
    pings: VecDeque<u64>,
    /// A frame that a mutation holds back.
    held: Option<Frame>,
    /// Frames until the mutation strikes, unless it has.
    strikes_in: Option<u64>,
    is_done: Arc<AtomicBool>,
}

/// Why a socket is left.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// It comes back.
    Resume,
    /// It gets another token first.
    Renew,
    /// This session is over.
    Stop,
}

type Socket = Raw<Hose>;

impl Client {
    pub(crate) fn new(town: &Arc<Town>, n: usize, mut dice: Dice) -> Self {
        let resident = Arc::clone(&town.residents.lock().expect("no panic")[n]);
        let places = [LOBBY, DEN].into_iter().filter(|room| *room == LOBBY || resident.is_member);
        let places: Vec<Place> = places
            .map(|room| Place {
                room,
                name: format!("channel:{}", town.channel(room)),
                ear: None,
                former: Vec::new(),
                standing: Standing::Out,
                is_wanted: true,
            })
            .collect();
        // One client is lied to, once; about which frame differs from run to run. What seldom happens strikes whom it can.
        let strikes_in = (n == 0 || town.plan.mutation == Mutation::HideWhole).then(|| dice.within(1..8));
        Self {
            town: Arc::clone(town),
            n,
            token: resident.grant.access_token.expose().clone(),
            refresh: resident.grant.refresh_token.expose().clone(),
            resident,
            places,
            square: Square { standing: Standing::Out, view: View::default(), said: None },
            dice,
            posts: VecDeque::new(),
            counted: 0,
            pings: VecDeque::new(),
            held: None,
            strikes_in,
            is_done: Arc::default(),
        }
    }

    /// Tells whether it has got to the end.
    pub(crate) fn is_done(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_done)
    }

    /// Lives until the town is over, and hands in its account.
    pub(crate) async fn live(mut self) {
        let mut node = self.dice.below(self.town.plan.nodes);
        while !self.town.is_over() {
            let connected = match self.town.node(node) {
                Some(node) => self.connect(&node).await,
                None => Err(Left::Resume),
            };
            let left = match connected {
                Ok(socket) => {
                    let left = self.converse(socket).await;
                    self.is_done.store(false, Ordering::SeqCst);
                    self.places.iter_mut().for_each(|place| place.standing = Standing::Out);
                    self.leave_square();
                    self.pings.clear();
                    // A mutation holds nothing back over the end of a socket.
                    self.held = None;
                    left
                }
                Err(left) => left,
            };
            if self.dice.percent(40) {
                node += 1;
            }
            match left {
                Left::Resume => {}
                Left::Renew => self.renew().await,
                Left::Stop => self.begin_anew().await,
            }
            let pause = self.dice.millis(10..700);
            tokio::time::sleep(pause).await;
        }
        match self.town.plan.mutation {
            Mutation::Linger => std::future::pending().await,
            Mutation::Circle => loop {
                tokio::task::yield_now().await;
            },
            _ => self.hand_in(),
        }
    }

    async fn connect(&mut self, node: &Arc<crate::town::Node>) -> Result<Socket, Left> {
        let bytes = self.dice.pick(&[200, 600, 4 * 1024, 64 * 1024]);
        let hose = node.connect(&self.town, &self.resident, bytes).await;
        let Some(hose) = hose else {
            // The store does not answer, or the session has ended.
            return Err(self.why_refused(node).await);
        };
        match in_time(Raw::open(hose, &self.token)).await {
            Some(Ok(mut socket)) => {
                socket.sip = self.dice.pick(&[64, 700, 4096]);
                Ok(socket)
            }
            Some(Err(Some(401))) => Err(Left::Renew),
            Some(Err(None | Some(503))) | None => Err(Left::Resume),
            Some(Err(Some(status))) => {
                self.town.breaks(&format!("client {}: a handshake is answered {status}", self.n));
                Err(Left::Stop)
            }
        }
    }

    async fn why_refused(&self, node: &Arc<crate::town::Node>) -> Left {
        use weltenwind_core::accounts::AccountError;
        match node.services.accounts.actor_of_session(self.resident.grant.session, request()).await {
            Err(AccountError::SessionEnded | AccountError::DeviceRevoked) => Left::Stop,
            _ => Left::Resume,
        }
    }

    /// Gets another token; a session that has ended gets none.
    async fn renew(&mut self) {
        use weltenwind_core::{Class, Classify as _};
        let Some(node) = self.town.some_node(&mut self.dice) else { return };
        let anonymous = Actor::anonymous(request());
        match node.services.accounts.refresh(&anonymous, &self.refresh).await {
            Ok(grant) => {
                self.token.clone_from(grant.access_token.expose());
                self.refresh.clone_from(grant.refresh_token.expose());
            }
            Err(error) if error.class() == Class::Unavailable => {}
            Err(_) => self.begin_anew().await,
        }
    }

    /// Comes as somebody else: a cursor belongs to the room and not to the account.
    async fn begin_anew(&mut self) {
        let Some(node) = self.town.some_node(&mut self.dice) else { return };
        self.resident = self.town.settle(&node.services, &format!("Again {}", self.n), false).await;
        self.token.clone_from(self.resident.grant.access_token.expose());
        self.refresh.clone_from(self.resident.grant.refresh_token.expose());
        // Who posted is somebody else now, too.
        self.posts.clear();
        for place in &mut self.places {
            place.is_wanted &= place.room == LOBBY;
        }
    }

    /// Speaks and listens on a socket until it ends.
    async fn converse(&mut self, mut socket: Socket) -> Left {
        let mut act_at = Instant::now();
        let answers_pings = self.dice.percent(95) || self.town.is_settling();
        loop {
            self.note_whether_done();
            if self.town.is_over() {
                return Left::Resume;
            }
            let frame = tokio::select! {
                biased;
                () = tokio::time::sleep_until(act_at) => None,
                frame = socket.next() => Some(frame),
            };
            let left = match frame {
                None => {
                    let pause = if self.town.is_settling() { 300..301 } else { 20..1_500 };
                    act_at = Instant::now() + self.dice.millis(pause);
                    self.act(&mut socket).await
                }
                Some(None) => Err(Left::Resume),
                Some(Some(frame)) => self.take(&mut socket, frame, answers_pings).await,
            };
            if let Err(left) = left {
                return left;
            }
        }
    }

    fn note_whether_done(&self) {
        let is_at_end = |place: &Place| {
            let at = place.ear.as_ref().map(|ear| (ear.at(), ear.is_live()));
            at == Some((self.town.depot.head(place.room), true)) && place.standing == Standing::In
        };
        let knows_all = self.square.standing == Standing::In && self.square.view.is(&self.town.there());
        let has_heard = self.posts.is_empty() && self.places.iter().filter(|place| place.is_wanted).all(is_at_end);
        let is_done = has_heard && knows_all;
        self.is_done.store(is_done, Ordering::SeqCst);
    }

    async fn send(&mut self, socket: &mut Socket, record: serde_json::Value) -> Result<(), Left> {
        match in_time(socket.send_text(&record.to_string())).await {
            Some(Ok(())) => Ok(()),
            _ => Err(Left::Resume),
        }
    }

    /// Does something, or nothing.
    async fn act(&mut self, socket: &mut Socket) -> Result<(), Left> {
        for n in 0..self.places.len() {
            let Place { ref name, ref ear, standing, is_wanted, room, .. } = self.places[n];
            if standing == Standing::Out && is_wanted {
                let id = i64::try_from(room).expect("few rooms");
                let mut join = json!({ "t": "join", "id": id, "room": name });
                if let Some(ear) = ear {
                    join["since"] = ear.cursor().into();
                }
                self.places[n].standing = Standing::Asked { since: join.get("since").is_some() };
                self.send(socket, join).await?;
            }
        }
        if self.square.standing == Standing::Out {
            self.square.standing = Standing::Asked { since: false };
            self.send(socket, json!({ "t": "join", "id": JOIN_SQUARE, "room": "global" })).await?;
        }
        if self.square.standing == Standing::In && self.square.said.is_none() {
            // What was said before went with the socket.
            self.say_what_it_does(socket).await?;
        }
        if self.town.is_settling() {
            return self.say_again(socket).await;
        }
        match self.dice.below(22) {
            0..8 => self.post(socket).await,
            8 => {
                // Looks away, and the pipe fills.
                self.is_done.store(false, Ordering::SeqCst);
                let pause = self.dice.millis(100..9_000);
                tokio::time::sleep(pause).await;
                Ok(())
            }
            9 => Err(Left::Resume),
            10 => {
                // Says goodbye as it should be done.
                let close = masked(FIN | CLOSE, [0; 4], &1000_u16.to_be_bytes());
                let _ = in_time(socket.send(&close)).await;
                Err(Left::Resume)
            }
            11 => self.leave(socket).await,
            12 => self.say_again(socket).await,
            14 => {
                self.counted += 1;
                self.pings.push_back(self.counted);
                let ping = masked(FIN | PING, [0; 4], &self.counted.to_be_bytes());
                match in_time(socket.send(&ping)).await {
                    Some(Ok(())) => Ok(()),
                    _ => Err(Left::Resume),
                }
            }
            20 if self.square.standing == Standing::In => self.say_what_it_does(socket).await,
            21 if self.square.standing == Standing::In => {
                self.send(socket, json!({ "t": "typing", "id": 13, "room": "global" })).await
            }
            13 => {
                socket.sip = self.dice.pick(&[16, 64, 700, 4096]);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Is not in the room of everybody any more, and has said nothing of itself there.
    fn leave_square(&mut self) {
        self.square = Square { standing: Standing::Out, view: View::default(), said: None };
        self.town.come(self.n, None);
    }

    async fn say_what_it_does(&mut self, socket: &mut Socket) -> Result<(), Left> {
        let state = text(&mut self.dice, self.counted);
        self.square.said = Some(state.clone());
        self.town.come(self.n, Some((self.resident.account, Some(state.clone()))));
        self.send(socket, json!({ "t": "presence", "id": SAY, "room": "global", "state": state })).await
    }

    fn hear_square(&mut self, record: &Record<'_>, line: &str) -> Result<(), Broken> {
        match (record.t, self.square.standing) {
            ("joined", Standing::Asked { .. }) => {
                let told = record.presence.as_ref().ok_or("joined, and not told who is there")?;
                self.square.view = View::open(told)?;
                self.square.standing = Standing::In;
                self.town.come(self.n, Some((self.resident.account, None)));
                Ok(())
            }
            ("live", Standing::In) => Ok(()),
            ("typing", Standing::In) => {
                crate::count("somebody writes");
                Ok(())
            }
            ("presence", Standing::In) => {
                let told: Told<'_> = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
                self.square.view.take(&told)
            }
            (_, standing) => Err(format!("{standing:?} and told {line}")),
        }
    }

    async fn leave(&mut self, socket: &mut Socket) -> Result<(), Left> {
        let n = self.dice.below(self.places.len());
        if self.places[n].standing != Standing::In {
            return Ok(());
        }
        let leave = json!({ "t": "leave", "id": 10, "room": self.places[n].name });
        self.send(socket, leave).await?;
        // What is still on its way is not for this client any more, as it sees it.
        loop {
            let Some(Some(frame)) = in_time(socket.next()).await else { return Err(Left::Resume) };
            let is_left = frame.head == FIN | TEXT && frame.text().contains(r#""t":"left","id":10"#);
            self.take(socket, frame, true).await?;
            if is_left {
                break;
            }
        }
        let place = &mut self.places[n];
        place.standing = Standing::Out;
        if self.dice.percent(20) {
            place.former.extend(place.ear.take());
        }
        Ok(())
    }

    async fn post(&mut self, socket: &mut Socket) -> Result<(), Left> {
        let joined: Vec<usize> =
            self.places.iter().filter(|place| place.standing == Standing::In).map(|place| place.room).collect();
        if joined.is_empty() {
            return Ok(());
        }
        self.counted += 1;
        let post = Post {
            room: self.dice.pick(&joined),
            client_id: format!("client-{}-{}", self.n, self.counted),
            body: text(&mut self.dice, self.counted),
        };
        self.posts.push_back(post);
        let publish = self.publish(self.posts.len() - 1);
        self.send(socket, publish).await
    }

    fn publish(&self, n: usize) -> serde_json::Value {
        let Post { room, client_id, body } = &self.posts[n];
        let name = format!("channel:{}", self.town.channel(*room));
        let id: i64 = client_id.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a number");
        json!({ "t": "pub", "id": id + 100, "room": name, "clientId": client_id, "body": body })
    }

    /// Repeats what nobody acknowledged.
    async fn say_again(&mut self, socket: &mut Socket) -> Result<(), Left> {
        let is_in = |room| self.places.iter().any(|place| place.room == room && place.standing == Standing::In);
        let records: Vec<_> =
            (0..self.posts.len()).filter(|n| is_in(self.posts[*n].room)).map(|n| self.publish(n)).collect();
        for record in records {
            self.send(socket, record).await?;
        }
        Ok(())
    }

    /// Takes a frame, or what a mutation makes of it.
    async fn take(&mut self, socket: &mut Socket, frame: Frame, answers_pings: bool) -> Result<(), Left> {
        for frame in self.mutated(frame) {
            if frame.opcode() == CLOSE {
                return Err(Left::Resume);
            }
            if frame.head == FIN | PONG {
                let answered = self.pings.iter().position(|ping| ping.to_be_bytes() == frame.payload[..]);
                let Some(answered) = answered else {
                    return Err(self.breaks(&format!("a pong that nobody asked for: {frame:?}")));
                };
                self.pings.drain(..=answered);
                crate::count("pings that are answered");
                continue;
            }
            if frame.head != FIN | TEXT {
                self.town.breaks(&format!("client {}: a frame of no kind: {:#x}", self.n, frame.head));
                return Err(Left::Stop);
            }
            for line in frame.text().lines() {
                self.hear(socket, line, answers_pings).await?;
            }
        }
        Ok(())
    }

    fn mutated(&mut self, mut frame: Frame) -> Vec<Frame> {
        let mutation = self.town.plan.mutation;
        let tells = match mutation {
            Mutation::HideGap => r#""t":"gap""#,
            Mutation::HideWhole => r#""whole":true"#,
            Mutation::Alter => r#","body":""#,
            _ => r#""t":"msg""#,
        };
        let is_news = frame.head == FIN | TEXT && frame.text().contains(tells);
        if let Some(held) = self.held.take() {
            return vec![frame, held];
        }
        let Some(left) = self.strikes_in.filter(|_| is_news) else { return vec![frame] };
        if left > 0 && !matches!(mutation, Mutation::HideGap | Mutation::HideWhole) {
            self.strikes_in = Some(left - 1);
            return vec![frame];
        }
        self.strikes_in = None;
        match mutation {
            Mutation::Drop | Mutation::HideGap | Mutation::HideWhole => return Vec::new(),
            Mutation::Double => {
                let again = Frame { head: frame.head, payload: frame.payload.clone() };
                return vec![frame, again];
            }
            Mutation::Swap => {
                self.held = Some(frame);
                return Vec::new();
            }
            Mutation::Alter => frame.payload = frame.text().replace(r#","body":""#, r#","body":"not "#).into(),
            _ => {}
        }
        vec![frame]
    }

    async fn hear(&mut self, socket: &mut Socket, line: &str, answers_pings: bool) -> Result<(), Left> {
        let record: Record<'_> = match serde_json::from_str(line) {
            Ok(record) => record,
            Err(error) => return Err(self.breaks(&format!("{error}: {line}"))),
        };
        let kind = record.t.bytes().fold(0, |kind, byte| kind << 8 | u64::from(byte));
        let seq = record.message.as_ref().map_or(0, |message| message.seq);
        self.town.witness([self.n as u64, kind, record.id.unwrap_or(-1).unsigned_abs(), seq.unsigned_abs()]);
        match record.t {
            "ping" if answers_pings => return self.send(socket, json!({ "t": "pong" })).await,
            "welcome" | "ping" => {}
            "refresh-needed" => {
                if self.dice.percent(70) {
                    self.renew().await;
                    let refresh = json!({ "t": "refresh", "id": 11, "token": self.token });
                    return self.send(socket, refresh).await;
                }
            }
            "ok" => self.take_ok(&record),
            "err" => {
                self.is_documented(&record)?;
                self.take_err(&record)?;
            }
            "left" => {
                self.is_documented(&record)?;
                self.take_left(&record)?;
            }
            "bye" => {
                let code = record.code.as_ref().and_then(serde_json::Value::as_u64);
                crate::count(match code {
                    Some(4000) => "sent away by a drain",
                    Some(4001) => "sent away because they do not read",
                    Some(4002) => "sent away without a sign of life",
                    Some(4005) => "sent away because nobody knows their session",
                    Some(4100) => "sent away with an expired token",
                    Some(4201) => "sent away with their session",
                    _ => "sent away otherwise",
                });
                return Err(match code {
                    Some(4000..4100) => Left::Resume,
                    Some(4100..4200) => Left::Renew,
                    Some(4200 | 4201) => Left::Stop,
                    code => self.breaks(&format!("bye {code:?}")),
                });
            }
            _ if record.room == Some("global") => {
                if let Err(broken) = self.hear_square(&record, line) {
                    return Err(self.breaks(&broken));
                }
            }
            // Who writes in a channel is not kept.
            "typing" => {}
            _ => {
                if let Err(broken) = self.hear_room(&record) {
                    return Err(self.breaks(&broken));
                }
            }
        }
        Ok(())
    }

    fn breaks(&self, broken: &str) -> Left {
        self.town.breaks(&format!("client {}: {broken}", self.n));
        Left::Stop
    }

    /// Whoever refuses does so with a code that the documents tell.
    fn is_documented(&self, refused: &Record<'_>) -> Result<(), Left> {
        let code = refused.code.as_ref().and_then(serde_json::Value::as_str);
        match code.filter(|code| refusal::OF_RECORDS.iter().all(|known| known.as_str() != *code)) {
            Some(code) => Err(self.breaks(&format!("the documents do not tell of {code}"))),
            None => Ok(()),
        }
    }

    fn hear_room(&mut self, record: &Record<'_>) -> Result<(), Broken> {
        let place = self.places.iter_mut().find(|place| Some(place.name.as_str()) == record.room);
        let place = place.ok_or_else(|| format!("a record of no room: {record:?}"))?;
        let cursor = || record.cursor.ok_or("a record without a cursor");
        if record.t == "joined" {
            let recovered = record.recovered.ok_or("whether it recovered")?;
            match (&mut place.ear, place.standing) {
                (Some(ear), Standing::Asked { since: true }) => {
                    let cursor = cursor()?;
                    if ear.is_torn() {
                        crate::count("replays gone on with");
                    }
                    self.town.depot.with_ledger(|ledger| ear.rejoin(ledger, cursor, recovered))?;
                }
                (None, Standing::Asked { since: false }) => {
                    place.ear = Some(Ear::open(place.room, cursor()?, recovered)?);
                }
                _ => return Err(format!("joined, and nobody asked: {record:?}")),
            }
            place.standing = Standing::In;
            return Ok(());
        }
        if place.standing != Standing::In {
            return Err(format!("{} of a room that is not joined", record.t));
        }
        let ear = place.ear.as_mut().ok_or("a room without a position")?;
        match (record.t, &record.message) {
            ("msg" | "update", Some(message)) => {
                if record.t == "msg" && record.seq != Some(message.seq) {
                    return Err(format!("two numbers: {record:?}"));
                }
                let Message { id, seq, body } = *message;
                let shown = Shown { message: id.to_owned(), seq, body: body.map(str::to_owned) };
                crate::count(match (ear.is_live(), record.t) {
                    (true, "msg") => "messages told live",
                    (true, _) => "changes told live",
                    (false, "msg") => "messages replayed",
                    (false, _) => "changes replayed",
                });
                let cursor = cursor()?;
                ear.is_exact = !self.town.depot.has_torn();
                self.town.depot.with_ledger(|ledger| ear.message(ledger, record.t == "msg", cursor, shown))
            }
            ("live", _) => ear.live(),
            ("gap", _) => {
                // A gap is told only where there is one.
                let may_be = match record.cause {
                    Some("window") => self.town.depot.has_window() || self.town.depot.has_purged(),
                    Some("epoch") => self.town.depot.lives() > 0,
                    _ => false,
                };
                if !may_be {
                    return Err(format!("a gap without a cause: {record:?}"));
                }
                crate::count(match record.cause {
                    Some("window") if self.town.depot.has_window() => "gaps of the window",
                    Some("window") if ear.is_replaying() => "gaps of retention in the middle of a replay",
                    Some("window") => "gaps of retention",
                    _ => "gaps of an epoch",
                });
                ear.gap(cursor()?)
            }
            _ => Err(format!("a record of no kind: {record:?}")),
        }
    }

    fn take_ok(&mut self, record: &Record<'_>) {
        let (Some(id), Some(message)) = (record.id, &record.message) else { return };
        let suffix = format!("-{}", id - 100);
        if let Some(n) = self.posts.iter().position(|post| post.client_id.ends_with(&suffix)) {
            let post = self.posts.remove(n).expect("it is there");
            self.town.acknowledge(post.room, message.id.to_owned());
        }
    }

    fn take_err(&mut self, record: &Record<'_>) -> Result<(), Left> {
        let code = record.code.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let id = record.id.unwrap_or(-1);
        if id == JOIN_SQUARE && matches!(self.square.standing, Standing::Asked { .. }) {
            self.square.standing = Standing::Out;
        }
        if id == SAY {
            self.square.said = None;
        }
        if id < 2
            && let Some(place) = self.places.iter_mut().find(|place| i64::try_from(place.room) == Ok(id))
            && matches!(place.standing, Standing::Asked { .. })
        {
            place.standing = Standing::Out;
            if matches!(code.as_str(), "channel-not-found" | "forbidden" | "access-denied") {
                return self.lose(id);
            }
        }
        match code.as_str() {
            // It is said again.
            "unavailable" | "overloaded" | "not-joined" => Ok(()),
            "timed-out" => {
                crate::count("requests that are given up");
                Ok(())
            }
            "already-joined" | "token-expired" | "token-invalid" => Err(Left::Renew),
            // A member that was shown out has nothing to say there.
            "channel-not-found" | "forbidden" if self.resident.has_left.load(Ordering::SeqCst) => Ok(()),
            _ => Err(self.breaks(&format!("refused: {record:?}"))),
        }
    }

    /// Gives up a room, if there is a reason.
    fn lose(&mut self, room: i64) -> Result<(), Left> {
        let is_den = i64::try_from(DEN) == Ok(room);
        if !is_den || !self.resident.has_left.load(Ordering::SeqCst) {
            return Err(self.breaks(&format!("shown out of room {room} without a reason")));
        }
        crate::count("shown out of a room");
        self.posts.retain(|post| post.room != DEN);
        for place in self.places.iter_mut().filter(|place| place.room == DEN) {
            (place.standing, place.is_wanted) = (Standing::Out, false);
        }
        Ok(())
    }

    fn take_left(&mut self, record: &Record<'_>) -> Result<(), Left> {
        if record.id.is_some() {
            return Ok(());
        }
        let place = self.places.iter().find(|place| Some(place.name.as_str()) == record.room);
        match place.map(|place| i64::try_from(place.room).expect("few rooms")) {
            Some(room) => self.lose(room),
            None => Err(self.breaks(&format!("left what it was not in: {record:?}"))),
        }
    }

    /// Is asked whether anything is missing.
    fn hand_in(self) {
        if self.town.broken().is_some() {
            return;
        }
        let acknowledged = self.town.acknowledged.lock().expect("no panic").clone();
        for place in &self.places {
            for (ear, stayed) in
                place.former.iter().map(|ear| (ear, false)).chain(place.ear.iter().map(|ear| (ear, place.is_wanted)))
            {
                let judged = self.town.depot.with_ledger(|ledger| ear.judge(ledger, &acknowledged, stayed));
                if let Err(broken) = judged {
                    self.town.breaks(&format!("client {}: {broken}", self.n));
                }
            }
        }
    }
}

/// How long a client may take to get to the end once nothing fails any more.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
