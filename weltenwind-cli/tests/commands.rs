//! Commands that look after an installation, through the binary.

mod fixture;

use fixture::Store;
use serde_json::{Value, json};

fn stdout(store: &Store, args: &[&str]) -> String {
    let output = store.run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json_of(store: &Store, args: &[&str]) -> Value {
    serde_json::from_str(&stdout(store, args)).expect("one JSON document")
}

async fn a_bootstrap_link_makes_an_owner_once(store: Store) {
    let server = store.serve(&[]);
    let link = json_of(&store, &["admin", "bootstrap", "--json"]);
    let token = link["token"].as_str().expect("a token");
    assert_eq!(link["url"].as_str().expect("a link").rsplit_once("/#bootstrap=").map(|(_, token)| token), Some(token));
    assert!(link["expiresAt"].as_str().expect("a time").ends_with('Z'));

    let owner = json!({ "token": token, "username": "mira", "password": "correct horse battery" });
    let (status, session) = server.post("/api/v1/auth/bootstrap", None, &owner).await;
    assert_eq!(status, 201, "{session}");
    let again = json!({ "token": token, "username": "oskar", "password": "correct horse battery" });
    let (status, problem) = server.post("/api/v1/auth/bootstrap", None, &again).await;
    assert_eq!((status, problem["code"].as_str()), (410, Some("bootstrap-token-spent")));
    let forged = json!({ "token": "wwb_forged", "username": "oskar", "password": "correct horse battery" });
    assert_eq!(server.post("/api/v1/auth/bootstrap", None, &forged).await.0, 401);

    let bearer = session["accessToken"].as_str();
    let (status, world) = server.post("/api/v1/worlds", bearer, &json!({ "name": "Mistral" })).await;
    assert_eq!((status, world["slug"].as_str()), (201, Some("mistral")), "an owner may make worlds");
    drop(server);
    store.drop_database().await;
}

#[tokio::test]
async fn on_sqlite_a_bootstrap_link_makes_an_owner_once() {
    a_bootstrap_link_makes_an_owner_once(Store::sqlite()).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn on_postgres_a_bootstrap_link_makes_an_owner_once() {
    a_bootstrap_link_makes_an_owner_once(Store::postgres().await).await;
}

#[tokio::test]
async fn announcements_are_published_changed_and_withdrawn() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let publish = ["announce", "publish", "The gates open", "At dusk.", "--dedupe-key", "gates", "--json"];

    let dry = stdout(&store, &["announce", "publish", "The gates open", "At dusk.", "--dry-run"]);
    assert!(dry.contains("everybody in global"), "{dry}");
    let made = json_of(&store, &publish);
    assert_eq!(json_of(&store, &publish)["id"], made["id"], "published once");
    let (status, shown) = server.get("/api/v1/announcements?q=dusk").await;
    assert_eq!((status, &shown["items"][0]["id"]), (200, &made["id"]));

    let id = made["id"].as_str().expect("an id");
    assert_eq!(store.run(&["announce", "amend", id]).status.code(), Some(2), "nothing is to be changed");
    let amended = json_of(&store, &["announce", "amend", id, "--title", "The gates stay shut", "--json"]);
    assert_eq!(amended["title"], "The gates stay shut");
    let later = ["announce", "publish", "Fair", "Soon.", "--world", "welcome", "--at", "2099-01-01T00:00:00Z"];
    assert_eq!(store.run(&later).status.code(), Some(2), "it lies too far ahead");
    let role = ["announce", "publish", "Staff", "Meet.", "--world", "welcome", "--role", "moderator"];
    assert_eq!(store.run(&role).status.code(), Some(2), "it is a role of no world");
    let listed = json_of(&store, &["announce", "list", "--json"]);
    assert_eq!(listed.as_array().expect("a list").len(), 1);

    assert_eq!(store.run(&["announce", "withdraw", id]).status.code(), Some(2), "it asks back");
    stdout(&store, &["announce", "withdraw", id, "--dry-run"]);
    stdout(&store, &["announce", "withdraw", id, "--yes"]);
    assert_eq!(store.run(&["announce", "withdraw", id, "--yes"]).status.code(), Some(3), "it is gone");
    assert_eq!(json_of(&store, &["announce", "list", "--json"]), json!([]));
}

#[tokio::test]
async fn keys_are_made_listed_and_deleted() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let wish =
        ["key", "create", "arena server", "--permission", "world.read,chat.read", "--permission", "world.create"];

    let text = stdout(&store, &wish);
    let secret = text.lines().next().expect("a line");
    assert!(secret.starts_with("wwk_"), "{text}");
    let (status, world) = server.post("/api/v1/worlds", Some(secret), &json!({ "name": "Mistral" })).await;
    assert_eq!((status, world["slug"].as_str()), (201, Some("mistral")), "the key holds on the running server");

    let made = json_of(&store, &["key", "create", "bot", "--permission", "chat.post", "--json"]);
    assert!(made["secret"].as_str().expect("a secret").starts_with("wwk_"));
    assert_eq!(made["permissions"], json!(["chat.post"]));
    let listed = json_of(&store, &["key", "list", "--json"]);
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|key| key["name"].as_str()).collect();
    assert_eq!(names, [Some("arena server"), Some("bot")]);
    assert!(listed.as_array().expect("a list").iter().all(|key| key.get("secret").is_none()));
    assert_eq!(
        json_of(&store, &["key", "list", "--scope", "world:01998b2e-7c00-7a15-8f3e-5d2a9c1b0e05", "--json"]),
        json!([])
    );

    let id = listed[0]["id"].as_str().expect("an id");
    assert_eq!(store.run(&["key", "revoke", id]).status.code(), Some(2), "it asks back");
    stdout(&store, &["key", "revoke", id, "--dry-run"]);
    assert_eq!(json_of(&store, &["key", "list", "--json"]).as_array().expect("a list").len(), 2);
    assert_eq!(json_of(&store, &["key", "revoke", id, "--yes", "--json"])["id"], id);
    assert_eq!(store.run(&["key", "revoke", id, "--yes"]).status.code(), Some(3), "it is gone");
    // Another process has deleted it, so the server believes it for a second more at most.
    let deleted = std::time::Instant::now();
    while server.post("/api/v1/worlds", Some(secret), &json!({ "name": "Bora" })).await.0 != 401 {
        assert!(deleted.elapsed() < std::time::Duration::from_secs(20), "a deleted key still holds");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    for bad in [&["key", "create", "x"][..], &["key", "create", "x", "--permission", "chat.all"]] {
        assert_eq!(store.run(bad).status.code(), Some(2), "{bad:?}");
    }
    let nonsense = ["key", "create", "x", "--permission", "chat.post", "--expires-at", "2020-01-01T00:00:00Z"];
    assert_eq!(store.run(&nonsense).status.code(), Some(2), "it lies behind");
}

#[tokio::test]
async fn roles_are_given_listed_and_taken() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let mira = json!({ "username": "mira", "password": "correct horse battery" });
    let (status, session) = server.post("/api/v1/auth/register", None, &mira).await;
    assert_eq!(status, 201, "{session}");
    let bearer = session["accessToken"].as_str();
    assert_eq!(server.post("/api/v1/worlds", bearer, &json!({ "name": "Mistral" })).await.0, 403);

    let grant = json_of(&store, &["grant", "add", "mira", "admin", "--reason", "she asked", "--json"]);
    // The server has just denied it, so another process's gift may be unknown there for what is left of that second.
    let given = std::time::Instant::now();
    while server.post("/api/v1/worlds", bearer, &json!({ "name": "Mistral" })).await.0 != 201 {
        assert!(given.elapsed() < std::time::Duration::from_secs(20), "a new role does not work");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(json_of(&store, &["grant", "list", "--user", "mira", "--scope", "global", "--json"]), json!([grant]));

    let id = grant["id"].as_str().expect("an id");
    assert_eq!(store.run(&["grant", "remove", id]).status.code(), Some(2), "it asks back");
    stdout(&store, &["grant", "remove", id, "--dry-run"]);
    stdout(&store, &["grant", "remove", id, "--yes"]);
    assert_eq!(store.run(&["grant", "remove", id, "--yes"]).status.code(), Some(3), "it is gone");
    assert_eq!(server.post("/api/v1/worlds", bearer, &json!({ "name": "Tramontana" })).await.0, 403);
    assert_eq!(store.run(&["grant", "add", "nobody", "admin"]).status.code(), Some(3));
    assert_eq!(store.run(&["grant", "add", "mira", "world_admin"]).status.code(), Some(2), "a role of another scope");
}

#[tokio::test]
async fn accounts_are_listed() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    server.guest("Gast").await;
    let mira = json!({ "username": "mira", "password": "correct horse battery", "displayName": "Mira" });
    assert_eq!(server.post("/api/v1/auth/register", None, &mira).await.0, 201);

    let users = json_of(&store, &["user", "list", "--json"]);
    let found = json_of(&store, &["user", "list", "--search", "MIR", "--json"]);

    assert_eq!(users.as_array().map(Vec::len), Some(2));
    assert_eq!(found, json!([users[1]]));
    assert_eq!(found[0]["displayName"], "Mira");
}

#[test]
fn worlds_are_made_and_listed() {
    let store = Store::sqlite();

    let world = json_of(&store, &["world", "create", "Über den Wolken", "--visibility", "unlisted", "--json"]);
    let listed = json_of(&store, &["world", "list", "--json"]);

    assert_eq!(world["slug"], "ueber-den-wolken");
    assert_eq!(listed, json!([world]));
    assert!(stdout(&store, &["world", "list"]).lines().nth(1).expect("a row").contains("ueber-den-wolken"));
}

#[test]
fn a_world_is_changed_and_closed() {
    let store = Store::sqlite();
    let made = json_of(&store, &["world", "create", "Mistral", "--json"]);
    let amend =
        ["world", "amend", "mistral", "--name", "Tramontana", "--slug", "tramontana", "--visibility", "private"];
    let with = |args: &[&'static str], more: &[&'static str]| [args, more].concat();

    let planned = json_of(&store, &with(&amend, &["--dry-run", "--json"]));
    assert_eq!((&planned["slug"], &planned["visibility"]), (&json!("tramontana"), &json!("private")));
    assert_eq!(json_of(&store, &["world", "list", "--json"]), json!([made]), "nothing was changed");
    let changed = json_of(&store, &with(&amend, &["--json"]));
    assert_eq!(
        (&changed["id"], &changed["name"], &changed["slug"]),
        (&made["id"], &json!("Tramontana"), &planned["slug"])
    );
    assert_eq!(store.run(&["world", "amend", "mistral"]).status.code(), Some(2), "nothing is to be changed");
    assert_eq!(store.run(&["world", "amend", "nowhere", "--name", "Sirocco"]).status.code(), Some(3));
    assert_eq!(json_of(&store, &["world", "members", "mistral", "--json"]), json!([]), "by its former slug, too");

    assert_eq!(store.run(&["world", "archive", "tramontana"]).status.code(), Some(2), "it asks back");
    assert!(stdout(&store, &["world", "archive", "tramontana", "--dry-run"]).contains("would close Tramontana"));
    assert_eq!(json_of(&store, &["world", "list", "--json"]), json!([changed]));
    assert!(stdout(&store, &["world", "archive", "tramontana", "--yes"]).contains("closed Tramontana"));
    assert_eq!(json_of(&store, &["world", "list", "--json"]), json!([]));
}

#[test]
fn a_taken_slug_is_a_conflict() {
    let store = Store::sqlite();
    stdout(&store, &["world", "create", "Mistral"]);

    let output = store.run(&["world", "create", "Mistral"]);

    assert_eq!(output.status.code(), Some(4));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("error: the slug mistral is taken") && stderr.contains("hint: "), "{stderr}");
}

#[test]
fn a_name_that_breaks_a_rule_is_a_usage_error() {
    let store = Store::sqlite();

    assert_eq!(store.run(&["world", "create", "x"]).status.code(), Some(2));
    assert_eq!(store.run(&["world", "create", "Mistral", "--slug", "admin"]).status.code(), Some(2));
    assert_eq!(store.run(&["world", "create", "Mistral", "--visibility", "hidden"]).status.code(), Some(2));
    assert_eq!(json_of(&store, &["world", "list", "--json"]), json!([]), "nothing was made");
}

#[test]
fn migrating_twice_changes_nothing_the_second_time() {
    let store = Store::sqlite();

    assert!(stdout(&store, &["migrate"]).contains("0001_foundation"));

    assert_eq!(stdout(&store, &["migrate"]), "the schema is up to date\n");
}

#[test]
fn the_configuration_is_printed_with_its_origins_and_without_secrets() {
    let store = Store::sqlite();

    let settings = json_of(&store, &["config", "print", "--json", "--set", "storage.url=postgres://ww:hunter2@db/ww"]);

    let setting = |key: &str| {
        let found = settings.as_array().expect("a list").iter().find(|setting| setting["key"] == key);
        found.unwrap_or_else(|| panic!("{key} is printed")).clone()
    };
    assert_eq!(setting("storage.url")["value"], "postgres://ww:[redacted]@db/ww");
    assert_eq!(setting("storage.url")["from"], "command line");
    assert_eq!(setting("http.listen")["from"], "WELTENWIND_HTTP__LISTEN");
    assert_eq!(setting("chat.lanes")["from"], "default");
    assert!(stdout(&store, &["config", "check"]).contains("sound"));
}

#[test]
fn help_says_what_there_is() {
    let store = Store::sqlite();

    insta::assert_snapshot!(stdout(&store, &["--help"]));
}
