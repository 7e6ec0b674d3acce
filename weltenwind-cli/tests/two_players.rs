//! Two people chat, through the binary, from an empty store.

mod fixture;

use fixture::Store;
use serde_json::json;

async fn two_players_see_the_same_conversation(store: Store) {
    let server = store.serve(&[]);
    let channel = server.general().await;
    let (mira, oskar) = (server.guest("Mira").await, server.guest("Oskar").await);
    let (mut here, mut there) = (server.socket(&mira).await, server.socket(&oskar).await);
    here.join(&channel, None).await;
    there.join(&channel, None).await;
    here.next_of("live").await;
    there.next_of("live").await;

    let room = format!("channel:{channel}");
    here.send(&json!({ "t": "pub", "id": 7, "room": room, "clientId": "a1", "body": "anybody there?" })).await;
    there.send(&json!({ "t": "pub", "id": 8, "room": room, "clientId": "a1", "body": "over here" })).await;

    let (mut at_home, mut abroad) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        at_home.push(here.next_of("msg").await["message"].clone());
        abroad.push(there.next_of("msg").await["message"].clone());
    }
    assert_eq!(at_home, abroad);
    assert_eq!(at_home.iter().map(|message| message["seq"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(server.history(&channel).await, at_home);
    let names: Vec<_> = at_home.iter().map(|message| message["author"]["displayName"].clone()).collect();
    assert!(names.contains(&json!("Mira")) && names.contains(&json!("Oskar")));

    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("anybody there?"), "what players write is not logged");
    store.drop_database().await;
}

async fn who_comes_back_hears_what_was_missed(store: Store) {
    let server = store.serve(&[]);
    let channel = server.general().await;
    let (mira, oskar) = (server.guest("Mira").await, server.guest("Oskar").await);
    let mut here = server.socket(&mira).await;
    here.join(&channel, None).await;
    let path = format!("/api/v1/channels/{channel}/messages");
    server.post(&path, Some(&oskar.token), &json!({ "body": "one" })).await;
    let seen = here.next_of("msg").await["cursor"].as_str().expect("a cursor").to_owned();
    drop(here);
    for body in ["two", "three"] {
        let (status, _) = server.post(&path, Some(&oskar.token), &json!({ "body": body })).await;
        assert_eq!(status, 201);
    }

    let mut back = server.socket(&mira).await;
    let joined = back.join(&channel, Some(&seen)).await;

    assert_eq!(joined["recovered"], true);
    assert_eq!(back.next_of("msg").await["message"]["body"], "two");
    assert_eq!(back.next_of("msg").await["message"]["body"], "three");
    assert_eq!(back.next().await.expect("a record")["t"], "live");
    drop(server);
    store.drop_database().await;
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn two_players_see_the_same_conversation() {
        super::two_players_see_the_same_conversation(Store::sqlite()).await;
    }

    #[tokio::test]
    async fn who_comes_back_hears_what_was_missed() {
        super::who_comes_back_hears_what_was_missed(Store::sqlite()).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
    async fn two_players_see_the_same_conversation() {
        super::two_players_see_the_same_conversation(Store::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
    async fn who_comes_back_hears_what_was_missed() {
        super::who_comes_back_hears_what_was_missed(Store::postgres().await).await;
    }
}
