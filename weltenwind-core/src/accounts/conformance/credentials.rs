use tokio::task::JoinSet;

use super::{Ports, account, at, guest, hash, id, open_guest, registration, session, step, step_with_key};
use crate::{
    accounts::{
        Account, AccountError, AccountKind, Email, NextSession, PasswordChange, PasswordRecord, RefreshToken, SignedIn,
        Upgrade, Username,
    },
    ids::{DeviceId, SessionId},
    page::Revision,
    step::Step,
};

/// Whoever knew the old password is out, on every device; the device where it was changed goes on.
pub async fn another_password_ends_every_session_but_opens_one(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    ports.sessions.open(&step(1), account(1), &session(2)).await.expect("the account exists");

    let signed_in = ports.accounts.change_password(&step(9), &change(1, 1, 7)).await.expect("it is the password");

    assert_eq!((signed_in.account.id, signed_in.session.id), (account(1), SessionId::new(id(7))));
    assert_eq!(signed_in.session.device, DeviceId::new(id(1)), "it is the same device");
    assert_eq!((signed_in.session.created_at, signed_in.session.ended_at), (at(9), None));
    assert_eq!(find(ports, 7).await, Some(signed_in));
    for ended in [1, 2] {
        assert_eq!(find(ports, ended).await.expect("the session").session.ended_at, Some(at(9)));
    }
    assert_eq!(ports.accounts.password(account(1)).await.expect("the store works"), Some(record("next")));
    let token = ports.sessions.find_refresh(&hash("refresh", 7, 0)).await.expect("the store works");
    assert_eq!(token, Some(RefreshToken { session: SessionId::new(id(7)), generation: 0, used_at: None }));
}

/// Two tabs, or a thief: the one that was slower checked a password that is no longer one.
pub async fn two_passwords_set_at_once_let_one_pass(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    ports.sessions.open(&step(1), account(1), &session(2)).await.expect("the account exists");
    let (one, two) = (change(1, 1, 7), change(1, 2, 8));

    let (first, second) = (step(9), step(9));
    let answers =
        tokio::join!(ports.accounts.change_password(&first, &one), ports.accounts.change_password(&second, &two));

    let passed = [&answers.0, &answers.1].into_iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(passed, 1, "{answers:?}");
    let late = ports.accounts.change_password(&step(10), &change(1, 1, 9)).await;
    assert!(matches!(late, Err(AccountError::InvalidCredentials)), "{late:?}");
    let holding = [find(ports, 7).await, find(ports, 8).await].into_iter().flatten();
    assert_eq!(holding.filter(|signed_in| signed_in.session.ended_at.is_none()).count(), 1);
}

/// Who was signed out while a password was hashed does not come back by it.
pub async fn a_session_that_has_ended_is_not_replaced(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    ports.sessions.end(&step(1), SessionId::new(id(1))).await.expect("the store works");
    open_guest(&*ports.accounts, 2).await;
    ports.sessions.end(&step(1), SessionId::new(id(2))).await.expect("the store works");

    let changed = ports.accounts.change_password(&step(9), &change(1, 1, 7)).await;
    let upgraded = ports.accounts.upgrade(&step(9), &upgrade(2, 8)).await;

    assert!(matches!(changed, Err(AccountError::SessionEnded)), "{changed:?}");
    assert!(matches!(upgraded, Err(AccountError::SessionEnded)), "{upgraded:?}");
    assert_eq!((find(ports, 7).await, find(ports, 8).await), (None, None));
    let password = ports.accounts.password(account(1)).await.expect("the store works");
    assert_eq!(password, Some(registration(1).password));
    assert_eq!(
        ports.accounts.find(account(2)).await.expect("the store works").map(|a| a.kind),
        Some(AccountKind::Guest)
    );
}

/// The answer got lost, and its caller asks again.
pub async fn a_repeated_effect_key_changes_a_password_once(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    let first = ports.accounts.change_password(&step_with_key(9, 1), &change(1, 1, 7)).await.expect("it is right");

    let again = ports.accounts.change_password(&step_with_key(10, 1), &change(1, 1, 8)).await.expect("it is answered");

    assert_eq!(again, first);
    assert_eq!(find(ports, 8).await, None);
}

/// The account is the same one: what it has written, and where it belongs, stays its own.
pub async fn a_guest_is_upgraded_in_place(ports: &Ports) {
    let SignedIn { account: guest, .. } = open_guest(&*ports.accounts, 1).await;

    let signed_in = ports.accounts.upgrade(&step(9), &upgrade(1, 7)).await.expect("it is a guest's");

    let expected = Account {
        kind: AccountKind::Registered,
        username: Some(upgrade(1, 7).username),
        email: upgrade(1, 7).email,
        revision: Revision::FIRST.next(),
        ..guest
    };
    assert_eq!(signed_in.account, expected);
    assert_eq!((signed_in.session.id, signed_in.session.device), (SessionId::new(id(7)), DeviceId::new(id(1))));
    assert_eq!(find(ports, 1).await.expect("the session").session.ended_at, Some(at(9)));
    let credentials = ports.accounts.credentials(&upgrade(1, 7).username).await.expect("the store works");
    let credentials = credentials.expect("the name is its own");
    assert_eq!((credentials.account, credentials.password), (account(1), record("next")));
}

/// Nobody's name or password is replaced by that.
pub async fn a_registered_account_is_not_upgraded(ports: &Ports) {
    let before = ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");

    let refused = ports.accounts.upgrade(&step(9), &upgrade(1, 7)).await;

    assert!(matches!(refused, Err(AccountError::AlreadyRegistered)), "{refused:?}");
    assert_eq!(find(ports, 1).await, Some(before));
    let unknown = ports.accounts.upgrade(&step(9), &upgrade(5, 8)).await;
    assert!(matches!(unknown, Err(AccountError::NotFound)), "{unknown:?}");
}

/// The guest tries another name, and is still who it was.
pub async fn a_taken_username_leaves_the_guest_as_it_was(ports: &Ports) {
    let other = Upgrade { username: registration(2).username, ..upgrade(1, 7) };
    ports.accounts.register(&step(0), &registration(2)).await.expect("the name is free");
    let before = open_guest(&*ports.accounts, 1).await;

    let refused = ports.accounts.upgrade(&step_with_key(9, 1), &other).await;

    assert!(matches!(refused, Err(AccountError::UsernameTaken(name)) if name == other.username));
    assert_eq!((find(ports, 1).await, find(ports, 7).await), (Some(before), None));
    ports.accounts.upgrade(&step_with_key(9, 1), &upgrade(1, 7)).await.expect("another name is free");
}

/// An impatient player presses the button fifty times.
pub async fn fifty_upgrades_at_once_let_one_pass(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let mut attempts = JoinSet::new();
    for n in 0..50 {
        let accounts = std::sync::Arc::clone(&ports.accounts);
        attempts.spawn(async move { accounts.upgrade(&step(9), &upgrade(1, 100 + n)).await });
    }

    let answers = attempts.join_all().await;

    let passed: Vec<_> = answers.iter().flatten().collect();
    assert_eq!(passed.len(), 1);
    let refused = answers.iter().filter(|answer| matches!(answer, Err(AccountError::AlreadyRegistered))).count();
    assert_eq!(refused, 49, "{answers:?}");
    let stored = ports.accounts.find(account(1)).await.expect("the store works").expect("the account");
    assert_eq!(stored, passed[0].account);
}

/// Two guests want to be called the same.
pub async fn two_upgrades_to_one_username_at_once_let_one_pass(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;
    let (one, two) = (upgrade(1, 7), Upgrade { username: upgrade(1, 7).username, ..upgrade(2, 8) });

    let (first, second): (Step, Step) = (step(9), step(9));
    let answers = tokio::join!(ports.accounts.upgrade(&first, &one), ports.accounts.upgrade(&second, &two));

    let answers = [answers.0, answers.1];
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(answers.iter().any(|answer| matches!(answer, Err(AccountError::UsernameTaken(_)))), "{answers:?}");
}

/// A guest has no password to be checked against.
pub async fn a_guest_has_no_password(ports: &Ports) {
    ports.accounts.open_guest(&step(0), &guest(1)).await.expect("the guest is new");

    assert_eq!(ports.accounts.password(account(1)).await.expect("the store works"), None);
    assert_eq!(ports.accounts.password(account(2)).await.expect("the store works"), None);
}

fn record(salt: &str) -> PasswordRecord {
    PasswordRecord::from_stored(format!("$argon2id$v=19$m=8,t=1,p=1${salt}$aGFzaA"))
}

/// Session `next` in place of session `replaced`, on the device of the same number.
pub(super) fn next(replaced: u32, next: u32) -> NextSession {
    NextSession {
        replaces: SessionId::new(id(replaced)),
        id: SessionId::new(id(next)),
        device: DeviceId::new(id(replaced)),
        refresh: hash("refresh", next, 0),
        idle_expires_at: at(3600),
        expires_at: at(86_400),
    }
}

/// Another password for registered account `n`, set on session `replaced`.
fn change(n: u32, replaced: u32, session: u32) -> PasswordChange {
    PasswordChange {
        account: account(n),
        checked: registration(n).password,
        password: record("next"),
        session: next(replaced, session),
    }
}

/// The upgrade of guest `n`, who acts on session `n`, to "was-guest" and its number.
fn upgrade(n: u32, session: u32) -> Upgrade {
    Upgrade {
        account: account(n),
        username: Username::new(&format!("was-guest{n}")).expect("a username"),
        email: Some(Email::new("mira@example.org").expect("an address")),
        password: record("next"),
        session: next(n, session),
    }
}

async fn find(ports: &Ports, n: u32) -> Option<SignedIn> {
    ports.sessions.find(SessionId::new(id(n))).await.expect("the store works")
}
