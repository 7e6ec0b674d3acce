//! A game server with HTTP routes of its own and a community beside them: one process, one port, one file.
//!
//! `cargo run -p weltenwind-examples --bin embedded_http`, then open what it prints. Another store and another port:
//! `… --bin embedded_http -- sqlite://harbour.db 127.0.0.1:9000`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is this server's log")]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::get};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use weltenwind_core::{
    Actor, AllowedOrigins, Scope, ServiceConfig, Services, Sources,
    accounts::AccountsConfig,
    chat::{Channel, ChannelDraft, Chat, Draft},
    worlds::{WorldDraft, WorldError},
};
use weltenwind_http::{HttpConfig, HttpHost};
use weltenwind_storage::StorageConfig;
use weltenwind_ws::{Realtime, RealtimeConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let store = args.next().unwrap_or_else(|| "sqlite://harbour.db".to_owned());
    let listener = TcpListener::bind(args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned())).await?;
    let url = format!("http://{}", listener.local_addr()?);

    // The community: a store, the services over it, and the two hosts.
    let stores = weltenwind_storage::open(&StorageConfig { url: store, ..StorageConfig::default() }).await?;
    let accounts = AccountsConfig { issuer: url.clone(), ..AccountsConfig::default() };
    let config = ServiceConfig { accounts, ..ServiceConfig::default() };
    let services = Services::start(stores, config, Sources::default()).await?;
    let (registry, origins) = (Registry::new(), AllowedOrigins::of_public_url(&url));
    let realtime = Realtime::new(services.clone(), origins, RealtimeConfig::default(), &registry)?;
    let http = HttpConfig { public_url: url.clone(), ..HttpConfig::default() };
    let community = HttpHost::new(services.clone(), http.clone(), &registry).mount("/realtime/v1", realtime.clone());

    // Refused attempts are gathered in memory, and written into the audit log every second.
    let refusals = services.refusals.clone();
    tokio::spawn(async move {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            if let Err(error) = refusals.write_down().await {
                eprintln!("not audited yet: {error}");
            }
        }
    });

    // The game: what is no route of its own is the community's.
    let ships = Arc::new(AtomicU64::new(0));
    let docks = open_docks(&services).await?;
    tokio::spawn(simulate(Arc::clone(&ships), services.chat.clone(), docks));
    let game =
        Router::new().route("/game/state", get(state)).with_state(ships).fallback_service(community.into_router());

    println!("The game       {url}/game/state");
    println!("Its community  {url}/worlds/harbour");
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { weltenwind_http::serve(listener, game, &http, stop).await }
    });
    tokio::signal::ctrl_c().await?;
    realtime.drain().await;
    stop.cancel();
    serving.await?;
    services.refusals.close().await?;
    services.health.close().await;
    Ok(())
}

/// Finds the harbour's channel, or makes both on the first start.
async fn open_docks(services: &Services) -> Result<Channel, Box<dyn Error>> {
    let operator = Actor::operator();
    let world = match services.worlds.resolve(&operator, &"harbour".parse()?).await {
        Ok(found) => found.world,
        Err(WorldError::NotFound) => services.worlds.create(&operator, WorldDraft::new("Harbour")?).await?,
        Err(error) => return Err(error.into()),
    };
    let draft = ChannelDraft::new(Scope::World(world.id), "docks", "Docks");
    Ok(services.chat.find_or_open_channel(&operator, draft).await?)
}

/// `GET /game/state`: a route like any other of the game's.
async fn state(State(ships): State<Arc<AtomicU64>>) -> Json<Value> {
    Json(json!({ "ships": ships.load(Ordering::Relaxed) }))
}

/// The simulation: every few seconds a ship comes in, and the whole harbour hears of it.
async fn simulate(ships: Arc<AtomicU64>, chat: Chat, docks: Channel) {
    let harbour_master = Actor::player("Harbour master");
    let mut tide = tokio::time::interval(Duration::from_secs(5));
    loop {
        tide.tick().await;
        let ship = ships.fetch_add(1, Ordering::Relaxed) + 1;
        if let Err(error) = chat.post(&harbour_master, Draft::new(docks.id, format!("ship {ship} has docked"))).await {
            eprintln!("not said: {error}");
        }
    }
}
