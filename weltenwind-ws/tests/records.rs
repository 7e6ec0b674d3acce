//! The wire as others parse it: one session, each kind of record at least once.

mod support;

use serde_json::json;
use support::{Client, Node, room};
use weltenwind_core::{
    Actor,
    chat::{Change, Draft, RemovalMode, RoomPosition},
};

/// What both sides said, line by line.
struct Transcript {
    client: Client,
    lines: Vec<String>,
}

/// Calls identifiers and cursors by the order in which they appear: which ones are drawn is not the wire's business.
fn renamed(text: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    let is_opaque =
        |word: &&str| word.len() == 36 && word.matches('-').count() >= 4 || word.starts_with('A') && word.len() > 30;
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').filter(is_opaque) {
        if !names.contains(&word) {
            names.push(word);
        }
    }
    names.iter().enumerate().fold(text.to_owned(), |text, (n, name)| {
        let kind = if name.starts_with('A') { "cursor" } else { "id" };
        text.replace(name, &format!("{kind}-{n}"))
    })
}

impl Transcript {
    async fn says(&mut self, record: &str) {
        self.lines.push(format!("> {record}"));
        self.client.send_text(record).await;
    }

    async fn hears(&mut self, t: &str) {
        self.client.expect(t).await;
        self.lines.push(format!("< {}", self.client.line));
    }
}

#[tokio::test(start_paused = true)]
async fn the_records_of_a_session() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let chat = &node.town.services.chat;
    let lu = Actor::player("Lu");
    let grant = node.guest("Mira").await;
    let client = node.connect(&grant).await;
    let mut session = Transcript { lines: vec![format!("< {}", client.line)], client };
    let room = room(lobby);

    session.says(&format!(r#"{{"t":"join","id":1,"room":"{room}"}}"#)).await;
    session.hears("joined").await;
    session.hears("live").await;
    session.says(&format!(r#"{{"t":"pub","id":2,"room":"{room}","clientId":"a1","body":"well met"}}"#)).await;
    session.hears("ok").await;
    session.hears("msg").await;
    let message = chat.post(&lu, Draft::new(lobby, "welcome")).await.unwrap().message;
    session.hears("msg").await;
    chat.edit(&lu, message.id, "Welcome!").await.unwrap();
    session.hears("update").await;
    chat.remove(&Actor::operator(), message.id, RemovalMode::Mask, Some("off topic")).await.unwrap();
    session.hears("update").await;
    session.says(&format!(r#"{{"t":"leave","id":3,"room":"{room}"}}"#)).await;
    session.hears("left").await;
    let foreign = RoomPosition { epoch: 0xdead, change: Change::new(1) };
    let foreign = node.town.services.cursors.seal_room(lobby, foreign);
    session.says(&format!(r#"{{"t":"join","id":4,"room":"{room}","since":"{foreign}"}}"#)).await;
    session.hears("joined").await;
    session.hears("gap").await;
    session.hears("live").await;
    session.says(&format!(r#"{{"t":"join","id":5,"room":"{room}"}}"#)).await;
    session.hears("err").await;
    session.says(r#"{"t":"dance"}"#).await;
    session.hears("err").await;
    let operator = Actor::operator();
    chat.close_channel(&operator, lobby, None).await.unwrap();
    session.hears("ping").await;
    session.hears("left").await;
    session.says(r#"{"t":"pong"}"#).await;
    session.client.answers_pings = true;
    session.hears("refresh-needed").await;
    let newer = grant.access_token.expose();
    session.client.send(json!({ "t": "refresh", "id": 6, "token": newer })).await;
    session.lines.push(r#"> {"t":"refresh","id":6,"token":"…"}"#.to_owned());
    session.hears("ok").await;
    node.town.services.accounts.sign_out(&node.actor(&grant).await).await.unwrap();
    session.hears("bye").await;
    session.client.expect_close(4201).await;

    insta::assert_snapshot!(renamed(&session.lines.join("\n")), @r#"
    < {"t":"welcome","conn":"id-0","node":"node-1","serverTime":"2026-01-01T00:00:00.000Z","pingEverySeconds":25,"tokenTtlSeconds":300,"limits":{"rooms":128,"frameBytes":65536,"replayWindow":10000}}
    > {"t":"join","id":1,"room":"channel:id-1"}
    < {"t":"joined","id":1,"room":"channel:id-1","cursor":"cursor-2","recovered":false}
    < {"t":"live","room":"channel:id-1"}
    > {"t":"pub","id":2,"room":"channel:id-1","clientId":"a1","body":"well met"}
    < {"t":"ok","id":2,"message":{"id":"id-3","channelId":"id-1","seq":1,"author":{"id":"id-4","displayName":"Mira"},"body":"well met","clientId":"a1","sentAt":"2026-01-01T00:00:00.000Z","flags":[]}}
    < {"t":"msg","room":"channel:id-1","seq":1,"cursor":"cursor-5","message":{"id":"id-3","channelId":"id-1","seq":1,"author":{"id":"id-4","displayName":"Mira"},"body":"well met","clientId":"a1","sentAt":"2026-01-01T00:00:00.000Z","flags":[]}}
    < {"t":"msg","room":"channel:id-1","seq":2,"cursor":"cursor-6","message":{"id":"id-7","channelId":"id-1","seq":2,"author":{"id":"id-8","displayName":"Lu"},"body":"welcome","sentAt":"2026-01-01T00:00:00.000Z","flags":[]}}
    < {"t":"update","room":"channel:id-1","cursor":"cursor-9","message":{"id":"id-7","channelId":"id-1","seq":2,"author":{"id":"id-8","displayName":"Lu"},"body":"Welcome!","sentAt":"2026-01-01T00:00:00.000Z","editedAt":"2026-01-01T00:00:00.000Z","flags":[]}}
    < {"t":"update","room":"channel:id-1","cursor":"cursor-10","message":{"id":"id-7","channelId":"id-1","seq":2,"author":{"id":"id-8","displayName":"Lu"},"body":null,"sentAt":"2026-01-01T00:00:00.000Z","editedAt":"2026-01-01T00:00:00.000Z","flags":[],"tombstone":{"deletedBy":null,"reason":"off topic","deletedAt":"2026-01-01T00:00:00.000Z"}}}
    > {"t":"leave","id":3,"room":"channel:id-1"}
    < {"t":"left","id":3,"room":"channel:id-1"}
    > {"t":"join","id":4,"room":"channel:id-1","since":"cursor-11"}
    < {"t":"joined","id":4,"room":"channel:id-1","cursor":"cursor-10","recovered":false}
    < {"t":"gap","room":"channel:id-1","cause":"epoch","cursor":"cursor-10"}
    < {"t":"live","room":"channel:id-1"}
    > {"t":"join","id":5,"room":"channel:id-1"}
    < {"t":"err","id":5,"code":"already-joined","detail":"The room is joined already.","correlationId":"id-0.5"}
    > {"t":"dance"}
    < {"t":"err","id":null,"code":"record-unreadable","detail":"The record cannot be read: unknown variant `dance`, expected one of `join`, `leave`, `pub`, `refresh`, `presence`, `typing`, `foreground`, `pong` at line 1 column 12.","correlationId":"id-0.6"}
    < {"t":"ping"}
    < {"t":"left","room":"channel:id-1","code":"channel-not-found"}
    > {"t":"pong"}
    < {"t":"refresh-needed"}
    > {"t":"refresh","id":6,"token":"…"}
    < {"t":"ok","id":6}
    < {"t":"bye","code":4201,"reason":"the session has ended","retryMinMs":0,"retryMaxMs":0,"resume":false}
    "#);
}
