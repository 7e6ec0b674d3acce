//! What somebody prefers.

mod fixture;

use serde_json::{Value, json};

use self::fixture::Server;

const PATH: &str = "users/me/preferences";

fn defaults() -> Value {
    json!({
        "locale": null,
        "theme": "system",
        "notifications": { "announcement": true, "chat": true, "group": true, "invite": true, "moderation": true },
        "quietHours": null,
    })
}

#[tokio::test]
async fn preferences_are_read_changed_and_cleared() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;

    let first = server.get(PATH).by(&mira).await.expect(200);
    assert_eq!((first.json(), first.header("etag")), (defaults(), "\"1\""));
    assert_eq!(first.header("cache-control"), "private, no-cache");
    server.get("me/preferences").by(&mira).with("if-none-match", "\"1\"").await.expect(304);

    let night = json!({ "start": "22:30", "end": "07:00", "timeZone": "Europe/Vienna" });
    let wish = json!({ "locale": "DE-at", "theme": "dark", "notifications": { "chat": false }, "quietHours": night });
    let changed = server.patch(PATH).by(&mira).with("if-match", "\"1\"").json(wish).await.expect(200);
    let mut expected = defaults();
    expected["locale"] = "de-AT".into();
    expected["theme"] = "dark".into();
    expected["notifications"]["chat"] = false.into();
    expected["quietHours"] = night;
    assert_eq!((changed.json(), changed.header("etag")), (expected.clone(), "\"2\""));
    assert_eq!(server.get(PATH).by(&mira).await.expect(200).json(), expected);
    assert_eq!(server.get("me/export").by(&mira).await.expect(200).json()["preferences"], expected);

    let wish = json!({ "locale": null, "quietHours": null, "notifications": { "chat": true, "group": false } });
    let cleared = server.patch(PATH).by(&mira).with("if-match", "\"2\"").json(wish).await.expect(200);
    let mut expected = defaults();
    expected["theme"] = "dark".into();
    expected["notifications"]["group"] = false.into();
    assert_eq!((cleared.json(), cleared.header("etag")), (expected, "\"3\""));
}

#[tokio::test]
async fn preferences_are_changed_in_the_state_that_was_seen() {
    let server = Server::start().await;
    let (mira, ylva) = (server.guest("Mira").await, server.guest("Ylva").await);
    let dark = json!({ "theme": "dark" });

    let blind = server.patch(PATH).by(&mira).json(dark.clone()).await.expect(428);
    assert_eq!(blind.code(), "precondition-required");
    server.patch(PATH).by(&mira).with("if-match", "\"1\"").json(dark.clone()).await.expect(200);
    let stale = server.patch(PATH).by(&mira).with("if-match", "\"1\"").json(json!({ "theme": "light" })).await;

    assert_eq!(stale.expect(412).problem()["current"], "\"2\"");
    assert_eq!(server.get(PATH).by(&mira).await.expect(200).json()["theme"], "dark");
    assert_eq!(server.get(PATH).by(&ylva).await.expect(200).json(), defaults(), "they are one's own");
    server.patch(PATH).with("if-match", "\"1\"").json(dark).await.expect(401);
}

#[tokio::test]
async fn what_nobody_can_prefer_is_refused_where_it_stands() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;
    let quiet =
        |start: &str, end: &str, zone: &str| json!({ "quietHours": { "start": start, "end": end, "timeZone": zone } });

    for (wish, pointer) in [
        (json!({ "locale": "de_AT" }), "/locale"),
        (json!({ "locale": "" }), "/locale"),
        (json!({ "theme": "sepia" }), "/theme"),
        (json!({ "theme": null }), "/theme"),
        (json!({ "notifications": { "weather": true } }), "/notifications/weather"),
        (json!({ "notifications": { "chat": "off" } }), "/notifications/chat"),
        (quiet("25:00", "07:00", "Europe/Vienna"), "/quietHours/start"),
        (quiet("22:00", "7", "Europe/Vienna"), "/quietHours/end"),
        (quiet("22:00", "22:00", "Europe/Vienna"), "/quietHours/end"),
        (quiet("22:00", "07:00", "Europe/Atlantis"), "/quietHours/timeZone"),
        (json!({ "quietHours": { "start": "22:00", "end": "07:00" } }), "/quietHours/timeZone"),
        (json!({ "revision": 7 }), "/revision"),
    ] {
        let refused = server.patch(PATH).by(&mira).with("if-match", "\"1\"").json(wish.clone()).await.expect(422);
        assert_eq!(refused.flaw().1, pointer, "{wish}");
    }
    assert_eq!(server.get(PATH).by(&mira).await.expect(200).header("etag"), "\"1\"");
}
