//! How the binary starts, and how it says why it does not.

mod fixture;

use std::process::Output;

use fixture::Store;

/// What a failed command said: exit code and stderr.
fn failure(output: &Output) -> (Option<i32>, String) {
    assert!(
        output.stdout.is_empty(),
        "data goes to stdout, and there is none: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_first_start_makes_a_world_to_talk_in_and_a_second_leaves_it_alone() {
    let store = Store::sqlite();

    for _ in 0..2 {
        let server = store.serve(&[]);
        let (status, worlds) = server.get("/api/v1/worlds").await;
        assert_eq!(status, 200);
        assert_eq!(worlds["items"].as_array().map(Vec::len), Some(1), "{worlds}");
        assert_eq!(worlds["items"][0]["slug"], "welcome");
        server.general().await;
        assert_eq!(server.stop().0, Some(0));
    }
}

#[tokio::test]
async fn an_empty_store_stays_empty_if_asked() {
    let store = Store::sqlite();

    let server = store.serve(&["--no-welcome"]);

    assert_eq!(server.get("/api/v1/worlds").await.1["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_token_holds_after_a_restart_because_keys_are_kept() {
    let store = Store::sqlite();
    let server = store.serve(&["--set", "public_url=http://wind.test"]);
    let guest = server.guest("Mira").await;
    server.kill();

    let server = store.serve(&["--set", "public_url=http://wind.test"]);
    let socket = server.try_socket(Some(&guest.token), None).await;

    assert!(socket.is_ok());
}

#[tokio::test]
async fn operators_see_that_it_lives_and_is_ready() {
    let store = Store::sqlite();
    let server = store.serve(&[]);

    for path in ["/livez", "/readyz", "/metrics"] {
        let response = reqwest::get(format!("{}{path}", server.operations)).await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200, "{path}");
    }
}

#[test]
fn a_corrupt_database_is_named_and_left_alone() {
    let store = Store::sqlite();
    std::fs::write(store.path(), "this is no database, it only stands where one should be".repeat(100))
        .expect("a file");
    let before = std::fs::read(store.path()).expect("the file");

    let (code, stderr) = failure(&store.run(&["serve"]));

    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("error: ") && stderr.contains("corrupt") && stderr.contains("hint: "), "{stderr}");
    assert_eq!(std::fs::read(store.path()).expect("the file"), before);
}

#[test]
fn a_database_server_that_is_away_is_named_and_may_be_tried_later() {
    let store = Store::sqlite();

    let (code, stderr) = failure(&store.run(&["serve", "--database", "postgres://ww:hunter2@127.0.0.1:9/ww"]));

    assert_eq!(code, Some(75), "{stderr}");
    assert!(
        stderr.contains("error: the database server at postgres://ww:[redacted]@127.0.0.1:9/ww cannot be reached"),
        "{stderr}"
    );
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_taken_port_is_named_and_leaves_no_database_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let store = Store::sqlite();

    let (code, stderr) = failure(&store.run(&["serve", "--listen", &address]));

    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("error: cannot listen on {address}")) && stderr.contains("hint: "), "{stderr}");
    assert!(!store.path().exists());
}

#[test]
fn a_wrong_key_is_named_with_the_nearest_right_one() {
    let store = Store::sqlite();

    let (code, stderr) = failure(&store.run(&["--set", "storage.ulr=sqlite://x.db"]));

    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("error: `storage.ulr` of --set is not a configuration key"), "{stderr}");
    assert!(stderr.contains("hint: did you mean `storage.url`"), "{stderr}");
}

#[test]
fn a_wildcard_is_no_origin() {
    let store = Store::sqlite();

    for origin in ["*", "https://*.example", "wind.example"] {
        let (code, stderr) = failure(&store.run(&["--set", &format!("http.allowed_origins=[\"{origin}\"]")]));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(&format!("http.allowed_origins: `{origin}` is no origin")), "{stderr}");
    }
    assert!(!store.path().exists());
}

#[test]
fn a_store_of_an_unknown_kind_is_refused() {
    let store = Store::sqlite();

    let (code, stderr) = failure(&store.run(&["serve", "--database", "mysql://ww@127.0.0.1/ww"]));

    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("mysql"), "{stderr}");
}
