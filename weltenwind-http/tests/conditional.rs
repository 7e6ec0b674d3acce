//! What every declared call keeps: how long its answer may be kept, and in which state a thing is changed.
//!
//! The calls are those of the OpenAPI document, so a new one is asked as soon as it is declared.

#[path = "documents/calls.rs"]
mod calls;
mod fixture;

use http::Method;
use serde_json::json;

use self::{
    calls::{filled, openapi, operations, query_of},
    fixture::{Reply, Town, id},
};

const VARY: &str = "authorization, origin";

/// Reads whose tag is a revision; every other view is computed, and has a weak one.
const STRONG: &[&str] = &["getMe", "getPreferences", "getWorld", "getChannel", "getAnnouncement"];

/// Returns whether a call must name the state that it changes.
fn names_a_state(method: &str, path: &str) -> bool {
    let path = path.trim_start_matches("/api/v1/");
    match method {
        "patch" if path == "users/me/preferences" => true,
        "patch" | "delete" => matches!(
            path,
            "worlds/{world}"
                | "channels/{id}"
                | "groups/{id}"
                | "announcements/{id}"
                | "flags/{key}"
                | "moderation/bans/{id}"
        ),
        "post" => matches!(path, "moderation/reports/{id}/claim" | "moderation/reports/{id}/resolve"),
        "put" => path.ends_with("/policy"),
        _ => false,
    }
}

#[track_caller]
fn is_kept(reply: &Reply, keep: &str, at: &str) {
    assert_eq!(reply.header("cache-control"), keep, "{at}");
    assert_eq!(reply.header("vary"), VARY, "{at}");
}

#[tokio::test]
async fn every_read_says_how_long_it_may_be_kept_and_is_answered_304_to_who_has_it() {
    let town = Town::start().await;
    let message = town.server.say(&town.mira, &town.lobby, "hi").await;
    let document = openapi(&town.server).await;
    let mut asked = 0;

    for (path, _, operation) in operations(&document).into_iter().filter(|(_, method, _)| *method == "get") {
        let name = operation["operationId"].as_str().expect("a name");
        let is_public = operation["security"].as_array().expect("ways").iter().any(|way| *way == json!({}));
        let path = format!("{}{}", filled(&town, path, id(&message)), query_of(path));
        for signed_in in [false, true] {
            let token = signed_in.then(|| format!("Bearer {}", town.owner.token));
            let ask = |method| town.server.ask(method, &path).with_some("authorization", token.as_deref());
            let at = format!("{name} at {path}, signed in: {signed_in}");
            if !(is_public || signed_in) {
                is_kept(&ask(Method::GET).await.expect(401), "no-store", &at);
                continue;
            }
            asked += 1;
            // What an address has left is nobody else's to know, signed in or not.
            let is_own = signed_in || path.starts_with("/api/v1/users/me/");
            let keep = if is_own { "private, no-cache" } else { "public, no-cache" };
            let fresh = ask(Method::GET).await.expect(200);
            is_kept(&fresh, keep, &at);
            let tag = fresh.header("etag");
            assert_eq!(tag.starts_with('"'), STRONG.contains(&name), "{at}: {tag}");
            assert!(tag.trim_start_matches("W/").len() > 2 && tag.ends_with('"'), "{at}: {tag}");
            for known in [tag, &format!("\"other\", {tag}"), "*", tag.trim_start_matches("W/")] {
                for method in [Method::GET, Method::HEAD] {
                    let reply = ask(method).with("if-none-match", known).await.expect(304);
                    is_kept(&reply, keep, &at);
                    assert_eq!((reply.header("etag"), reply.body.len()), (tag, 0), "{at}");
                }
            }
            for other in ["\"other\"", "W/\"\"", "noise", ""] {
                ask(Method::GET).with("if-none-match", other).await.expect(200);
            }
        }
    }
    assert!(asked > 15, "only {asked} reads were found");
}

#[tokio::test]
async fn a_tag_changes_with_what_is_answered_and_only_then() {
    let town = Town::start().await;
    let tag = async |path: &str| town.server.get(path).await.expect(200).header("etag").to_owned();
    let lists = ["worlds", "worlds/mistral/channels", "worlds/mistral/members", &town.messages()];
    let mut before = Vec::new();
    for path in lists {
        before.push(tag(path).await);
        assert_eq!(tag(path).await, before[before.len() - 1], "{path}");
    }

    town.server.world(&town.owner, "bora").await;
    town.server.channel(&town.owner, &town.world, "attic").await;
    town.server.put("worlds/mistral/members/me").by(&town.mira).await.expect(200);
    town.server.say(&town.mira, &town.lobby, "hi").await;

    for (path, before) in lists.into_iter().zip(before) {
        assert_ne!(tag(path).await, before, "{path}");
    }
}

#[tokio::test]
async fn every_change_of_what_others_change_too_names_the_state_that_was_seen() {
    let town = Town::start().await;
    let message = town.server.say(&town.owner, &town.lobby, "hi").await;
    let document = openapi(&town.server).await;
    let mut guarded = 0;

    for (path, method, operation) in operations(&document).into_iter().filter(|(_, method, _)| *method != "get") {
        let at = format!("{method} {path}");
        let demanded = names_a_state(method, path);
        let declared = operation["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == "If-Match");
        assert_eq!(declared, demanded, "{at} declares If-Match");
        if !demanded {
            continue;
        }
        guarded += 1;
        let path = filled(&town, path, id(&message));
        let example = operation.pointer("/requestBody/content/application~1json/example");
        let ask = |state: Option<&str>| {
            let ask = town.server.ask(method.to_uppercase().parse().expect("a method"), &path).by(&town.owner);
            let ask = ask.with_some("if-match", state);
            async { if let Some(example) = example { ask.json(example.clone()).await } else { ask.await } }
        };
        let before = town.state().await;
        let present = town.server.get(&path).by(&town.owner).await.expect(200).header("etag").to_owned();
        let weak = format!("W/{present}");
        for (state, status, code) in [
            (None, 428, "precondition-required"),
            (Some("*"), 428, "precondition-required"),
            (Some("\"0\""), 412, "precondition-failed"),
            (Some("\"99999999999999999999\""), 412, "precondition-failed"),
            (Some(weak.as_str()), 412, "precondition-failed"),
            (Some("1"), 400, "malformed-request"),
            (Some("\"1\", \"2\""), 400, "malformed-request"),
        ] {
            let reply = ask(state).await.expect(status);
            assert_eq!(reply.code(), code, "{at} with {state:?}");
            is_kept(&reply, "no-store", &at);
            let current = reply.json()["current"].as_str().map(str::to_owned);
            assert_eq!(current, (status == 412).then(|| present.clone()), "{at} with {state:?}");
        }
        assert_eq!(town.state().await, before, "{at} changed something");
    }
    assert_eq!(guarded, 7);

    // The state that was seen is changed, once.
    let channel = town.channel();
    for (path, body) in [(channel.as_str(), json!({ "name": "Tavern" })), ("worlds/mistral", json!({ "name": "Bora" }))]
    {
        let present = town.server.get(path).await.expect(200).header("etag").to_owned();
        let amend = || town.server.patch(path).by(&town.owner).with("if-match", &present).json(body.clone());
        let amended = amend().await.expect(200);
        assert_ne!(amended.header("etag"), present);
        assert_eq!(amend().await.expect(412).json()["current"], amended.header("etag"));
    }
}

#[tokio::test]
async fn the_answer_to_a_change_is_kept_by_nobody() {
    let town = Town::start().await;
    let message = town.server.say(&town.owner, &town.lobby, "hi").await;
    let document = openapi(&town.server).await;

    for (path, method, operation) in operations(&document).into_iter().filter(|(_, method, _)| *method != "get") {
        let at = format!("{method} {path}");
        let ask = town.server.ask(method.to_uppercase().parse().expect("a method"), filled(&town, path, id(&message)));
        let ask = ask.by(&town.owner).with("if-match", "\"0\"");
        let example = operation.pointer("/requestBody/content/application~1json/example");
        let reply = if let Some(example) = example { ask.json(example.clone()).await } else { ask.await };
        is_kept(&reply, "no-store", &at);
    }
}

#[tokio::test]
async fn what_moved_is_looked_for_anew_each_time() {
    let town = Town::start().await;
    let rename = town.server.patch("worlds/mistral").by(&town.owner).with("if-match", "\"1\"");
    rename.json(json!({ "slug": "bora" })).await.expect(200);

    for path in ["worlds/mistral", "worlds/mistral/channels?limit=3"] {
        is_kept(&town.server.get(path).await.expect(308), "no-cache", path);
    }
    assert_eq!(town.server.get("/w/mistral").await.expect(301).header("cache-control"), "no-cache");
}
