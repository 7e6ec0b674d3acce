//! The served documents: committed, held against the server that they describe, and against rules of our own.

#[path = "documents/bounds.rs"]
mod bounds;
#[path = "documents/calls.rs"]
mod calls;
mod fixture;
#[path = "documents/rules.rs"]
mod rules;
#[path = "documents/table.rs"]
mod table;

use std::{collections::BTreeSet, path::PathBuf};

use http::Method;
use serde_json::Value;

use self::{
    calls::{filled, openapi, operations, query_of},
    fixture::{Server, Town, id},
};

const RENEW: &str = "WELTENWIND_WRITE_DOCS=1 cargo test -p weltenwind-http --test documents";

#[tokio::test]
async fn the_committed_documents_are_those_that_are_served() {
    let server = Server::start().await;
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");

    for name in ["openapi.json", "asyncapi.json"] {
        let answer = server.get(name).await.expect(200);
        let file = docs.join(name);
        if std::env::var_os("WELTENWIND_WRITE_DOCS").is_some() {
            std::fs::write(&file, &answer.body).unwrap();
        }
        let committed = std::fs::read(&file).unwrap_or_default();
        let same = serde_json::from_slice::<Value>(&committed).is_ok_and(|committed| committed == answer.json());
        assert!(same, "docs/{name} is not what the code says; this renews it: {RENEW}");
    }
}

#[tokio::test]
async fn the_documents_are_public_and_a_repeated_read_costs_nothing() {
    let server = Server::start().await;

    for name in ["openapi.json", "asyncapi.json"] {
        let reply = server.get(name).await.expect(200);
        assert_eq!(reply.header("cache-control"), "public, no-cache");
        server.get(name).with("if-none-match", reply.header("etag")).await.expect(304);
    }
}

#[tokio::test]
async fn every_documented_path_knows_the_documented_methods_and_no_other() {
    let town = Town::start().await;
    let document = openapi(&town.server).await;

    for path in document["paths"].as_object().unwrap().keys() {
        let item = document["paths"][path].as_object().unwrap();
        let documented: BTreeSet<String> = item.keys().map(|method| method.to_uppercase()).collect();
        let unknown = Method::from_bytes(b"BREW").unwrap();
        let mut names = vec![path.clone()];
        names.extend(path.strip_prefix("/api/v1/users/me").map(|below| format!("/api/v1/me{below}")));
        for name in names {
            let reply = town.server.ask(unknown.clone(), filled(&town, &name, &town.mira.id)).await.expect(405);
            let routed =
                reply.header("allow").split(',').filter(|method| *method != "HEAD").map(str::to_owned).collect();
            assert_eq!(documented, routed, "{name}");
        }
    }
}

#[tokio::test]
async fn whoever_may_call_without_a_token_is_not_asked_for_one() {
    let town = Town::start().await;
    let message = town.server.say(&town.mira, &town.lobby, "hi").await;
    let document = openapi(&town.server).await;

    for (path, method, operation) in operations(&document) {
        let is_open = operation["security"].as_array().unwrap().iter().any(|way| way.as_object().unwrap().is_empty());
        let method: Method = method.to_uppercase().parse().unwrap();
        let query = if method == Method::GET { query_of(path) } else { "" };
        let path = format!("{}{query}", filled(&town, path, id(&message)));
        let mut ask = town.server.ask(method.clone(), &path).with("if-match", "\"1\"");
        if let Some(example) = operation.pointer("/requestBody/content/application~1json/example") {
            ask = ask.json(example.clone());
        }
        let reply = ask.await;
        let asked_for_one = reply.status == 401 && reply.code() == "unauthenticated";
        assert_eq!(asked_for_one, !is_open, "{method} {path}: {}", reply.status);
    }
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_not_told_what_exists() {
    const NOWHERE: &str = "01998b2e-7c00-7a15-8f3e-5d2a9c1b0eff";

    let server = Server::start().await;
    let document = openapi(&server).await;
    let mut asked = 0;

    for (path, method, operation) in operations(&document).into_iter().filter(|(path, ..)| path.contains('{')) {
        if operation["security"].as_array().unwrap().iter().any(|way| way.as_object().unwrap().is_empty()) {
            continue;
        }
        asked += 1;
        let path =
            ["{world}", "{userId}", "{id}"].iter().fold(path.to_owned(), |path, name| path.replace(name, NOWHERE));
        let mut ask = server.ask(method.to_uppercase().parse().unwrap(), &path).with("if-match", "\"1\"");
        if let Some(example) = operation.pointer("/requestBody/content/application~1json/example") {
            ask = ask.json(example.clone());
        }
        assert_eq!(ask.await.expect(401).code(), "unauthenticated", "{method} {path}");
    }
    assert!(asked > 8, "only {asked} calls change something that is there");
}
