//! The process dies between the effect and the answer: in its place the store loses the answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Notify;
use weltenwind_core::{
    Page, Step, StorageError, Timestamp, WorldId,
    idempotency::{Claim, Claimed, IdempotencyStore, LEASE, NewClaim, Release, StoredAnswer},
    worlds::{NewWorld, Slug, World, WorldChange, WorldError, WorldQuery, WorldStore},
};

use super::{
    KEY, Keyed as _,
    fixture::{Person, Server, Town, id},
    is_replayed, told,
};

/// What becomes of the node that runs a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It lives.
    Lives,
    /// It is killed before it can keep the answer.
    Dies,
    /// Its store says that it failed, though it did what it should.
    Fails,
    /// Its handler panics when it has done what it should.
    Panics,
    /// It is slow: it keeps the answer when it is told to.
    Waits,
}

#[derive(Debug)]
struct Node {
    fate: Mutex<Fate>,
    is_waiting: Notify,
    go_on: Notify,
}

impl Node {
    fn fate(&self) -> Fate {
        *self.fate.lock().expect("no poison")
    }

    fn will(&self, fate: Fate) {
        *self.fate.lock().expect("no poison") = fate;
    }
}

#[derive(Debug)]
struct Answers {
    store: Arc<dyn IdempotencyStore>,
    node: Arc<Node>,
}

impl Answers {
    async fn alive(&self) -> Result<&dyn IdempotencyStore, StorageError> {
        match self.node.fate() {
            Fate::Dies => return Err(StorageError::transient("keep an answer", "the node is dead")),
            Fate::Waits => {
                self.node.is_waiting.notify_one();
                self.node.go_on.notified().await;
            }
            Fate::Lives | Fate::Fails | Fate::Panics => {}
        }
        Ok(&*self.store)
    }
}

#[async_trait]
impl IdempotencyStore for Answers {
    async fn claim(&self, claim: &NewClaim) -> Result<Claimed, StorageError> {
        self.store.claim(claim).await
    }

    async fn complete(&self, claim: &Claim, answer: &StoredAnswer) -> Result<bool, StorageError> {
        self.alive().await?.complete(claim, answer).await
    }

    async fn release(&self, claim: &Claim, release: Release) -> Result<(), StorageError> {
        self.alive().await?.release(claim, release).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.store.purge(before, limit).await
    }
}

#[derive(Debug)]
struct Places {
    store: Arc<dyn WorldStore>,
    node: Arc<Node>,
}

#[async_trait]
impl WorldStore for Places {
    async fn create(&self, step: &Step, world: &NewWorld) -> Result<World, WorldError> {
        let world = self.store.create(step, world).await?;
        match self.node.fate() {
            Fate::Fails => Err(StorageError::transient("create a world", "the connection was lost").into()),
            Fate::Panics => panic!("after the effect"),
            Fate::Lives | Fate::Dies | Fate::Waits => Ok(world),
        }
    }

    async fn find(&self, id: WorldId) -> Result<Option<World>, StorageError> {
        self.store.find(id).await
    }

    async fn find_by_slug(&self, slug: &Slug) -> Result<Option<World>, StorageError> {
        self.store.find_by_slug(slug).await
    }

    async fn page(&self, query: &WorldQuery) -> Result<Page<World>, StorageError> {
        self.store.page(query).await
    }

    async fn amend(&self, step: &Step, change: &WorldChange) -> Result<World, WorldError> {
        self.store.amend(step, change).await
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        self.store.is_empty().await
    }
}

async fn town() -> (Town, Arc<Node>) {
    let node = Arc::new(Node { fate: Mutex::new(Fate::Lives), is_waiting: Notify::new(), go_on: Notify::new() });
    let its = Arc::clone(&node);
    let server = Server::on(move |mut stores| {
        stores.idempotency = Arc::new(Answers { store: stores.idempotency, node: Arc::clone(&its) });
        stores.worlds = Arc::new(Places { store: stores.worlds, node: its });
        stores
    });
    (Town::on(server.await).await, node)
}

/// Every call that minds a key: path, body, who makes it, and the status of its success.
fn calls(town: &Town) -> Vec<(String, Value, &Person, u16)> {
    let scope = format!("world:{}", id(&town.world));
    vec![
        ("worlds".to_owned(), json!({ "name": "Sirocco", "slug": "sirocco" }), &town.owner, 201),
        ("channels".to_owned(), json!({ "scope": scope, "slug": "tavern", "name": "Tavern" }), &town.owner, 201),
        (
            "access/grants".to_owned(),
            json!({ "userId": town.ylva.id, "role": "world_moderator", "scope": scope }),
            &town.owner,
            201,
        ),
        (town.messages(), json!({ "body": "well met" }), &town.mira, 201),
        (town.messages(), json!({ "body": "hey", "clientId": "a1" }), &town.ylva, 201),
        (
            "announcements".to_owned(),
            json!({ "title": "News", "body": "Good ones.", "audience": { "kind": "world", "worldId": id(&town.world) } }),
            &town.owner,
            201,
        ),
        (format!("outbox/dead/{}/retry", town.dead), json!({}), &town.owner, 200),
        (format!("notifications/{}/read", id(&town.told)), json!({}), &town.mira, 204),
        ("notifications/read-all".to_owned(), json!({ "upTo": "0.9.1767225600000000" }), &town.mira, 204),
        ("users/me/sessions/revoke-others".to_owned(), json!({}), &town.mira, 200),
    ]
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_has_one_effect_and_is_answered_alike() {
    // A town for each call: the leases of all of them are longer than an access token lives.
    for n in 0.. {
        let (town, node) = town().await;
        let Some((path, body, person, status)) = calls(&town).into_iter().nth(n) else { break };
        let ask = || town.server.post(&path).by(person).under(KEY).json(body.clone());
        node.will(Fate::Dies);
        let lost = ask().await.expect(status);
        let state = town.state().await;
        node.will(Fate::Lives);

        assert_eq!(ask().await.code(), "idempotency-in-progress", "{path}");
        town.server.clock.advance(LEASE);
        let again = ask().await.expect(status);
        let replayed = ask().await.expect(status);

        assert!(!is_replayed(&again) && is_replayed(&replayed), "{path}");
        assert_eq!(told(&again), told(&lost), "{path}");
        assert_eq!(told(&replayed), told(&lost), "{path}");
        assert_eq!(town.state().await, state, "{path}");
        let other = town.server.post(&path).by(person).under(KEY).json(json!({ "other": true })).await;
        assert_eq!(other.code(), "idempotency-key-reused", "{path}");
    }
}

#[tokio::test]
async fn every_call_that_minds_a_key_is_tried() {
    let (town, _) = town().await;
    let document = town.server.get("openapi.json").await.expect(200).json();
    let posts = document["paths"].as_object().unwrap().iter().filter_map(|(path, item)| {
        let mut parameters = item["post"]["parameters"].as_array()?.iter();
        parameters.any(|parameter| parameter["name"] == "Idempotency-Key").then_some(path)
    });

    for path in posts {
        let thing = match path {
            _ if path.contains("/notifications/") => id(&town.told),
            _ if path.contains("/outbox/") => &town.dead,
            _ => id(&town.lobby),
        };
        let path = path.replace("{id}", thing);
        assert!(calls(&town).iter().any(|(tried, ..)| format!("/api/v1/{tried}") == path), "{path} is not tried");
    }
}

#[tokio::test]
async fn a_refusal_whose_answer_was_lost_can_be_asked_for_again() {
    let (town, node) = town().await;
    let ask = || {
        let body = json!({ "name": "Mistral", "slug": "mistral" });
        town.server.post("worlds").by(&town.owner).under(KEY).json(body)
    };
    node.will(Fate::Dies);
    let lost = ask().await;
    node.will(Fate::Lives);
    town.server.clock.advance(LEASE);

    let again = ask().await;

    assert_eq!(lost.code(), "slug-taken");
    assert_eq!((again.status, again.problem()), (lost.status, lost.problem()));
}

#[tokio::test]
async fn a_request_that_failed_after_its_effect_is_run_again_at_once_and_has_no_second_one() {
    let (town, node) = town().await;

    for (fate, slug, status) in [(Fate::Fails, "sirocco", 503), (Fate::Panics, "bora", 500)] {
        let wish = json!({ "name": "Wind", "slug": slug });
        let key = format!("{slug}-0123456789ab");
        let ask = || town.server.post("worlds").by(&town.owner).under(&key).json(wish.clone());
        node.will(fate);
        let failed = ask().await.expect(status);
        let state = town.state().await;
        node.will(Fate::Lives);

        let other = json!({ "name": "Wind", "slug": "other" });
        let other = town.server.post("worlds").by(&town.owner).under(&key).json(other).await;
        let made = ask().await.expect(201);
        let again = ask().await.expect(201);

        assert!(!is_replayed(&failed) && !is_replayed(&made) && is_replayed(&again), "{fate:?}");
        assert_eq!(other.code(), "idempotency-key-reused", "{fate:?}");
        assert_eq!(told(&again), told(&made), "{fate:?}");
        assert_eq!(made.header("location"), format!("/api/v1/worlds/{slug}"));
        assert_eq!(town.state().await, state, "{fate:?}");
    }
}

#[tokio::test]
async fn who_goes_away_and_comes_back_finds_the_request_done() {
    let (town, node) = town().await;
    let ask = || town.server.post(town.messages()).by(&town.mira).under(KEY).json(json!({ "body": "well met" }));
    node.will(Fate::Waits);

    // The caller goes away when the message is posted, and the answer is not kept yet.
    tokio::select! {
        reply = ask() => panic!("nobody has told it to go on: {reply:?}"),
        () = node.is_waiting.notified() => {}
    }
    assert_eq!(ask().await.code(), "idempotency-in-progress");
    node.will(Fate::Lives);
    node.go_on.notify_one();
    let settled = async {
        loop {
            let reply = ask().await;
            if reply.status != 409 {
                return reply;
            }
            tokio::task::yield_now().await;
        }
    };
    let reply = tokio::time::timeout(Duration::from_mins(1), settled).await.unwrap().expect(201);

    assert!(is_replayed(&reply));
    assert_eq!(town.history("").await["items"].as_array().unwrap().as_slice(), [reply.json()]);
}
