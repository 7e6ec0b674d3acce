//! `weltenwind bench floor`: the least that a server can do, to hold others against.
//!
//! With `--copies` it writes a prepared frame to each socket in turn and does nothing else. Without, it speaks just enough of
//! `/realtime/v1` for the clients of `bench realtime`: it numbers messages and writes them, and neither checks nor keeps
//! anything.

use std::{
    collections::{BTreeMap, HashMap},
    io::{ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

use clap::Args;
use memchr::memmem;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{dialect::text, processes::Watched};
use crate::{failure::Failure, output};

#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    /// Frames in each write.
    #[arg(long, requires = "sockets")]
    copies: Option<usize>,
    /// Sockets that are waited for and written to.
    #[arg(long, requires = "copies")]
    sockets: Option<usize>,
    /// Seconds of writing.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
}

/// What bare writes came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) frames: u64,
    /// Time on the processor, in microseconds.
    pub(super) spent: u64,
    pub(super) elapsed: u64,
}

/// As long as the frames of the peers in the documents.
const FRAME: usize = 260;

fn failed(error: &std::io::Error) -> Failure {
    Failure::failed(format!("the floor gives way: {error}"))
}

pub(crate) fn run(args: &FloorArgs) -> Result<(), Failure> {
    let address = "127.0.0.1:0".parse().expect("an address");
    let listener = TcpListener::bind(address).map_err(|error| failed(&error))?;
    output::line(&format!("Listening {}", listener.local_addr().map_err(|error| failed(&error))?))?;
    match (args.copies, args.sockets) {
        (Some(copies), Some(sockets)) => {
            let written = write(listener, copies, sockets, Duration::from_secs(args.seconds))?;
            output::line(&serde_json::to_string(&written).expect("counts are plain data"))
        }
        _ => Floor::new(listener)?.serve(),
    }
}

/// Writes to each socket in turn; one that is full is passed over.
fn write(mut listener: TcpListener, copies: usize, count: usize, time: Duration) -> Result<Written, Failure> {
    let mut poll = Poll::new().map_err(|error| failed(&error))?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).map_err(|error| failed(&error))?;
    let (mut events, mut sockets) = (Events::with_capacity(16), Vec::new());
    while sockets.len() < count {
        poll.poll(&mut events, None).map_err(|error| failed(&error))?;
        while let Some(mut stream) = accept(&listener)? {
            stream.write_all(b"x").map_err(|error| failed(&error))?;
            sockets.push((stream, 0));
        }
    }
    let frames = vec![b'x'; FRAME * copies];
    let (begun, before) = (Instant::now(), own_time()?);
    let mut bytes = 0;
    while begun.elapsed() < time {
        for (stream, at) in &mut sockets {
            match stream.write(&frames[*at..]) {
                Ok(written) => {
                    bytes += written;
                    *at = (*at + written) % frames.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(&error)),
            }
        }
    }
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Ok(Written {
        frames: (bytes / FRAME) as u64,
        spent: micros(own_time()?.saturating_sub(before)),
        elapsed: micros(begun.elapsed()),
    })
}

fn own_time() -> Result<Duration, Failure> {
    Ok(Watched::default().spent()?.clients)
}

fn accept(listener: &TcpListener) -> Result<Option<TcpStream>, Failure> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nodelay(true).map_err(|error| failed(&error))?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// A server that does what must be done, and nothing else.
struct Floor {
    listener: TcpListener,
    poll: Poll,
    sockets: Vec<Option<Socket>>,
    rooms: Vec<Room>,
    names: HashMap<Vec<u8>, usize>,
    /// Rooms with something to tell.
    told: Vec<usize>,
}

struct Socket {
    stream: TcpStream,
    room: Option<usize>,
    /// What the client calls itself.
    user: String,
    is_open: bool,
    unread: Vec<u8>,
    out: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    last: u64,
    /// Frames of this turn, the same bytes for everybody.
    news: Vec<u8>,
    /// What members say of themselves and the others were not told.
    said: BTreeMap<String, String>,
    version: u64,
}

/// Who is there is told as often as Weltenwind tells it.
const TURN: Duration = Duration::from_millis(100);

const LISTENER: Token = Token(usize::MAX);

impl Floor {
    fn new(mut listener: TcpListener) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(|error| failed(&error))?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(|error| failed(&error))?;
        Ok(Self { listener, poll, sockets: Vec::new(), rooms: Vec::new(), names: HashMap::new(), told: Vec::new() })
    }

    fn serve(mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 1 << 16];
        let mut told_at = Instant::now();
        loop {
            let has_said = self.rooms.iter().any(|room| !room.said.is_empty());
            let left = has_said.then(|| TURN.saturating_sub(told_at.elapsed()));
            self.poll.poll(&mut events, left).map_err(|error| failed(&error))?;
            if told_at.elapsed() >= TURN {
                told_at = Instant::now();
                self.tell_said();
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let n = event.token().0;
                if event.is_readable() {
                    self.read(n, &mut buffer);
                }
                if event.is_writable() {
                    self.flush(n);
                }
            }
            for room in std::mem::take(&mut self.told) {
                self.tell(room);
            }
        }
    }

    fn accept(&mut self) -> Result<(), Failure> {
        while let Some(mut stream) = accept(&self.listener)? {
            let token = Token(self.sockets.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, interest).map_err(|error| failed(&error))?;
            let (user, unread, out) = (String::new(), Vec::new(), Vec::new());
            self.sockets.push(Some(Socket { stream, room: None, user, is_open: false, unread, out }));
        }
        Ok(())
    }

    fn read(&mut self, n: usize, buffer: &mut [u8]) {
        loop {
            let Some(socket) = &mut self.sockets[n] else { return };
            match socket.stream.read(buffer) {
                Ok(read) if read > 0 => socket.unread.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Who leaves is not missed.
                _ => {
                    self.sockets[n] = None;
                    return;
                }
            }
        }
        self.take(n);
        self.flush(n);
    }

    fn take(&mut self, n: usize) {
        let Some(socket) = &mut self.sockets[n] else { return };
        let unread = std::mem::take(&mut socket.unread);
        let mut at = 0;
        if !socket.is_open {
            let Some(end) = memmem::find(&unread, b"\r\n\r\n") else {
                socket.unread = unread;
                return;
            };
            let head = String::from_utf8_lossy(&unread[..end]);
            let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap_or_default();
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-protocol: weltenwind.v1\r\nsec-websocket-accept: {accept}\r\n\r\n"
            );
            let user = head.lines().find_map(|line| line.strip_prefix("user-agent: ")).unwrap_or_default();
            user.clone_into(&mut socket.user);
            socket.out.extend_from_slice(answer.as_bytes());
            (socket.is_open, at) = (true, end + 4);
        }
        while let Some((start, end)) = client_frame(&unread[at..]) {
            self.answer(n, &unread[at + start..at + end]);
            at += end;
        }
        if let Some(socket) = &mut self.sockets[n] {
            socket.unread = unread[at..].to_vec();
        }
    }

    fn answer(&mut self, n: usize, record: &[u8]) {
        let Some(name) = text(record, br#""room":""#) else { return };
        let room = *self.names.entry(name.to_vec()).or_insert_with(|| {
            self.rooms.push(Room::default());
            self.rooms.len() - 1
        });
        let Some(socket) = &mut self.sockets[n] else { return };
        let name = String::from_utf8_lossy(name);
        if record.starts_with(br#"{"t":"join""#) {
            socket.room = Some(room);
            self.rooms[room].members.push(n);
            push_frame(&mut socket.out, format!(r#"{{"t":"joined","id":0,"room":"{name}"}}"#).as_bytes());
            push_frame(&mut socket.out, format!(r#"{{"t":"live","room":"{name}"}}"#).as_bytes());
        } else if record.starts_with(br#"{"t":"typing""#) {
            push_ok(&mut socket.out, record);
            let user = &socket.user;
            let news = format!(r#"{{"t":"typing","room":"{name}","user":"{user}","displayName":"Somebody"}}"#);
            self.news(room, &news);
        } else if let Some(state) = text(record, br#""state":""#) {
            push_ok(&mut socket.out, record);
            self.rooms[room].said.insert(socket.user.clone(), String::from_utf8_lossy(state).into_owned());
        } else if let (Some(body), Some(id)) = (text(record, br#""body":""#), text(record, br#""clientId":""#)) {
            let (body, id) = (String::from_utf8_lossy(body), String::from_utf8_lossy(id));
            let told = &mut self.rooms[room];
            told.last += 1;
            let seq = told.last;
            push_frame(&mut socket.out, format!(r#"{{"t":"ok","id":{id},"message":{{"seq":{seq}}}}}"#).as_bytes());
            let news = format!(r#"{{"t":"msg","room":"{name}","seq":{seq},"body":"{body}"}}"#);
            self.news(room, &news);
        }
    }

    /// Has a room told of something at the end of the turn.
    fn news(&mut self, room: usize, record: &str) {
        let news = &mut self.rooms[room].news;
        if news.is_empty() {
            self.told.push(room);
        }
        push_frame(news, record.as_bytes());
    }

    /// Tells what members have said of themselves, all of a room in one record.
    fn tell_said(&mut self) {
        let names: Vec<(String, usize)> =
            self.names.iter().map(|(name, room)| (String::from_utf8_lossy(name).into_owned(), *room)).collect();
        for (name, n) in names {
            let room = &mut self.rooms[n];
            if room.said.is_empty() {
                continue;
            }
            room.version += 1;
            let (version, count) = (room.version, room.members.len());
            let member = |(user, state)| format!(r#"{{"id":"{user}","displayName":"Somebody","state":"{state}"}}"#);
            let join = std::mem::take(&mut room.said).into_iter().map(member).collect::<Vec<_>>().join(",");
            let record = format!(
                r#"{{"t":"presence","room":"{name}","version":{version},"join":[{join}],"leave":[],"count":{count}}}"#
            );
            self.news(n, &record);
        }
    }

    /// Writes a room's news to its members, all of this turn at once.
    fn tell(&mut self, room: usize) {
        let news = std::mem::take(&mut self.rooms[room].news);
        let members = std::mem::take(&mut self.rooms[room].members);
        for n in &members {
            let Some(socket) = &mut self.sockets[*n] else { continue };
            let written = if socket.out.is_empty() { socket.stream.write(&news).unwrap_or_default() } else { 0 };
            socket.out.extend_from_slice(&news[written..]);
        }
        self.rooms[room].members = members;
    }

    fn flush(&mut self, n: usize) {
        let Some(socket) = &mut self.sockets[n] else { return };
        while !socket.out.is_empty() {
            match socket.stream.write(&socket.out) {
                Ok(written) => drop(socket.out.drain(..written)),
                Err(_) => return,
            }
        }
    }
}

/// Finds a client's whole frame: where its payload begins and ends. Its mask is of zeros.
fn client_frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let length = usize::from(bytes.get(1)? & 0x7F);
    let (length, head) = match length {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 8),
        127 => return None,
        length => (length, 6),
    };
    (bytes.len() >= head + length).then_some((head, head + length))
}

/// Appends the answer to a request that is answered with nothing else.
fn push_ok(out: &mut Vec<u8>, record: &[u8]) {
    let id = memmem::find(record, br#""id":"#).map(|at| &record[at + 5..]).unwrap_or_default();
    let digits = id.iter().take_while(|byte| byte.is_ascii_digit()).count();
    push_frame(out, format!(r#"{{"t":"ok","id":{}}}"#, String::from_utf8_lossy(&id[..digits])).as_bytes());
}

/// Appends a server's text frame.
fn push_frame(out: &mut Vec<u8>, text: &[u8]) {
    out.push(0x81);
    if let Ok(length @ 0..=125) = u8::try_from(text.len()) {
        out.push(length);
    } else {
        out.push(126);
        out.extend_from_slice(&u16::try_from(text.len()).expect("records are short").to_be_bytes());
    }
    out.extend_from_slice(text);
}
