//! How often: what is charged, what is free, and what callers are told of it.

mod fixture;

use std::{net::SocketAddr, time::Duration};

use axum::extract::ConnectInfo;
use http::Method;
use serde_json::{Value, json};
use weltenwind_core::limits::{LimitsConfig, Policy, Quota, Unit};
use weltenwind_http::HttpConfig;

use self::fixture::{Person, Reply, Server, id};

const PLENTY: Quota = Quota::per(1_000_000, Unit::Second);
/// Three calls, and another one every twenty minutes.
const THREE: Quota = Quota::per(3, Unit::Hour);

/// A server on which one thing is scarce.
async fn scarce(change: impl FnOnce(&mut LimitsConfig)) -> Server {
    let mut limits = LimitsConfig::uniform(PLENTY);
    change(&mut limits);
    let trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    Server::limited(HttpConfig { trusted_proxies, ..HttpConfig::default() }, limits).await
}

fn from(address: &str) -> ConnectInfo<SocketAddr> {
    ConnectInfo(SocketAddr::new(address.parse().expect("an address"), 4711))
}

fn told(reply: &Reply) -> (&str, &str) {
    (reply.header("ratelimit-policy"), reply.header("ratelimit"))
}

fn refusals(server: &Server, policy: Policy) -> u64 {
    server.services.limits.refusals().find(|(known, _)| *known == policy).map_or(0, |(_, count)| count)
}

#[tokio::test]
async fn every_answer_says_what_was_charged_and_what_is_left() {
    let server = Server::limited(HttpConfig::default(), LimitsConfig::default()).await;
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;
    let lobby = server.channel(&owner, &world, "lobby").await;
    let messages = format!("channels/{}/messages", id(&lobby));

    let posted = server.post(&messages).by(&owner).json(json!({ "body": "hi" })).await.expect(201);
    assert_eq!(
        told(&posted),
        (r#""chat";q=20;w=4, "chat-room";q=1000;w=2"#, r#""chat";r=19;t=1, "chat-room";r=999;t=1"#)
    );
    let edited =
        server.patch(format!("messages/{}", id(&posted.json()))).by(&owner).json(json!({ "body": "ho" })).await;
    assert_eq!(told(&edited.expect(200)), (r#""write";q=60;w=1"#, r#""write";r=59;t=1"#));
    for (reply, left) in [
        (server.get(&messages).by(&owner).await.expect(200), 99),
        (server.get("worlds/nowhere").by(&owner).await.expect(404), 98),
        (server.ask(Method::HEAD, "me").by(&owner).await.expect(200), 97),
    ] {
        assert_eq!(told(&reply), (r#""read";q=100;w=1"#, format!(r#""read";r={left};t=1"#).as_str()));
    }
    let anonymous = server.get("worlds").extension(from("192.0.2.1")).await.expect(200);
    assert_eq!(told(&anonymous), (r#""read";q=60;w=1"#, r#""read";r=59;t=1"#));
    let guest = server.post("auth/guest").extension(from("192.0.2.1")).json(json!({})).await.expect(201);
    assert_eq!(told(&guest), (r#""guest";q=120;w=60"#, r#""guest";r=119;t=1"#));
    // Who is not known by an address is not counted, and a page is none of the API.
    for reply in
        [server.get("worlds").await.expect(200), server.get("/").extension(from("192.0.2.1")).await.expect(200)]
    {
        assert_eq!(told(&reply), ("", ""));
    }
}

#[tokio::test]
async fn a_refusal_says_when_to_come_back() {
    let server = scarce(|limits| limits.chat = Quota::per(2, Unit::Second)).await;
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;
    let lobby = server.channel(&owner, &world, "lobby").await;
    for text in ["one", "two"] {
        server.say(&owner, &lobby, text).await;
    }
    let post = || server.post(format!("channels/{}/messages", id(&lobby))).by(&owner).json(json!({ "body": "three" }));

    let refused = post().await.expect(429);

    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(told(&refused), (r#""chat";q=2;w=1"#, r#""chat";r=0;t=1"#));
    insta::assert_json_snapshot!(refused.problem(), @r#"
    {
      "code": "rate-limited",
      "detail": "The limit `chat` is reached; the next call may be made in 1 s.",
      "retryAfter": 1,
      "status": 429,
      "title": "Too many calls",
      "type": "urn:weltenwind:problem:rate-limited"
    }
    "#);
    server.clock.advance(Duration::from_secs(1));
    post().await.expect(201);
    assert_eq!(refusals(&server, Policy::Chat), 1);
}

#[tokio::test]
async fn the_named_seconds_are_always_enough() {
    let server = scarce(|limits| limits.read = Quota::per(7, Unit::Minute)).await;
    let guest = server.guest("Mira").await;
    let read = || server.get("me").by(&guest);
    for _ in 0..7 {
        read().await.expect(200);
    }
    for _ in 0..5 {
        let seconds = read().await.expect(429).header("retry-after").parse().expect("whole seconds");
        server.clock.advance(Duration::from_secs(seconds));
        read().await.expect(200);
        // A call takes eight and a half seconds to come back: the rest of the rounded wait was a gift.
        while read().await.status == 200 {}
    }
}

#[tokio::test]
async fn what_the_caller_has_already_is_free() {
    let server = scarce(|limits| limits.read = Quota::per(3, Unit::Minute)).await;
    let guest = server.guest("Mira").await;
    let tag = server.get("me").by(&guest).await.expect(200).header("etag").to_owned();
    let again = |tag: &str| server.get("me").by(&guest).with("if-none-match", tag);

    for _ in 0..10 {
        let known = again(&tag).await.expect(304);
        assert_eq!(told(&known), ("", ""), "nothing was charged");
    }
    let changed = again("\"something else\"").await.expect(200);
    assert_eq!(changed.header("ratelimit"), r#""read";r=1;t=40"#);
    server.get("me").by(&guest).await.expect(200);

    // From here on the quota is used up.
    again(&tag).await.expect(304);
    let refused = again("\"something else\"").await.expect(429);
    assert_eq!((refused.code().as_str(), refused.header("etag")), ("rate-limited", ""));
    assert_eq!(refused.header("ratelimit"), r#""read";r=0;t=60"#);
    server.clock.advance(Duration::from_secs(20));
    again("\"something else\"").await.expect(200);
}

#[tokio::test]
async fn a_read_that_comes_too_soon_is_refused_before_anything_is_looked_for() {
    let server = scarce(|limits| limits.read = THREE).await;
    let guest = server.guest("Mira").await;
    for _ in 0..3 {
        server.get("worlds/nowhere").by(&guest).await.expect(404);
    }

    assert_eq!(server.get("worlds/nowhere").by(&guest).await.expect(429).code(), "rate-limited");
    let known = server.get("worlds/nowhere").by(&guest).with("if-none-match", "*").await;
    assert_eq!(known.expect(429).code(), "rate-limited", "a refusal costs as much as an answer");
    server.ask(Method::HEAD, "worlds/nowhere").by(&guest).await.expect(429);
}

#[tokio::test]
async fn an_address_has_one_quota_whatever_it_says_of_itself() {
    let server = scarce(|limits| limits.read_anonymous = THREE).await;
    let read = |peer: &str, forwarded: Option<&str>| {
        server.get("worlds").extension(from(peer)).with_some("x-forwarded-for", forwarded)
    };
    for n in 1..=3 {
        read("203.0.113.7", Some(&format!("198.51.100.{n}"))).await.expect(200);
    }

    read("203.0.113.7", Some("198.51.100.77")).await.expect(429);
    read("::ffff:203.0.113.7", None).await.expect(429);
    // A proxy that is trusted tells them apart, and believes none of what stands left of it.
    for n in 1..=3 {
        read("10.0.0.1", Some(&format!("192.0.2.{n}, 198.51.100.1"))).await.expect(200);
    }
    read("10.0.0.1", Some("192.0.2.77, 198.51.100.1")).await.expect(429);
    read("10.0.0.2", Some("198.51.100.1, 10.1.1.1")).await.expect(429);
    read("10.0.0.1", Some("198.51.100.2")).await.expect(200);
    // A network of IPv6 is one address.
    for n in 1..=3 {
        read(&format!("2001:db8:0:1::{n}"), None).await.expect(200);
    }
    read("2001:db8:0:1:ffff:ffff:ffff:ffff", None).await.expect(429);
    read("2001:db8:0:2::1", None).await.expect(200);
    // Whoever signs in has a quota of their own.
    let guest = server.guest("Mira").await;
    server.get("worlds").by(&guest).extension(from("203.0.113.7")).await.expect(200);
}

#[tokio::test]
async fn passwords_and_tokens_are_not_tried_for_ever() {
    let server = scarce(|limits| (limits.auth, limits.read_anonymous) = (THREE, THREE)).await;
    let login = |peer: &str| {
        let body = json!({ "username": "mira", "password": "not the password" });
        server.post("auth/login").extension(from(peer)).json(body)
    };
    for _ in 0..3 {
        assert_eq!(login("203.0.113.7").await.expect(401).code(), "invalid-credentials");
    }

    let refused = login("203.0.113.7").await.expect(429);
    assert_eq!((refused.header("retry-after"), told(&refused).0), ("1200", r#""auth";q=3;w=3600"#));
    let refresh = server.post("auth/refresh").extension(from("203.0.113.7")).json(json!({ "refreshToken": "wwr_x" }));
    assert_eq!(refresh.await.expect(429).code(), "rate-limited", "one quota for all that signs in");
    assert_eq!(login("203.0.113.8").await.expect(401).code(), "invalid-credentials");

    let made_up = || server.get("me").extension(from("203.0.113.9")).bearing("made-up");
    for _ in 0..3 {
        assert_eq!(made_up().await.expect(401).code(), "token-invalid");
    }
    assert_eq!(made_up().await.expect(429).code(), "rate-limited");
}

/// Registers somebody from a browser that is known from then on.
async fn registered(server: &Server, username: &str) {
    let device = json!({ "fingerprint": format!("the browser of {username}") });
    let body = json!({ "username": username, "password": "correct horse battery", "device": device });
    server.post("auth/register").json(body).await.expect(201);
}

async fn login(server: &Server, peer: &str, username: &str, password: &str, fingerprint: Option<&str>) -> Reply {
    let body = json!({ "username": username, "password": password, "device": { "fingerprint": fingerprint } });
    server.post("auth/login").extension(from(peer)).json(body).await
}

#[tokio::test]
async fn wrong_passwords_are_counted_by_address_and_right_ones_are_not() {
    let server = scarce(|limits| limits.failed_sign_in = THREE).await;
    registered(&server, "mira").await;
    let wrong = async |peer: &str| login(&server, peer, "mira", "not the password", None).await;
    for n in 1..=3 {
        for _ in 0..5 {
            login(&server, "2001:db8:0:1::1", "mira", "correct horse battery", None).await.expect(200);
        }
        assert_eq!(wrong(&format!("2001:db8:0:1::{n}")).await.expect(401).code(), "invalid-credentials");
    }

    let refused = wrong("2001:db8:0:1:ffff::7").await.expect(429);

    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("rate-limited", "1200"));
    login(&server, "2001:db8:0:1::1", "mira", "correct horse battery", None).await.expect(429);
    assert_eq!(wrong("2001:db8:0:2::1").await.expect(401).code(), "invalid-credentials", "the next network");
    // Behind a proxy that is trusted, each is who the proxy says; one that is not trusted says nothing.
    for (peer, said, status) in [
        ("10.0.0.1", "2001:db8:0:1::9", 429),
        ("10.0.0.1", "2001:db8:0:3::9", 401),
        ("2001:db8:0:1::9", "2001:db8:0:4::9", 429),
    ] {
        let body = json!({ "username": "mira", "password": "not the password" });
        let ask = server.post("auth/login").extension(from(peer)).with("x-forwarded-for", said).json(body);
        ask.await.expect(status);
    }
}

#[tokio::test]
async fn whoever_tries_passwords_from_everywhere_keeps_nobody_out() {
    let server = scarce(|limits| (limits.sign_in, limits.sign_in_device) = (THREE, THREE)).await;
    registered(&server, "mira").await;
    let own = Some("the browser of mira");

    for n in 1..=3 {
        let tried = login(&server, &format!("203.0.113.{n}"), "mira", "not the password", None).await;
        assert_eq!(tried.expect(401).code(), "invalid-credentials");
    }
    for (peer, fingerprint) in [("203.0.113.4", None), ("203.0.113.5", Some("the browser of another"))] {
        let tried = login(&server, peer, "mira", "not the password", fingerprint).await;
        assert_eq!((tried.status.as_u16(), told(&tried).0.contains("\"sign-in\";q=3")), (429, true));
    }

    // Her own browser is known, and has a budget that nobody else uses up; and it is no way around the limit.
    login(&server, "203.0.113.6", "mira", "correct horse battery", own).await.expect(200);
    for _ in 0..2 {
        login(&server, "203.0.113.7", "mira", "not the password", own).await.expect(401);
    }
    login(&server, "203.0.113.8", "mira", "not the password", own).await.expect(429);
    registered(&server, "oskar").await;
    login(&server, "203.0.113.9", "oskar", "correct horse battery", own).await.expect(200);
    server.clock.advance(Duration::from_mins(20));
    login(&server, "203.0.113.6", "mira", "correct horse battery", None).await.expect(200);
}

#[tokio::test]
async fn nobody_learns_from_a_limit_whether_an_account_exists() {
    let server = scarce(|limits| limits.sign_in = THREE).await;
    registered(&server, "mira").await;

    let mut seen = Vec::new();
    for (network, username) in ["mira", "nobody", "No Username"].into_iter().enumerate() {
        let mut answers = Vec::new();
        for n in 0..5 {
            let reply =
                login(&server, &format!("203.0.{network}.{n}"), username, "not the password", Some("a fingerprint"))
                    .await;
            let (policies, left) = told(&reply);
            answers.push((reply.status.as_u16(), policies.to_owned(), left.to_owned()));
        }
        seen.push(answers);
    }

    assert_eq!(seen[0].iter().map(|answer| answer.0).collect::<Vec<_>>(), [401, 401, 401, 429, 429]);
    assert_eq!(seen[1], seen[0]);
    assert_eq!(seen[2], seen[0]);
    // However it is written, a name is one name.
    login(&server, "203.0.113.9", " NOBODY", "not the password", None).await.expect(429);
}

#[tokio::test]
async fn the_present_password_is_not_tried_for_ever_from_a_stolen_session() {
    let server = scarce(|limits| limits.sign_in_device = THREE).await;
    registered(&server, "mira").await;
    let session = Person::of(&login(&server, "203.0.113.1", "mira", "correct horse battery", None).await.expect(200));
    let change = || {
        let body = json!({ "currentPassword": "not the password", "newPassword": "a lantern on the pier" });
        server.put("users/me/password").by(&session).extension(from("203.0.113.1")).json(body)
    };
    for _ in 0..3 {
        assert_eq!(change().await.expect(401).code(), "invalid-credentials");
    }

    assert_eq!(change().await.expect(429).code(), "rate-limited");
}

#[tokio::test]
async fn guests_are_counted_by_address() {
    let server = scarce(|limits| limits.guest = THREE).await;
    let guest = |peer: &str| server.post("auth/guest").extension(from(peer)).json(json!({}));
    for _ in 0..3 {
        guest("203.0.113.7").await.expect(201);
    }

    assert_eq!(guest("203.0.113.7").await.expect(429).code(), "rate-limited");
    guest("203.0.113.8").await.expect(201);
}

fn of<'l>(limits: &'l Value, policy: &str) -> &'l Value {
    let items = limits["items"].as_array().expect("a list");
    items.iter().find(|item| item["policy"] == policy).unwrap_or_else(|| panic!("{policy} in {limits}"))
}

#[tokio::test]
async fn one_s_limits_are_told_without_being_charged() {
    let server = Server::limited(HttpConfig::default(), LimitsConfig::default()).await;
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;
    let lobby = server.channel(&owner, &world, "lobby").await;
    for n in 0..20 {
        server.say(&owner, &lobby, &format!("message {n}")).await;
    }
    let look = |path: &str, person: Option<&Person>| {
        let token = person.map(|person| format!("Bearer {}", person.token));
        server.get(path).extension(from("192.0.2.1")).with_some("authorization", token.as_deref())
    };

    for path in ["me/limits", "users/me/limits"] {
        for _ in 0..150 {
            look(path, Some(&owner)).await.expect(200);
        }
        let reply = look(path, Some(&owner)).await;
        assert_eq!((told(&reply), reply.header("cache-control")), (("", ""), "private, no-cache"));
        look(path, Some(&owner)).with("if-none-match", reply.header("etag")).await.expect(304);
        let limits = reply.json();
        assert_eq!(
            *of(&limits, "chat"),
            json!({
                "policy": "chat", "key": "account", "quota": 20, "windowSeconds": 4, "remaining": 0, "resetSeconds": 4,
                "retryAfter": 1,
            })
        );
        let whole = json!({
            "policy": "read", "key": "account", "quota": 100, "windowSeconds": 1, "remaining": 100, "resetSeconds": 0,
        });
        assert_eq!(*of(&limits, "read"), whole);
        let names: Vec<_> = limits["items"].as_array().expect("a list").iter().map(|item| &item["policy"]).collect();
        // A room's count is not one's own.
        let own = Policy::ALL.iter().filter(|policy| **policy != Policy::ChatRoom);
        assert_eq!(names, own.map(|policy| policy.as_str()).collect::<Vec<_>>());
    }
    assert_eq!(of(&look("me/limits", Some(&owner)).await.json(), "telemetry")["key"], "device");
    let anonymous = look("me/limits", None).await.expect(200).json();
    let seen: Vec<_> = anonymous["items"].as_array().expect("a list").iter().map(|item| &item["policy"]).collect();
    assert_eq!(seen, ["auth", "failed-sign-in", "guest", "read"]);
    assert_eq!(of(&anonymous, "read")["quota"], 60);
    assert_eq!(server.get("me/limits").bearing("made-up").await.expect(401).code(), "token-invalid");
}
