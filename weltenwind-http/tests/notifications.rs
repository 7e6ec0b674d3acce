//! Notifications over HTTP: what is told, what was seen, and what a reader knows already.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::time::Duration;

use serde_json::{Value, json};
use weltenwind_core::{
    AnnouncementId, DedupeKey, NotificationId, Scope,
    access::Role,
    accounts::Topic,
    announcements::{AnnouncementText, Title},
    notifications::{NewNotification, Spread},
};

use self::fixture::{Person, Server, id};

async fn tell(server: &Server, person: &Person, title: &str) -> String {
    let id = NotificationId::new(server.services.sources.ids.draw());
    let new = NewNotification {
        id,
        account: person.id.parse().unwrap(),
        topic: Topic::Invite,
        dedupe_key: DedupeKey::new(&id.to_string()).unwrap(),
        title: Title::new(title).unwrap(),
        body: AnnouncementText::new("You are invited.").unwrap(),
        at: server.services.sources.clock.now(),
        expires_at: None,
    };
    server.services.notifications.tell(&[new]).await.unwrap();
    id.to_string()
}

async fn feed(server: &Server, person: &Person, query: &str) -> Value {
    server.get(format!("notifications{query}")).by(person).await.expect(200).json()
}

fn titles(feed: &Value) -> Vec<&str> {
    feed["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect()
}

async fn unread(server: &Server, person: &Person) -> Value {
    server.get("notifications/unread-count").by(person).await.expect(200).json()
}

async fn spread(server: &Server, announcement: &Value) {
    let id: AnnouncementId = id(announcement).parse().unwrap();
    while matches!(server.services.notifications.spread(id).await.unwrap(), Spread::More(_)) {}
}

#[tokio::test]
async fn a_feed_shows_what_was_told_and_what_everybody_was_told() {
    let server = Server::start().await;
    let (owner, mira) = (server.owner().await, server.guest("Mira").await);
    tell(&server, &mira, "An invitation").await;
    server.clock.advance(Duration::from_secs(1));
    let news = server.announce(&owner, json!({ "kind": "global" }), "The gates are open").await;

    let mut shown = feed(&server, &mira, "").await;

    assert_eq!(shown["items"][0]["id"], news["id"], "an announcement is notified under its own id");
    for item in shown["items"].as_array_mut().unwrap() {
        item["id"] = "[id]".into();
    }
    // Other crates that are built along decide whether objects keep their order.
    let mut settings = insta::Settings::clone_current();
    settings.set_sort_maps(true);
    let _sorted = settings.bind_to_scope();
    insta::assert_json_snapshot!(shown, @r#"
    {
      "items": [
        {
          "body": "Season 7 begins tonight.",
          "createdAt": "2026-01-01T00:00:01.000Z",
          "id": "[id]",
          "title": "The gates are open",
          "topic": "announcement"
        },
        {
          "body": "You are invited.",
          "createdAt": "2026-01-01T00:00:00.000Z",
          "id": "[id]",
          "title": "An invitation",
          "topic": "invite"
        }
      ],
      "nextCursor": null,
      "upTo": "1.1.1767225601000000"
    }
    "#);
    assert_eq!(titles(&feed(&server, &mira, "?topic=invite").await), ["An invitation"]);
    assert_eq!(titles(&feed(&server, &owner, "").await), ["The gates are open"], "nobody sees what another is told");
    assert_eq!(unread(&server, &mira).await, json!({ "count": 2, "capped": false }));
}

#[tokio::test]
async fn a_reader_that_knows_the_state_is_told_so_whatever_page_it_knows() {
    let server = Server::start().await;
    let (owner, mira) = (server.owner().await, server.guest("Mira").await);
    for n in 1..=3 {
        tell(&server, &mira, &format!("News {n}")).await;
    }
    let later = json!({ "title": "Later", "body": "Soon.", "audience": { "kind": "global" }, "publishAt": "2026-01-01T00:01:00Z" });
    let publish = server.post("announcements").by(&owner).with("idempotency-key", &server.fresh_key());
    publish.json(later).await.expect(201);
    let pages = ["notifications", "notifications?unread=true", "notifications?limit=2", "notifications?topic=chat"];
    let known = async |tag: &str, status: u16| {
        for path in pages {
            let reply = server.get(path).by(&mira).with("if-none-match", tag).await.expect(status);
            assert_eq!(reply.header("cache-control"), "private, no-cache");
            assert_eq!(reply.body.is_empty(), status == 304, "{path}");
        }
        server.get("notifications").by(&mira).await.expect(200).header("etag").to_owned()
    };
    let first = known("\"none\"", 200).await;

    assert_eq!(known(&first, 304).await, first);
    server.clock.advance(Duration::from_secs(59));
    assert_eq!(known(&first, 304).await, first);
    server.clock.advance(Duration::from_secs(1));
    let published = known(&first, 200).await;
    assert_eq!(
        titles(&feed(&server, &mira, "?limit=1").await),
        ["Later"],
        "its time had come, and nothing was written"
    );
    tell(&server, &mira, "News 4").await;
    let told = known(&published, 200).await;
    server
        .patch("me/preferences")
        .by(&mira)
        .with("if-match", "\"1\"")
        .json(json!({ "notifications": { "invite": false } }))
        .await
        .expect(200);
    let hidden = known(&told, 200).await;
    assert_eq!(titles(&feed(&server, &mira, "").await), ["Later"]);
    assert_eq!(known(&hidden, 304).await, hidden);
}

#[tokio::test]
async fn what_was_seen_is_marked_as_read_and_nothing_that_came_later() {
    let server = Server::start().await;
    let (owner, mira) = (server.owner().await, server.guest("Mira").await);
    let one = tell(&server, &mira, "One").await;
    tell(&server, &mira, "Two").await;
    server.announce(&owner, json!({ "kind": "global" }), "Three").await;
    let seen = feed(&server, &mira, "").await["upTo"].clone();
    tell(&server, &mira, "Four").await;
    server.announce(&owner, json!({ "kind": "global" }), "Five").await;

    server.post(format!("notifications/{one}/read")).by(&mira).await.expect(204);
    assert_eq!(titles(&feed(&server, &mira, "?unread=true").await).len(), 4);
    server.post("notifications/read-all").by(&mira).json(json!({ "upTo": seen })).await.expect(204);

    let mut left = feed(&server, &mira, "?unread=true").await;
    let mut left: Vec<_> = left["items"].take().as_array().unwrap().iter().map(|item| item["title"].clone()).collect();
    left.sort_by_key(ToString::to_string);
    assert_eq!(left, ["Five", "Four"]);
    assert_eq!(unread(&server, &mira).await["count"], 2);
    let wrong = server.post("notifications/read-all").by(&mira).json(json!({ "upTo": "yesterday" })).await;
    assert_eq!(wrong.expect(422).flaw().1, "/upTo");
}

#[tokio::test]
async fn what_was_dismissed_is_gone_for_good() {
    let server = Server::start().await;
    let (owner, mira) = (server.owner().await, server.guest("Mira").await);
    let told = tell(&server, &mira, "An invitation").await;
    let news = server.announce(&owner, json!({ "kind": "global" }), "The gates are open").await;
    for gone in [told.as_str(), id(&news)] {
        server.delete(format!("notifications/{gone}")).by(&mira).await.expect(204);
        let again = server.delete(format!("notifications/{gone}")).by(&mira).await.expect(404);
        assert_eq!(again.code(), "notification-not-found");
        server.post(format!("notifications/{gone}/read")).by(&mira).await.expect(404);
    }

    assert_eq!(feed(&server, &mira, "").await["items"], json!([]));
    assert_eq!(titles(&feed(&server, &owner, "").await), ["The gates are open"], "for whoever dismissed it");
    server.get(format!("announcements/{}", id(&news))).by(&mira).await.expect(200);
}

#[tokio::test]
async fn unread_notifications_are_counted_up_to_ninety_nine() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;
    for n in 1..=99 {
        tell(&server, &mira, &format!("News {n}")).await;
    }
    assert_eq!(unread(&server, &mira).await, json!({ "count": 99, "capped": false }));

    tell(&server, &mira, "One more").await;

    assert_eq!(unread(&server, &mira).await, json!({ "count": 99, "capped": true }));
}

#[tokio::test]
async fn members_are_notified_of_what_their_world_announces() {
    let server = Server::start().await;
    let (owner, mira, ylva) = (server.owner().await, server.guest("Mira").await, server.guest("Ylva").await);
    let world = server.world(&owner, "mistral").await;
    let scope = Scope::World(id(&world).parse().unwrap());
    server.grant(&mira, Role::WorldMember, scope).await;
    let audience = json!({ "kind": "world", "worldId": id(&world) });
    let news = server.announce(&owner, audience, "The gates are open").await;

    spread(&server, &news).await;

    for (person, expected) in [(&mira, 1), (&owner, 1), (&ylva, 0)] {
        assert_eq!(titles(&feed(&server, person, "").await).len(), expected);
    }
    let path = format!("announcements/{}", id(&news));
    let shown = server.get(&path).await.expect(200);
    assert_eq!(
        (shown.json()["dispatchedAt"].as_str(), shown.header("etag")),
        (Some("2026-01-01T00:00:00.000Z"), "\"2\"")
    );
    let amended =
        server.patch(&path).by(&owner).with("if-match", "\"2\"").json(json!({ "title": "The gates are shut" }));
    amended.await.expect(200);
    assert_eq!(
        titles(&feed(&server, &mira, "").await),
        ["The gates are shut"],
        "whoever was notified reads what it says now"
    );
    server.delete(&path).by(&owner).with("if-match", "\"3\"").await.expect(204);
    assert_eq!(feed(&server, &mira, "").await["items"], json!([]));
}

#[tokio::test]
async fn a_feed_is_ones_own() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let key = server.key(&owner, "global", &["chat.read"]).await;
    let secret = key["secret"].as_str().unwrap();

    for (reply, code) in [
        (server.get("notifications").await.expect(401), "unauthenticated"),
        (server.get("notifications").bearing(secret).await.expect(403), "account-required"),
        (server.get("notifications/unread-count").bearing(secret).await.expect(403), "account-required"),
        (server.post("notifications/read-all").json(json!({ "upTo": "0.0.0" })).await.expect(401), "unauthenticated"),
        (server.post("notifications/read-all").json(json!({ "upTo": "x" })).await.expect(401), "unauthenticated"),
    ] {
        assert_eq!(reply.code(), code);
    }
    let (mira, ylva) = (server.guest("Mira").await, server.guest("Ylva").await);
    for n in 1..=3 {
        tell(&server, &mira, &format!("News {n}")).await;
    }
    let cursor = feed(&server, &mira, "?limit=2").await["nextCursor"].as_str().unwrap().to_owned();
    assert_eq!(feed(&server, &mira, &format!("?limit=2&cursor={cursor}")).await["items"].as_array().unwrap().len(), 1);
    let other = server.get(format!("notifications?limit=2&cursor={cursor}")).by(&ylva).await;
    assert_eq!(other.expect(400).code(), "cursor-invalid");
}
