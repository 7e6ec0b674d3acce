//! The conversations of the documents, with a node.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Client, Node};
use weltenwind_core::{
    Actor, ChannelId, CorrelationId, IdGenerator as _, Limit, MessageId, NotificationId, Room, Scope, SystemIds,
    WorldId,
    accounts::SessionGrant,
    chat::{ChannelDraft, ChatStore as _, Draft, MessageQuery, Position, RoomPosition},
    notifications::Notice,
    wire::{Transcript, TranscriptLine, TranscriptNames},
    worlds::{Visibility, WorldAmendment, WorldDraft, WorldRef},
};

/// A node, Mira, who talks to it, and Lu, of whom she hears.
struct Scene {
    node: Node,
    world: WorldId,
    channel: ChannelId,
    mira: SessionGrant,
    socket: Client,
    lu: SessionGrant,
    lus: Option<Client>,
    names: TranscriptNames,
}

impl Scene {
    /// Both are members of a private world with one channel.
    async fn begin() -> Self {
        let node = Node::start().await;
        let presence = node.town.services.presence.clone();
        tokio::spawn(async move { presence.run().await });
        let (mira, lu, operator) = (node.guest("Mira").await, node.guest("Lu").await, Actor::operator());
        let worlds = &node.town.services.worlds;
        let world = worlds.create(&operator, WorldDraft::new("Mistral").unwrap()).await.unwrap().id;
        for grant in [&mira, &lu] {
            worlds.join(&node.actor(grant).await, &WorldRef::Id(world)).await.unwrap();
        }
        let amendment = WorldAmendment { visibility: Some(Visibility::Private), ..WorldAmendment::default() };
        worlds.amend(&operator, &WorldRef::Id(world), None, amendment).await.unwrap();
        let draft = ChannelDraft::new(Scope::World(world), "den", "Den");
        let channel = node.town.services.chat.open_channel(&operator, draft).await.unwrap().id;
        let socket = node.connect(&mira).await;
        let mut names = TranscriptNames::default();
        let cast = [("channel", channel.to_string()), ("mira", mira.account.id.to_string())];
        for (name, value) in cast.into_iter().chain([("lu", lu.account.id.to_string())]) {
            names.set(name, value);
        }
        Self { node, world, channel, mira, socket, lu, lus: None, names }
    }

    async fn play(&mut self, transcript: &Transcript) {
        let mut lines = transcript.lines.iter().peekable();
        let Some(TranscriptLine::Server(welcome)) = lines.next() else { panic!("a welcome comes first") };
        let said: Value = serde_json::from_str(&self.socket.line).unwrap();
        assert!(self.names.meet(welcome, &said), "{}: {said} is not {welcome}", transcript.title);
        while let Some(line) = lines.next() {
            match line {
                TranscriptLine::Client(record) => {
                    let record = self.names.fill(record);
                    assert!(!record.to_string().contains('$'), "{record}");
                    self.socket.send(record).await;
                }
                TranscriptLine::Server(record) => {
                    let mut said = vec![record];
                    while let Some(TranscriptLine::Server(record)) =
                        lines.next_if(|line| matches!(line, TranscriptLine::Server(_)))
                    {
                        said.push(record);
                    }
                    self.hear(&transcript.title, said).await;
                }
                TranscriptLine::Meanwhile(what) => self.direct(what).await,
            }
        }
    }

    /// Hears what the server says in a row: each room in its order.
    async fn hear(&mut self, title: &str, mut awaited: Vec<&Value>) {
        while !awaited.is_empty() {
            let record = self.socket.next().await.expect("a record before the end");
            let mut rooms = BTreeSet::new();
            let met = awaited.iter().position(|template| {
                let room = template["room"].as_str().unwrap_or_default();
                (room.is_empty() || rooms.insert(room)) && self.names.meet(template, &record)
            });
            awaited.remove(met.unwrap_or_else(|| panic!("{title}: {record} is none of {awaited:?}")));
        }
    }

    /// Lets happen what a transcript says.
    async fn direct(&mut self, what: &str) {
        let services = &self.node.town.services;
        match what {
            "Lu posts" => {
                let lu = self.node.actor(&self.lu).await;
                services.chat.post(&lu, Draft::new(self.channel, "wel met")).await.unwrap();
            }
            "Lu corrects it" => {
                let lu = self.node.actor(&self.lu).await;
                let message: MessageId = self.names.get("message").unwrap().parse().unwrap();
                services.chat.edit(&lu, message, "well met").await.unwrap();
            }
            "a backup was restored since the client got its position" => {
                let query = MessageQuery { channel: self.channel, position: Position::Newest, limit: Limit::default() };
                let head = self.node.town.chat.page(&query).await.unwrap().unwrap().position;
                let other = RoomPosition { epoch: head.epoch.wrapping_add(1), ..head };
                self.names.set("other", services.cursors.seal_room(self.channel, other));
            }
            "Lu comes" => {
                let mut socket = self.node.connect(&self.lu).await;
                socket.send(json!({ "t": "join", "id": 1, "room": "global" })).await;
                socket.expect("joined").await;
                self.lus = Some(socket);
            }
            "Lu goes, and five seconds pass" => drop(self.lus.take().unwrap()),
            "Mira is told something" => {
                let notification = NotificationId::new(SystemIds.draw());
                let room = Room::User(self.mira.account.id);
                services.notifications.notices().publish(Notice { room, notification }).await;
            }
            // The clock is the test's: it goes on when everybody waits.
            "25 seconds pass" => {}
            "four minutes pass" => {
                self.socket.answers_pings = true;
                let actor = Actor::anonymous(CorrelationId::accept("refresh-1").unwrap());
                let newer = services.accounts.refresh(&actor, self.mira.refresh_token.expose()).await.unwrap();
                self.names.set("token", newer.access_token.expose().clone());
            }
            "Mira leaves the world of the channel" => {
                let mira = self.node.actor(&self.mira).await;
                services.worlds.leave(&mira, &WorldRef::Id(self.world)).await.unwrap();
            }
            "the server drains" => {
                let realtime = self.node.realtime.clone();
                tokio::spawn(async move { realtime.drain().await });
            }
            other => panic!("nobody knows how to let happen: {other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_says_what_the_documents_say() {
    let mut failed = Vec::new();
    for transcript in Transcript::all() {
        let title = transcript.title.clone();
        let playing = tokio::spawn(async move { Scene::begin().await.play(&transcript).await });
        if playing.await.is_err() {
            failed.push(title);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
