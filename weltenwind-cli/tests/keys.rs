//! The installation's own keys are replaced while people are signed in.

mod fixture;

use std::{process::Stdio, time::Duration};

use fixture::{Server, Store};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

/// Longer than the command takes, so that some kills come after its end.
const KILLS: u64 = 16;

struct Player {
    access: String,
    refresh: String,
    session: String,
}

impl Player {
    fn of(session: &Value) -> Self {
        let text = |member: &str| session[member].as_str().expect("a text").to_owned();
        Self { access: text("accessToken"), refresh: text("refreshToken"), session: text("sessionId") }
    }

    async fn new(server: &Server) -> Self {
        let (status, session) = server.post("/api/v1/auth/guest", None, &json!({})).await;
        assert_eq!(status, 201, "{session}");
        Self::of(&session)
    }

    async fn trade(&self, server: &Server) -> Self {
        let (status, session) =
            server.post("/api/v1/auth/refresh", None, &json!({ "refreshToken": self.refresh })).await;
        assert_eq!(status, 200, "{session}");
        let next = Self::of(&session);
        assert_eq!(next.session, self.session, "nobody is signed out");
        next
    }

    async fn is_let_in(&self, server: &Server) -> bool {
        server.get_as("/api/v1/users/me", &self.access).await.0 == 200
    }
}

fn rotate(store: &Store, args: &[&str]) -> Value {
    let output = store.run(&[&["key", "rotate", "--json"], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn states(keys: &Value, purpose: &str) -> Vec<String> {
    let keys = keys.as_array().expect("a list").iter().filter(|key| key["purpose"] == purpose);
    keys.map(|key| key["state"].as_str().expect("a state").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn keys_are_replaced_while_people_are_signed_in_on_two_nodes() {
    let store = Store::postgres().await;
    let args = ["--set", "public_url=http://wind.test"];
    let (here, there) = (store.serve(&args), store.serve(&args));
    let (mira, lu) = (Player::new(&here).await, Player::new(&there).await);

    // A routine rotation is noticed by nobody.
    let keys = rotate(&store, &[]);
    assert_eq!(states(&keys, "signing"), ["announced", "used"]);
    assert_eq!(states(&keys, "root"), ["announced", "used"]);
    for node in [&here, &there] {
        assert!(mira.is_let_in(node).await && lu.is_let_in(node).await);
        assert!(Player::new(node).await.is_let_in(&there).await);
    }
    let again = store.run(&["key", "rotate"]);
    assert_eq!(again.status.code(), Some(4), "tokens under the first key hold");
    assert!(String::from_utf8_lossy(&again.stderr).contains("hint: come back at"));

    // Keys in foreign hands are gone at once, and the others meet the new one in the first token under it.
    let keys = rotate(&store, &["--compromised"]);
    assert_eq!(states(&keys, "signing"), ["used"]);
    let fresh = store.serve(&args);
    let oskar = Player::new(&fresh).await;
    for node in [&here, &there, &fresh] {
        assert!(oskar.is_let_in(node).await);
        assert!(!mira.is_let_in(node).await && !lu.is_let_in(node).await, "their tokens have ended");
    }
    let (mira, lu) = (mira.trade(&there).await, lu.trade(&here).await);
    for node in [&here, &there, &fresh] {
        assert!(mira.is_let_in(node).await && lu.is_let_in(node).await, "and they have others");
    }

    drop((here, there, fresh));
    store.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_killed_has_happened_or_not() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let mut mira = Player::new(&server).await;

    for n in 0..KILLS {
        let mut command = store.command(&["key", "rotate", "--compromised"]);
        let mut rotating = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        tokio::time::sleep(Duration::from_millis(8 * n)).await;
        // It may have ended by itself.
        let _ = rotating.kill();
        rotating.wait().expect("it has ended");

        assert_eq!(states(&rotate(&store, &["--dry-run"]), "signing"), ["used"]);
        mira = mira.trade(&server).await;
        assert!(Player::new(&server).await.is_let_in(&server).await);
    }
    rotate(&store, &["--compromised"]);
    let mut database = SqliteConnection::connect(store.url()).await.expect("the store");
    let done: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE action = 'key.rotate'")
        .fetch_one(&mut database)
        .await
        .expect("the audit log");

    let roots = states(&rotate(&store, &["--dry-run"]), "root").len();
    assert_eq!(i64::try_from(roots).expect("a few"), done + 1, "no rotation stopped half way");
    server.kill();
    let server = store.serve(&[]);
    assert!(mira.trade(&server).await.is_let_in(&server).await);
}
