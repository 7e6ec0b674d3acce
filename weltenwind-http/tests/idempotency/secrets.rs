//! What answers a secret is not kept, whatever header comes with it.

use serde_json::{Value, json};
use weltenwind_core::{Actor, Clock as _};

use super::{
    KEY, Keyed as _,
    fixture::{ORIGIN, Person, Server},
    is_replayed,
};

/// The calls whose answers are secrets. Whoever adds one to the document decides here too.
const SECRETS: [&str; 11] = [
    "beginTwoFactor",
    "bootstrap",
    "confirmTwoFactor",
    "issueTicket",
    "makeKey",
    "openGuest",
    "refreshSession",
    "register",
    "signIn",
    "signOut",
    "upgradeGuest",
];

#[tokio::test]
async fn every_post_minds_a_key_or_answers_a_secret() {
    let document = Server::start().await.get("openapi.json").await.expect(200).json();
    let mut without = Vec::new();

    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let key = parameters.into_iter().find(|parameter| parameter["name"] == "Idempotency-Key");
            let responses = operation["responses"].as_object().unwrap();
            let replays = responses.iter().any(|(_, response)| !response["headers"]["Idempotency-Replayed"].is_null());
            let refuses = |status: &str, code: &str| {
                !responses
                    .get(status)
                    .map_or(&Value::Null, |response| &response["content"]["application/problem+json"]["examples"][code])
                    .is_null()
            };
            let documented = [
                replays,
                refuses("400", "idempotency-key-invalid"),
                refuses("409", "idempotency-in-progress"),
                refuses("422", "idempotency-key-reused"),
            ];
            let has_key = key.is_some();
            assert_eq!(documented, [has_key; 4], "{method} {path}");
            assert!(!has_key || method == "post", "{method} {path}");
            if let Some(key) = key {
                let is_required = refuses("400", "idempotency-key-required");
                assert_eq!((&key["in"], &key["required"]), (&json!("header"), &json!(is_required)), "{method} {path}");
                assert!(!responses["409"]["headers"]["Retry-After"].is_null(), "{method} {path}");
            }
            if method == "post" && !has_key {
                without.push(operation["operationId"].as_str().unwrap().to_owned());
            }
        }
    }
    without.sort();
    assert_eq!(without, SECRETS);
}

/// Calls all of them under a key, twice, and looks for what was kept.
#[tokio::test]
async fn nothing_is_kept_of_an_answer_that_is_a_secret() {
    let server = Server::start().await;
    let mut secrets = Vec::new();
    let mut twice = async |path: &str, body: Value, person: Option<&Person>| {
        let mut last = None;
        for _ in 0..2 {
            let mut ask = server.post(path).under(KEY).with("origin", ORIGIN).json(body.clone());
            if let Some(person) = person {
                ask = ask.by(person);
            }
            let reply = ask.await;
            assert!(!is_replayed(&reply), "{path}");
            if reply.status.is_success() && !reply.body.is_empty() {
                let body = reply.json();
                for name in ["accessToken", "refreshToken", "secret", "ticket"] {
                    secrets.extend(body[name].as_str().map(str::to_owned));
                }
                last = Some(reply);
            }
        }
        last
    };
    let guest = json!({ "displayName": "Mira" });
    let account = json!({ "username": "mira", "password": "correct horse battery" });
    let token = server.services.accounts.issue_bootstrap(&Actor::operator()).await.unwrap().token.expose().clone();
    let mira = Person::of(&twice("auth/guest", guest, None).await.unwrap());
    twice("auth/guest", json!({ "displayName": "Ylva" }), Some(&mira)).await.unwrap();
    twice("auth/register", account.clone(), Some(&mira)).await.unwrap();
    twice("auth/login", account, Some(&mira)).await.unwrap();
    let owner = json!({ "token": token, "username": "keeper", "password": "correct horse battery" });
    let keeper = Person::of(&twice("auth/bootstrap", owner, Some(&mira)).await.unwrap());
    let key = json!({ "name": "arena server", "scope": "global", "permissions": ["chat.read"] });
    twice("access/keys", key, Some(&keeper)).await.unwrap();
    twice("auth/refresh", json!({ "refreshToken": mira.refresh_token }), Some(&mira)).await.unwrap();
    twice("realtime/tickets", json!({}), Some(&mira)).await.unwrap();
    let lu = Person::of(&twice("auth/guest", json!({ "displayName": "Lu" }), None).await.unwrap());
    let upgrade = json!({ "username": "lu-of-the-west", "password": "correct horse battery" });
    twice("users/me/upgrade", upgrade, Some(&lu)).await.unwrap();
    let begun = twice("users/me/two-factor", json!({}), Some(&keeper)).await.unwrap().json();
    let code = code(&server, begun["secret"].as_str().unwrap());
    let confirmed = twice("users/me/two-factor/confirm", json!({ "code": code }), Some(&keeper)).await.unwrap().json();
    twice("auth/logout", json!({}), Some(&mira)).await;
    secrets.extend(confirmed["recoveryCodes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()));
    secrets.extend(["accessToken", "refreshToken"].map(|name| confirmed["session"][name].as_str().unwrap().to_owned()));

    assert!(secrets.len() >= 37, "{}", secrets.len());
    let files = server.files();
    assert!(contains(&files, b"keeper") && !contains(&files, b"correct horse"), "the search can find something");
    for secret in &secrets {
        assert!(!contains(&files, secret.as_bytes()), "{secret}");
    }
}

/// What an authenticator with this secret shows now.
fn code(server: &Server, secret: &str) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).expect("a secret in base32");
    let now = u64::try_from(server.clock.now().as_second()).expect("it is past 1970");
    totp_rs::Builder::new().with_secret(secret).build().expect("an authenticator").generate(now).to_string()
}

/// The test above could see what is kept.
#[tokio::test]
async fn what_is_no_secret_is_kept() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let world = json!({ "name": "Mistral", "slug": "mistral" });

    let made = server.post("worlds").by(&owner).under(KEY).json(world).await.expect(201);

    let files = server.files();
    assert!(contains(&files, &made.body));
    assert!(!contains(&files, owner.token.as_bytes()) && !contains(&files, KEY.as_bytes()));
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
