//! Who is in a room, who is writing, and what a program says of itself.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Settings, Town, quick,
    script::{Peer, Script},
    soon,
};
use weltenwind_client::{AccountId, ClientError, Event, Present, Realtime, RealtimeOptions, Room};
use weltenwind_core::{
    limits::{LimitsConfig, Quota, Unit},
    presence::PresenceConfig,
};

const MIRA: &str = "018f0000-0000-7000-8000-00000000000b";
const LU: &str = "018f0000-0000-7000-8000-00000000001b";
const OLA: &str = "018f0000-0000-7000-8000-00000000002b";

fn member(id: &str, state: Option<&str>) -> Value {
    let mut member = json!({ "id": id, "displayName": "Somebody" });
    if let Some(state) = state {
        member["state"] = state.into();
    }
    member
}

fn change(version: u64, join: &[Value], leave: &[&str], count: usize) -> Value {
    json!({ "t": "presence", "room": "global", "version": version, "join": join, "leave": leave, "count": count })
}

/// Lets the client into the room of everybody.
async fn let_in(peer: &mut Peer, version: u64, members: &[Value], count: usize) {
    let join = peer.expect("join").await;
    assert_eq!(join["room"], "global");
    let presence = json!({ "version": version, "members": members, "count": count });
    peer.send_all([
        json!({ "t": "joined", "id": join["id"], "room": "global", "recovered": false, "presence": presence }),
        json!({ "t": "live", "room": "global" }),
    ])
    .await;
}

/// A client's socket and the server's side of it, with the room of everybody joined.
async fn joined(script: &mut Script, members: &[Value], count: usize) -> (Realtime, Peer) {
    let client = script.guest().await;
    let options = quick();
    let (realtime, mut peer) = tokio::join!(soon(Realtime::connect_with(&client, &options)), script.accept());
    let realtime = realtime.expect("a socket");
    peer.welcome().await;
    let room = realtime.room(Room::Global);
    let joining = tokio::spawn(async move { room.join(None).await });
    let_in(&mut peer, 1, members, count).await;
    soon(joining).await.expect("the task ends").expect("the room is joined");
    (realtime, peer)
}

/// The next connection, with the room of everybody joined again.
async fn reconnected(script: &mut Script, members: &[Value]) -> Peer {
    let mut peer = script.accept().await;
    peer.welcome().await;
    let_in(&mut peer, 1, members, members.len()).await;
    peer
}

/// What a program is told next, in short: the ends of ids, states, and the number.
async fn told(realtime: &mut Realtime) -> String {
    let end = |id: &AccountId| id.to_string()[34..].to_owned();
    match soon(realtime.next()).await.expect("the socket stays open") {
        Event::Presence { join, leave, count, .. } => {
            let joined =
                join.iter().map(|one| format!("+{}{}", end(&one.id), one.state.as_deref().unwrap_or_default()));
            let left = leave.iter().map(|one| format!("-{}", end(one)));
            joined.chain(left).chain([format!("={count}")]).collect::<Vec<_>>().join(" ")
        }
        Event::Typing { display_name, .. } => format!("{display_name} writes"),
        Event::Live { .. } => "live".to_owned(),
        Event::Disconnected { .. } => "lost".to_owned(),
        Event::Reconnected => "back".to_owned(),
        other => panic!("{other:?} is unexpected"),
    }
}

async fn told_of(realtime: &mut Realtime, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(told(realtime).await);
    }
    all
}

/// Says something of oneself and lets the server take it.
async fn say(realtime: &Realtime, peer: &mut Peer, state: Option<&str>) -> Value {
    let (room, owned) = (realtime.room(Room::Global), state.map(str::to_owned));
    let saying = tokio::spawn(async move { room.say(owned.as_deref()).await });
    let said = peer.expect("presence").await;
    peer.send(json!({ "t": "ok", "id": said["id"] })).await;
    soon(saying).await.expect("the task ends").expect("it is said");
    said
}

#[tokio::test]
async fn a_program_hears_who_is_there_and_each_change_once() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script, &[member(MIRA, None)], 1).await;

    peer.send_all([
        change(1, &[member(MIRA, None)], &[], 1),
        change(2, &[member(LU, None)], &[], 2),
        change(2, &[member(LU, None)], &[], 2),
        change(3, &[member(LU, Some("away"))], &[], 2),
        json!({ "t": "typing", "room": "global", "user": LU, "displayName": "Lu" }),
        change(4, &[], &[MIRA], 1),
    ])
    .await;

    let expected = ["+0b =1", "live", "+1b =2", "+1baway =2", "Lu writes", "-0b =1"];
    assert_eq!(told_of(&mut realtime, 6).await, expected);
    let present = realtime.presence(Room::Global).await.unwrap().unwrap();
    assert_eq!((present.members.len(), present.members[0].state.as_deref(), present.count), (1, Some("away"), 1));
}

#[tokio::test]
async fn behind_a_hole_the_room_is_joined_anew_and_the_difference_told() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script, &[member(MIRA, None), member(LU, None)], 2).await;
    assert_eq!(told_of(&mut realtime, 2).await, ["+0b +1b =2", "live"]);

    // What comes before the room is joined anew belongs to the membership that was given up.
    peer.send_all([change(3, &[], &[LU], 1), change(4, &[member(OLA, None)], &[], 2)]).await;
    assert_eq!(peer.expect("leave").await["room"], "global");
    let_in(&mut peer, 4, &[member(MIRA, None), member(OLA, None)], 2).await;
    peer.send(change(5, &[], &[MIRA], 1)).await;

    assert_eq!(told_of(&mut realtime, 3).await, ["+2b -1b =2", "live", "-0b =1"]);
}

#[tokio::test]
async fn a_room_that_is_taken_away_while_it_is_joined_anew_stays_joined() {
    for code in ["internal", "room-not-found"] {
        let mut script = Script::start().await;
        let (mut realtime, mut peer) = joined(&mut script, &[member(MIRA, None)], 1).await;
        assert_eq!(told_of(&mut realtime, 2).await, ["+0b =1", "live"]);

        // The hole makes the client leave and join, and the server has lost the room before it reads that.
        peer.send_all([change(3, &[], &[], 1), json!({ "t": "left", "room": "global", "code": code })]).await;
        let leave = peer.expect("leave").await;
        peer.send(
            json!({ "t": "err", "id": leave["id"], "code": "not-joined", "detail": "No.", "correlationId": "c.7" }),
        )
        .await;
        let_in(&mut peer, 4, &[member(MIRA, None), member(LU, None)], 2).await;

        assert_eq!(told_of(&mut realtime, 2).await, ["+1b =2", "live"]);
        say(&realtime, &mut peer, Some("here")).await;
    }
}

#[tokio::test]
async fn a_room_that_the_server_thinks_joined_is_left_and_joined() {
    let mut script = Script::start().await;
    let (mut realtime, peer) = joined(&mut script, &[member(MIRA, None)], 1).await;
    assert_eq!(told_of(&mut realtime, 2).await, ["+0b =1", "live"]);
    drop(peer);
    let mut peer = script.accept().await;
    peer.welcome().await;

    let join = peer.expect("join").await;
    peer.send(
        json!({ "t": "err", "id": join["id"], "code": "already-joined", "detail": "It is.", "correlationId": "c.7" }),
    )
    .await;
    peer.expect("leave").await;
    let_in(&mut peer, 7, &[member(LU, None)], 1).await;

    assert_eq!(told_of(&mut realtime, 4).await, ["lost", "back", "+1b -0b =1", "live"]);
}

#[tokio::test]
async fn what_is_told_as_a_whole_is_the_new_beginning_and_the_room_stays_joined() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script, &[member(MIRA, None), member(LU, None)], 2).await;
    assert_eq!(told_of(&mut realtime, 2).await, ["+0b +1b =2", "live"]);

    let mut whole = change(7, &[member(MIRA, None), member(OLA, None)], &[], 2);
    whole["whole"] = true.into();
    peer.send_all([whole, change(7, &[], &[LU], 1), change(8, &[], &[MIRA], 1)]).await;

    assert_eq!(told_of(&mut realtime, 2).await, ["+2b -1b =2", "-0b =1"], "the difference to what was told");
    say(&realtime, &mut peer, Some("here")).await;
}

#[tokio::test]
async fn after_a_reconnect_the_difference_is_told_and_what_was_said_is_said_again() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script, &[member(MIRA, None)], 1).await;
    assert_eq!(told_of(&mut realtime, 2).await, ["+0b =1", "live"]);
    say(&realtime, &mut peer, Some("in a raid")).await;
    let handle = realtime.handle();
    let seen = tokio::spawn(async move { handle.foreground(true).await });
    let said = peer.expect("foreground").await;
    peer.send(json!({ "t": "ok", "id": said["id"] })).await;
    soon(seen).await.unwrap().unwrap();

    drop(peer);
    let mut peer = script.accept().await;
    peer.welcome().await;
    let join = peer.expect("join").await;
    assert_eq!(peer.expect("foreground").await["on"], true);
    let presence = json!({ "version": 9, "members": [member(MIRA, None), member(LU, None)], "count": 2 });
    peer.send(json!({ "t": "joined", "id": join["id"], "room": "global", "recovered": false, "presence": presence }))
        .await;

    assert_eq!(peer.expect("presence").await["state"], "in a raid");
    assert_eq!(told_of(&mut realtime, 3).await, ["lost", "back", "+1b =2"]);
}

#[tokio::test]
async fn what_was_not_answered_is_said_on_the_next_connection_and_only_the_newest() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script, &[member(MIRA, None)], 1).await;
    let says = ["one", "two"].map(|state| {
        let room = realtime.room(Room::Global);
        async move { room.say(Some(state)).await }
    });
    let [one, two] = says.map(tokio::spawn);
    peer.expect("presence").await;
    peer.expect("presence").await;

    drop(peer);
    let mut peer = reconnected(&mut script, &[member(MIRA, None)]).await;
    let said = peer.expect("presence").await;
    peer.send_all([json!({ "t": "ok", "id": said["id"] }), json!({ "t": "ping" })]).await;

    peer.expect("pong").await;
    for asked in [one, two] {
        soon(asked).await.unwrap().expect("it is said");
    }
}

#[tokio::test]
async fn what_was_said_already_is_not_said_twice() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script, &[member(MIRA, None)], 1).await;
    let looks = [realtime.handle(), realtime.handle()].map(|handle| async move { handle.foreground(true).await });
    let [first, second] = looks.map(tokio::spawn);
    let said = peer.expect("foreground").await;
    // Whoever asks is answered behind both.
    realtime.presence(Room::Global).await.unwrap();
    peer.send(json!({ "t": "ok", "id": said["id"] })).await;
    for asked in [first, second] {
        soon(asked).await.unwrap().expect("it is said");
    }

    soon(realtime.foreground(true)).await.unwrap();
    say(&realtime, &mut peer, Some("away")).await;
    soon(realtime.say(Room::Global, Some("away"))).await.unwrap();
    peer.send(json!({ "t": "ping" })).await;

    peer.expect("pong").await;
}

#[tokio::test]
async fn what_is_refused_is_refused_in_the_servers_words_and_what_held_before_is_said_again() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script, &[member(MIRA, None)], 1).await;
    say(&realtime, &mut peer, Some("away")).await;
    let room = realtime.room(Room::Global);
    let saying = tokio::spawn(async move { room.say(Some("")).await });

    let said = peer.expect("presence").await;
    let refusal = json!({ "t": "err", "id": said["id"], "code": "validation-failed", "detail": "Too short.",
        "correlationId": "c.7" });
    peer.send(refusal).await;
    let error = soon(saying).await.unwrap().unwrap_err();
    drop(peer);
    let mut peer = reconnected(&mut script, &[member(MIRA, None)]).await;

    assert_eq!(error.to_string(), "validation-failed: Too short (request c.7)");
    assert_eq!(peer.expect("presence").await["state"], "away");
}

#[tokio::test]
async fn what_is_written_while_nobody_is_connected_is_not_told_later() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script, &[member(MIRA, None)], 1).await;
    let room = realtime.room(Room::Global);
    let writing = tokio::spawn(async move { room.typing().await });
    peer.expect("typing").await;

    drop(peer);
    let error = soon(writing).await.unwrap().unwrap_err();
    let mut peer = reconnected(&mut script, &[member(MIRA, None)]).await;
    peer.send(json!({ "t": "ping" })).await;

    assert!(matches!(error, ClientError::NotConnected) && error.is_retryable(), "{error}");
    peer.expect("pong").await;
    assert_eq!(told_of(&mut realtime, 5).await, ["+0b =1", "live", "lost", "back", "=1"]);
}

#[tokio::test]
async fn a_room_that_is_left_answers_whoever_was_about_to_say_something() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script, &[member(MIRA, None)], 1).await;
    let room = realtime.room(Room::Global);
    let saying = tokio::spawn(async move { room.say(Some("away")).await });
    let said = peer.expect("presence").await;

    realtime.leave(Room::Global).await.unwrap();
    peer.expect("leave").await;
    peer.send(json!({ "t": "ok", "id": said["id"] })).await;

    soon(saying).await.unwrap().expect("it was said");
    assert_eq!(realtime.presence(Room::Global).await.unwrap(), None);
}

#[tokio::test]
async fn messages_are_posted_to_channels() {
    let mut script = Script::start().await;
    let (realtime, _peer) = joined(&mut script, &[member(MIRA, None)], 1).await;

    let error = realtime.room(Room::Global).publish("hello").await.unwrap_err();

    assert!(matches!(error, ClientError::NotAChannel(Room::Global)), "{error}");
}

/// Takes events until the program was told that so many are there.
async fn until(realtime: &mut Realtime, expected: usize) {
    soon(async {
        loop {
            if let Event::Presence { count, .. } = realtime.next().await.expect("the socket stays open")
                && count == expected
            {
                return;
            }
        }
    })
    .await;
}

async fn here(town: &Town, name: &str) -> Realtime {
    let client = town.guest(name).await;
    let realtime = soon(Realtime::connect_with(&client, &quick())).await.expect("a socket");
    soon(realtime.join(Room::Global, None)).await.expect("the room is joined");
    realtime
}

fn names(present: &Present) -> Vec<&str> {
    let mut names: Vec<_> = present.members.iter().map(|member| member.display_name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn on_a_real_server_each_sees_the_other_and_what_they_say_also_on_its_successor() {
    let mut town = Town::start().await;
    let mut hers = here(&town, "Mira").await;
    let lus = here(&town, "Lu").await;
    until(&mut hers, 2).await;
    let present = hers.presence(Room::Global).await.unwrap().unwrap();
    assert_eq!(names(&present), ["Lu", "Mira"]);

    soon(lus.say(Room::Global, Some("in a raid"))).await.unwrap();
    soon(lus.typing(Room::Global)).await.unwrap();
    soon(lus.foreground(true)).await.unwrap();
    soon(async {
        while !matches!(hers.next().await, Some(Event::Typing { display_name, .. }) if display_name == "Lu") {}
    })
    .await;
    town.stop().await;
    town.start_again().await;

    // The successor knows nothing of what was said.
    soon(async { while !matches!(hers.next().await, Some(Event::Reconnected)) {} }).await;
    soon(async {
        loop {
            let present = hers.presence(Room::Global).await.unwrap().unwrap();
            let lu = present.members.iter().find(|member| member.display_name == "Lu");
            if present.count == 2 && lu.is_some_and(|lu| lu.state.as_deref() == Some("in a raid")) {
                return;
            }
            hers.next().await.expect("the socket stays open");
        }
    })
    .await;
}

#[tokio::test]
async fn on_a_real_server_refusals_reach_whoever_asked() {
    let limits = LimitsConfig { write: Quota::per(1, Unit::Hour), ..Settings::default().limits };
    let town = Town::with(Settings { limits, ..Settings::default() }).await;
    let realtime = here(&town, "Mira").await;

    let too_long = soon(realtime.say(Room::Global, Some(&"x".repeat(65)))).await.unwrap_err();
    let no_presence = soon(realtime.typing(town.room())).await.unwrap_err();
    soon(realtime.say(Room::Global, Some("away"))).await.unwrap();
    let too_often = soon(realtime.say(Room::Global, None)).await.unwrap_err();

    assert_eq!(too_long.code(), Some("validation-failed"));
    assert_eq!(no_presence.code(), Some("not-joined"));
    assert!(too_often.code() == Some("rate-limited") && too_often.is_retryable(), "{too_often}");
}

#[tokio::test]
async fn of_more_than_are_listed_only_the_number_is_told() {
    let presence = PresenceConfig { max_members: 4, leave_seconds: 1, ..PresenceConfig::default() };
    let town = Town::with(Settings { presence, ..Settings::default() }).await;
    let mut hers = here(&town, "Mira").await;
    let mut others = Vec::new();
    for name in ["Lu", "Ola", "Oskar", "Ylva"] {
        others.push(here(&town, name).await);
    }

    until(&mut hers, 5).await;
    let many = hers.presence(Room::Global).await.unwrap().unwrap();
    assert_eq!((many.members.len(), many.count), (0, 5));
    let late = here(&town, "Late").await;
    let (joined, _) = (late.presence(Room::Global).await.unwrap().unwrap(), others.drain(..2).count());
    assert_eq!((joined.members.len(), joined.count), (0, 6));

    drop(late);
    until(&mut hers, 3).await;
    let few = hers.presence(Room::Global).await.unwrap().unwrap();
    assert_eq!(names(&few), ["Mira", "Oskar", "Ylva"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_wire_that_is_cut_again_and_again_the_view_is_true_in_the_end() {
    let town = Town::start().await;
    let options = RealtimeOptions { events: 1, ..quick() };
    let client = town.guest("Mira").await;
    let mut hers = soon(Realtime::connect_with(&client, &options)).await.unwrap();
    soon(hers.join(Room::Global, None)).await.unwrap();
    let lus = here(&town, "Lu").await;

    for n in 0..20 {
        soon(lus.say(Room::Global, Some(&format!("step {n}")))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        town.wire.cut();
    }
    soon(lus.say(Room::Global, Some("there"))).await.unwrap();

    // What the program is told adds up to what is.
    let mut known = std::collections::BTreeMap::new();
    soon(async {
        loop {
            if let Event::Presence { join, leave, count, .. } = hers.next().await.expect("the socket stays open") {
                for account in leave {
                    known.remove(&account);
                }
                known.extend(join.into_iter().map(|member| (member.id, member)));
                assert_eq!(known.len(), count);
                let lu = known.values().find(|member| member.display_name == "Lu");
                if lu.is_some_and(|lu| lu.state.as_deref() == Some("there")) {
                    return;
                }
            }
        }
    })
    .await;
    assert_eq!(known.len(), 2);
}
