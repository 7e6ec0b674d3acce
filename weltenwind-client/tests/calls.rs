//! Calls over HTTP: what is cached, renewed and tried again.

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use support::{Settings, Town, script::Script, soon};
use weltenwind_client::{
    ChannelDraft, Client, ClientError, Credentials, Draft, HistoryQuery, Registration, Removal, RetryPolicy, Scope,
    WorldDraft, WorldQuery,
};
use weltenwind_core::{
    Actor, Clock as _, ManualClock, SystemClock,
    accounts::{AccountsConfig, HashingConfig},
    wire::ProblemError,
};

#[tokio::test]
async fn a_read_that_has_not_changed_costs_an_answer_without_a_body() {
    let town = Town::start().await;
    let client = town.client();
    let first = client.worlds(&WorldQuery::default()).await.unwrap();

    let second = client.worlds(&WorldQuery::default()).await.unwrap();

    assert_eq!(first.items[0].slug, "welcome");
    assert_eq!(second, first);
    assert_eq!((town.answered("/api/v1/worlds", 200), town.answered("/api/v1/worlds", 304)), (1, 1));
}

#[tokio::test]
async fn a_read_that_has_changed_is_read_anew() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let query = HistoryQuery::older();
    assert!(client.history(town.channel, &query).await.unwrap().items.is_empty());

    let message = client.post(&Draft::new(town.channel, "well met")).await.unwrap();

    assert_eq!(client.history(town.channel, &query).await.unwrap().items, [message]);
    assert_eq!(town.answered("/api/v1/channels/{id}/messages", 304), 0);
}

#[tokio::test]
async fn what_one_account_has_read_is_not_shown_to_the_next_on_the_same_client() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    assert_eq!(client.me().await.unwrap().display_name, "Mira");

    client.guest("Oskar").await.unwrap();

    assert_eq!(client.me().await.unwrap().display_name, "Oskar");
}

#[tokio::test]
async fn a_client_without_a_cache_reads_every_time() {
    let town = Town::start().await;
    let client = Client::builder(&town.wire.url()).cache_bytes(0).build().unwrap();

    for _ in 0..2 {
        client.world("welcome").await.unwrap();
    }

    assert_eq!(town.answered("/api/v1/worlds/{world}", 200), 2);
}

#[tokio::test]
async fn an_access_token_is_renewed_before_it_expires() {
    let accounts = AccountsConfig { access_token_life: Duration::from_secs(1), ..AccountsConfig::default() };
    // On the server time stands still: what is renewed is renewed by the client's own reckoning.
    let clock = Some(Arc::new(ManualClock::default()));
    let town = Town::with(Settings { accounts, clock, ..Settings::default() }).await;
    let client = town.guest("Mira").await;

    tokio::time::sleep(Duration::from_millis(850)).await;
    client.me().await.unwrap();

    assert_eq!(town.answered("/api/v1/auth/refresh", 200), 1);
    assert_eq!(town.answered("/api/v1/users/me", 401), 0);
}

#[tokio::test]
async fn a_token_that_the_server_finds_expired_is_renewed_once_for_all_who_ask() {
    let clock = Arc::new(ManualClock::default());
    let town = Town::with(Settings { clock: Some(Arc::clone(&clock)), ..Settings::default() }).await;
    let client = town.guest("Mira").await;
    clock.advance(Duration::from_mins(10));

    let asking: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let client = client.clone();
                async move { client.me().await }
            })
        })
        .collect();

    for asked in asking {
        assert_eq!(soon(asked).await.unwrap().unwrap().display_name, "Mira");
    }
    assert_eq!(town.answered("/api/v1/auth/refresh", 200), 1);
}

#[tokio::test]
async fn a_session_is_resumed_with_the_refresh_token_that_was_kept() {
    let town = Town::start().await;
    let before = town.guest("Mira").await;
    let kept = before.refresh_token().unwrap();

    let after = town.client();
    let user = after.resume(&kept).await.unwrap();

    assert_eq!(Some(user), before.user());
    assert_eq!(after.me().await.unwrap().display_name, "Mira");
}

#[tokio::test]
async fn a_session_that_has_ended_is_not_renewed_again_and_again() {
    let clock = Arc::new(ManualClock::default());
    let town = Town::with(Settings { clock: Some(Arc::clone(&clock)), ..Settings::default() }).await;
    let client = town.guest("Mira").await;
    let other = town.client();
    other.resume(&client.refresh_token().unwrap()).await.unwrap();
    other.sign_out().await.unwrap();
    clock.advance(Duration::from_mins(10));

    let first = client.me().await.unwrap_err();
    let second = client.me().await.unwrap_err();

    assert_eq!((first.code(), second.code()), (Some("refresh-token-invalid"), Some("token-expired")));
    assert!(!first.is_retryable());
    assert_eq!(town.answered("/api/v1/auth/refresh", 401), 1);
}

#[tokio::test]
async fn an_account_is_registered_and_signed_in_to_by_name_and_password() {
    let hashing = HashingConfig { memory_kib: 8, passes: 1, ..HashingConfig::default() };
    let accounts = AccountsConfig { hashing, ..AccountsConfig::default() };
    let town = Town::with(Settings { accounts, ..Settings::default() }).await;
    let device = (Some("a laptop".to_owned()), Some("fingerprint-1".to_owned()));
    let client = Client::builder(&town.wire.url()).device(device.0, device.1).build().unwrap();

    let registration = Registration::new("mira", "correct horse battery").display_name("Mira").email("mira@wind.test");
    let registered = client.register(&registration).await.unwrap();
    let signed_in = town.client().login(&Credentials::new("mira", "correct horse battery")).await.unwrap();
    let refused = town.client().login(&Credentials::new("mira", "wrong horse battery")).await.unwrap_err();

    assert_eq!((registered.username.as_deref(), registered.display_name.as_str()), (Some("mira"), "Mira"));
    assert_eq!(signed_in.id, registered.id);
    assert_eq!(refused.code(), Some("invalid-credentials"));
    assert!(!format!("{registration:?}").contains("horse"), "a password is not printed");
}

#[tokio::test]
async fn signing_out_ends_the_session_here_and_there() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let kept = client.refresh_token().unwrap();

    client.sign_out().await.unwrap();

    assert_eq!(client.user(), None);
    assert_eq!(client.me().await.unwrap_err().code(), Some("unauthenticated"));
    assert_eq!(town.client().resume(&kept).await.unwrap_err().code(), Some("refresh-token-invalid"));
}

#[tokio::test]
async fn a_post_whose_answer_is_lost_is_posted_once() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    town.wire.lose_next_answer();

    let message = soon(client.post(&Draft::new(town.channel, "well met"))).await.unwrap();

    assert_eq!(message.body.as_deref(), Some("well met"));
    assert_eq!(town.history(&client).await, ["well met"]);
    assert_eq!(town.answered("/api/v1/channels/{id}/messages", 200), 2, "the repeat, and the history");
}

#[tokio::test]
async fn an_edit_whose_answer_is_lost_is_not_repeated_behind_the_callers_back() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let message = client.post(&Draft::new(town.channel, "well met")).await.unwrap();
    town.wire.lose_next_answer();

    let error = soon(client.edit(message.id, "well met, all")).await.unwrap_err();

    assert!(matches!(error, ClientError::Unreachable { sent: true, .. }) && error.is_retryable(), "{error:?}");
    assert_eq!(town.answered("/api/v1/messages/{id}", 200), 1);
}

#[tokio::test]
async fn a_message_is_edited_answered_read_and_removed() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let posted = client.post(&Draft::new(town.channel, "wel met")).await.unwrap();

    let edited = client.edit(posted.id, "well met").await.unwrap();
    let reply = client.post(&Draft::new(town.channel, "and you").reply_to(posted.id)).await.unwrap();
    let unread = client.mark_read(town.channel, posted.seq).await.unwrap();
    client.remove(posted.id, &Removal::own()).await.unwrap();

    assert_eq!(edited.body.as_deref(), Some("well met"));
    assert_eq!(reply.reply_to, Some(posted.id));
    assert_eq!((unread.read_seq, unread.unread), (1, 1));
    let removed = client.message(posted.id).await.unwrap();
    assert!(removed.body.is_none() && removed.tombstone.is_some());
}

#[tokio::test]
async fn a_history_is_read_in_both_directions_and_by_what_changed() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let start = client.history(town.channel, &HistoryQuery::older()).await.unwrap().room_cursor;
    let mut posted = Vec::new();
    for n in 1..=5 {
        posted.push(client.post(&Draft::new(town.channel, n.to_string())).await.unwrap());
    }
    client.edit(posted[1].id, "two").await.unwrap();
    let texts = |page: &weltenwind_client::HistoryBody| {
        page.items.iter().map(|message| message.body.clone().unwrap()).collect::<Vec<_>>().join(" ")
    };

    let newest = client.history(town.channel, &HistoryQuery::older().limit(2)).await.unwrap();
    let before = HistoryQuery::older().limit(2).behind(newest.next_cursor.clone().unwrap());
    let before = client.history(town.channel, &before).await.unwrap();
    let oldest = client.history(town.channel, &HistoryQuery::newer().limit(2)).await.unwrap();
    let changed = client.history(town.channel, &HistoryQuery::since(start)).await.unwrap();
    let nothing = client.history(town.channel, &HistoryQuery::since(changed.room_cursor.clone())).await.unwrap();

    assert_eq!(
        [&newest, &before, &oldest, &changed, &nothing].map(texts),
        ["5 4", "3 two", "1 two", "1 3 4 5 two", ""]
    );
}

#[tokio::test]
async fn a_world_is_found_under_its_former_slug_and_its_channel_by_name() {
    let town = Town::start().await;
    let client = town.client();
    let world = client.world("welcome").await.unwrap();
    let amendment = weltenwind_core::worlds::WorldAmendment {
        slug: Some(weltenwind_core::worlds::Slug::new("harbour").unwrap()),
        ..Default::default()
    };
    let reference = weltenwind_core::worlds::WorldRef::Id(world.id);
    town.services().worlds.amend(&Actor::operator(), &reference, None, amendment).await.unwrap();

    let moved = client.world("welcome").await.unwrap();

    assert_eq!((moved.id, moved.slug.as_str()), (world.id, "harbour"));
    assert_eq!(client.find_channel("welcome", "general").await.unwrap().unwrap().id, town.channel);
    assert_eq!(client.find_channel("harbour", "tavern").await.unwrap(), None);
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_and_what_the_server_calls_it() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;

    let error = client.post(&Draft::new(town.channel, "")).await.unwrap_err();

    let refusal = error.refusal().expect("the server refused");
    assert_eq!((refusal.code.as_str(), refusal.status), ("validation-failed", Some(422)));
    assert!(matches!(refusal.errors.as_slice(), [ProblemError { pointer, .. }] if pointer == "/body"), "{refusal:?}");
    assert!(error.to_string().ends_with(&format!("(request {})", refusal.correlation_id)), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again_so_often_and_no_more() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let retry = RetryPolicy { attempts: 3, first_pause: Duration::from_millis(1), ..RetryPolicy::default() };
    let client = Client::builder(&url).retry(retry).build().unwrap();

    let error = soon(client.guest("Mira")).await.unwrap_err();

    let ClientError::Unreachable { correlation_id, sent: false, .. } = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains(correlation_id.as_str()) && error.is_retryable());
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_kept() {
    let script = Script::start().await;
    let client = script.guest().await;
    script.refuse(503, Some(1), "unavailable");
    let asked_at = Instant::now();

    client.me().await.unwrap();

    assert!(asked_at.elapsed() >= Duration::from_secs(1));
    assert_eq!(script.calls(), 2);
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_left_to_the_caller() {
    let script = Script::start().await;
    let client = script.guest().await;
    script.refuse(429, Some(600), "slow-mode");

    let error = client.me().await.unwrap_err();

    assert_eq!(error.refusal().unwrap().retry_after, Some(Duration::from_mins(10)));
    assert!(error.is_retryable());
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_before_anything_is_sent() {
    for address in ["", "wind.example", "ftp://wind.example", "http://"] {
        let error = Client::new(address).unwrap_err();
        assert!(matches!(error, ClientError::BadAddress(_)), "{address}: {error}");
    }
}

#[tokio::test]
async fn a_world_whose_answer_is_lost_is_made_once_and_answered_alike() {
    let town = Town::start().await;
    let client = town.owner().await;
    let draft = WorldDraft::new("Mistral").slug("mistral").description("Where the wind comes from.");
    town.wire.lose_next_answer();

    let world = soon(client.create_world(&draft)).await.unwrap();
    let again = client.create_world(&draft).await.unwrap();
    let channel = ChannelDraft::new(Scope::World(world.id), "tavern", "Tavern").slowmode_seconds(5).without_guests();
    town.wire.lose_next_answer();
    let opened = soon(client.open_channel(&channel)).await.unwrap();

    assert_eq!((world.slug.as_str(), world.description.as_str()), ("mistral", "Where the wind comes from."));
    assert_eq!((&again, &client.open_channel(&channel).await.unwrap()), (&world, &opened));
    assert_eq!((opened.slowmode_seconds, opened.guests_may_post), (5, false));
    assert_eq!(client.worlds(&WorldQuery::default()).await.unwrap().items.len(), 2, "and the welcome world");
    assert_eq!(town.answered("/api/v1/worlds", 201), 3);
}

#[tokio::test]
async fn a_draft_that_is_changed_needs_a_key_of_its_own() {
    let town = Town::start().await;
    let client = town.owner().await;
    let mine = "my-own-key-0123456789";
    let first = client.create_world(&WorldDraft::new("Mistral").key(mine)).await.unwrap();

    let other = client.create_world(&WorldDraft::new("Sirocco").key(mine)).await.unwrap_err();
    let again = client.create_world(&WorldDraft::new("Mistral").key(mine)).await.unwrap();

    assert_eq!(other.code(), Some("idempotency-key-reused"));
    assert!(!other.is_retryable());
    assert_eq!(again, first);
    assert_eq!(
        client.create_world(&WorldDraft::new("Bora").key("short")).await.unwrap_err().code(),
        Some("idempotency-key-invalid")
    );
}

#[tokio::test]
async fn one_call_has_one_key_however_often_it_is_tried() {
    let script = Script::start().await;
    let client = script.guest().await;
    for (status, code) in [(503, "unavailable"), (409, "idempotency-in-progress"), (429, "rate-limited")] {
        script.refuse(status, Some(0), code);
    }
    client.create_world(&WorldDraft::new("Mistral")).await.unwrap();
    client.create_world(&WorldDraft::new("Mistral")).await.unwrap();
    client.me().await.unwrap();

    let keys = script.keys();

    assert_eq!(keys.len(), 6);
    let key = keys[0].as_ref().expect("a key");
    assert!((16..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
    assert!(keys[..4].iter().all(|other| *other == keys[0]));
    assert!(keys[4].is_some() && keys[4] != keys[0], "another call has another key");
    assert_eq!(keys[5], None, "a read needs none");
}

#[tokio::test]
async fn a_refusal_that_stands_is_not_asked_for_again() {
    let script = Script::start().await;
    let client = script.guest().await;

    for (status, code) in [
        (400, "malformed-request"),
        (403, "permission-denied"),
        (404, "not-found"),
        (409, "slug-taken"),
        (422, "idempotency-key-reused"),
        (500, "internal"),
    ] {
        let before = script.calls();
        script.refuse(status, Some(0), code);

        let error = client.create_world(&WorldDraft::new("Mistral")).await.unwrap_err();

        assert_eq!((error.code(), script.calls() - before), (Some(code), 1));
        assert_eq!(error.correlation_id(), Some("request-1"));
    }
}

#[tokio::test]
async fn a_pause_until_a_date_is_kept_too() {
    let script = Script::start().await;
    let client = script.guest().await;
    // The answer's own date is told by the same clock.
    let now = std::time::SystemTime::from(SystemClock.now());
    script.refuse_until(503, Some(httpdate::fmt_http_date(now + Duration::from_secs(2))), "unavailable");
    script.refuse_until(503, Some(httpdate::fmt_http_date(now + Duration::from_mins(10))), "unavailable");
    let asked_at = Instant::now();

    let error = client.me().await.unwrap_err();

    assert!(asked_at.elapsed() >= Duration::from_millis(900), "a date has whole seconds");
    assert_eq!(script.calls(), 2);
    let wait = error.refusal().unwrap().retry_after.unwrap();
    assert!((Duration::from_mins(9)..=Duration::from_mins(10)).contains(&wait), "{wait:?}");
}

#[tokio::test]
async fn a_call_ends_within_its_limit_and_says_what_was_wrong_last() {
    let script = Script::start().await;
    let client = script.guest().await;
    script.refuse(503, Some(4), "unavailable");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = Client::new(&format!("http://{}", silent.local_addr().unwrap())).unwrap();

    let refused = soon(client.within(Duration::from_secs(3)).me()).await.unwrap_err();
    let unanswered = soon(nobody.within(Duration::from_millis(50)).me()).await.unwrap_err();

    assert_eq!((refused.code(), script.calls()), (Some("unavailable"), 1), "the pause would not fit");
    let ClientError::Unreachable { correlation_id, sent: true, .. } = &unanswered else { panic!("{unanswered:?}") };
    assert!(unanswered.to_string().contains(correlation_id.as_str()) && !correlation_id.is_empty());
    assert_eq!(client.me().await.unwrap().display_name, "Mira", "other calls have no limit");
}
