//! One's own sessions and devices, another password, and a guest who registers.

mod fixture;

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};
use weltenwind_core::{
    ClientAddress, SessionId, StorageError, Timestamp,
    revocations::{LoggedLoss, LossSeq, RevocationStore},
};

use self::fixture::{Person, Reply, Server, Town, id};

const PASSWORD: &str = "correct horse battery";

async fn registered(server: &Server, username: &str) -> Person {
    let body = json!({ "username": username, "password": PASSWORD });
    Person::of(&server.post("auth/register").json(body).await.expect(201))
}

async fn signed_in(server: &Server, username: &str, device: Value) -> Person {
    let body = json!({ "username": username, "password": PASSWORD, "device": device });
    Person::of(&server.post("auth/login").json(body).await.expect(200))
}

fn items(reply: &Reply) -> Vec<Value> {
    reply.json()["items"].as_array().expect("a list").clone()
}

async fn sessions(server: &Server, person: &Person) -> Vec<Value> {
    items(&server.get("users/me/sessions").by(person).await.expect(200))
}

async fn devices(server: &Server, person: &Person) -> Vec<Value> {
    items(&server.get("users/me/devices").by(person).await.expect(200))
}

fn current(items: &[Value]) -> &Value {
    items.iter().find(|item| item["current"] == true).expect("one of them asks")
}

#[tokio::test]
async fn sessions_are_listed_youngest_first_with_their_devices() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let phone = signed_in(&server, "mira", json!({ "name": "phone", "fingerprint": "0123456789" })).await;
    registered(&server, "ylva").await;

    let listed = server.get("me/sessions").by(&phone).await.expect(200);

    assert_eq!(listed.header("cache-control"), "private, no-cache");
    let listed = items(&listed);
    assert_eq!(listed.len(), 2);
    let expected = json!({
        "id": listed[0]["id"],
        "userId": phone.id,
        "device": { "id": listed[0]["device"]["id"], "name": "phone", "lastSeen": "2026-01-01T00:00:00.000Z" },
        "createdAt": "2026-01-01T00:00:00.000Z",
        "idleExpiresAt": "2026-01-31T00:00:00.000Z",
        "expiresAt": "2026-06-30T00:00:00.000Z",
        "current": true,
    });
    assert_eq!(listed[0], expected);
    assert_eq!((&listed[1]["current"], &listed[1]["device"]["name"]), (&json!(false), &Value::Null));
    assert_eq!(current(&sessions(&server, &mira).await)["id"], listed[1]["id"]);
    server.get("users/me/sessions").await.expect(401);
}

#[tokio::test]
async fn lists_of_sessions_and_devices_go_on_where_they_stopped_and_belong_to_one_account() {
    let server = Server::start().await;
    registered(&server, "mira").await;
    let mut last = None;
    for n in 0..4 {
        last = Some(signed_in(&server, "mira", json!({ "name": format!("device {n}") })).await);
    }
    let (mira, ylva) = (last.unwrap(), registered(&server, "ylva").await);

    for list in ["users/me/sessions", "users/me/devices"] {
        let mut seen = Vec::new();
        let mut path = format!("{list}?limit=2");
        loop {
            let part = server.get(&path).by(&mira).await.expect(200);
            seen.extend(items(&part).iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(cursor) = part.json()["nextCursor"].as_str().map(str::to_owned) else { break };
            assert!(part.header("link").contains("rel=\"next\""));
            server.get(format!("{list}?cursor={cursor}")).by(&ylva).await.expect(400);
            path = format!("{list}?limit=2&cursor={cursor}");
        }
        assert_eq!(seen.len(), 5, "{list}");
        assert!(seen.is_sorted_by(|one, other| one > other), "{seen:?}");
    }
}

#[tokio::test]
async fn a_session_is_ended_by_its_owner_alone_and_at_once() {
    let server = Server::start().await;
    let (mira, ylva) = (registered(&server, "mira").await, registered(&server, "ylva").await);
    let other = signed_in(&server, "mira", json!({})).await;
    let path = format!("users/me/sessions/{}", id(current(&sessions(&server, &mira).await)));

    let foreign = server.delete(&path).by(&ylva).await.expect(404);
    assert_eq!(foreign.problem()["code"], "session-not-found");
    server.get("me").by(&mira).await.expect(200);
    server.delete(&path).by(&other).await.expect(204);

    let ended = server.get("me").by(&mira).await.expect(401);
    assert_eq!(ended.problem()["code"], "session-ended");
    let refresh = server.post("auth/refresh").json(json!({ "refreshToken": mira.refresh_token })).await.expect(401);
    assert_eq!(refresh.problem()["code"], "refresh-token-invalid");
    assert_eq!(server.delete(&path).by(&other).await.expect(404).problem()["code"], "session-not-found");
    assert_eq!(sessions(&server, &other).await.len(), 1);
    server.delete("users/me/sessions/nonsense").by(&other).await.expect(404);
    server.delete("users/me/sessions/nonsense").await.expect(401);
}

#[tokio::test]
async fn ending_the_own_session_is_signing_out() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let own = sessions(&server, &mira).await;

    server.delete(format!("me/sessions/{}", id(&own[0]))).by(&mira).await.expect(204);

    assert_eq!(server.get("me").by(&mira).await.expect(401).problem()["code"], "session-ended");
}

#[tokio::test]
async fn every_other_session_ends_and_the_own_one_stays() {
    let server = Server::start().await;
    let (mira, ylva) = (registered(&server, "mira").await, registered(&server, "ylva").await);
    let others = [signed_in(&server, "mira", json!({})).await, signed_in(&server, "mira", json!({})).await];

    let ended = server.post("users/me/sessions/revoke-others").by(&mira).await.expect(200).json();

    assert_eq!(ended, json!({ "ended": 2 }));
    for other in &others {
        assert_eq!(server.get("me").by(other).await.expect(401).problem()["code"], "session-ended");
    }
    for person in [&mira, &ylva] {
        server.get("me").by(person).await.expect(200);
    }
    let again = server.post("me/sessions/revoke-others").by(&mira).json(json!({})).await.expect(200).json();
    assert_eq!(again, json!({ "ended": 0 }));
    server.post("users/me/sessions/revoke-others").by(&mira).json(json!({ "all": true })).await.expect(422);
    server.post("users/me/sessions/revoke-others").await.expect(401);
}

#[tokio::test]
async fn a_repeat_under_a_key_ends_no_session_that_was_opened_meanwhile() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    signed_in(&server, "mira", json!({})).await;
    let ask = || server.post("users/me/sessions/revoke-others").by(&mira).with("idempotency-key", "0123456789abcdef");
    let first = ask().await.expect(200);
    let later = signed_in(&server, "mira", json!({})).await;

    let again = ask().await.expect(200);

    assert_eq!((again.header("idempotency-replayed"), again.json()), ("true", first.json()));
    server.get("me").by(&later).await.expect(200);
}

#[tokio::test]
async fn a_device_tells_what_its_owner_needs_to_know_it_by_and_no_more() {
    let server = Server::start().await;
    let (mira, fingerprint) = (registered(&server, "mira").await, "a secret of the device");
    let from = |address: &str| ClientAddress(address.parse::<IpAddr>().unwrap());
    server.clock.advance(Duration::from_mins(7));
    let login = |address: &'static str| {
        let device = json!({ "name": "phone", "fingerprint": fingerprint });
        let body = json!({ "username": "mira", "password": PASSWORD, "device": device });
        server.post("auth/login").extension(from(address)).json(body)
    };
    let phone = Person::of(&login("2001:db8:0:1::7").await.expect(200));

    let listed = devices(&server, &phone).await;

    let own = current(&listed);
    assert_eq!((&own["name"], &own["createdAt"]), (&json!("phone"), &json!("2026-01-01T00:07:00.000Z")));
    assert_eq!(own["lastSeen"], "2026-01-01T00:05:00.000Z", "in steps of five minutes");
    for hash in ["fingerprintHash", "ipHash"] {
        let hash = own[hash].as_str().unwrap();
        assert!(hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
    }
    assert_eq!(listed.len(), 2);
    let first = listed.iter().find(|device| device["current"] == false).unwrap();
    assert_eq!((first.get("fingerprintHash"), first.get("name")), (None, None));
    // The same network, and then another one.
    login("2001:db8:0:1:ffff::8").await.expect(200);
    assert_eq!(current(&devices(&server, &phone).await)["ipHash"], own["ipHash"]);
    login("192.0.2.7").await.expect(200);
    let moved = devices(&server, &phone).await;
    assert_ne!(current(&moved)["ipHash"], own["ipHash"]);
    assert_eq!(moved.len(), 2, "it is known again");
    let files = server.files();
    let holds = |text: &str| files.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("phone") && !holds(fingerprint) && !holds("192.0.2.7"), "only keyed hashes are kept");
    drop(mira);
}

#[tokio::test]
async fn a_refresh_shows_that_a_device_is_in_use() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    server.clock.advance(Duration::from_mins(12));

    let body = json!({ "refreshToken": mira.refresh_token });
    let mira = Person::of(&server.post("auth/refresh").json(body).await.expect(200));

    assert_eq!(devices(&server, &mira).await[0]["lastSeen"], "2026-01-01T00:10:00.000Z");
}

#[tokio::test]
async fn a_device_is_named_by_its_owner_alone_and_keeps_its_name() {
    let server = Server::start().await;
    let device = json!({ "name": "Firefox", "fingerprint": "0123456789" });
    registered(&server, "mira").await;
    let (mira, ylva) = (signed_in(&server, "mira", device.clone()).await, registered(&server, "ylva").await);
    let path = format!("users/me/devices/{}", id(current(&devices(&server, &mira).await)));

    let named = server.patch(&path).by(&mira).json(json!({ "name": " Kitchen tablet " })).await.expect(200).json();
    assert_eq!((&named["name"], &named["current"]), (&json!("Kitchen tablet"), &json!(true)));
    let again = signed_in(&server, "mira", device).await;
    assert_eq!(current(&devices(&server, &again).await)["name"], "Kitchen tablet");

    let foreign = server.patch(&path).by(&ylva).json(json!({ "name": "mine" })).await.expect(404);
    assert_eq!(foreign.problem()["code"], "device-not-found");
    for (body, pointer) in [
        (json!({ "name": "" }), "/name"),
        (json!({ "name": "a\nb" }), "/name"),
        (json!({ "name": "x".repeat(65) }), "/name"),
        (json!({}), "/name"),
        (json!({ "name": "x", "current": true }), "/current"),
    ] {
        let flaw = server.patch(&path).by(&mira).json(body.clone()).await.expect(422).flaw();
        assert_eq!(flaw.1, pointer, "{body}");
    }
    server.patch(&path).json(json!({ "name": "" })).await.expect(401);
}

#[tokio::test]
async fn a_device_that_is_signed_out_takes_its_sessions_along() {
    let server = Server::start().await;
    let device = json!({ "name": "phone", "fingerprint": "0123456789" });
    let mira = registered(&server, "mira").await;
    let lost = [signed_in(&server, "mira", device.clone()).await, signed_in(&server, "mira", device.clone()).await];
    let path = format!("users/me/devices/{}", id(current(&devices(&server, &lost[0]).await)));
    let ylva = registered(&server, "ylva").await;
    assert_eq!(server.delete(&path).by(&ylva).await.expect(404).problem()["code"], "device-not-found");

    server.delete(&path).by(&mira).await.expect(204);

    for person in &lost {
        assert_eq!(server.get("me").by(person).await.expect(401).problem()["code"], "device-revoked");
        let body = json!({ "refreshToken": person.refresh_token });
        server.post("auth/refresh").json(body).await.expect(401);
    }
    server.get("me").by(&mira).await.expect(200);
    assert_eq!(devices(&server, &mira).await.len(), 1);
    let again = signed_in(&server, "mira", device).await;
    let known = devices(&server, &again).await;
    assert_eq!(known.len(), 2);
    assert_ne!(format!("users/me/devices/{}", id(current(&known))), path, "it is another device now");
    assert_eq!(server.delete(&path).by(&mira).await.expect(404).problem()["code"], "device-not-found");
}

#[tokio::test]
async fn another_password_ends_every_session_and_answers_a_new_one() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let other = signed_in(&server, "mira", json!({ "name": "phone" })).await;
    let before = devices(&server, &mira).await;
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "a lantern on the pier" });

    let reply = server.put("users/me/password").by(&mira).json(change).await.expect(200);

    assert_eq!(reply.header("cache-control"), "no-store");
    let now = Person::of(&reply);
    assert_ne!(reply.json()["sessionId"], Value::Null);
    for person in [&mira, &other] {
        assert_eq!(server.get("me").by(person).await.expect(401).problem()["code"], "session-ended");
        let body = json!({ "refreshToken": person.refresh_token });
        server.post("auth/refresh").json(body).await.expect(401);
    }
    let left = sessions(&server, &now).await;
    assert_eq!((left.len(), &left[0]["id"]), (1, &reply.json()["sessionId"]));
    assert_eq!(id(&left[0]["device"]), id(current(&before)), "on the same device");
    server.post("auth/refresh").json(json!({ "refreshToken": now.refresh_token })).await.expect(200);
    let login = |password: &str| server.post("auth/login").json(json!({ "username": "mira", "password": password }));
    login(PASSWORD).await.expect(401);
    login("a lantern on the pier").await.expect(200);
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it_alone() {
    let server = Server::start().await;
    let (mira, guest) = (registered(&server, "mira").await, server.guest("Lu").await);
    let change = |current: &str, new: &str| json!({ "currentPassword": current, "newPassword": new });
    let digest = server.digest().await;

    for (person, current) in [(&mira, "wrong horse"), (&mira, ""), (&guest, "")] {
        let body = change(current, "a lantern on the pier");
        let refused = server.put("users/me/password").by(person).json(body).await.expect(401);
        assert_eq!(refused.problem()["code"], "invalid-credentials");
    }
    for new in ["short", "password123", "1234567890", "aaaaaaaaaaaa", "qwertyuiop"] {
        let flaw = server.put("me/password").by(&mira).json(change(PASSWORD, new)).await.expect(422).flaw();
        assert_eq!(flaw.1, "/newPassword", "{new}");
    }
    server.put("users/me/password").json(change("x", "y")).await.expect(401);

    assert_eq!(server.digest().await, digest, "nothing has changed");
}

#[tokio::test]
async fn a_page_finds_the_session_that_is_left_in_its_cookie() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "a lantern on the pier" });

    let reply = server.put("users/me/password").by(&mira).by_page().json(change).await.expect(200);

    assert!(reply.header("set-cookie").starts_with("ww_refresh=wwr_"), "{}", reply.header("set-cookie"));
    assert_eq!(reply.json().get("refreshToken"), None);
    let elsewhere = json!({ "currentPassword": PASSWORD, "newPassword": "a lantern on the pier" });
    let ylva = registered(&server, "ylva").await;
    let foreign = server.put("users/me/password").by(&ylva).with("x-weltenwind-csrf", "1").json(elsewhere);
    foreign.with("origin", "https://evil.test").await.expect(403);
}

#[tokio::test]
async fn a_guest_registers_in_place_and_keeps_what_it_has_written() {
    let town = Town::start().await;
    let server = &town.server;
    let message = server.say(&town.mira, &town.lobby, "well met").await;
    let body = json!({ "username": "mira", "password": PASSWORD, "email": "mira@example.org" });

    let reply = server.post("me/upgrade").by(&town.mira).json(body).await.expect(200);

    let mira = Person::of(&reply);
    assert_eq!(mira.id, town.mira.id, "it is the same account");
    let user = reply.json()["user"].clone();
    assert_eq!((&user["kind"], &user["username"]), (&json!("registered"), &json!("mira")));
    assert_eq!((&user["displayName"], &user["email"]), (&json!("Mira"), &json!("mira@example.org")));
    assert_eq!(server.get("me").by(&town.mira).await.expect(401).problem()["code"], "session-ended");
    let kept = server.get(format!("messages/{}", id(&message))).by(&mira).await.expect(200).json();
    assert_eq!(kept["author"]["id"], mira.id);
    let edited = json!({ "body": "well met again" });
    server.patch(format!("messages/{}", id(&message))).by(&mira).json(edited).await.expect(200);
    let login = server.post("auth/login").json(json!({ "username": "mira", "password": PASSWORD })).await.expect(200);
    assert_eq!(Person::of(&login).id, mira.id);
}

#[tokio::test]
async fn an_upgrade_that_is_refused_leaves_the_guest_as_it_was() {
    let server = Server::start().await;
    registered(&server, "ylva").await;
    let (guest, mira) = (server.guest("Mira").await, registered(&server, "mira").await);
    let body = |username: &str, password: &str| json!({ "username": username, "password": password });

    let taken = server.post("users/me/upgrade").by(&guest).json(body("ylva", PASSWORD)).await.expect(409);
    assert_eq!(taken.problem()["code"], "username-taken");
    let again = server.post("users/me/upgrade").by(&mira).json(body("mira2", PASSWORD)).await.expect(409);
    assert_eq!(again.problem()["code"], "already-registered");
    for (body, pointer) in [
        (body("No Name", PASSWORD), "/username"),
        (body("lu", PASSWORD), "/username"),
        (body("mira3", "password123"), "/password"),
        (json!({ "username": "mira3", "password": PASSWORD, "email": "nobody" }), "/email"),
        (json!({ "password": PASSWORD }), "/username"),
    ] {
        assert_eq!(server.post("users/me/upgrade").by(&guest).json(body).await.expect(422).flaw().1, pointer);
    }
    server.post("users/me/upgrade").json(json!({})).await.expect(401);

    assert_eq!(server.get("me").by(&guest).await.expect(200).json()["kind"], "guest");
}

#[tokio::test]
async fn of_fifty_upgrades_at_once_one_passes() {
    let server = Server::start().await;
    let guest = server.guest("Mira").await;
    let attempts = (0..50).map(async |n| {
        let body = json!({ "username": format!("mira-{n}"), "password": PASSWORD });
        server.post("users/me/upgrade").by(&guest).json(body).await
    });

    let mut passed = Vec::new();
    for reply in futures_util::future::join_all(attempts).await {
        match reply.status.as_u16() {
            200 => passed.push(reply),
            // Too slow, or too late for the session they came with, or more than can be hashed in time.
            409 => assert_eq!(reply.problem()["code"], "already-registered"),
            401 => assert_eq!(reply.problem()["code"], "session-ended"),
            503 => assert_eq!(reply.problem()["code"], "overloaded"),
            status => panic!("{status}: {:?}", reply.body),
        }
    }

    assert_eq!(passed.len(), 1);
    let (mira, user) = (Person::of(&passed[0]), passed[0].json()["user"].clone());
    assert_eq!(server.get("me").by(&mira).await.expect(200).json()["username"], user["username"]);
    assert_eq!(sessions(&server, &mira).await.len(), 1);
}

#[tokio::test]
async fn a_new_name_is_seen_by_every_session() {
    let town = Town::start().await;
    let server = &town.server;
    registered(server, "tarn").await;
    let (one, two) = (signed_in(server, "tarn", json!({})).await, signed_in(server, "tarn", json!({})).await);
    server.say(&two, &town.lobby, "before").await;

    server.patch("me").by(&one).json(json!({ "displayName": "Tarn of the West" })).await.expect(200);

    let after = server.say(&two, &town.lobby, "after").await;
    assert_eq!(after["author"]["displayName"], "Tarn of the West");
}

/// A log of losses that nobody can read.
#[derive(Debug)]
struct Away(Arc<dyn RevocationStore>);

#[async_trait]
impl RevocationStore for Away {
    async fn page(&self, after: LossSeq, limit: u16) -> Result<Vec<LoggedLoss>, StorageError> {
        if limit > 1 && self.0.position_at(Timestamp::MAX).await?.get() > 0 {
            return Err(StorageError::transient("read the log of losses", "it is away"));
        }
        self.0.page(after, limit).await
    }

    async fn position_at(&self, at: Timestamp) -> Result<LossSeq, StorageError> {
        self.0.position_at(at).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.0.purge(before, limit).await
    }
}

#[tokio::test]
async fn a_node_that_does_not_know_what_is_lost_refuses_what_is_sensitive_and_answers_the_rest() {
    let server = Server::on(|mut stores| {
        stores.revocations = Arc::new(Away(stores.revocations));
        stores
    })
    .await;
    let (mira, owner) = (registered(&server, "mira").await, server.owner().await);
    let world = server.world(&owner, "mistral").await;
    // From the first loss on, the log cannot be read.
    server.patch("me").by(&mira).json(json!({ "displayName": "Mira the Second" })).await.expect(200);
    server.clock.advance(Duration::from_secs(11));

    let change = json!({ "currentPassword": PASSWORD, "newPassword": "a lantern on the pier" });
    let archive = server.delete(format!("worlds/{}", id(&world))).by(&owner).with("if-match", "\"1\"").await;
    for refused in [
        server.put("users/me/password").by(&mira).json(change).await,
        server.post("users/me/sessions/revoke-others").by(&mira).await,
        server.delete(format!("users/me/sessions/{}", SessionId::new(uuid::Uuid::nil()))).by(&mira).await,
        archive,
    ] {
        let refused = refused.expect(503);
        assert_eq!((refused.problem()["code"].clone(), refused.header("retry-after")), (json!("unavailable"), "1"));
    }
    server.get("me").by(&mira).await.expect(200);
    server.ask(Method::GET, "worlds").by(&mira).await.expect(200);
}
