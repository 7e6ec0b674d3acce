//! The conversations of the documents, with a client and a server that keeps to them.

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{
    quick,
    script::{CHANNEL, Peer, Script},
    soon,
};
use tokio::task::JoinHandle;
use weltenwind_client::{ClientError, Draft, Event, Realtime, RealtimeHandle, Room};
use weltenwind_core::wire::{Transcript, TranscriptLine, TranscriptNames};

/// What the placeholders stand for here; the rest is what the client says.
const CAST: [(&str, &str); 16] = [
    ("channel", CHANNEL),
    ("mira", "018f0000-0000-7000-8000-00000000000b"),
    ("lu", "018f0000-0000-7000-8000-00000000001b"),
    ("message", "018f0000-0000-7000-8000-0000000000a1"),
    ("notification", "018f0000-0000-7000-8000-0000000000b1"),
    ("answer", "018f0000-0000-7000-8000-0000000000a2"),
    ("now", "2026-01-01T00:00:00.000Z"),
    ("conn", "connection-1"),
    ("node", "node-1"),
    ("request", "connection-1.4"),
    ("start", "c0"),
    ("first", "c1"),
    ("second", "c2"),
    ("third", "c3"),
    ("other", "b7"),
    ("token", "access-1"),
];

/// A client, the server's side of its socket, and what the program waits for.
struct Scene {
    realtime: Realtime,
    peer: Peer,
    names: TranscriptNames,
    /// The requests of the transcript as the client numbers them.
    ids: BTreeMap<i64, Value>,
    asked: BTreeMap<i64, JoinHandle<Result<(), ClientError>>>,
    /// Whether the server has taken its leave.
    ends: bool,
    /// Who is known to be there, as the server told it last.
    known: BTreeMap<String, Value>,
}

impl Scene {
    async fn play(script: &mut Script, transcript: &Transcript) {
        let client = script.guest().await;
        let options = quick();
        let (realtime, peer) = tokio::join!(soon(Realtime::connect_with(&client, &options)), script.accept());
        let mut names = TranscriptNames::default();
        for (name, value) in CAST {
            names.set(name, value);
        }
        let mut scene = Self {
            realtime: realtime.expect("a socket"),
            peer,
            names,
            ids: BTreeMap::new(),
            asked: BTreeMap::new(),
            ends: false,
            known: BTreeMap::new(),
        };
        for line in &transcript.lines {
            match line {
                TranscriptLine::Client(record) => scene.ask(&transcript.title, record).await,
                TranscriptLine::Server(record) => scene.tell(record).await,
                // The server tells of it.
                TranscriptLine::Meanwhile(_) => {}
            }
        }
        assert!(scene.asked.is_empty(), "{}: everything is answered", transcript.title);
        if scene.ends {
            scene.peer.close(4000).await;
            let event = soon(scene.realtime.next()).await.expect("the loss is told");
            assert_eq!(name_of(&event), "disconnected", "{}: {event:?}", transcript.title);
        }
    }

    async fn hear(&mut self, expected: &str) {
        let event = soon(self.realtime.next()).await.expect("the socket stays open");
        assert_eq!(name_of(&event), expected, "{event:?}");
    }

    /// Lets the program ask for what the client says next, and holds what it says against the transcript.
    async fn ask(&mut self, title: &str, template: &Value) {
        let record = self.names.fill(template);
        if let Some(asking) = asking(self.realtime.handle(), &record) {
            self.asked.insert(record["id"].as_i64().expect("a request has a number"), asking);
        }
        let said = self.peer.next().await.expect("the client says something");
        let mut template = template.clone();
        if let Some(id) = template["id"].as_i64() {
            self.ids.insert(id, said["id"].clone());
            template["id"] = said["id"].clone();
        }
        assert!(self.names.meet(&template, &said), "{title}: {said} is not {template}");
    }

    async fn tell(&mut self, template: &Value) {
        let mut record = self.names.fill(template);
        assert!(!record.to_string().contains('$'), "{record}");
        let id = record["id"].as_i64();
        if let Some(id) = id {
            record["id"] = self.ids[&id].clone();
        }
        let event = self.event_of(&record);
        self.peer.send(record.clone()).await;
        if let Some(asked) = id.and_then(|id| self.asked.remove(&id)) {
            let answer = soon(asked).await.expect("the task ends");
            let code = answer.as_ref().err().map(|error| error.code().expect("a refusal"));
            assert_eq!(code, record["code"].as_str(), "{record}: {answer:?}");
        }
        match event {
            // It comes with the end of the connection.
            Some("disconnected") => self.ends = true,
            Some(expected) => self.hear(expected).await,
            None => {}
        }
    }

    /// What the program hears of a record.
    fn event_of(&mut self, record: &Value) -> Option<&'static str> {
        Some(match record["t"].as_str().expect("a kind") {
            "msg" => "message",
            "notice" => "notice",
            "update" => "updated",
            "live" => "live",
            "gap" => "gap",
            "typing" => "typing",
            "left" if record["id"].is_null() => "left",
            "bye" => "disconnected",
            "joined" if !record["presence"].is_null() => {
                self.know(&record["presence"]["members"]);
                "presence"
            }
            // Oneself is in the snapshot, and then in a change.
            "presence" => {
                let is_news = self.know(&record["join"]) || record["leave"] != json!([]);
                return is_news.then_some("presence");
            }
            "welcome" | "joined" | "left" | "ok" | "err" | "refresh-needed" | "ping" => return None,
            other => panic!("what does a program hear of `{other}`?"),
        })
    }

    /// Returns whether something of it is new.
    fn know(&mut self, members: &Value) -> bool {
        let mut is_news = false;
        for member in members.as_array().expect("a list") {
            let id = member["id"].as_str().expect("an id").to_owned();
            is_news |= self.known.insert(id, member.clone()).as_ref() != Some(member);
        }
        is_news
    }
}

/// What a program does so that the client says this; nothing for what it says by itself.
fn asking(handle: RealtimeHandle, record: &Value) -> Option<JoinHandle<Result<(), ClientError>>> {
    let text = |member: &str| record[member].as_str().map(str::to_owned);
    let room: Option<Room> = text("room").map(|room| room.parse().expect("a room"));
    let kind = text("t").expect("a kind");
    if matches!(kind.as_str(), "refresh" | "pong") {
        return None;
    }
    let (since, state, on) = (text("since"), text("state"), record["on"].as_bool());
    let draft = kind.as_str().eq("pub").then(|| {
        let Some(Room::Channel(channel)) = room else { panic!("messages are posted to channels") };
        let draft = Draft::new(channel, text("body").expect("a body"));
        let reply_to = text("replyTo").map(|id| id.parse().expect("an id"));
        Draft { client_id: text("clientId").expect("a client id"), reply_to, ..draft }
    });
    Some(tokio::spawn(async move {
        let room = || room.expect("a room");
        match kind.as_str() {
            "join" => handle.join(room(), since.as_deref()).await.map(drop),
            "leave" => handle.leave(room()).await,
            "pub" => handle.publish_draft(draft.expect("a draft")).await.map(drop),
            "presence" => handle.say(room(), state.as_deref()).await,
            "typing" => handle.typing(room()).await,
            "foreground" => handle.foreground(on.expect("yes or no")).await,
            other => panic!("what makes a client say `{other}`?"),
        }
    }))
}

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Message { .. } => "message",
        Event::Updated { .. } => "updated",
        Event::Live { .. } => "live",
        Event::Gap { .. } => "gap",
        Event::Presence { .. } => "presence",
        Event::Typing { .. } => "typing",
        Event::Notice { .. } => "notice",
        Event::Left { .. } => "left",
        Event::Disconnected { .. } => "disconnected",
        _ => "another",
    }
}

#[tokio::test]
async fn a_client_says_and_hears_what_the_documents_say() {
    for transcript in Transcript::all() {
        Scene::play(&mut Script::start().await, &transcript).await;
    }
}
