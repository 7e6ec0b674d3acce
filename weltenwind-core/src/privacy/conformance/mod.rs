//! What every [`PrivacyStore`](super::PrivacyStore) must do: plain functions, each named as the sentence it proves.
//!
//! [`privacy_store_conformance!`](crate::privacy_store_conformance) makes a test of each. The port reaches across all domains, so a
//! case is given every port of the store.

use uuid::Uuid;

use super::{
    error::PrivacyError,
    model::{AuditEntry, AuditQuery, Erasure, ErasureMarks, ErasureQuery, LastOwner, NewErasure, ReadMark},
};
use crate::{
    access::{
        NewGrant, PermissionSet, Role,
        keys::{ApiKeyName, NewApiKey},
    },
    accounts::{
        AccountError, NewTicket, Registration, TokenHash, Username,
        conformance::{account, at, guest, id, open_guest, session, step, step_with_key},
    },
    chat::{NewChannel, NewMessage, Seq},
    idempotency::{Claimed, LEASE, NewClaim, RecordKey, StoredAnswer},
    ids::{AccountId, ApiKeyId, GrantId, SessionId},
    page::Limit,
    revocations::{LossSeq, Lost},
    scope::Scope,
    services::Stores,
    step::{AuditDraft, Step},
    worlds::{NewWorld, WorldAmendment, WorldChange, conformance as worlds},
};

/// Makes a test of every case of [`conformance`](crate::privacy::conformance).
///
/// The fixture is a future of a guard and of [`Stores`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::privacy_store_conformance!(my_fixture());
/// }
/// ```
#[macro_export]
macro_rules! privacy_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::privacy_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            everything_that_is_held_is_read
            nothing_is_held_on_an_unknown_account
            an_erased_account_is_gone_with_all_that_belongs_to_it
            an_erasure_leaves_others_as_they_are
            an_unknown_account_is_not_erased
            an_erased_account_is_not_erased_again
            a_repeated_effect_key_erases_once
            a_username_is_free_behind_an_erasure
            the_last_owner_is_not_erased
            an_archived_world_needs_no_owner
            two_owners_who_are_erased_at_once_leave_one
            a_last_owner_goes_if_that_was_decided_before
            what_a_restore_brings_back_is_erased_again
            a_session_that_is_opened_meanwhile_does_not_outlive_its_account
            what_comes_late_is_swept_away
            an_erasure_is_unsettled_until_it_is_settled
            erasures_are_listed_page_by_page
            the_audit_log_of_an_account_is_read_page_by_page
            a_note_is_an_audit_row
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::privacy_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, stores) = $fixture.await;
            $crate::privacy::conformance::$case(&stores).await;
        }
    };
}

fn erasure(n: u32, seconds: i64) -> NewErasure {
    NewErasure {
        account: account(n),
        marks: ErasureMarks { username: Some(TokenHash::of("name")), email: Some(TokenHash::of("address")) },
        last_owner: LastOwner::Stays,
        erased_at: at(seconds),
        erased_by: Some(account(n)),
    }
}

/// An erasure as the ledger has it right behind the step.
fn entered(n: u32, seconds: i64) -> Erasure {
    let (erased_at, unsettled_since) = (at(seconds), Some(at(seconds)));
    Erasure { account: account(n), erased_at, erased_by: Some(account(n)), unsettled_since }
}

async fn erase(stores: &Stores, n: u32, seconds: i64) -> Erasure {
    stores.privacy.erase(&step(seconds), &erasure(n, seconds)).await.expect("the account can be erased")
}

async fn refusal(stores: &Stores, n: u32) -> PrivacyError {
    stores.privacy.erase(&step(90), &erasure(n, 90)).await.expect_err("the account is not erased")
}

fn registration(n: u32) -> Registration {
    Registration {
        id: account(n),
        username: Username::new(&format!("player{n}")).expect("a username"),
        display_name: guest(n).display_name,
        email: None,
        password: crate::accounts::PasswordRecord::from_stored("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".to_owned()),
        session: session(n),
    }
}

async fn give(stores: &Stores, n: u32, to: u32, role: Role, scope: Scope) {
    let grant = NewGrant { id: GrantId::new(id(n)), account: account(to), role, scope, reason: None, expires_at: None };
    stores.grants.grant(&step(0), &grant).await.expect("the role can be given");
}

async fn world(stores: &Stores, n: u32, owner: u32) -> Scope {
    let owner = Some((account(owner), GrantId::new(id(1000 + n))));
    let world = NewWorld { owner, ..worlds::new(n) };
    stores.worlds.create(&step(0), &world).await.expect("the world is new");
    Scope::World(world.id)
}

fn claim(n: u8, of: AccountId) -> NewClaim {
    NewClaim {
        key: RecordKey::new([n; 32]),
        account: of,
        fingerprint: [n; 32],
        holder: Uuid::from_u128(n.into()),
        at: at(0),
        lease: LEASE,
    }
}

/// Keeps an answer for an account, under key `n`.
async fn answer(stores: &Stores, n: u8, of: AccountId) {
    let Ok(Claimed::Fresh(claimed)) = stores.idempotency.claim(&claim(n, of)).await else { panic!("the key is new") };
    let answer = StoredAnswer {
        status: 201,
        location: None,
        etag: None,
        content_type: None,
        resource: None,
        body: b"{}".to_vec(),
    };
    assert!(stores.idempotency.complete(&claimed, &answer).await.expect("the store works"));
}

/// A channel with a message, of which account `n` has read nothing.
async fn unread_channel(stores: &Stores, n: u32) -> crate::chat::Channel {
    let channel = stores.chat.create_channel(&step(0), &NewChannel::sample(1)).await.expect("the channel is new");
    stores.chat.append(&[NewMessage::sample("well met")]).await.expect("the store works");
    stores.chat.mark_read(account(n), channel.id, Seq::ZERO).await.expect("the channel exists");
    channel
}

/// An export shows what is there, what has ended too.
pub async fn everything_that_is_held_is_read(stores: &Stores) {
    let signed_in = stores.accounts.register(&step(0), &registration(1)).await.expect("the account is new");
    stores.sessions.open(&step(10), account(1), &session(2)).await.expect("the account exists");
    stores.sessions.end(&step(20), SessionId::new(id(2))).await.expect("the store works");
    stores.devices.end(&step(30), account(1), session(2).device.id).await.expect("the device exists");
    let scope = world(stores, 1, 1).await;
    give(stores, 7, 1, Role::Player, Scope::Global).await;
    stores.grants.revoke(&step(40), GrantId::new(id(7))).await.expect("the role is held");
    let key = NewApiKey {
        id: ApiKeyId::new(id(9)),
        hash: TokenHash::of("key"),
        name: ApiKeyName::new("Server").expect("a name"),
        scope,
        permissions: PermissionSet::default(),
        rank: 1,
        expires_at: None,
    };
    let by = Step { actor: Some(account(1)), ..step(50) };
    let key = stores.api_keys.create(&by, &key).await.expect("the key is new");
    let channel = unread_channel(stores, 1).await;
    answer(stores, 1, account(1)).await;

    let held = stores.privacy.holdings(account(1)).await.expect("the store works").expect("the account exists");

    assert_eq!(held.account, signed_in.account);
    assert_eq!(held.password_set_at, Some(at(0)));
    let ends: Vec<_> = held.sessions.iter().map(|session| (session.id, session.ended_at)).collect();
    assert_eq!(ends, [(SessionId::new(id(1)), None), (SessionId::new(id(2)), Some(at(20)))]);
    assert_eq!(held.sessions[0], signed_in.session);
    let ends: Vec<_> = held.devices.iter().map(|held| (held.device.id, held.ended_at)).collect();
    assert_eq!(ends, [(session(1).device.id, None), (session(2).device.id, Some(at(30)))]);
    let mut roles: Vec<_> = held.grants.iter().map(|held| (held.grant.role, held.revoked_at)).collect();
    roles.sort_by_key(|(_, revoked_at)| *revoked_at);
    assert_eq!(roles, [(Role::WorldOwner, None), (Role::Player, Some(at(40)))]);
    assert_eq!(held.read_marks, [ReadMark { channel: channel.id, seq: Seq::ZERO }]);
    assert_eq!(held.keys, [key]);
    let requests: Vec<_> = held.requests.iter().map(|request| (request.since, request.status)).collect();
    assert_eq!(requests, [(at(0), Some(201))]);
}

/// There is nobody to be told of.
pub async fn nothing_is_held_on_an_unknown_account(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;

    assert_eq!(stores.privacy.holdings(account(2)).await.expect("the store works"), None);
}

/// Whoever looks finds nothing: not by id, by name, by session, by token, by ticket, nor by an answer that was kept.
pub async fn an_erased_account_is_gone_with_all_that_belongs_to_it(stores: &Stores) {
    stores.accounts.register(&step(0), &registration(1)).await.expect("the account is new");
    give(stores, 7, 1, Role::Player, Scope::Global).await;
    let ticket = NewTicket {
        hash: TokenHash::of("ticket"),
        session: SessionId::new(id(1)),
        origin: "https://wind.example".to_owned(),
        expires_at: at(900),
    };
    stores.sessions.save_ticket(&ticket, at(0)).await.expect("the session exists");
    unread_channel(stores, 1).await;
    answer(stores, 1, account(1)).await;

    assert_eq!(erase(stores, 1, 60).await, entered(1, 60));

    let username = registration(1).username;
    assert_eq!(stores.accounts.find(account(1)).await.expect("the store works"), None);
    assert_eq!(stores.accounts.credentials(&username).await.expect("the store works"), None);
    assert_eq!(stores.accounts.password(account(1)).await.expect("the store works"), None);
    assert_eq!(stores.sessions.find(SessionId::new(id(1))).await.expect("the store works"), None);
    assert_eq!(stores.sessions.find_refresh(&session(1).refresh).await.expect("the store works"), None);
    assert_eq!(stores.sessions.spend_ticket(&ticket.hash).await.expect("the store works"), None);
    assert_eq!(stores.grants.of(account(1), at(60)).await.expect("the store works"), []);
    assert_eq!(stores.chat.unread(account(1)).await.expect("the store works"), []);
    assert!(matches!(stores.idempotency.claim(&claim(1, account(1))).await, Ok(Claimed::Fresh(_))));
    let losses = stores.revocations.page(LossSeq::START, 100).await.expect("the store works");
    let last = losses.last().expect("a loss").loss;
    assert_eq!((last.account, last.lost), (Some(account(1)), Lost::Account));
}

/// One leaves, and the others notice nothing of it.
pub async fn an_erasure_leaves_others_as_they_are(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;
    let other = open_guest(&*stores.accounts, 2).await;
    give(stores, 7, 2, Role::Player, Scope::Global).await;
    let channel = unread_channel(stores, 1).await;
    stores.chat.mark_read(account(2), channel.id, Seq::ZERO).await.expect("the channel exists");
    answer(stores, 1, account(1)).await;
    answer(stores, 2, account(2)).await;
    let before = stores.privacy.holdings(account(2)).await.expect("the store works");

    erase(stores, 1, 60).await;

    assert_eq!(stores.privacy.holdings(account(2)).await.expect("the store works"), before);
    assert_eq!(stores.sessions.find(other.session.id).await.expect("the store works"), Some(other));
}

/// Nothing is entered for who never was.
pub async fn an_unknown_account_is_not_erased(stores: &Stores) {
    assert!(matches!(refusal(stores, 1).await, PrivacyError::NotFound));
    assert!(ledger(stores).await.is_empty());
}

/// Whoever asks twice hears that there is nobody.
pub async fn an_erased_account_is_not_erased_again(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;
    let first = erase(stores, 1, 60).await;

    assert!(matches!(refusal(stores, 1).await, PrivacyError::NotFound));
    assert_eq!(ledger(stores).await, [first]);
}

/// A repeat after a lost answer gets the same one.
pub async fn a_repeated_effect_key_erases_once(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;
    let first = stores.privacy.erase(&step_with_key(60, 1), &erasure(1, 60)).await.expect("the account exists");

    let again = stores.privacy.erase(&step_with_key(70, 1), &erasure(1, 70)).await.expect("a repeat is answered");

    assert_eq!(again, first);
    let losses = stores.revocations.page(LossSeq::START, 100).await.expect("the store works");
    assert_eq!(losses.len(), 1);
}

/// Nothing shows the name any more, so nobody can be mistaken for who bore it.
pub async fn a_username_is_free_behind_an_erasure(stores: &Stores) {
    stores.accounts.register(&step(0), &registration(1)).await.expect("the account is new");
    let other = Registration { username: registration(1).username, ..registration(2) };
    let refused = stores.accounts.register(&step(10), &other).await;
    assert!(matches!(refused, Err(AccountError::UsernameTaken(_))), "{refused:?}");

    erase(stores, 1, 60).await;

    stores.accounts.register(&step(70), &other).await.expect("the name is free");
}

/// A world, or everything, is not left to nobody by an oversight.
pub async fn the_last_owner_is_not_erased(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;
    open_guest(&*stores.accounts, 2).await;
    give(stores, 7, 1, Role::Owner, Scope::Global).await;
    let scope = world(stores, 1, 1).await;
    let shared = world(stores, 2, 1).await;
    give(stores, 8, 2, Role::WorldOwner, shared).await;
    let before = stores.privacy.holdings(account(1)).await.expect("the store works");

    let refused = refusal(stores, 1).await;

    assert!(matches!(&refused, PrivacyError::LastOwner(left) if *left == [Scope::Global, scope]), "{refused:?}");
    assert_eq!(stores.privacy.last_owner_of(account(1)).await.expect("the store works"), [Scope::Global, scope]);
    assert_eq!(stores.privacy.holdings(account(1)).await.expect("the store works"), before);
    assert!(ledger(stores).await.is_empty());

    give(stores, 9, 2, Role::Owner, Scope::Global).await;
    give(stores, 10, 2, Role::WorldOwner, scope).await;
    assert!(stores.privacy.last_owner_of(account(1)).await.expect("the store works").is_empty());
    erase(stores, 1, 95).await;
    assert!(matches!(refusal(stores, 2).await, PrivacyError::LastOwner(_)));
}

/// What nobody enters any more keeps nobody here.
pub async fn an_archived_world_needs_no_owner(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;
    world(stores, 1, 1).await;
    let archived = WorldChange { archive: true, ..worlds::change(1, WorldAmendment::default()) };
    stores.worlds.amend(&step(30), &archived).await.expect("the world exists");

    assert!(stores.privacy.last_owner_of(account(1)).await.expect("the store works").is_empty());
    erase(stores, 1, 60).await;
}

/// Each sees the other one, and both would leave nobody.
pub async fn two_owners_who_are_erased_at_once_leave_one(stores: &Stores) {
    for n in [1, 2] {
        open_guest(&*stores.accounts, n).await;
        give(stores, 10 + n, n, Role::Owner, Scope::Global).await;
    }
    let (one, two) = (step(60), step(60));
    let (first, second) = (erasure(1, 60), erasure(2, 60));

    let answers = tokio::join!(stores.privacy.erase(&one, &first), stores.privacy.erase(&two, &second));

    let refused = match answers {
        (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
        both => panic!("one of them stays: {both:?}"),
    };
    assert!(matches!(refused, PrivacyError::LastOwner(_)), "{refused:?}");
    assert_eq!(ledger(stores).await.len(), 1);
}

/// A backup of before brings the owner back, and the successor may be younger than the backup.
pub async fn a_last_owner_goes_if_that_was_decided_before(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;
    give(stores, 7, 1, Role::Owner, Scope::Global).await;
    let again = NewErasure { last_owner: LastOwner::Goes, erased_at: at(5), erased_by: None, ..erasure(1, 5) };

    let erased = stores.privacy.erase(&step(60), &again).await.expect("it was decided before");

    let expected = Erasure { account: account(1), erased_at: at(5), erased_by: None, unsettled_since: Some(at(60)) };
    assert_eq!(erased, expected);
    assert_eq!(stores.accounts.find(account(1)).await.expect("the store works"), None);
}

/// A ledger is applied to a backup that knows of the account, and to one that does not, as often as one likes.
pub async fn what_a_restore_brings_back_is_erased_again(stores: &Stores) {
    let again = |n| NewErasure { last_owner: LastOwner::Goes, ..erasure(n, 5) };
    let unknown = stores.privacy.erase(&step(60), &again(1)).await.expect("the ledger takes it");
    assert_eq!((unknown.erased_at, unknown.unsettled_since), (at(5), Some(at(60))));
    stores.privacy.settle(account(1), at(60)).await.expect("the store works");

    let settled = stores.privacy.erase(&step(70), &again(1)).await.expect("it stands there");
    assert_eq!(settled, Erasure { unsettled_since: None, ..unknown });

    // The backup was of before its ledger's last line, and the account is there.
    open_guest(&*stores.accounts, 1).await;
    let erased = stores.privacy.erase(&step(80), &again(1)).await.expect("it is there again");
    assert_eq!((erased.erased_at, erased.unsettled_since), (at(5), Some(at(80))));
    assert_eq!(stores.accounts.find(account(1)).await.expect("the store works"), None);
}

/// A sign-in beside an erasure comes before it and ends with it, or behind it and finds nobody.
pub async fn a_session_that_is_opened_meanwhile_does_not_outlive_its_account(stores: &Stores) {
    for n in 1..=20 {
        open_guest(&*stores.accounts, n).await;
        let (opening, ending) = (step(10), step(10));
        let (late, gone) = (session(100 + n), erasure(n, 10));

        let (opened, erased) =
            tokio::join!(stores.sessions.open(&opening, account(n), &late), stores.privacy.erase(&ending, &gone));

        erased.expect("the account exists");
        assert!(matches!(opened, Ok(_) | Err(AccountError::NotFound)), "{opened:?}");
        assert_eq!(stores.sessions.find(late.id).await.expect("the store works"), None);
    }
}

/// A request that was under way when the account went may still write; that is cleared away.
pub async fn what_comes_late_is_swept_away(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;
    open_guest(&*stores.accounts, 2).await;
    let channel = unread_channel(stores, 2).await;
    erase(stores, 1, 60).await;
    stores.chat.mark_read(account(1), channel.id, Seq::ZERO).await.expect("the channel exists");
    answer(stores, 1, account(1)).await;
    assert_eq!(stores.chat.unread(account(1)).await.expect("the store works").len(), 1);

    stores.privacy.sweep(account(1)).await.expect("the store works");

    assert!(stores.chat.unread(account(1)).await.expect("the store works").is_empty());
    assert!(matches!(stores.idempotency.claim(&claim(1, account(1))).await, Ok(Claimed::Fresh(_))));
    assert_eq!(stores.chat.unread(account(2)).await.expect("the store works").len(), 1);
}

/// Whoever starts next finds what is to be gone on with, and what was applied again in between is not lost from sight.
pub async fn an_erasure_is_unsettled_until_it_is_settled(stores: &Stores) {
    for n in [1, 2] {
        open_guest(&*stores.accounts, n).await;
    }
    let second = erase(stores, 2, 50).await;
    let first = erase(stores, 1, 60).await;
    assert_eq!(stores.privacy.unsettled().await.expect("the store works"), [second, first.clone()]);

    stores.privacy.settle(account(2), at(50)).await.expect("the store works");
    stores.privacy.settle(account(1), at(59)).await.expect("the store works");

    assert_eq!(stores.privacy.unsettled().await.expect("the store works"), [first]);
    assert_eq!(ledger(stores).await[1].unsettled_since, None);
}

/// A ledger of any length is read in parts.
pub async fn erasures_are_listed_page_by_page(stores: &Stores) {
    for n in 1..=5 {
        open_guest(&*stores.accounts, n).await;
        erase(stores, n, 60 + i64::from(n)).await;
    }
    let limit = Limit::new(2).expect("a limit");
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = stores.privacy.erasures(&ErasureQuery { after, limit }).await.expect("the store works");
        after = page.next(|erasure| erasure.account);
        listed.extend(page.items);
        if after.is_none() {
            break;
        }
    }

    assert_eq!(listed, (1..=5).map(|n| entered(n, 60 + i64::from(n))).collect::<Vec<_>>());
}

/// What somebody did and what was done to it is one list, without what others did to others.
pub async fn the_audit_log_of_an_account_is_read_page_by_page(stores: &Stores) {
    open_guest(&*stores.accounts, 1).await;
    open_guest(&*stores.accounts, 2).await;
    let by = |n| Step { actor: Some(account(n)), audit: AuditDraft::new("test.note", Scope::Global), ..step(20) };
    for (who, whom) in [(1, 2), (2, 1), (2, 2), (1, 1)] {
        stores.privacy.note(&by(who), account(whom)).await.expect("the store works");
    }
    let targets = vec![account(1).to_string(), session(1).id.to_string()];
    let query = AuditQuery { account: account(1), targets, after: 0, limit: 100 };

    let all = stores.privacy.audit(&query).await.expect("the store works");
    let (mut parts, mut after) = (Vec::new(), 0);
    loop {
        let part = stores.privacy.audit(&AuditQuery { after, limit: 1, ..query.clone() }).await;
        let Some(entry) = part.expect("the store works").pop() else { break };
        after = entry.id;
        parts.push(entry);
    }

    let seen: Vec<_> = all.iter().map(|AuditEntry { actor, target, .. }| (*actor, target.as_str())).collect();
    let (one, two, opened) = (account(1).to_string(), account(2).to_string(), session(1).id.to_string());
    let expected = [
        (None, opened.as_str()),
        (Some(account(1)), two.as_str()),
        (Some(account(2)), one.as_str()),
        (Some(account(1)), one.as_str()),
    ];
    assert_eq!(seen, expected);
    assert_eq!(parts, all);
}

/// Who looked at what is held on somebody is to be found there.
pub async fn a_note_is_an_audit_row(stores: &Stores) {
    let noted = Step { audit: AuditDraft::new("account.export", Scope::Global).because("asked for"), ..step(20) };

    stores.privacy.note(&noted, account(1)).await.expect("the store works");

    let query = AuditQuery { account: account(1), targets: vec![account(1).to_string()], after: 0, limit: 100 };
    let rows = stores.privacy.audit(&query).await.expect("the store works");
    let seen: Vec<_> = rows.iter().map(|row| (row.at, row.action.as_str(), row.reason.as_deref())).collect();
    assert_eq!(seen, [(at(20), "account.export", Some("asked for"))]);
}

async fn ledger(stores: &Stores) -> Vec<Erasure> {
    stores.privacy.erasures(&ErasureQuery::default()).await.expect("the store works").items
}
