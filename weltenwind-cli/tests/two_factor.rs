//! A second factor through the binary, on both stores: from its first code to the operator who takes it away.

mod fixture;

use std::time::Duration;

use fixture::{PATIENCE, Store};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};
use weltenwind_core::{Clock as _, SystemClock};

const PASSWORD: &str = "a lantern on the pier";

/// The codes of the step before, the present one and the next: those that pass.
fn codes(authenticator: &Totp) -> [String; 3] {
    let now = u64::try_from(SystemClock.now().as_second()).expect("it is past 1970");
    [now - 30, now, now + 30].map(|at| authenticator.generate(at).to_string())
}

fn sign_in(code: Option<&str>) -> Value {
    match code {
        Some(code) => json!({ "username": "mira", "password": PASSWORD, "totp": code }),
        None => json!({ "username": "mira", "password": PASSWORD }),
    }
}

async fn a_second_factor_is_asked_for_until_the_operator_takes_it(store: Store) {
    let server = store.serve(&[]);
    let (status, session) = server.post("/api/v1/auth/register", None, &sign_in(None)).await;
    assert_eq!(status, 201, "{session}");
    let mira = session["accessToken"].as_str();
    let (status, begun) = server.post("/api/v1/users/me/two-factor", mira, &json!({})).await;
    assert_eq!(status, 200, "{begun}");
    let secret = Secret::try_from_base32(begun["secret"].as_str().expect("a secret")).expect("base32");
    let authenticator = Builder::new().with_secret(secret).build().expect("an authenticator");

    let first = json!({ "code": codes(&authenticator)[1] });
    let (status, confirmed) = server.post("/api/v1/users/me/two-factor/confirm", mira, &first).await;
    assert_eq!(status, 200, "{confirmed}");
    let login = async |code: Option<&str>| {
        let (status, answer) = server.post("/api/v1/auth/login", None, &sign_in(code)).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(login(None).await, (401, "two-factor-required".to_owned()));
    let next = codes(&authenticator)[2].clone();
    let (one, two) = tokio::join!(login(Some(&next)), login(Some(&next)));
    let mut statuses = [one.0, two.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "of two at once with one code, one passes");
    let paper = confirmed["recoveryCodes"][4].as_str().expect("a recovery code");
    assert_eq!(login(Some(paper)).await.0, 200);
    assert_eq!(login(Some(paper)).await, (401, "two-factor-code-invalid".to_owned()));

    let disable = |flag| ["user", "two-factor", "disable", "mira", flag, "--json"];
    assert_eq!(store.run(&["user", "two-factor", "disable", "mira"]).status.code(), Some(2), "it asks back");
    let told: Value = serde_json::from_slice(&store.run(&disable("--dry-run")).stdout).expect("one JSON document");
    assert_eq!(told, json!({ "userId": session["user"]["id"], "sessionsEnded": 3 }));
    assert_eq!(login(None).await.0, 401, "nothing was done");
    let told: Value = serde_json::from_slice(&store.run(&disable("--yes")).stdout).expect("one JSON document");
    assert_eq!(told["sessionsEnded"], 3);
    assert_eq!(login(None).await.0, 200);
    assert_eq!(store.run(&disable("--yes")).status.code(), Some(4), "there is none any more");
    assert_eq!(store.run(&["user", "two-factor", "disable", "nobody", "--yes"]).status.code(), Some(3));
    let kept = confirmed["session"]["accessToken"].as_str().expect("a token");
    let over = async {
        while server.get_as("/api/v1/users/me", kept).await.0 != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.expect("the running server hears of it");

    let (_, log) = server.stop();
    let noted = |event: &str| log.lines().filter(|line| line.contains(&format!("event={event} "))).count();
    assert_eq!((noted("auth_2fa_enabled"), noted("auth_recovery_code_used")), (1, 1), "{log}");
    assert_eq!(noted("auth_2fa_failed"), 2, "{log}");
    for secret in [begun["secret"].as_str().expect("a secret"), paper, &next, PASSWORD] {
        assert!(!log.contains(secret), "the log tells a secret");
    }
    store.drop_database().await;
}

#[tokio::test]
async fn on_sqlite_a_second_factor_is_asked_for_until_the_operator_takes_it() {
    a_second_factor_is_asked_for_until_the_operator_takes_it(Store::sqlite()).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn on_postgres_a_second_factor_is_asked_for_until_the_operator_takes_it() {
    a_second_factor_is_asked_for_until_the_operator_takes_it(Store::postgres().await).await;
}
