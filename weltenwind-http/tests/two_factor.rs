//! A second factor: from its first code to its last, and who is asked for one.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{net::IpAddr, time::Duration};

use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};
use weltenwind_core::{
    ClientAddress, Clock as _,
    limits::{LimitsConfig, Quota, Unit},
};
use weltenwind_http::HttpConfig;

use self::fixture::{Ask, Person, Reply, Server, id};

const PASSWORD: &str = "correct horse battery";
const STEP: Duration = Duration::from_secs(30);

async fn registered(server: &Server, username: &str) -> Person {
    let body = json!({ "username": username, "password": PASSWORD });
    Person::of(&server.post("auth/register").json(body).await.expect(201))
}

fn login<'s>(server: &'s Server, code: Option<&str>) -> Ask<'s> {
    let mut body = json!({ "username": "mira", "password": PASSWORD });
    if let Some(code) = code {
        body["totp"] = code.into();
    }
    server.post("auth/login").json(body)
}

/// What the player's telephone does.
struct Authenticator(Totp);

impl Authenticator {
    async fn begin(server: &Server, person: &Person) -> Self {
        let begun = server.post("users/me/two-factor").by(person).await.expect(200);
        assert_eq!(begun.header("cache-control"), "no-store");
        let secret = Secret::try_from_base32(begun.json()["secret"].as_str().unwrap()).unwrap();
        Self(Builder::new().with_secret(secret).build().unwrap())
    }

    fn code(&self, server: &Server) -> String {
        self.0.generate(u64::try_from(server.clock.now().as_second()).unwrap()).to_string()
    }

    /// A code that is none of the steps around.
    fn wrong(&self, server: &Server) -> String {
        let now = u64::try_from(server.clock.now().as_second()).unwrap();
        let near: Vec<String> = (0..5).map(|n| self.0.generate(now - 60 + n * 30).to_string()).collect();
        ["000000", "111111", "222222", "333333", "444444", "555555"]
            .into_iter()
            .find(|code| !near.iter().any(|near| near == code))
            .unwrap()
            .to_owned()
    }
}

/// Somebody with a second factor: the session that is left, what shows codes, and the recovery codes.
async fn protected(server: &Server, person: &Person) -> (Person, Authenticator, Vec<String>) {
    let authenticator = Authenticator::begin(server, person).await;
    let code = json!({ "code": authenticator.code(server) });
    let confirmed = server.post("users/me/two-factor/confirm").by(person).json(code).await.expect(200);
    let body = confirmed.json();
    let codes: Vec<String> = serde_json::from_value(body["recoveryCodes"].clone()).unwrap();
    (session(&body["session"]), authenticator, codes)
}

fn session(body: &Value) -> Person {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Person {
        id: text(&body["user"]["id"]),
        token: text(&body["accessToken"]),
        refresh_token: text(&body["refreshToken"]),
    }
}

#[tokio::test]
async fn signing_in_asks_for_a_code_once_the_first_one_was_shown() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let lost = Authenticator::begin(&server, &mira).await;
    let begun = server.post("users/me/two-factor").by(&mira).await.expect(200).json();
    let (secret, uri) = (begun["secret"].as_str().unwrap(), begun["otpauthUri"].as_str().unwrap());
    assert!(uri.starts_with("otpauth://totp/127.0.0.1:mira?") && uri.contains(secret), "{uri}");
    let secret = Secret::try_from_base32(secret).unwrap();
    let authenticator = Authenticator(Builder::new().with_secret(secret).build().unwrap());
    login(&server, None).await.expect(200);

    let confirm = |code: String| server.post("users/me/two-factor/confirm").by(&mira).json(json!({ "code": code }));
    let old = confirm(lost.code(&server)).await.expect(401);
    assert_eq!(old.code(), "two-factor-code-invalid", "another secret took its place");
    let confirmed = confirm(authenticator.code(&server)).await.expect(200);

    assert_eq!(confirmed.header("cache-control"), "no-store");
    let confirmed = confirmed.json();
    assert_eq!(confirmed["recoveryCodes"].as_array().unwrap().len(), 10);
    let kept = session(&confirmed["session"]);
    server.get("me").by(&kept).await.expect(200);
    let export = server.get("me/export").by(&kept).await.expect(200).json();
    assert!(export["twoFactorSince"].is_string() && !export.to_string().contains(begun["secret"].as_str().unwrap()));
    assert_eq!(server.get("me").by(&mira).await.expect(401).code(), "session-ended");
    assert_eq!(login(&server, None).await.expect(401).code(), "two-factor-required");
    let again = login(&server, Some(&authenticator.code(&server))).await.expect(401);
    assert_eq!(again.code(), "two-factor-code-invalid", "it was used to confirm");
    server.clock.advance(STEP);
    login(&server, Some(&authenticator.code(&server))).await.expect(200);
    let again = login(&server, Some(&authenticator.code(&server))).await.expect(401);
    assert_eq!(again.code(), "two-factor-code-invalid", "it was used to sign in");
    server.post("users/me/two-factor").by(&kept).await.expect(409);
}

#[tokio::test]
async fn whoever_does_not_know_the_password_learns_nothing_of_a_second_factor() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let (_, authenticator, _) = protected(&server, &mira).await;
    server.clock.advance(STEP);
    let code = authenticator.code(&server);

    for totp in [Value::Null, json!(code)] {
        let body = json!({ "username": "mira", "password": "a lantern on the pier", "totp": totp });
        assert_eq!(server.post("auth/login").json(body).await.expect(401).code(), "invalid-credentials");
    }
    login(&server, Some(&code)).await.expect(200);
}

#[tokio::test]
async fn one_code_at_once_signs_in_once() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let (_, authenticator, codes) = protected(&server, &mira).await;
    server.clock.advance(STEP);

    for code in [authenticator.code(&server), codes[3].clone()] {
        let (one, two, three) =
            tokio::join!(login(&server, Some(&code)), login(&server, Some(&code)), login(&server, Some(&code)));

        let statuses = [one, two, three].map(|reply: Reply| reply.status.as_u16());
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 2, "{statuses:?}");
    }
}

#[tokio::test]
async fn a_recovery_code_stands_in_once_however_it_is_typed() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let (_, _, codes) = protected(&server, &mira).await;

    login(&server, Some(&codes[0])).await.expect(200);
    login(&server, Some(&codes[1].to_uppercase().replace('-', " "))).await.expect(200);

    for used in &codes[..2] {
        assert_eq!(login(&server, Some(used)).await.expect(401).code(), "two-factor-code-invalid");
    }
    let unique: std::collections::HashSet<_> = codes.iter().collect();
    assert_eq!(unique.len(), 10);
}

#[tokio::test]
async fn a_second_factor_is_given_up_for_a_code_and_ends_every_other_session() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let disable =
        |person: &Person, code: &str| server.delete("users/me/two-factor").by(person).json(json!({ "code": code }));
    assert_eq!(disable(&mira, "123456").await.expect(409).code(), "two-factor-not-enabled");
    let (mira, authenticator, codes) = protected(&server, &mira).await;

    let wrong = disable(&mira, &authenticator.wrong(&server)).await.expect(401);
    assert_eq!(wrong.code(), "two-factor-code-invalid");
    server.clock.advance(STEP);
    let kept = Person::of(&disable(&mira, &authenticator.code(&server)).await.expect(200));

    assert_eq!(server.get("me").by(&mira).await.expect(401).code(), "session-ended");
    server.get("me").by(&kept).await.expect(200);
    login(&server, None).await.expect(200);
    // A page that sends what was filled in before is not refused for it.
    login(&server, Some(&codes[0])).await.expect(200);
    let (again, _, _) = protected(&server, &kept).await;
    assert_eq!(disable(&again, &codes[1]).await.expect(401).code(), "two-factor-code-invalid", "the old paper");
}

#[tokio::test]
async fn a_changed_password_leaves_the_second_factor() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let (mira, _, codes) = protected(&server, &mira).await;
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "two ships in the fog" });

    server.put("users/me/password").by(&mira).json(change).await.expect(200);

    let mut body = json!({ "username": "mira", "password": "two ships in the fog" });
    let asked = server.post("auth/login").json(body.clone()).await.expect(401);
    assert_eq!(asked.code(), "two-factor-required");
    body["totp"] = codes[0].clone().into();
    server.post("auth/login").json(body).await.expect(200);
}

#[tokio::test]
async fn guests_and_keys_have_no_second_factor() {
    let server = Server::start().await;
    let (owner, guest) = (server.owner().await, server.guest("Lu").await);
    let key = server.key(&owner, "global", &["chat.read"]).await;
    let code = json!({ "code": "123456" });

    for (token, refusal) in
        [(&guest.token, "registration-required"), (&key["secret"].as_str().unwrap().to_owned(), "account-required")]
    {
        let begun = server.post("users/me/two-factor").bearing(token).await.expect(403);
        let confirmed = server.post("users/me/two-factor/confirm").bearing(token).json(code.clone()).await.expect(403);
        let disabled = server.delete("users/me/two-factor").bearing(token).json(code.clone()).await.expect(403);
        assert_eq!([begun.code(), confirmed.code(), disabled.code()], [refusal; 3]);
    }
    assert_eq!(server.post("users/me/two-factor").await.expect(401).code(), "unauthenticated");
}

/// Whoever has found the password out cannot try codes for ever, and does not lock the player out.
#[tokio::test]
async fn wrong_codes_are_limited_where_they_come_from() {
    let two_factor = Quota::per(3, Unit::Hour);
    let limits = LimitsConfig { two_factor, ..LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)) };
    let server = Server::limited(HttpConfig::default(), limits).await;
    let mira = registered(&server, "mira").await;
    let (mira, authenticator, _) = protected(&server, &mira).await;
    let from = |address: &str| ClientAddress(address.parse::<IpAddr>().unwrap());
    let (thief, home) = (from("198.51.100.1"), from("203.0.113.7"));
    let try_from = |address: ClientAddress, code: String| {
        let socket = std::net::SocketAddr::new(address.0, 40_000);
        let server = &server;
        async move { login(server, Some(&code)).extension(axum::extract::ConnectInfo(socket)).await }
    };

    for _ in 0..3 {
        let wrong = try_from(thief, authenticator.wrong(&server)).await.expect(401);
        assert_eq!(wrong.code(), "two-factor-code-invalid");
        assert!(wrong.header("ratelimit-policy").contains("two-factor"), "{}", wrong.header("ratelimit-policy"));
    }
    server.clock.advance(STEP);
    let refused = try_from(thief, authenticator.code(&server)).await.expect(429);

    assert_eq!(refused.code(), "rate-limited");
    try_from(home, authenticator.code(&server)).await.expect(200);
    server.get("me").by(&mira).await.expect(200);
    // Another account has a count of its own there.
    let ylva = registered(&server, "ylva").await;
    let authenticator = Authenticator::begin(&server, &ylva).await;
    let code = json!({ "code": authenticator.code(&server) });
    let socket = std::net::SocketAddr::new(thief.0, 40_000);
    let confirm = server.post("users/me/two-factor/confirm").by(&ylva).json(code);
    confirm.extension(axum::extract::ConnectInfo(socket)).await.expect(200);
}

#[tokio::test]
async fn staff_is_asked_for_a_second_factor_where_that_is_demanded() {
    let server = Server::demanding_two_factor().await;
    let owner = server.owner().await;
    let guest = server.guest("Lu").await;
    let give = || json!({ "userId": guest.id, "role": "support", "scope": "global" });

    let refused = server.post("access/grants").by(&owner).json(give()).await.expect(403);
    assert_eq!(refused.code(), "two-factor-enrolment-required");
    let asked = server.get("access/check?permission=access.manage&scope=global").by(&owner).await.expect(200).json();
    assert_eq!((&asked["allowed"], &asked["because"][0]["reason"]), (&json!(false), &json!("second-factor-missing")));
    let world = server.post("worlds").by(&owner).json(json!({ "name": "Mistral" })).await.expect(201).json();
    let path = format!("worlds/{}", id(&world));
    let amend = json!({ "name": "Mistral of the West" });
    let refused = server.patch(&path).by(&owner).with("if-match", "\"1\"").json(amend.clone()).await.expect(403);
    assert_eq!(refused.code(), "two-factor-enrolment-required");
    server.get(&path).by(&owner).await.expect(200);

    let (owner, _, _) = protected(&server, &owner).await;

    let grant = server.post("access/grants").by(&owner).json(give()).await.expect(201).json();
    server.get(format!("access/grants/{}", id(&grant))).by(&owner).await.expect(200);
    server.patch(&path).by(&owner).with("if-match", "\"1\"").json(amend).await.expect(200);
    // Who holds no role hears that, and not what would be asked of staff.
    let stranger = registered(&server, "tarn").await;
    let refused = server.post("access/grants").by(&stranger).json(give()).await.expect(403);
    assert_eq!(refused.code(), "permission-denied");
}

#[tokio::test]
async fn nothing_of_a_second_factor_is_kept_in_the_clear() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let begun = server.post("users/me/two-factor").by(&mira).with("idempotency-key", "0123456789abcdef");
    let begun = begun.await.expect(200).json()["secret"].as_str().unwrap().to_owned();
    let secret = Secret::try_from_base32(&begun).unwrap();
    let authenticator = Builder::new().with_secret(secret.clone()).build().unwrap();
    let code = authenticator.generate(u64::try_from(server.clock.now().as_second()).unwrap()).to_string();
    let confirm = server.post("users/me/two-factor/confirm").by(&mira).with("idempotency-key", "0123456789abcdef");
    let confirmed = confirm.json(json!({ "code": code })).await.expect(200).json();
    let codes: Vec<String> = serde_json::from_value(confirmed["recoveryCodes"].clone()).unwrap();

    let files = server.files();
    let holds = |bytes: &[u8]| files.windows(bytes.len()).any(|window| window == bytes);

    assert!(holds(b"mira"), "the search can find something");
    assert!(!holds(begun.as_bytes()) && !holds(secret.as_ref()));
    for code in &codes {
        assert!(!holds(code.as_bytes()) && !holds(code.to_uppercase().replace('-', "").as_bytes()));
    }
}
