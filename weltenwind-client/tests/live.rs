//! The socket against a real server: stopped, started, cut, drained.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use support::{Settings, Town, next_message, next_messages, quick, soon};
use weltenwind_client::{ClientError, Draft, Event, HistoryQuery, Realtime, RealtimeOptions};
use weltenwind_core::{Actor, accounts::AccountsConfig, chat::ChannelAmendment, limits::LimitsConfig};
use weltenwind_ws::RealtimeConfig;

#[tokio::test]
async fn what_one_publishes_everybody_hears() {
    let town = Town::start().await;
    let (mira, oskar) = (town.guest("Mira").await, town.guest("Oskar").await);
    let (mut hers, mut his) = (town.member(&mira).await, town.member(&oskar).await);

    let stored = soon(hers.publish(town.channel, "well met")).await.unwrap();

    assert_eq!((stored.seq, stored.body.as_deref()), (1, Some("well met")));
    assert_eq!(next_message(&mut hers).await, "well met");
    assert_eq!(next_message(&mut his).await, "well met");
}

#[tokio::test]
async fn history_and_live_meet_without_a_gap() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    for n in 1..=3 {
        client.post(&Draft::new(town.channel, n.to_string())).await.unwrap();
    }
    let page = client.history(town.channel, &HistoryQuery::newer().limit(2)).await.unwrap();
    let changes = client.history(town.channel, &HistoryQuery::older()).await.unwrap();
    client.post(&Draft::new(town.channel, "4")).await.unwrap();

    let mut realtime = soon(Realtime::connect(&client)).await.unwrap();
    let joined = soon(realtime.join(town.room(), Some(&changes.room_cursor))).await.unwrap();
    client.post(&Draft::new(town.channel, "5")).await.unwrap();

    assert!(joined.recovered && page.items.len() == 2);
    assert_eq!(next_messages(&mut realtime, 2).await, ["4", "5"]);
}

#[tokio::test]
async fn an_edit_and_a_removal_are_heard() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let mut realtime = town.member(&client).await;
    let message = soon(realtime.publish(town.channel, "wel met")).await.unwrap();
    assert_eq!(next_message(&mut realtime).await, "wel met");

    client.edit(message.id, "well met").await.unwrap();
    client.remove(message.id, &weltenwind_client::Removal::own()).await.unwrap();

    let Some(Event::Updated { message: edited, .. }) = soon(realtime.next()).await else { panic!("an edit") };
    let Some(Event::Updated { message: removed, .. }) = soon(realtime.next()).await else { panic!("a removal") };
    assert_eq!(edited.body.as_deref(), Some("well met"));
    assert!(removed.body.is_none() && removed.tombstone.is_some());
}

#[tokio::test]
async fn a_room_that_was_left_is_silent_and_can_be_joined_again() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let mut realtime = town.member(&client).await;

    soon(realtime.leave(town.room())).await.unwrap();
    client.post(&Draft::new(town.channel, "unheard")).await.unwrap();
    soon(realtime.join(town.room(), None)).await.unwrap();
    client.post(&Draft::new(town.channel, "heard")).await.unwrap();

    assert_eq!(next_message(&mut realtime).await, "heard");
}

#[tokio::test]
async fn a_room_that_does_not_exist_is_refused_in_the_servers_words() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let realtime = town.member(&client).await;
    let nowhere = support::script::channel();

    let joined = soon(realtime.join(weltenwind_client::Room::Channel(nowhere), None)).await.unwrap_err();
    let posted = soon(realtime.publish(nowhere, "anybody?")).await.unwrap_err();
    let again = soon(realtime.join(town.room(), None)).await.unwrap_err();

    assert_eq!(joined.code(), Some("channel-not-found"));
    assert_eq!(posted.code(), Some("not-joined"));
    assert!(joined.to_string().contains(joined.correlation_id().unwrap()), "{joined}");
    assert!(matches!(again, ClientError::AlreadyJoined(room) if room == town.room()));
}

#[tokio::test]
async fn what_was_said_while_the_server_stood_still_is_heard_once_and_in_order() {
    let mut town = Town::start().await;
    let (mira, oskar) = (town.guest("Mira").await, town.guest("Oskar").await);
    let mut hers = town.member(&mira).await;
    soon(hers.publish(town.channel, "before")).await.unwrap();
    assert_eq!(next_message(&mut hers).await, "before");

    town.stop().await;
    town.start_again_hidden().await;
    let bystander = town.bystander("Ylva").await;
    let mut expected = Vec::new();
    for n in 0..300 {
        let text = format!("meanwhile {n}");
        bystander.post(&Draft::new(town.channel, &text)).await.unwrap();
        expected.push(text);
    }
    town.show();
    oskar.post(&Draft::new(town.channel, "after")).await.unwrap();
    expected.push("after".to_owned());

    assert_eq!(next_messages(&mut hers, expected.len()).await, expected);
    let last = soon(hers.publish(town.channel, "the end")).await.unwrap();
    assert_eq!((next_message(&mut hers).await.as_str(), last.seq), ("the end", 303));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_wire_that_is_cut_again_and_again_everything_is_posted_once_and_heard_once_in_order() {
    const POSTS: usize = 150;

    let town = Arc::new(Town::start().await);
    let (mira, oskar) = (town.guest("Mira").await, town.guest("Oskar").await);
    let (mut hers, mut his) = (town.member(&mira).await, town.member(&oskar).await);
    let over = Arc::new(AtomicBool::new(false));
    let cutting = tokio::spawn({
        let (town, over) = (Arc::clone(&town), Arc::clone(&over));
        async move {
            let mut cuts = 0;
            while !over.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(40)).await;
                town.wire.cut();
                cuts += 1;
            }
            cuts
        }
    });
    let posting = [("Mira", hers.handle()), ("Oskar", his.handle())].map(|(name, handle)| {
        let channel = town.channel;
        tokio::spawn(async move {
            for n in 0..POSTS {
                handle.publish(channel, format!("{name} {n}")).await.expect("it is posted");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    });

    let (she_heard, he_heard) = tokio::join!(next_messages(&mut hers, 2 * POSTS), next_messages(&mut his, 2 * POSTS));
    for posting in posting {
        soon(posting).await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let cuts: u32 = cutting.await.unwrap();

    assert!(cuts > 3, "the wire was cut {cuts} times");
    let history = town.history(&town.bystander("Ylva").await).await;
    assert_eq!(history.len(), 2 * POSTS);
    assert_eq!(she_heard, history);
    assert_eq!(he_heard, history);
    for name in ["Mira", "Oskar"] {
        let hers: Vec<_> = history.iter().filter(|text| text.starts_with(name)).cloned().collect();
        assert_eq!(hers, (0..POSTS).map(|n| format!("{name} {n}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_drained_server_is_left_and_its_successor_found() {
    let mut town = Town::start().await;
    let client = town.guest("Mira").await;
    let mut realtime = town.member(&client).await;

    town.stop().await;
    let waiting = tokio::spawn({
        let (handle, channel) = (realtime.handle(), town.channel);
        async move { handle.publish(channel, "patience").await }
    });
    let Some(Event::Disconnected { error, retry_in }) = soon(realtime.next()).await else { panic!("a loss") };
    town.start_again().await;

    assert!(error.to_string().contains("the server stops"), "{error}");
    // The window that a draining server names, not the pauses of this test.
    assert!((250..=1000).contains(&retry_in.as_millis()), "{retry_in:?}");
    assert!(matches!(soon(realtime.next()).await, Some(Event::Reconnected)));
    assert_eq!(next_message(&mut realtime).await, "patience");
    assert_eq!(soon(waiting).await.unwrap().unwrap().seq, 1);
}

#[tokio::test]
async fn a_socket_goes_on_under_a_newer_token_when_the_server_asks_for_one() {
    let accounts = AccountsConfig { access_token_life: Duration::from_secs(2), ..AccountsConfig::default() };
    let town = Town::with(Settings { accounts, ..Settings::default() }).await;
    let client = town.guest("Mira").await;
    let mut realtime = town.member(&client).await;

    soon(async {
        while town.answered("/api/v1/auth/refresh", 200) < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    soon(realtime.publish(town.channel, "still here")).await.unwrap();

    // Between the two there was no reconnect.
    assert_eq!(next_message(&mut realtime).await, "still here");
    assert_eq!(town.answered("/realtime/v1", 101), 1);
}

#[tokio::test]
async fn a_session_that_was_ended_elsewhere_ends_the_socket_for_good() {
    let realtime = RealtimeConfig { ping_every_seconds: 1, ..RealtimeConfig::default() };
    let town = Town::with(Settings { realtime, ..Settings::default() }).await;
    let client = town.guest("Mira").await;
    let mut realtime = town.member(&client).await;
    let other = town.client();
    other.resume(&client.refresh_token().unwrap()).await.unwrap();

    other.sign_out().await.unwrap();

    let Some(Event::Closed { error }) = soon(realtime.next()).await else { panic!("an end") };
    assert!(matches!(error, ClientError::Ended { code: 4201, .. }), "{error:?}");
    assert!(soon(realtime.next()).await.is_none());
    assert!(matches!(realtime.publish(town.channel, "hello?").await, Err(ClientError::Closed)));
}

#[tokio::test]
async fn a_silent_client_answers_pings_and_stays() {
    let realtime = RealtimeConfig { ping_every_seconds: 1, pong_grace_seconds: 1, ..RealtimeConfig::default() };
    let town = Town::with(Settings { realtime, ..Settings::default() }).await;
    let client = town.guest("Mira").await;
    let mut realtime = town.member(&client).await;

    tokio::time::sleep(Duration::from_millis(3500)).await;
    client.post(&Draft::new(town.channel, "there you are")).await.unwrap();

    assert!(matches!(soon(realtime.next()).await, Some(Event::Message { .. })), "and nothing before it");
}

#[tokio::test]
async fn a_program_that_takes_nothing_for_a_while_stays_connected() {
    let realtime = RealtimeConfig { ping_every_seconds: 1, pong_grace_seconds: 1, ..RealtimeConfig::default() };
    let town = Town::with(Settings { realtime, ..Settings::default() }).await;
    let client = town.guest("Mira").await;
    let options = RealtimeOptions { events: 1, ..quick() };
    let mut realtime = soon(Realtime::connect_with(&client, &options)).await.unwrap();
    soon(realtime.join(town.room(), None)).await.unwrap();
    let expected: Vec<_> = (0..5).map(|n| n.to_string()).collect();
    for text in &expected {
        client.post(&Draft::new(town.channel, text)).await.unwrap();
    }

    // Several pings would be due.
    tokio::time::sleep(Duration::from_millis(4500)).await;

    assert!(matches!(soon(realtime.next()).await, Some(Event::Live { .. })));
    for text in expected {
        let Some(Event::Message { message, .. }) = soon(realtime.next()).await else { panic!("a message") };
        assert_eq!(message.body.unwrap(), text);
    }
    soon(realtime.publish(town.channel, "still here")).await.unwrap();
    assert!(matches!(soon(realtime.next()).await, Some(Event::Message { .. })), "and nothing before it");
    assert_eq!(town.answered("/realtime/v1", 101), 1);
}

#[tokio::test]
async fn a_message_that_was_edited_during_a_long_absence_is_news_in_its_newest_state() {
    // More than the server reads from its store at once.
    const POSTS: usize = 450;

    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let start = client.history(town.channel, &HistoryQuery::older()).await.unwrap().room_cursor;
    let mut ids = Vec::new();
    for n in 1..=POSTS {
        ids.push(client.post(&Draft::new(town.channel, n.to_string())).await.unwrap().id);
    }
    client.edit(ids[4], "five").await.unwrap();

    let mut realtime = soon(Realtime::connect(&client)).await.unwrap();
    soon(realtime.join(town.room(), Some(&start))).await.unwrap();

    let heard = next_messages(&mut realtime, POSTS).await;
    assert_eq!(heard.last().unwrap(), "five", "a replay tells of a message at the place of its newest change");
    assert_eq!(heard.iter().filter(|text| *text == "5").count(), 0);
    assert!(matches!(soon(realtime.next()).await, Some(Event::Live { .. })));
}

#[tokio::test]
async fn what_was_edited_before_a_replay_was_cut_off_is_news_once_all_the_same() {
    // More than the server reads from its store at once.
    const POSTS: usize = 450;

    let town = Town::start().await;
    let (client, bystander) = (town.guest("Mira").await, town.bystander("Ylva").await);
    let start = bystander.history(town.channel, &HistoryQuery::older()).await.unwrap().room_cursor;
    let first = bystander.post(&Draft::new(town.channel, "frist")).await.unwrap();
    for n in 2..=POSTS {
        bystander.post(&Draft::new(town.channel, n.to_string())).await.unwrap();
    }
    bystander.edit(first.id, "first").await.unwrap();
    let expected: Vec<String> = (2..=POSTS).map(|n| n.to_string()).chain(["first".to_owned()]).collect();
    // Behind some frames of the first page, of the second, of the last.
    for bytes in [40_000, 130_000, 180_000] {
        let mut realtime = soon(Realtime::connect_with(&client, &quick())).await.unwrap();
        town.wire.cut_behind(bytes);
        soon(realtime.join(town.room(), Some(&start))).await.unwrap();

        let (mut heard, mut lost_behind) = (Vec::new(), None);
        while heard.len() < POSTS {
            match soon(realtime.next()).await.expect("the socket stays open") {
                Event::Message { message, .. } => heard.push(message.body.unwrap()),
                Event::Disconnected { .. } => lost_behind = Some(heard.len()),
                Event::Reconnected => {}
                other => panic!("{other:?} is unexpected"),
            }
        }

        assert_eq!(heard, expected);
        assert!(matches!(soon(realtime.next()).await, Some(Event::Live { .. })), "and no message comes twice");
        assert!(lost_behind.is_some_and(|heard| (1..POSTS).contains(&heard)), "{lost_behind:?}");
        realtime.close().await;
    }
}

#[tokio::test]
async fn a_program_that_is_started_anew_in_the_midst_of_a_replay_goes_on_with_it() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let start = client.history(town.channel, &HistoryQuery::older()).await.unwrap().room_cursor;
    let first = client.post(&Draft::new(town.channel, "frist")).await.unwrap();
    for text in ["2", "3", "4"] {
        client.post(&Draft::new(town.channel, text)).await.unwrap();
    }
    client.edit(first.id, "first").await.unwrap();
    let mut realtime = soon(Realtime::connect(&client)).await.unwrap();
    soon(realtime.join(town.room(), Some(&start))).await.unwrap();
    assert_eq!(next_message(&mut realtime).await, "2");
    let Some(Event::Message { cursor, .. }) = soon(realtime.next()).await else { panic!("the third message") };
    realtime.close().await;
    client.edit(first.id, "first of all").await.unwrap();

    let mut realtime = soon(Realtime::connect(&client)).await.unwrap();
    soon(realtime.join(town.room(), Some(&cursor))).await.unwrap();

    assert_eq!(next_messages(&mut realtime, 2).await, ["4", "first of all"]);
    assert!(matches!(soon(realtime.next()).await, Some(Event::Live { .. })));
}

#[tokio::test]
async fn a_post_whose_answer_the_store_lost_is_stored_once_and_answered() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let mut realtime = town.member(&client).await;

    town.lose_answers(3);
    let stored = soon(realtime.publish(town.channel, "once")).await.unwrap();
    town.lose_answers(u32::MAX);
    let error = soon(realtime.publish(town.channel, "perhaps")).await.unwrap_err();

    let ClientError::OutcomeUnknown { client_id, .. } = &error else { panic!("{error:?}") };
    assert_eq!((stored.seq, error.code(), error.is_retryable()), (1, Some("unavailable"), false));
    town.lose_answers(0);
    let draft = Draft { client_id: client_id.clone(), ..Draft::new(town.channel, "perhaps") };
    assert_eq!(soon(realtime.publish_draft(draft)).await.unwrap().seq, 2, "it was stored before");
    assert_eq!(next_messages(&mut realtime, 2).await, ["once", "perhaps"]);
    assert_eq!(town.history(&client).await, ["once", "perhaps"]);
}

#[tokio::test]
async fn in_slow_mode_too_a_post_whose_answer_the_store_lost_is_stored_once_and_answered() {
    let town = Town::start().await;
    let slow = ChannelAmendment { slowmode_seconds: Some(300), ..ChannelAmendment::default() };
    town.services().chat.amend_channel(&Actor::operator(), town.channel, None, slow).await.unwrap();
    let client = town.guest("Mira").await;
    let realtime = town.member(&client).await;

    town.lose_answers(1);
    let stored = soon(realtime.publish(town.channel, "once")).await.unwrap();
    let early = soon(realtime.publish(town.channel, "twice")).await.unwrap_err();

    assert_eq!((stored.seq, stored.body.as_deref()), (1, Some("once")));
    assert!(matches!(&early, ClientError::Refused(_)), "{early:?}");
    assert_eq!((early.code(), early.is_retryable()), (Some("slow-mode"), true));
    assert_eq!(town.history(&client).await, ["once"]);
}

#[tokio::test]
async fn what_was_said_without_a_connection_is_stored_in_order_and_once_though_it_exceeds_the_quota() {
    const POSTS: usize = 60;

    let town = Town::with(Settings { limits: LimitsConfig::default(), ..Settings::default() }).await;
    let client = town.guest("Mira").await;
    let mut realtime = town.member(&client).await;
    town.wire.lead_nowhere();
    assert!(matches!(soon(realtime.next()).await, Some(Event::Disconnected { .. })));

    let channel = town.channel;
    let posting: FuturesOrdered<_> = (0..POSTS).map(|n| realtime.publish(channel, n.to_string())).collect();
    let (posted, ()) = tokio::join!(soon(posting.collect::<Vec<_>>()), async {
        // This is answered behind all of them, so that they wait by then.
        realtime.presence(town.room()).await.unwrap();
        town.show();
    });
    let seqs: Vec<i64> = posted.into_iter().map(|posted| posted.expect("it is stored").seq).collect();
    assert_eq!(seqs, (1..=60).collect::<Vec<_>>());
    let expected: Vec<_> = (0..POSTS).map(|n| n.to_string()).collect();
    assert_eq!(town.history(&client).await, expected);
    assert_eq!(next_messages(&mut realtime, POSTS).await, expected);
    // Who stands by is told at once.
    let crowd: FuturesOrdered<_> = (0..POSTS).map(|n| realtime.publish(channel, n.to_string())).collect();
    let refused = soon(crowd.filter_map(async |posted| posted.err()).collect::<Vec<_>>()).await;
    assert!(refused.iter().all(|error| error.code() == Some("rate-limited")) && refused.len() > 20, "{refused:?}");
}

#[tokio::test]
async fn a_program_that_posts_while_it_is_behind_gets_its_answer_and_misses_nothing() {
    const BEFORE: usize = 5000;

    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let start = client.history(town.channel, &HistoryQuery::older()).await.unwrap().room_cursor;
    let posts: Vec<_> = (0..BEFORE).map(|n| Draft::new(town.channel, n.to_string())).collect();
    for part in posts.chunks(50) {
        let posting: Vec<_> = part
            .iter()
            .map(|draft| {
                let (client, draft) = (client.clone(), draft.clone());
                tokio::spawn(async move { client.post(&draft).await })
            })
            .collect();
        for posted in posting {
            posted.await.unwrap().unwrap();
        }
    }
    let options = RealtimeOptions { events: 1, ..quick() };
    let mut realtime = soon(Realtime::connect_with(&client, &options)).await.unwrap();
    soon(realtime.join(town.room(), Some(&start))).await.unwrap();

    // Nobody takes events meanwhile: the answers come all the same.
    for n in 0..20 {
        soon(realtime.publish(town.channel, format!("aside {n}"))).await.unwrap();
    }

    let heard = next_messages(&mut realtime, BEFORE + 20).await;
    assert_eq!(heard, town.history(&client).await);
}

#[tokio::test]
async fn without_a_session_there_is_no_socket() {
    let town = Town::start().await;

    let nobody = soon(Realtime::connect(&town.client())).await.unwrap_err();
    let forged = soon(Realtime::connect(&town.client().with_token("forged"))).await.unwrap_err();

    assert!(matches!(nobody, ClientError::NotSignedIn));
    assert_eq!(forged.code(), Some("token-invalid"));
    assert!(forged.correlation_id().is_some());
}

#[tokio::test]
async fn closing_a_socket_takes_leave_of_the_server() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let realtime = town.member(&client).await;
    let handle = realtime.handle();

    soon(realtime.close()).await;

    soon(async {
        while town.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(matches!(handle.join(town.room(), None).await, Err(ClientError::Closed)));
}
