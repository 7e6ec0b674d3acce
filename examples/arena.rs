//! A small authoritative game server with chat inside: three fighters in a ring, a tick loop, no HTTP, no socket.
//!
//! `cargo run -p weltenwind-examples --bin arena` forgets its chat; give it a file and it remembers:
//! `cargo run -p weltenwind-examples --bin arena -- sqlite://arena.db`.

#![expect(clippy::print_stdout, reason = "the terminal is this game's screen")]

use std::{error::Error, sync::Arc, time::Duration};

use weltenwind_core::{
    Actor, Scope,
    chat::{Channel, ChannelDraft, Chat, ChatStore, Draft, LiveEvent, MemoryChatStore},
};
use weltenwind_storage::StorageConfig;

const TICK: Duration = Duration::from_millis(50);
const TICKS: u64 = 120;
const RING: u64 = 7;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store: Arc<dyn ChatStore> = match std::env::args().nth(1) {
        Some(url) => weltenwind_storage::open(&StorageConfig { url, ..StorageConfig::default() }).await?.chat,
        None => Arc::new(MemoryChatStore::default()),
    };
    let chat = Chat::builder(store).build();
    let arena =
        chat.find_or_open_channel(&Actor::operator(), ChannelDraft::new(Scope::Global, "arena", "Arena")).await?;
    let mut talk = chat.listen(&Actor::operator(), arena.id, None).await?;

    let mut fighters = ["Mira", "Oskar", "Ylva"].map(Fighter::new);
    let mut clock = tokio::time::interval(TICK);
    let mut tick = 0;
    while tick < TICKS {
        tokio::select! {
            _ = clock.tick() => {
                tick += 1;
                step(&mut fighters, tick, &chat, &arena);
            }
            event = talk.next() => {
                if let LiveEvent::Posted(event) = event? {
                    let message = &event.message;
                    println!("{:>4}  {}: {}", message.seq, message.author.display_name, message.text().unwrap_or("…"));
                }
            }
        }
    }
    Ok(())
}

struct Fighter {
    player: Actor,
    place: u64,
    pace: u64,
}

impl Fighter {
    fn new(name: &str) -> Self {
        Self { player: Actor::player(name), place: 0, pace: name.len() as u64 }
    }
}

/// Moves the world by one tick; who enters the place of another speaks.
fn step(fighters: &mut [Fighter], tick: u64, chat: &Chat, arena: &Channel) {
    for at in 0..fighters.len() {
        if !tick.is_multiple_of(fighters[at].pace) {
            continue;
        }
        fighters[at].place = (fighters[at].place + 1) % RING;
        let place = fighters[at].place;
        if fighters.iter().enumerate().any(|(other, fighter)| other != at && fighter.place == place) {
            say(chat, &fighters[at].player, Draft::new(arena.id, format!("en garde, at {place}!")));
        }
    }
}

/// Speaks without holding up the tick: a commit takes longer than a tick has.
fn say(chat: &Chat, player: &Actor, draft: Draft) {
    let (chat, player) = (chat.clone(), player.clone());
    tokio::spawn(async move {
        if let Err(error) = chat.post(&player, draft).await {
            eprintln!("not said: {error}");
        }
    });
}
