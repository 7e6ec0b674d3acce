//! Requests that are repeated under an `Idempotency-Key`.

#[path = "idempotency/crash.rs"]
mod crash;
mod fixture;
#[path = "idempotency/secrets.rs"]
mod secrets;

use std::{collections::BTreeSet, time::Duration};

use http::Method;
use serde_json::{Value, json};
use weltenwind_core::{
    Scope,
    access::Role,
    limits::{LimitsConfig, Quota, Unit},
};
use weltenwind_http::HttpConfig;

use self::fixture::{Ask, Person, Reply, Server, Town, id};

pub(crate) const KEY: &str = "0123456789abcdef";
const DAY: Duration = Duration::from_hours(24);

pub(crate) trait Keyed: Sized {
    fn under(self, key: &str) -> Self;
}

impl Keyed for Ask<'_> {
    fn under(self, key: &str) -> Self {
        self.with("idempotency-key", key)
    }
}

fn mistral() -> Value {
    json!({ "name": "Mistral", "slug": "mistral" })
}

fn is_replayed(reply: &Reply) -> bool {
    match reply.headers.get_all("idempotency-replayed").iter().collect::<Vec<_>>().as_slice() {
        [] => false,
        [value] if *value == "true" => true,
        other => panic!("{other:?}"),
    }
}

/// What a caller gets, apart from what names the one request.
fn told(reply: &Reply) -> (u16, [String; 4], Vec<u8>) {
    let headers = ["location", "etag", "content-type", "cache-control"].map(|name| reply.header(name).to_owned());
    (reply.status.as_u16(), headers, reply.body.to_vec())
}

async fn worlds(server: &Server) -> usize {
    server.get("worlds").await.expect(200).json()["items"].as_array().expect("items").len()
}

fn counted(server: &Server, metric: &str) -> String {
    let families = server.registry.gather();
    let family = families.iter().find(|family| family.name() == metric).expect("the metric");
    family.get_metric()[0].get_counter().get_value().to_string()
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_and_has_no_second_effect() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let ask = || server.post("worlds").by(&owner).under(KEY).json(mistral());

    let first = ask().await.expect(201);
    let again = ask().await.expect(201);
    let plain = server.post("worlds").by(&owner).json(mistral()).await;

    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(told(&again), told(&first));
    assert_eq!((first.header("location"), first.header("etag")), ("/api/v1/worlds/mistral", "\"1\""));
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(plain.code(), "slug-taken");
    assert_eq!(worlds(&server).await, 1);
    assert_eq!(counted(&server, "weltenwind_idempotency_replays_total"), "1");
    assert_eq!(counted(&server, "weltenwind_idempotency_in_progress_total"), "0");
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_whatever_has_happened_since() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let ask = || server.post("worlds").by(&owner).under(KEY).json(mistral());
    let first = ask().await.expect(201);
    let renamed = json!({ "name": "Sirocco", "slug": "sirocco" });
    server.patch("worlds/mistral").by(&owner).with("if-match", "\"1\"").json(renamed).await.expect(200);

    let again = ask().await.expect(201);

    assert_eq!(told(&again), told(&first));
}

#[tokio::test]
async fn the_tag_of_a_replayed_answer_is_that_of_the_thing() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let ask = || server.post("worlds").by(&owner).under(KEY).json(mistral());
    ask().await.expect(201);

    // A condition on reads says nothing to a POST.
    let again = ask().with("if-none-match", "*").await.expect(201);

    let world = || server.get("worlds/mistral").by(&owner).with("if-none-match", again.header("etag"));
    world().await.expect(304);
    let patched = server.patch("worlds/mistral").by(&owner).with("if-match", again.header("etag"));
    patched.json(json!({ "name": "Sirocco" })).await.expect(200);
    world().await.expect(200);
    let late = ask().await.expect(201);
    assert_eq!(late.header("etag"), again.header("etag"));
    let stale = server.patch("worlds/mistral").by(&owner).with("if-match", late.header("etag"));
    assert_eq!(stale.json(json!({ "name": "Bora" })).await.code(), "precondition-failed");
}

#[tokio::test]
async fn a_refusal_that_stands_is_replayed_too_under_the_id_of_the_repeat() {
    let town = Town::start().await;
    let ask = || town.server.post("worlds").by(&town.owner).under(KEY).json(mistral());
    let broken = || town.server.post(town.messages()).by(&town.mira).under(KEY).json(json!({ "body": "" }));

    let (taken, invalid) = (ask().await, broken().await);
    let (taken_again, invalid_again) = (ask().await, broken().await);

    assert_eq!((taken.code(), invalid.code()), ("slug-taken".to_owned(), "validation-failed".to_owned()));
    for (first, again) in [(&taken, &taken_again), (&invalid, &invalid_again)] {
        assert!(!is_replayed(first) && is_replayed(again));
        assert_eq!((again.status, again.problem()), (first.status, first.problem()));
        assert_ne!(again.json()["correlationId"], first.json()["correlationId"]);
    }
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let server = Server::start().await;
    let owner = server.owner().await;
    server.post("worlds").by(&owner).under(KEY).json(mistral()).await.expect(201);

    let other = json!({ "name": "Mistral", "slug": "sirocco" });
    let other_body = server.post("worlds").by(&owner).under(KEY).json(other).await.expect(422);
    let other_query = server.post("worlds?x=1").by(&owner).under(KEY).json(mistral()).await.expect(422);

    assert_eq!([other_body.code(), other_query.code()], ["idempotency-key-reused", "idempotency-key-reused"]);
    assert!(!is_replayed(&other_body));
    assert_eq!(worlds(&server).await, 1);
}

#[tokio::test]
async fn a_key_belongs_to_its_caller_and_to_its_path() {
    let town = Town::start().await;
    let body = json!({ "body": "well met" });
    let other = town.server.channel(&town.owner, &town.world, "tavern").await;
    let say = |person: &Person, channel: &Value| {
        let path = format!("channels/{}/messages", id(channel));
        town.server.post(path).by(person).under(KEY).json(body.clone())
    };

    let first = say(&town.mira, &town.lobby).await.expect(201);
    let of_another = say(&town.ylva, &town.lobby).await.expect(201);
    let elsewhere = say(&town.mira, &other).await.expect(201);

    let replies = [&first, &of_another, &elsewhere];
    assert!(replies.iter().all(|reply| !is_replayed(reply)));
    assert_eq!(replies.iter().map(|reply| reply.json()["id"].to_string()).collect::<BTreeSet<_>>().len(), 3);
    let again = say(&town.ylva, &town.lobby).await.expect(201);
    assert_eq!(told(&again), told(&of_another));
}

#[tokio::test]
async fn a_key_outlives_the_session_it_was_first_used_in() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let ask = |person: &Person| server.post("worlds").by(person).under(KEY).json(mistral());
    let first = ask(&owner).await.expect(201);
    server.clock.advance(Duration::from_mins(3));

    let renewed = server.post("auth/refresh").json(json!({ "refreshToken": owner.refresh_token })).await.expect(200);
    let again = ask(&Person::of(&renewed)).await.expect(201);

    assert!(is_replayed(&again));
    assert_eq!(told(&again), told(&first));
}

#[tokio::test]
async fn a_key_is_free_after_a_day() {
    let server = Server::start().await;
    let owner = server.owner().await;
    // Tokens live for minutes, and the day is long.
    let owner_again = async || {
        let account: weltenwind_core::AccountId = owner.id.parse().expect("an id");
        let name = server.services.accounts.find(account).await.expect("an account").username.expect("a name");
        let login = json!({ "username": name.to_string(), "password": "correct horse battery" });
        Person::of(&server.post("auth/login").json(login).await.expect(200))
    };
    let wish = |slug: &str| json!({ "name": "Mistral", "slug": slug });
    server.post("worlds").by(&owner).under(KEY).json(wish("mistral")).await.expect(201);

    server.clock.advance(DAY.checked_sub(Duration::from_secs(1)).unwrap());
    let late = server.post("worlds").by(&owner_again().await).under(KEY).json(wish("mistral")).await.expect(201);
    server.clock.advance(Duration::from_secs(1));
    let next = server.post("worlds").by(&owner_again().await).under(KEY).json(wish("sirocco")).await.expect(201);

    assert!(is_replayed(&late) && !is_replayed(&next));
    assert_eq!(worlds(&server).await, 2);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(server.services.idempotency.enforce_retention().await.unwrap(), 1, "the first effect");
}

#[tokio::test]
async fn a_message_can_be_posted_again_the_next_day_under_the_same_key() {
    let town = Town::start().await;
    let body = json!({ "body": "good morning" });
    let first = town.server.post(town.messages()).by(&town.mira).under(KEY).json(body.clone()).await.expect(201);
    town.server.clock.advance(DAY);
    let renewed = json!({ "refreshToken": town.mira.refresh_token });
    let mira = Person::of(&town.server.post("auth/refresh").json(renewed).await.expect(200));

    let next = town.server.post(town.messages()).by(&mira).under(KEY).json(body).await.expect(201);

    assert!(!is_replayed(&next));
    assert_ne!(first.json()["id"], next.json()["id"]);
    assert_eq!(next.json()["seq"], 2);
}

#[tokio::test]
async fn a_repeat_costs_no_quota() {
    let three = Quota::per(3, Unit::Hour);
    let limits = LimitsConfig { chat: three, ..LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)) };
    let town = Town::on(Server::limited(HttpConfig::default(), limits).await).await;
    let ask = |text: &str, key: &str| {
        town.server.post(town.messages()).by(&town.mira).under(key).json(json!({ "body": text }))
    };

    let first = ask("one", KEY).await.expect(201);
    for _ in 0..10 {
        let again = ask("one", KEY).await.expect(201);
        assert!(is_replayed(&again));
        assert_eq!((again.header("ratelimit"), again.header("ratelimit-policy")), ("", ""));
    }
    let second = ask("two", "another-key-0123456789").await.expect(201);

    let left = |reply: &Reply| reply.header("ratelimit").split(';').nth(1).map(str::to_owned);
    assert_eq!((left(&first), left(&second)), (Some("r=2".to_owned()), Some("r=1".to_owned())));
}

#[tokio::test]
async fn refusals_that_cost_nothing_else_are_kept_as_long_as_writes_are_left() {
    let three = Quota::per(3, Unit::Hour);
    let limits = LimitsConfig { write: three, ..LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)) };
    let server = Server::limited(HttpConfig::default(), limits).await;
    let owner = server.owner().await;
    let mut kept = Vec::new();

    for n in 0..5 {
        let key = format!("nonsense-0123456789-{n}");
        let ask = || server.post("worlds").by(&owner).under(&key).json(json!({ "name": "" }));
        let (first, again) = (ask().await.expect(422), ask().await.expect(422));
        assert_eq!((first.code(), again.problem()), ("validation-failed".to_owned(), first.problem()));
        kept.push(is_replayed(&again));
    }

    assert_eq!(kept, [true, true, true, false, false]);
}

#[tokio::test]
async fn who_is_turned_away_for_the_moment_may_ask_again_under_the_same_key() {
    let town = Town::start().await;
    let wish = json!({ "name": "Bora", "slug": "bora" });
    let ask = |person: &Person| town.server.post("worlds").by(person).under(KEY).json(wish.clone());
    let nobody = Person { token: "no-token".to_owned(), ..town.mira.clone() };

    assert_eq!(ask(&nobody).await.code(), "token-invalid");
    assert_eq!(ask(&town.mira).await.code(), "permission-denied");
    town.server.grant(&town.mira, Role::Admin, Scope::Global).await;
    let made = ask(&town.mira).await.expect(201);

    assert!(!is_replayed(&made));

    let slow = json!({ "slowmodeSeconds": 5 });
    town.server.patch(town.channel()).by(&town.owner).with("if-match", "\"1\"").json(slow).await.expect(200);
    town.server.say(&town.ylva, &town.lobby, "one").await;
    let other = "other-0123456789";
    let two = || town.server.post(town.messages()).by(&town.ylva).under(other).json(json!({ "body": "two" }));
    assert_eq!(two().await.code(), "slow-mode");
    town.server.clock.advance(Duration::from_secs(6));
    assert!(!is_replayed(&two().await.expect(201)));
    assert!(is_replayed(&two().await.expect(201)));
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_nothing_happens() {
    let server = Server::start().await;
    let owner = server.owner().await;

    for key in ["", "short", "fifteen-letters", &"k".repeat(129), "with a blank in it", "with\ttabs-in-between"] {
        let reply = server.post("worlds").by(&owner).under(key).json(mistral()).await.expect(400);
        assert_eq!(reply.code(), "idempotency-key-invalid", "{key:?}");
    }
    let twice = server.post("worlds").by(&owner).under(KEY).under(KEY).json(mistral()).await.expect(400);

    assert_eq!(twice.code(), "idempotency-key-invalid");
    assert_eq!(worlds(&server).await, 0);
    server.post("worlds").by(&owner).under(&"k".repeat(128)).json(mistral()).await.expect(201);
}

#[tokio::test]
async fn a_message_without_a_client_id_is_posted_once_and_shows_no_name_of_the_server_s_own() {
    let town = Town::start().await;
    let body = json!({ "body": "well met" });
    let ask = || town.server.post(town.messages()).by(&town.mira).under(KEY).json(body.clone());

    let first = ask().await.expect(201);
    let again = ask().await.expect(201);

    assert_eq!(told(&again), told(&first));
    assert_eq!(first.json()["clientId"], Value::Null);
    let history = town.history("").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
    assert_eq!(history["items"][0], first.json());
    let found = town.server.get(format!("messages/{}", id(&first.json()))).await.expect(200).json();
    assert_eq!(found, first.json());
}

#[tokio::test]
async fn a_message_with_a_client_id_minds_both_names() {
    let town = Town::start().await;
    let body = json!({ "body": "well met", "clientId": "a1" });
    let ask = |key: &str| town.server.post(town.messages()).by(&town.mira).under(key).json(body.clone());

    let first = ask(KEY).await.expect(201);
    let again = ask(KEY).await.expect(201);
    let under_another = ask("fedcba9876543210").await.expect(200);
    let under_another_again = ask("fedcba9876543210").await.expect(200);

    assert_eq!(told(&again), told(&first));
    assert!(is_replayed(&again) && !is_replayed(&under_another) && is_replayed(&under_another_again));
    assert_eq!(under_another.json(), first.json());
}

#[tokio::test]
async fn a_purged_message_is_not_told_again() {
    let town = Town::start().await;
    let ask = || {
        let body = json!({ "body": "something that must go" });
        town.server.post(town.messages()).by(&town.mira).under(KEY).json(body)
    };
    let first = ask().await.expect(201);
    let path = format!("messages/{}", id(&first.json()));
    let purge = json!({ "mode": "purge", "reason": "somebody's address" });
    town.server.ask(Method::DELETE, path).by(&town.owner).json(purge).await.expect(204);

    let again = ask().await.expect(201);
    let replayed = ask().await.expect(201);

    assert_eq!((again.header("location"), &again.json()["id"]), (first.header("location"), &first.json()["id"]));
    assert_eq!(again.json()["body"], Value::Null);
    assert!(is_replayed(&replayed));
    assert_eq!(told(&replayed), told(&again));
    assert_eq!(town.history("").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn fifty_copies_at_once_make_one_message() {
    let town = Town::start().await;
    let body = json!({ "body": "well met" });
    let copies =
        (0..50).map(|_| async { town.server.post(town.messages()).by(&town.mira).under(KEY).json(body.clone()).await });

    let replies = futures_util::future::join_all(copies).await;

    let mut bodies = BTreeSet::new();
    let (mut first, mut replayed, mut refused) = (0, 0, 0);
    for reply in replies {
        match (reply.status.as_u16(), is_replayed(&reply)) {
            (201, is_replayed) => {
                *(if is_replayed { &mut replayed } else { &mut first }) += 1;
                bodies.insert(reply.body.to_vec());
            }
            (409, false) => {
                assert_eq!(reply.code(), "idempotency-in-progress");
                assert_eq!((reply.header("retry-after"), reply.json()["retryAfter"].as_u64()), ("1", Some(1)));
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((first, replayed + refused, bodies.len()), (1, 49, 1));
    assert_eq!(town.history("").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(counted(&town.server, "weltenwind_idempotency_replays_total"), replayed.to_string());
    assert_eq!(counted(&town.server, "weltenwind_idempotency_in_progress_total"), refused.to_string());
}

#[tokio::test]
async fn a_key_says_nothing_on_calls_that_are_no_posts() {
    let town = Town::start().await;
    let message = town.server.say(&town.mira, &town.lobby, "hi").await;
    let path = format!("messages/{}", id(&message));
    let edit =
        |body: &str| town.server.ask(Method::PATCH, &path).by(&town.mira).under(KEY).json(json!({ "body": body }));

    assert_eq!(edit("one").await.expect(200).json()["body"], "one");
    assert_eq!(edit("two").await.expect(200).json()["body"], "two");
    assert!(!is_replayed(&town.server.get(&path).by(&town.mira).under(KEY).await.expect(200)));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_its_key_is_used() {
    let server = Server::with(HttpConfig { max_body_bytes: 200, ..HttpConfig::default() }).await;
    let owner = server.owner().await;
    let long = json!({ "name": "Mistral", "description": "x".repeat(300) });

    let refused = server.post("worlds").by(&owner).under(KEY).json(long).await.expect(413);
    let made = server.post("worlds").by(&owner).under(KEY).json(mistral()).await.expect(201);

    assert_eq!(refused.code(), "payload-too-large");
    assert!(!is_replayed(&made));
}
