use super::{Ports, account, at, guest, hash, id, name, open_guest, seen, session, step, step_with_key};
use crate::{
    accounts::{
        AccountError, NewDevice, NewGuest, NewSession, NewTicket, RefreshToken, Rotation, Session, SessionQuery,
        SignedIn, Ticket, TokenHash,
    },
    clock::Timestamp,
    ids::{DeviceId, SessionId},
    page::Limit,
};

/// Who signs in from the same device again finds it once in the list.
pub async fn a_session_is_opened_on_the_known_device(ports: &Ports) {
    let fingerprint = Some(TokenHash::of("fingerprint"));
    let on = |n: u32| NewSession { device: NewDevice { fingerprint, ..session(n).device }, ..session(n) };
    ports.accounts.open_guest(&step(0), &NewGuest { session: on(1), ..guest(1) }).await.expect("the guest is new");

    let second = ports.sessions.open(&step(9), account(1), &on(2)).await.expect("the account exists");
    let elsewhere = ports.sessions.open(&step(9), account(1), &session(3)).await.expect("the account exists");

    assert_eq!((second.account.id, second.session.id), (account(1), on(2).id));
    assert_eq!(second.session.device, on(1).device.id, "the device is known");
    assert_eq!(elsewhere.session.device, session(3).device.id, "a device without a fingerprint is another one");
    assert_eq!(find(ports, 2).await, Some(second));
}

/// The account may have been erased since its password was checked.
pub async fn a_session_of_an_unknown_account_is_refused(ports: &Ports) {
    let refused = ports.sessions.open(&step(0), account(1), &session(1)).await;

    assert!(matches!(refused, Err(AccountError::NotFound)));
    assert_eq!(find(ports, 1).await, None);
}

/// Who signs in again after a lost reply is signed in once.
pub async fn a_repeated_effect_key_opens_one_session(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let first = ports.sessions.open(&step_with_key(9, 1), account(1), &session(2)).await.expect("the account exists");

    let again = ports.sessions.open(&step_with_key(10, 1), account(1), &session(3)).await.expect("it is answered");

    assert_eq!(again, first);
    assert_eq!(find(ports, 3).await, None);
}

/// Every request asks for both.
pub async fn a_session_is_found_with_its_account(ports: &Ports) {
    let one = open_guest(&*ports.accounts, 1).await;
    let other = open_guest(&*ports.accounts, 2).await;

    let wanted = [2, 3, 1, 2].map(|n| SessionId::new(id(n)));
    let mut together = ports.sessions.find_all(&wanted).await.expect("the store works");
    together.sort_by_key(|found| found.session.id);
    assert_eq!(together, [one.clone(), other.clone()]);
    assert_eq!(ports.sessions.find_all(&[]).await.expect("the store works"), []);
    assert_eq!(find(ports, 1).await, Some(one));
    assert_eq!(find(ports, 2).await, Some(other));
    assert_eq!(find(ports, 3).await, None);
}

/// A new name is seen at the next request.
pub async fn a_session_shows_its_accounts_present_name(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let renamed = ports.accounts.rename(&step(9), account(1), &name("Tarn")).await.expect("the account exists");

    assert_eq!(find(ports, 1).await.expect("the session").account, renamed);
}

/// The token that the sign-in has answered.
pub async fn a_session_begins_with_an_unused_refresh_token(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let expected = RefreshToken { session: SessionId::new(id(1)), generation: 0, used_at: None };
    assert_eq!(refresh(ports, 1, 0).await, Some(expected));
    assert_eq!(refresh(ports, 1, 1).await, None);
}

/// The session goes on under the successor; the old token is remembered, so that a thief gives itself away.
pub async fn a_rotation_replaces_the_refresh_token(ports: &Ports) {
    let SignedIn { account, session } = open_guest(&*ports.accounts, 1).await;

    assert!(ports.sessions.rotate(&step(60), &rotation(1, 0)).await.expect("the store works"));

    let expected = Session { generation: 1, idle_expires_at: rotation(1, 0).idle_expires_at, ..session.clone() };
    assert_eq!(find(ports, 1).await, Some(SignedIn { account, session: expected }));
    let used = RefreshToken { session: session.id, generation: 0, used_at: Some(at(60)) };
    assert_eq!(refresh(ports, 1, 0).await, Some(used));
    let successor = RefreshToken { session: session.id, generation: 1, used_at: None };
    assert_eq!(refresh(ports, 1, 1).await, Some(successor));
}

/// A session lives through thousands of them.
pub async fn rotations_follow_one_another(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    for from in 0..5 {
        assert!(ports.sessions.rotate(&step(60 + i64::from(from)), &rotation(1, from)).await.expect("the store works"));
    }

    assert_eq!(find(ports, 1).await.expect("the session").session.generation, 5);
    assert_eq!(refresh(ports, 1, 4).await.expect("the token").used_at, Some(at(64)));
    assert_eq!(refresh(ports, 1, 5).await.expect("the token").used_at, None);
}

/// Somebody else was faster, or somebody guesses.
pub async fn only_the_present_generation_is_replaced(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    assert!(ports.sessions.rotate(&step(60), &rotation(1, 0)).await.expect("the store works"));
    let before = find(ports, 1).await;

    let stale = Rotation { successor: hash("thief", 1, 1), ..rotation(1, 0) };
    assert!(!ports.sessions.rotate(&step(61), &stale).await.expect("the store works"));
    assert!(!ports.sessions.rotate(&step(61), &rotation(1, 2)).await.expect("the store works"));
    assert!(!ports.sessions.rotate(&step(61), &rotation(7, 0)).await.expect("the store works"), "an unknown session");

    assert_eq!(find(ports, 1).await, before);
    assert_eq!(ports.sessions.find_refresh(&stale.successor).await.expect("the store works"), None);
    assert_eq!(refresh(ports, 1, 0).await.expect("the token").used_at, Some(at(60)));
}

/// Whoever was signed out stays out.
pub async fn a_session_that_has_ended_is_not_rotated(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.sessions.end(&step(60), SessionId::new(id(1))).await.expect("the store works");

    assert!(!ports.sessions.rotate(&step(61), &rotation(1, 0)).await.expect("the store works"));

    assert_eq!(find(ports, 1).await.expect("the session").session.generation, 0);
    assert_eq!(refresh(ports, 1, 0).await.expect("the token").used_at, None);
}

/// A rotation moves the end, and must not move one that is past.
pub async fn a_session_that_has_expired_is_not_rotated(ports: &Ports) {
    let session = open_guest(&*ports.accounts, 1).await.session;
    assert_eq!((session.idle_expires_at, session.expires_at), (at(3600), at(86_400)));

    assert!(!ports.sessions.rotate(&step(3600), &rotation(1, 0)).await.expect("the store works"), "it idled out");

    let to_the_end = Rotation { idle_expires_at: at(90_000), ..rotation(1, 0) };
    assert!(ports.sessions.rotate(&step(3599), &to_the_end).await.expect("the store works"));
    assert!(!ports.sessions.rotate(&step(86_400), &rotation(1, 1)).await.expect("the store works"), "it has ended");
}

/// Two tabs refresh when the laptop wakes up.
pub async fn two_rotations_of_one_generation_at_once_replace_it_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let (one, other) = (rotation(1, 0), Rotation { successor: hash("other tab", 1, 1), ..rotation(1, 0) });

    let (first, second) = (step(60), step(60));
    let answers = tokio::join!(ports.sessions.rotate(&first, &one), ports.sessions.rotate(&second, &other));

    let rotated = [answers.0.expect("the store works"), answers.1.expect("the store works")];
    assert_eq!(rotated.iter().filter(|rotated| **rotated).count(), 1);
    assert_eq!(find(ports, 1).await.expect("the session").session.generation, 1);
    for (rotation, rotated) in [one, other].iter().zip(rotated) {
        let stored = ports.sessions.find_refresh(&rotation.successor).await.expect("the store works");
        assert_eq!(stored.is_some(), rotated);
    }
}

/// When it ended is evidence.
pub async fn a_session_keeps_its_first_end(ports: &Ports) {
    let SignedIn { account, session } = open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;

    ports.sessions.end(&step(60), session.id).await.expect("the store works");
    ports.sessions.end(&step(61), session.id).await.expect("the store works");

    let expected = SignedIn { account, session: Session { ended_at: Some(at(60)), ..session } };
    assert_eq!(find(ports, 1).await, Some(expected));
    assert_eq!(find(ports, 2).await.expect("the neighbour").session.ended_at, None);
}

/// Signing out twice, or after retention, is no error.
pub async fn an_unknown_session_is_ended_without_harm(ports: &Ports) {
    ports.sessions.end(&step(60), SessionId::new(id(1))).await.expect("the store works");

    assert_eq!(find(ports, 1).await, None);
}

/// Signing out wins, whichever comes first.
pub async fn a_session_that_ends_while_it_is_rotated_has_ended(ports: &Ports) {
    let session = open_guest(&*ports.accounts, 1).await.session;

    let (one, other, next) = (step(60), step(60), rotation(1, 0));
    let answers = tokio::join!(ports.sessions.rotate(&one, &next), ports.sessions.end(&other, session.id));

    let rotated = answers.0.expect("the store works");
    answers.1.expect("the store works");
    let after = find(ports, 1).await.expect("the session").session;
    assert_eq!(after.ended_at, Some(at(60)));
    assert_eq!(after.generation, u32::from(rotated));
}

/// A client that retries after a lost reply holds the successor.
pub async fn a_repeated_effect_key_rotates_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    assert!(ports.sessions.rotate(&step_with_key(60, 1), &rotation(1, 0)).await.expect("the store works"));

    assert!(ports.sessions.rotate(&step_with_key(61, 1), &rotation(1, 0)).await.expect("the store works"));

    assert_eq!(find(ports, 1).await.expect("the session").session.generation, 1);
}

/// What changed nothing is no effect that a repeat could be answered with.
pub async fn a_rotation_that_did_nothing_leaves_its_effect_key_free(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    assert!(!ports.sessions.rotate(&step_with_key(60, 1), &rotation(1, 7)).await.expect("the store works"));

    assert!(!ports.sessions.rotate(&step_with_key(61, 1), &rotation(1, 7)).await.expect("the store works"));
    assert!(ports.sessions.rotate(&step_with_key(62, 1), &rotation(1, 0)).await.expect("the store works"));
}

/// The first end stands, under one key and under two.
pub async fn a_repeated_effect_key_ends_once(ports: &Ports) {
    let session = open_guest(&*ports.accounts, 1).await.session;

    ports.sessions.end(&step_with_key(60, 1), session.id).await.expect("the store works");
    ports.sessions.end(&step_with_key(61, 1), session.id).await.expect("the store works");
    ports.sessions.end(&step_with_key(62, 2), session.id).await.expect("the store works");
    ports.sessions.end(&step_with_key(63, 2), session.id).await.expect("the store works");

    assert_eq!(find(ports, 1).await.expect("the session").session.ended_at, Some(at(60)));
}

/// A ticket stands in a header that proxies may log.
pub async fn a_ticket_is_spent_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    save(ports, &ticket(1, 1), 0).await;

    assert!(spend(ports, 1).await.is_some());
    assert_eq!(spend(ports, 1).await, None);
    assert_eq!(spend(ports, 2).await, None, "one that was never issued");
}

/// The service decides whether it holds, so an ended one is answered, too.
pub async fn a_ticket_is_answered_as_it_was_saved(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let new = NewTicket { expires_at: at(-30), ..ticket(1, 1) };
    save(ports, &new, -60).await;

    let expected = Ticket { session: new.session, origin: new.origin, expires_at: new.expires_at };
    assert_eq!(spend(ports, 1).await, Some(expected));
}

/// Tickets that nobody fetched must not pile up.
pub async fn a_ticket_that_ended_is_forgotten_when_another_is_saved(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    for n in 1..=3 {
        save(ports, &ticket(1, n), 0).await;
    }

    save(ports, &NewTicket { expires_at: at(61), ..ticket(1, 4) }, 29).await;
    assert!(spend(ports, 1).await.is_some(), "it has not ended");
    save(ports, &NewTicket { expires_at: at(62), ..ticket(1, 5) }, 31).await;

    assert_eq!(spend(ports, 2).await, None);
    assert_eq!(spend(ports, 3).await, None);
    assert!(spend(ports, 4).await.is_some() && spend(ports, 5).await.is_some());
}

/// Two sockets, one ticket.
pub async fn one_ticket_spent_twice_at_once_is_given_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    save(ports, &ticket(1, 1), 0).await;

    let (one, other) = tokio::join!(spend(ports, 1), spend(ports, 1));

    assert_eq!(one.is_some(), other.is_none());
}

/// Savers also forget, and must not stand in each other's way.
pub async fn many_tickets_saved_at_once_are_all_kept(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    for n in 1..=20 {
        save(ports, &ticket(1, n), 0).await;
    }
    let save = |n| save_late(ports, n);

    tokio::join!(save(21), save(22), save(23), save(24), save(25), save(26));

    assert_eq!(spend(ports, 20).await, None);
    for n in 21..=26 {
        assert!(spend(ports, n).await.is_some(), "ticket {n}");
    }
}

/// Saves a ticket when all of the first half minute have ended.
async fn save_late(ports: &Ports, n: u32) {
    save(ports, &NewTicket { expires_at: at(90), ..ticket(1, n) }, 60).await;
}

/// Ticket `n` of session `session`, which ends after half a minute.
fn ticket(session: u32, n: u32) -> NewTicket {
    NewTicket {
        hash: hash("ticket", n, 0),
        session: SessionId::new(id(session)),
        origin: "https://play.example".to_owned(),
        expires_at: at(30),
    }
}

async fn save(ports: &Ports, ticket: &NewTicket, seconds: i64) {
    ports.sessions.save_ticket(ticket, at(seconds)).await.expect("the session exists");
}

async fn spend(ports: &Ports, n: u32) -> Option<Ticket> {
    ports.sessions.spend_ticket(&hash("ticket", n, 0)).await.expect("the store works")
}

/// Where one is signed in, youngest first, with the device of each.
pub async fn sessions_that_hold_are_listed_page_by_page(ports: &Ports) {
    let guest = open_guest(&*ports.accounts, 1).await;
    for n in 2..=5 {
        ports.sessions.open(&step(i64::from(n)), account(1), &session(n)).await.expect("the account exists");
    }
    open_guest(&*ports.accounts, 6).await;
    ports.sessions.end(&step(9), SessionId::new(id(3))).await.expect("the store works");

    let limit = Limit::new(2).expect("1 to 200");
    let mut query = SessionQuery { account: Some(account(1)), at: at(9), after: None, limit };
    let mut listed = Vec::new();
    loop {
        let page = ports.sessions.page(&query).await.expect("the store works");
        assert!(page.items.len() <= 2);
        query.after = page.next(|entry| entry.session.id);
        listed.extend(page.items);
        if query.after.is_none() {
            break;
        }
    }

    assert_eq!(
        listed.iter().map(|entry| entry.session.id).collect::<Vec<_>>(),
        [5, 4, 2, 1].map(|n| SessionId::new(id(n)))
    );
    let last = listed.last().expect("the first session");
    assert_eq!((&last.account, &last.session), (&guest.account, &guest.session));
    assert_eq!((last.device.id, last.device.account), (guest.session.device, account(1)));
    assert!(listed.iter().all(|entry| entry.device.id == entry.session.device));
    assert_eq!(holding(ports, None, at(9)).await, [6, 5, 4, 2, 1]);
    assert_eq!(holding(ports, Some(6), at(9)).await, [6]);
    assert_eq!(holding(ports, Some(1), at(3600)).await, [] as [u32; 0], "all have idled out");
}

async fn holding(ports: &Ports, of: Option<u32>, at: Timestamp) -> Vec<u32> {
    let query = SessionQuery { account: of.map(account), at, after: None, limit: Limit::MAX };
    let page = ports.sessions.page(&query).await.expect("the store works");
    let number = |uuid: uuid::Uuid| u32::try_from(uuid.as_u128() & 0xffff_ffff).expect("32 bits");
    page.items.iter().map(|entry| number(entry.session.id.uuid())).collect()
}

/// The rotation of session `n` that replaces generation `from`, and puts the idle end off by an hour.
fn rotation(n: u32, from: u32) -> Rotation {
    Rotation {
        session: SessionId::new(id(n)),
        from,
        successor: hash("refresh", n, from + 1),
        idle_expires_at: at(7200),
        device: (DeviceId::new(id(n)), seen(60)),
    }
}

async fn find(ports: &Ports, n: u32) -> Option<SignedIn> {
    ports.sessions.find(SessionId::new(id(n))).await.expect("the store works")
}

async fn refresh(ports: &Ports, n: u32, generation: u32) -> Option<RefreshToken> {
    ports.sessions.find_refresh(&hash("refresh", n, generation)).await.expect("the store works")
}
