//! What the chat service allows, refuses and announces, on the stores in memory.

use std::{sync::Arc, time::Duration};

use weltenwind_core::{
    Actor, Class, Classify as _, Code, EffectKey, GrantId, Limit, ManualClock, Scope, Sources, Step,
    access::{GrantStore as _, MemoryGrantStore, NewGrant, Role, RoleAccess},
    accounts::AccountKind,
    chat::{
        ChangeQuery, Channel, ChannelAmendment, ChannelDraft, Chat, ChatError, Draft, LiveEvent, MemoryChatStore,
        MessageQuery, Position, RemovalMode, Seq,
    },
    limits::{Limits, LimitsConfig, Quota, Unit},
    wire::MessageBody,
};

struct Hall {
    chat: Chat,
    clock: Arc<ManualClock>,
    grants: Arc<MemoryGrantStore>,
    channel: Channel,
}

async fn hall() -> Hall {
    hall_with(ChannelDraft::new(Scope::Global, "lobby", "Lobby")).await
}

async fn hall_with(draft: ChannelDraft) -> Hall {
    hall_limited(draft, LimitsConfig::default()).await
}

async fn hall_limited(draft: ChannelDraft, limits: LimitsConfig) -> Hall {
    let (clock, grants) = (Arc::new(ManualClock::default()), Arc::new(MemoryGrantStore::default()));
    let chat = Chat::builder(Arc::new(MemoryChatStore::default()))
        .access(Arc::new(RoleAccess::new(grants.clone(), clock.clone())))
        .sources(Sources { clock: clock.clone(), ..Sources::default() })
        .limits(Limits::in_process(clock.clone(), limits))
        .build();
    let channel = chat.open_channel(&Actor::operator(), draft).await.expect("a channel");
    Hall { chat, clock, grants, channel }
}

impl Hall {
    async fn say(&self, player: &Actor, text: &str) -> Result<weltenwind_core::chat::Posted, ChatError> {
        self.chat.post(player, Draft::new(self.channel.id, text)).await
    }

    async fn make_moderator(&self, actor: &Actor) {
        let account = actor.account_id().expect("an account");
        let grant = NewGrant {
            id: GrantId::new(account.uuid()),
            account,
            role: Role::Moderator,
            scope: Scope::Global,
            reason: None,
            expires_at: None,
        };
        let step = Step { at: self.channel.created_at, ..step_of(actor) };
        self.grants.grant(&step, &grant).await.expect("a grant");
    }

    async fn texts(&self) -> Vec<Option<String>> {
        let query = MessageQuery { channel: self.channel.id, position: Position::After(Seq::ZERO), limit: Limit::MAX };
        let history = self.chat.history(&Actor::operator(), &query).await.expect("a history");
        history.page.items.iter().map(|message| message.text().map(str::to_owned)).collect()
    }
}

fn step_of(actor: &Actor) -> Step {
    let at = weltenwind_core::Clock::now(&ManualClock::default());
    actor.step(at, weltenwind_core::AuditDraft::new("test.step", Scope::Global))
}

fn guest(name: &str) -> Actor {
    let mut actor = Actor::player(name);
    if let weltenwind_core::Identity::Account(principal) = &mut actor.identity {
        principal.kind = AccountKind::Guest;
    }
    actor
}

fn nobody() -> Actor {
    Actor::anonymous(weltenwind_core::CorrelationId::accept("somebody-else").expect("a correlation id"))
}

fn code<T: std::fmt::Debug>(result: Result<T, ChatError>) -> Code {
    result.expect_err("a refusal").code()
}

#[tokio::test]
async fn a_message_is_refused_before_it_is_written_and_changes_nothing() {
    let hall = hall().await;
    let mira = Actor::player("Mira");
    let draft = |body: &str| Draft::new(hall.channel.id, body);

    for (body, client_id) in [("", None), ("\u{7}", None), ("a\u{202e}b", None), ("ok", Some("")), ("ok", Some("ä"))] {
        let draft = Draft { client_id: client_id.map(str::to_owned), ..draft(body) };
        assert_eq!(code(hall.chat.post(&mira, draft).await), Code::ValidationFailed, "{body:?} {client_id:?}");
    }
    assert_eq!(code(hall.say(&mira, &"x".repeat(2001)).await), Code::ValidationFailed);
    assert_eq!(code(hall.say(&nobody(), "hello").await), Code::Unauthenticated);

    assert_eq!(hall.texts().await, []);
}

#[tokio::test]
async fn a_missing_right_is_reported_before_a_broken_rule() {
    let hall = hall().await;

    assert_eq!(code(hall.say(&nobody(), "").await), Code::Unauthenticated);
    let draft = ChannelDraft::new(Scope::Global, "NO SLUG", "");
    assert_eq!(code(hall.chat.open_channel(&Actor::player("Mira"), draft).await), Code::PermissionDenied);
}

#[tokio::test]
async fn guests_post_where_the_channel_lets_them() {
    let open = hall().await;
    let closed =
        hall_with(ChannelDraft { guests_may_post: false, ..ChannelDraft::new(Scope::Global, "members", "Members") })
            .await;

    assert!(open.say(&guest("Gast"), "hello").await.is_ok());
    assert_eq!(code(closed.say(&guest("Gast"), "hello").await), Code::GuestsMayNotPost);
    assert!(closed.say(&Actor::player("Mira"), "hello").await.is_ok());
}

#[tokio::test]
async fn slow_mode_asks_for_a_pause_and_moderators_need_none() {
    let hall =
        hall_with(ChannelDraft { slowmode_seconds: 10, ..ChannelDraft::new(Scope::Global, "slow", "Slow") }).await;
    let (mira, keeper) = (Actor::player("Mira"), Actor::player("Keeper"));
    hall.make_moderator(&keeper).await;

    hall.say(&mira, "one").await.expect("the first needs no pause");
    hall.clock.advance(Duration::from_secs(4));
    let refusal = hall.say(&mira, "two").await.expect_err("too soon");
    assert_eq!(refusal.class(), Class::Throttled);
    assert!(refusal.retry_after().expect("a wait") <= Duration::from_secs(7));
    hall.say(&keeper, "one").await.expect("a moderator");
    hall.say(&keeper, "two").await.expect("needs no pause");

    hall.clock.advance(Duration::from_secs(6));
    hall.say(&mira, "two").await.expect("after the pause it passes");
}

/// A player on a request that bears a key.
fn under_a_key(name: &str, key: u8) -> Actor {
    Actor { effect_key: Some(EffectKey::new([key; 32])), ..Actor::player(name) }
}

#[tokio::test]
async fn a_request_that_is_repeated_posts_once_and_is_told_so_alike() {
    let hall = hall().await;
    let mira = under_a_key("Mira", 1);
    let named = |text: &str| Draft::new(hall.channel.id, text).with_client_id("a1");

    let first = hall.say(&mira, "well met").await.expect("a message");
    let again = hall.say(&mira, "well met").await.expect("the same message");
    let other = hall.say(&under_a_key("Mira", 2), "well met").await.expect("another message");
    let by_name = hall.chat.post(&under_a_key("Mira", 3), named("hey")).await.expect("a message");
    let again_by_name = hall.chat.post(&under_a_key("Mira", 3), named("hey")).await.expect("the same message");
    let other_by_name = hall.chat.post(&under_a_key("Mira", 4), named("hey")).await.expect("the same message");

    assert_eq!((&again, first.fresh), (&first, true));
    assert!(other.fresh && other.message.id != first.message.id);
    assert_eq!((&again_by_name, by_name.fresh), (&by_name, true));
    assert_eq!((other_by_name.message, other_by_name.fresh), (by_name.message.clone(), false));
    assert_eq!(hall.texts().await.len(), 3);
    let shown = [first, by_name].map(|posted| MessageBody::from(&posted.message).client_id);
    assert_eq!(shown, [None, Some("a1".to_owned())]);
}

#[tokio::test]
async fn a_request_that_is_repeated_does_not_come_too_soon_after_itself() {
    let hall =
        hall_with(ChannelDraft { slowmode_seconds: 10, ..ChannelDraft::new(Scope::Global, "slow", "Slow") }).await;
    let first = hall.say(&under_a_key("Mira", 1), "one").await.expect("the first needs no pause");

    assert_eq!(hall.say(&under_a_key("Mira", 1), "one").await.expect("the same message"), first);
    assert_eq!(code(hall.say(&under_a_key("Mira", 2), "two").await), Code::SlowMode);
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_no_message_too_soon() {
    let hall =
        hall_with(ChannelDraft { slowmode_seconds: 300, ..ChannelDraft::new(Scope::Global, "slow", "Slow") }).await;
    let mira = Actor::player("Mira");
    let named = |text: &str, client_id| Draft::new(hall.channel.id, text).with_client_id(client_id);
    let first = hall.chat.post(&mira, named("one", "a1")).await.expect("the first needs no pause").message;

    for actor in [mira.clone(), under_a_key("Mira", 1)] {
        hall.clock.advance(Duration::from_secs(100));
        let again = hall.chat.post(&actor, named("one", "a1")).await.expect("the first message");
        assert_eq!((again.message, again.fresh), (first.clone(), false));
    }
    assert_eq!(code(hall.chat.post(&mira, named("two", "a1")).await), Code::ClientIdReused);
    assert_eq!(code(hall.chat.post(&mira, named("two", "a2")).await), Code::SlowMode);

    hall.clock.advance(Duration::from_secs(100));
    assert!(hall.chat.post(&mira, named("two", "a2")).await.expect("300 s after the first").fresh);
}

#[tokio::test]
async fn slow_mode_lets_one_message_pass_of_those_that_are_sent_before_an_answer() {
    let hall =
        hall_with(ChannelDraft { slowmode_seconds: 10, ..ChannelDraft::new(Scope::Global, "slow", "Slow") }).await;
    let (mira, keeper) = (Actor::player("Mira"), Actor::player("Keeper"));
    hall.make_moderator(&keeper).await;
    let mut submitted = Vec::new();
    for n in 0..8 {
        for actor in [&mira, &keeper] {
            let draft = Draft::new(hall.channel.id, format!("{n}"));
            submitted.push(hall.chat.submit(actor, draft).await.expect("it has its place"));
        }
    }

    let mut refusals = Vec::new();
    for submitted in submitted {
        refusals.extend(submitted.stored().await.err());
    }

    assert_eq!(refusals.len(), 7);
    for refusal in refusals {
        assert_eq!((refusal.code(), refusal.retry_after()), (Code::SlowMode, Some(Duration::from_secs(11))));
    }
    assert_eq!(hall.texts().await.len(), 1 + 8);
}

#[tokio::test]
async fn one_edits_one_s_own_message_for_a_quarter_of_an_hour() {
    let hall = hall().await;
    let mira = Actor::player("Mira");
    let message = hall.say(&mira, "helo").await.expect("a message").message;

    assert_eq!(code(hall.chat.edit(&Actor::player("Oskar"), message.id, "mine now").await), Code::PermissionDenied);
    let edited = hall.chat.edit(&mira, message.id, "hello").await.expect("an edit");
    assert_eq!((edited.text(), edited.seq), (Some("hello"), message.seq));
    hall.clock.advance(Duration::from_mins(15));
    assert_eq!(code(hall.chat.edit(&mira, message.id, "too late").await), Code::EditWindowPassed);

    assert_eq!(hall.texts().await, [Some("hello".to_owned())]);
}

#[tokio::test]
async fn authors_mask_their_own_and_moderators_remove_what_is_not_theirs() {
    let hall = hall().await;
    let (mira, keeper) = (Actor::player("Mira"), Actor::player("Keeper"));
    hall.make_moderator(&keeper).await;
    let one = hall.say(&mira, "one").await.expect("a message").message;
    let two = hall.say(&mira, "two").await.expect("a message").message;

    let oskar = Actor::player("Oskar");
    assert_eq!(code(hall.chat.remove(&oskar, one.id, RemovalMode::Mask, None).await), Code::PermissionDenied);
    assert_eq!(code(hall.chat.remove(&mira, one.id, RemovalMode::Purge, None).await), Code::PermissionDenied);
    assert_eq!(code(hall.chat.remove(&keeper, two.id, RemovalMode::Mask, None).await), Code::ValidationFailed);
    let own = hall.chat.remove(&mira, one.id, RemovalMode::Mask, None).await.expect("one's own");
    assert_eq!(own.tombstone.expect("a tombstone").reason, "removed by the author");
    let purged = hall.chat.remove(&keeper, two.id, RemovalMode::Purge, Some("spam")).await.expect("a purge");
    assert_eq!((purged.body, purged.seq), (None, two.seq));

    assert_eq!(hall.texts().await, [None, None]);
    assert_eq!(code(hall.chat.edit(&mira, one.id, "back").await), Code::MessageRemoved);
}

#[tokio::test]
async fn a_token_bound_to_another_scope_reads_and_writes_nothing_here() {
    let hall = hall().await;
    let mut mira = Actor::player("Mira");
    mira.ceiling = "world:018f0000-0000-7000-8000-00000000000a".parse().expect("a scope");

    assert_eq!(code(hall.say(&mira, "hello").await), Code::ChannelNotFound);
}

#[tokio::test]
async fn a_changed_channel_is_known_at_once_and_a_stale_change_is_refused() {
    let hall = hall().await;
    let operator = Actor::operator();
    let gast = guest("Gast");
    hall.say(&gast, "hello").await.expect("guests may post at first");
    let amendment = ChannelAmendment { guests_may_post: Some(false), ..ChannelAmendment::default() };

    let seen = Some(hall.channel.revision);
    let changed = hall.chat.amend_channel(&operator, hall.channel.id, seen, amendment.clone()).await.expect("a change");

    assert_eq!(code(hall.say(&gast, "hello?").await), Code::GuestsMayNotPost);
    let stale = hall.chat.amend_channel(&operator, hall.channel.id, seen, amendment).await.expect_err("stale");
    assert_eq!((stale.code(), stale.current()), (Code::PreconditionFailed, Some(changed.revision)));
    hall.chat.close_channel(&operator, hall.channel.id, Some(changed.revision)).await.expect("a closed channel");
    assert_eq!(code(hall.say(&Actor::player("Mira"), "anyone?").await), Code::ChannelNotFound);
}

#[tokio::test]
async fn what_is_read_is_noted_and_the_rest_counts_as_unread() {
    let hall = hall().await;
    let (mira, oskar) = (Actor::player("Mira"), Actor::player("Oskar"));
    for text in ["one", "two", "three"] {
        hall.say(&mira, text).await.expect("a message");
    }

    let mark = hall.chat.mark_read(&oskar, hall.channel.id, Seq::new(2)).await.expect("a mark");
    assert_eq!((mark.read, mark.last), (Seq::new(2), Seq::new(3)));
    assert_eq!(hall.chat.unread(&oskar).await.expect("marks"), [mark]);

    hall.chat.mark_read(&oskar, hall.channel.id, Seq::new(3)).await.expect("a mark");
    assert_eq!(hall.chat.unread(&oskar).await.expect("marks"), []);
}

#[tokio::test]
async fn history_and_live_meet_without_a_gap_or_a_repeat_while_posts_go_on() {
    const POSTS: i64 = 2000;
    let limits = LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second));
    let hall = hall_limited(ChannelDraft::new(Scope::Global, "lobby", "Lobby"), limits).await;
    let chat = hall.chat.clone();
    let channel = hall.channel.id;
    let poster = tokio::spawn(async move {
        let mira = Actor::player("Mira");
        for n in 0..POSTS {
            chat.post(&mira, Draft::new(channel, format!("message {n}"))).await.expect("a message");
        }
    });

    let mut listeners = tokio::task::JoinSet::new();
    for n in 0..20 {
        let chat = hall.chat.clone();
        listeners.spawn(async move {
            for _ in 0..n * 10 {
                tokio::task::yield_now().await;
            }
            let reader = Actor::player("Reader");
            let query = MessageQuery { channel, position: Position::Newest, limit: Limit::default() };
            let history = chat.history(&reader, &query).await.expect("a history");
            let newest = history.page.items.first().map_or(0, |message| message.seq.get());
            let mut live = chat.listen(&reader, channel, Some(history.position)).await.expect("a listener");
            let mut heard = newest;
            while heard < POSTS {
                match live.next().await.expect("an event") {
                    LiveEvent::Posted(event) => {
                        assert_eq!(event.message.seq.get(), heard + 1);
                        heard += 1;
                    }
                    LiveEvent::Live => {}
                    other => panic!("nothing else happens: {other:?}"),
                }
            }
        });
    }
    while let Some(listener) = listeners.join_next().await {
        listener.expect("a listener heard everything");
    }
    poster.await.expect("everything is posted");
}

#[tokio::test]
async fn changes_since_a_position_tell_each_message_once_in_its_newest_state() {
    let hall = hall().await;
    let mira = Actor::player("Mira");
    let one = hall.say(&mira, "one").await.expect("a message").message;
    let query = MessageQuery { channel: hall.channel.id, position: Position::Newest, limit: Limit::default() };
    let since = hall.chat.history(&mira, &query).await.expect("a history").position;

    hall.say(&mira, "two").await.expect("a message");
    for text in ["uno", "eins"] {
        hall.chat.edit(&mira, one.id, text).await.expect("an edit");
    }

    let query = ChangeQuery { channel: hall.channel.id, since, limit: Limit::default() };
    let changes = hall.chat.changes(&mira, &query).await.expect("changes");
    let texts: Vec<_> = changes.page.items.iter().map(|message| message.text()).collect();
    assert_eq!(texts, [Some("two"), Some("eins")]);
}

#[tokio::test]
async fn messages_are_deleted_after_the_days_that_the_channel_keeps_them() {
    let draft = ChannelDraft { retention_days: Some(7), ..ChannelDraft::new(Scope::Global, "week", "Week") };
    let hall = hall_with(draft).await;
    let mira = Actor::player("Mira");
    hall.say(&mira, "old").await.expect("a message");
    hall.clock.advance(Duration::from_secs(7 * 24 * 60 * 60 + 1));
    hall.say(&mira, "new").await.expect("a message");

    assert_eq!(hall.chat.enforce_retention().await.expect("a run"), 1);
    assert_eq!(hall.chat.enforce_retention().await.expect("a run"), 0);

    assert_eq!(hall.texts().await, [Some("new".to_owned())]);
}

/// One call of each kind, and the next one a day later.
async fn strict_hall() -> Hall {
    let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
    hall_limited(draft, LimitsConfig::uniform(Quota::per(1, Unit::Day))).await
}

#[tokio::test]
async fn a_player_posts_a_burst_and_then_five_messages_a_second() {
    let hall = hall().await;
    let mira = Actor::player("Mira");
    for n in 0..20 {
        hall.say(&mira, &format!("message {n}")).await.expect("the burst");
    }

    let refused = hall.say(&mira, "one too many").await.expect_err("a refusal");

    assert_eq!((refused.code(), refused.class()), (Code::RateLimited, Class::Throttled));
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(200)));
    hall.say(&Actor::player("Oskar"), "mine").await.expect("another player's quota");
    for _ in 0..10 {
        hall.clock.advance(Duration::from_millis(200));
        hall.say(&mira, "in time").await.expect("five a second");
        assert_eq!(code(hall.say(&mira, "too soon").await), Code::RateLimited);
    }
    assert_eq!(hall.texts().await.len(), 31, "what is refused is not written");
}

#[tokio::test]
async fn how_often_is_asked_after_a_right_and_before_a_rule() {
    let hall = strict_hall().await;
    let mira = Actor::player("Mira");
    let draft = || ChannelDraft::new(Scope::Global, "NO SLUG", "");

    // Whoever may not is not charged, or could be told how much is left for what is not theirs.
    for _ in 0..3 {
        assert_eq!(code(hall.chat.open_channel(&mira, draft()).await), Code::PermissionDenied);
    }
    assert_eq!(code(hall.say(&mira, "").await), Code::ValidationFailed);
    assert_eq!(code(hall.say(&mira, "").await), Code::RateLimited);
}

#[tokio::test]
async fn each_kind_of_change_has_its_own_quota() {
    let hall = strict_hall().await;
    let (mira, oskar) = (Actor::player("Mira"), Actor::player("Oskar"));
    hall.make_moderator(&oskar).await;
    let message = hall.say(&mira, "hello").await.expect("the quota of chat").message;

    hall.chat.edit(&mira, message.id, "good day").await.expect("the quota of write");
    assert_eq!(code(hall.chat.edit(&mira, message.id, "good night").await), Code::RateLimited);
    let masked = hall.chat.remove(&mira, message.id, RemovalMode::Mask, None).await;
    assert_eq!(code(masked), Code::RateLimited, "one's own message is removed as an author");
    assert_eq!(code(hall.chat.mark_read(&mira, hall.channel.id, Seq::new(1)).await), Code::RateLimited);

    hall.chat.mark_read(&oskar, hall.channel.id, Seq::new(1)).await.expect("the quota of write");
    hall.chat.remove(&oskar, message.id, RemovalMode::Mask, Some("spam")).await.expect("the quota of admin");
    let purged = hall.chat.remove(&oskar, message.id, RemovalMode::Purge, Some("spam")).await;
    assert_eq!(code(purged), Code::RateLimited);
}

#[tokio::test]
async fn the_operator_may_do_everything_as_often_as_need_be() {
    let hall = strict_hall().await;

    for n in 0..5 {
        let draft = ChannelDraft::new(Scope::Global, &format!("hall-{n}"), "Hall");
        hall.chat.open_channel(&Actor::operator(), draft).await.expect("a channel");
    }
}
