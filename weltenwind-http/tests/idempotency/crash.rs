//! The process dies between the effect and the answer: in its place the store loses the answer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use weltenwind_core::{
    StorageError, Timestamp,
    idempotency::{Claim, Claimed, IdempotencyStore, LEASE, NewClaim, Release, StoredAnswer},
};

use super::{
    KEY, Keyed as _,
    fixture::{Person, Server, Town, id},
    is_replayed, told,
};

/// Keeps no answer as long as it is told so, as if the node were killed before it could.
#[derive(Debug)]
struct Mortal {
    store: Arc<dyn IdempotencyStore>,
    dying: Arc<AtomicBool>,
}

impl Mortal {
    fn alive(&self) -> Result<&dyn IdempotencyStore, StorageError> {
        if self.dying.load(Ordering::SeqCst) {
            return Err(StorageError::transient("keep an answer", "the node is dead"));
        }
        Ok(&*self.store)
    }
}

#[async_trait]
impl IdempotencyStore for Mortal {
    async fn claim(&self, claim: &NewClaim) -> Result<Claimed, StorageError> {
        self.store.claim(claim).await
    }

    async fn complete(&self, claim: &Claim, answer: &StoredAnswer) -> Result<bool, StorageError> {
        self.alive()?.complete(claim, answer).await
    }

    async fn release(&self, claim: &Claim, release: Release) -> Result<(), StorageError> {
        self.alive()?.release(claim, release).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.store.purge(before, limit).await
    }
}

async fn town() -> (Town, Arc<AtomicBool>) {
    let dying = Arc::new(AtomicBool::new(false));
    let mortal = Arc::clone(&dying);
    let server = Server::on(move |mut stores| {
        stores.idempotency = Arc::new(Mortal { store: stores.idempotency, dying: mortal });
        stores
    });
    (Town::on(server.await).await, dying)
}

/// Every call that minds a key: path, body, who makes it.
fn calls(town: &Town) -> Vec<(String, Value, &Person)> {
    let scope = format!("world:{}", id(&town.world));
    vec![
        ("worlds".to_owned(), json!({ "name": "Sirocco", "slug": "sirocco" }), &town.owner),
        ("channels".to_owned(), json!({ "scope": scope, "slug": "tavern", "name": "Tavern" }), &town.owner),
        (town.messages(), json!({ "body": "well met" }), &town.mira),
        (town.messages(), json!({ "body": "hey", "clientId": "a1" }), &town.ylva),
    ]
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_has_one_effect_and_is_answered_alike() {
    let (town, dying) = town().await;

    for (path, body, person) in calls(&town) {
        let ask = || town.server.post(&path).by(person).under(KEY).json(body.clone());
        dying.store(true, Ordering::SeqCst);
        let lost = ask().await.expect(201);
        let state = town.state().await;
        dying.store(false, Ordering::SeqCst);

        assert_eq!(ask().await.code(), "idempotency-in-progress", "{path}");
        town.server.clock.advance(LEASE);
        let again = ask().await.expect(201);
        let replayed = ask().await.expect(201);

        assert!(!is_replayed(&again) && is_replayed(&replayed), "{path}");
        assert_eq!(told(&again), told(&lost), "{path}");
        assert_eq!(told(&replayed), told(&lost), "{path}");
        assert_eq!(town.state().await, state, "{path}");
        let other = town.server.post(&path).by(person).under(KEY).json(json!({})).await;
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
        let path = path.replace("{id}", id(&town.lobby));
        assert!(calls(&town).iter().any(|(tried, ..)| format!("/api/v1/{tried}") == path), "{path} is not tried");
    }
}

#[tokio::test]
async fn a_refusal_whose_answer_was_lost_can_be_asked_for_again() {
    let (town, dying) = town().await;
    let ask = || {
        let body = json!({ "name": "Mistral", "slug": "mistral" });
        town.server.post("worlds").by(&town.owner).under(KEY).json(body)
    };
    dying.store(true, Ordering::SeqCst);
    let lost = ask().await;
    dying.store(false, Ordering::SeqCst);
    town.server.clock.advance(LEASE);

    let again = ask().await;

    assert_eq!(lost.code(), "slug-taken");
    assert_eq!((again.status, again.problem()), (lost.status, lost.problem()));
}
