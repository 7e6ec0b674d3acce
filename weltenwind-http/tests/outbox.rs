//! Dead jobs over HTTP: seen and replayed by whoever may, once.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use serde_json::json;
use weltenwind_core::access::Role;

use self::fixture::{Person, Server};

async fn admin(server: &Server) -> Person {
    let admin = server.owner().await;
    server.grant(&admin, Role::Admin, weltenwind_core::Scope::Global).await;
    admin
}

#[tokio::test]
async fn the_dead_are_listed_page_by_page_with_what_they_died_of() {
    let server = Server::start().await;
    let admin = admin(&server).await;
    for n in 1..=3 {
        server.bury(n).await;
    }

    let first = server.get("outbox/dead?limit=2&kind=test.work").by(&admin).await.expect(200).json();
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = server.get(format!("outbox/dead?limit=2&kind=test.work&cursor={cursor}")).by(&admin).await;
    let rest = rest.expect(200).json();
    let others = server.get("outbox/dead?kind=test.other").by(&admin).await.expect(200).json();

    let items: Vec<_> = [&first, &rest].iter().flat_map(|page| page["items"].as_array().unwrap()).collect();
    assert_eq!(items.iter().map(|item| item["payload"]["n"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert_eq!(items[0]["errors"][0]["error"], "the mail server is away");
    assert_eq!((&items[0]["failures"], &items[0]["crashes"]), (&json!(1), &json!(0)));
    assert!(rest["nextCursor"].is_null() && others["items"] == json!([]));
    server.get("outbox/dead?kind=No+Kind").by(&admin).await.expect(400);
    server.get(format!("outbox/dead?cursor={cursor}")).by(&admin).await.expect(400);
}

#[tokio::test]
async fn a_dead_job_is_replayed_once_and_by_whoever_may() {
    let server = Server::start().await;
    let (admin, mira) = (admin(&server).await, server.guest("Mira").await);
    server.bury(1).await;
    let listed = server.get("outbox/dead").by(&admin).await.expect(200).json();
    let retry = format!("outbox/dead/{}/retry", listed["items"][0]["id"].as_str().unwrap());

    assert_eq!(server.post(&retry).by(&mira).await.expect(403).code(), "permission-denied");
    assert_eq!(server.get("outbox/dead").by(&mira).await.expect(403).code(), "permission-denied");
    let replayed = server.post(&retry).by(&admin).await.expect(200).json();

    assert_eq!(server.post(&retry).by(&admin).await.expect(404).code(), "job-not-found");
    assert_eq!(server.post("outbox/dead/no-number/retry").by(&admin).await.expect(404).code(), "job-not-found");
    let id = replayed["id"].as_str().unwrap().parse().unwrap();
    let job = server.services.outbox.store().find(id).await.unwrap().unwrap();
    assert_eq!((job.payload, job.failures), (json!({ "n": 1 }), 0));
}
