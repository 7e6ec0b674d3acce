use super::{
    Ports, account, at, bootstrap, bootstrap_token, guest, issue, name, open_guest, registration, step, step_with_key,
};
use crate::{
    access::{Grant, Role},
    accounts::{
        Account, AccountError, AccountKind, AccountQuery, Bootstrap, Credentials, NewDevice, NewGuest, NewSession,
        Registration, Session, TokenHash, Username,
    },
    clock::Timestamp,
    page::{Limit, Revision},
    scope::Scope,
    step::Step,
};

/// A player is in the game with one request.
pub async fn a_new_guest_is_signed_in(ports: &Ports) {
    let device = NewDevice {
        name: Some("phone".to_owned()),
        fingerprint: Some(TokenHash::of("fingerprint")),
        ..guest(1).session.device
    };
    let new = NewGuest { session: NewSession { device, ..guest(1).session }, ..guest(1) };

    let signed_in = ports.accounts.open_guest(&step(7), &new).await.expect("the guest is new");

    let expected = Account {
        id: new.id,
        kind: AccountKind::Guest,
        username: None,
        display_name: new.display_name,
        email: None,
        revision: Revision::FIRST,
        created_at: at(7),
    };
    assert_eq!(signed_in.account, expected);
    let expected = Session {
        id: new.session.id,
        account: new.id,
        device: new.session.device.id,
        generation: 0,
        created_at: at(7),
        idle_expires_at: new.session.idle_expires_at,
        expires_at: new.session.expires_at,
        ended_at: None,
    };
    assert_eq!(signed_in.session, expected);
    assert_eq!(find(ports, 1).await, Some(signed_in.account));
}

/// An answer and a later reading must not differ, whatever the database keeps.
pub async fn what_is_finer_than_a_microsecond_is_cut_off(ports: &Ports) {
    let instant = Timestamp::from_nanosecond(at(0).as_nanosecond() + 123_456_789).expect("an instant");

    let signed_in = ports.accounts.open_guest(&Step::sample(instant), &guest(1)).await.expect("the guest is new");

    let cut = Timestamp::from_microsecond(instant.as_microsecond()).expect("an instant");
    assert_eq!(signed_in.account.created_at, cut);
    assert_eq!(find(ports, 1).await, Some(signed_in.account));
}

/// An id in a token may be of an account that was erased.
pub async fn an_unknown_account_is_told(ports: &Ports) {
    assert_eq!(find(ports, 1).await, None);
}

/// The way in for who wants to come back.
pub async fn a_registered_account_is_signed_in_and_has_credentials(ports: &Ports) {
    let new = registration(1);

    let signed_in = ports.accounts.register(&step(7), &new).await.expect("the username is free");

    let expected = Account {
        id: new.id,
        kind: AccountKind::Registered,
        username: Some(new.username.clone()),
        display_name: new.display_name,
        email: new.email,
        revision: Revision::FIRST,
        created_at: at(7),
    };
    assert_eq!(signed_in.account, expected);
    assert_eq!(signed_in.session.id, new.session.id);
    assert_eq!(find(ports, 1).await, Some(expected));
    let credentials = ports.accounts.credentials(&new.username).await.expect("an answer");
    assert_eq!(credentials, Some(Credentials { account: new.id, password: new.password }));
}

/// Two people behind one username would be one to everybody else.
pub async fn a_taken_username_is_not_registered_again(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the username is free");
    let second = Registration { username: registration(1).username, ..registration(2) };

    let refused = ports.accounts.register(&step(1), &second).await;

    assert!(matches!(refused, Err(AccountError::UsernameTaken(username)) if username == second.username));
    assert_eq!(find(ports, 2).await, None);
}

/// The same, when both ask in the same moment.
pub async fn two_registrations_under_one_username_at_once_make_one_account(ports: &Ports) {
    let second = Registration { username: registration(1).username, ..registration(2) };

    let (first, other) = (step(0), step(0));
    let (one, two) = (registration(1), second);
    let (one, two) = tokio::join!(ports.accounts.register(&first, &one), ports.accounts.register(&other, &two));

    assert_eq!(u32::from(one.is_ok()) + u32::from(two.is_ok()), 1);
}

/// A lost answer must not take the username from who asked.
pub async fn a_repeated_effect_key_registers_once(ports: &Ports) {
    let first = ports.accounts.register(&step_with_key(0, 7), &registration(1)).await.expect("the username is free");

    let again = Registration { username: registration(1).username, ..registration(2) };
    let again = ports.accounts.register(&step_with_key(1, 7), &again).await.expect("the same again");

    assert_eq!(again, first);
    assert_eq!(find(ports, 2).await, None);
}

/// Nobody signs in under a name that nobody has; guests and their display names do not count.
pub async fn an_unknown_username_has_no_credentials(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let nobody = ports.accounts.credentials(&Username::new("player").expect("a username")).await;

    assert_eq!(nobody.expect("an answer"), None);
}

/// An operator sees each account once.
pub async fn accounts_are_listed_page_by_page(ports: &Ports) {
    for n in 1..=5 {
        open_guest(&*ports.accounts, n).await;
    }
    let mut query = AccountQuery { limit: Limit::new(2).expect("a limit"), ..AccountQuery::default() };

    let mut listed = Vec::new();
    loop {
        let page = ports.accounts.page(&query).await.expect("a page");
        listed.extend(page.items.iter().map(|account| account.id));
        query.after = page.next(|account| account.id);
        if query.after.is_none() {
            break;
        }
    }

    assert_eq!(listed, (1..=5).map(account).collect::<Vec<_>>());
}

/// Signs of a pattern are signs like any other.
pub async fn accounts_are_searched_by_username(ports: &Ports) {
    for (n, username) in [(1, "mira_1"), (2, "mira21"), (3, "oskar")] {
        let username = Username::new(username).expect("a username");
        let registration = Registration { username, ..registration(n) };
        ports.accounts.register(&step(0), &registration).await.expect("the username is free");
    }

    for (text, expected) in [("MIRA", vec![1, 2]), ("a_1", vec![1]), ("%", vec![]), ("oskar", vec![3])] {
        let query = AccountQuery { text: Some(text.to_owned()), ..AccountQuery::default() };
        let page = ports.accounts.page(&query).await.expect("a page");
        let found: Vec<_> = page.items.iter().map(|account| account.id).collect();
        assert_eq!(found, expected.into_iter().map(account).collect::<Vec<_>>(), "{text}");
    }
}

/// Names are not identities; and no guest has a username that another could take.
pub async fn guests_may_bear_the_same_name(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;

    assert!(find(ports, 1).await.is_some() && find(ports, 2).await.is_some());
}

/// The way to the first owner.
pub async fn a_bootstrap_token_makes_an_owner_who_is_signed_in(ports: &Ports) {
    issue(ports, 1).await;

    let signed_in = ports.accounts.bootstrap(&step(60), &bootstrap(1)).await.expect("the token holds");

    let expected = Account {
        id: account(1),
        kind: AccountKind::Registered,
        username: Some(bootstrap(1).username),
        display_name: bootstrap(1).display_name,
        email: None,
        revision: Revision::FIRST,
        created_at: at(60),
    };
    assert_eq!(signed_in.account, expected);
    assert_eq!((signed_in.session.id, signed_in.session.generation), (bootstrap(1).session.id, 0));
    assert_eq!(find(ports, 1).await, Some(signed_in.account));
    let grant = &owner_grants(ports, 1).await[0];
    assert_eq!((grant.id, grant.role, grant.scope), (bootstrap(1).grant, Role::Owner, Scope::Global));
    assert_eq!((grant.expires_at, grant.created_at), (None, at(60)));
}

/// A guess is told from a latecomer.
pub async fn an_unknown_bootstrap_token_is_invalid(ports: &Ports) {
    issue(ports, 2).await;

    let refusal = ports.accounts.bootstrap(&step(60), &bootstrap(1)).await;

    assert!(matches!(refusal, Err(AccountError::BootstrapTokenInvalid)), "{refusal:?}");
    assert_eq!(find(ports, 1).await, None);
}

/// Whoever finds the token in a log finds nothing.
pub async fn a_bootstrap_token_is_spent_once(ports: &Ports) {
    issue(ports, 1).await;
    ports.accounts.bootstrap(&step(60), &bootstrap(1)).await.expect("the token holds");

    let again = Bootstrap { token: bootstrap_token(1).hash, ..bootstrap(2) };
    let refusal = ports.accounts.bootstrap(&step(61), &again).await;

    assert!(matches!(refusal, Err(AccountError::BootstrapTokenSpent)), "{refusal:?}");
    assert_eq!(find(ports, 2).await, None);
    assert!(owner_grants(ports, 2).await.is_empty());
}

/// The end is the first instant at which the token no longer holds.
pub async fn a_bootstrap_token_is_spent_when_its_end_is_reached(ports: &Ports) {
    issue(ports, 1).await;

    let refusal = ports.accounts.bootstrap(&step(900), &bootstrap(1)).await;
    assert!(matches!(refusal, Err(AccountError::BootstrapTokenSpent)), "{refusal:?}");

    ports.accounts.bootstrap(&step(899), &bootstrap(1)).await.expect("the token holds until its end");
}

/// A slip in the form must not cost the way in.
pub async fn a_taken_username_leaves_the_bootstrap_token_unspent(ports: &Ports) {
    issue(ports, 1).await;
    issue(ports, 2).await;
    ports.accounts.bootstrap(&step(60), &bootstrap(1)).await.expect("the token holds");

    let taken = Bootstrap { username: bootstrap(1).username, ..bootstrap(2) };
    let refusal = ports.accounts.bootstrap(&step(61), &taken).await;
    assert!(matches!(&refusal, Err(AccountError::UsernameTaken(name)) if *name == taken.username), "{refusal:?}");
    assert_eq!(find(ports, 2).await, None);
    assert!(owner_grants(ports, 2).await.is_empty());

    ports.accounts.bootstrap(&step(62), &bootstrap(2)).await.expect("the token still holds");
}

/// Whoever holds the store gets back in.
pub async fn every_bootstrap_token_makes_one_more_owner(ports: &Ports) {
    for n in 1..=2 {
        issue(ports, n).await;
        ports.accounts.bootstrap(&step(60), &bootstrap(n)).await.expect("the token holds");
    }

    assert_eq!(owner_grants(ports, 1).await.len(), 1);
    assert_eq!(owner_grants(ports, 2).await.len(), 1);
}

/// A repeat after a lost answer is safe, and is no way to a second owner.
pub async fn a_bootstrap_token_that_is_issued_again_stays_spent(ports: &Ports) {
    issue(ports, 1).await;
    issue(ports, 1).await;
    ports.accounts.bootstrap(&step(60), &bootstrap(1)).await.expect("the token holds");

    issue(ports, 1).await;
    let again = Bootstrap { token: bootstrap_token(1).hash, ..bootstrap(2) };
    let refusal = ports.accounts.bootstrap(&step(61), &again).await;

    assert!(matches!(refusal, Err(AccountError::BootstrapTokenSpent)), "{refusal:?}");
}

/// Two windows, one token.
pub async fn two_bootstraps_with_one_token_at_once_make_one_owner(ports: &Ports) {
    issue(ports, 1).await;
    let (one, other) = (bootstrap(1), Bootstrap { token: bootstrap_token(1).hash, ..bootstrap(2) });

    let (first, second) = (step(60), step(60));
    let answers = tokio::join!(ports.accounts.bootstrap(&first, &one), ports.accounts.bootstrap(&second, &other));

    let (Ok(winner), Err(loser)) = in_order(answers) else { panic!("one passes and one is refused") };
    assert!(matches!(loser, AccountError::BootstrapTokenSpent), "{loser:?}");
    let made: Vec<_> = [find(ports, 1).await, find(ports, 2).await].into_iter().flatten().collect();
    assert_eq!(made, [winner.account]);
}

/// Two tokens, one name; the loser's token can be used again.
pub async fn two_bootstraps_to_one_username_at_once_make_one_owner(ports: &Ports) {
    issue(ports, 1).await;
    issue(ports, 2).await;
    let (one, other) = (bootstrap(1), Bootstrap { username: bootstrap(1).username, ..bootstrap(2) });

    let (first, second) = (step(60), step(60));
    let answers = tokio::join!(ports.accounts.bootstrap(&first, &one), ports.accounts.bootstrap(&second, &other));

    let (Ok(winner), Err(loser)) = in_order(answers) else { panic!("one passes and one is refused") };
    assert!(matches!(loser, AccountError::UsernameTaken(_)), "{loser:?}");
    let lost = if winner.account.id == account(1) { 2 } else { 1 };
    let again = Bootstrap { username: bootstrap(9).username, ..bootstrap(lost) };
    ports.accounts.bootstrap(&step(61), &again).await.expect("the loser's token still holds");
}

/// Clients cache an account under its revision.
pub async fn a_new_name_counts_the_revision_up(ports: &Ports) {
    let before = open_guest(&*ports.accounts, 1).await.account;
    open_guest(&*ports.accounts, 2).await;

    let after = ports.accounts.rename(&step(9), before.id, &name("Tarn")).await.expect("the account exists");

    assert_eq!(after, Account { display_name: name("Tarn"), revision: before.revision.next(), ..before });
    assert_eq!(find(ports, 1).await, Some(after));
    assert_eq!(find(ports, 2).await.expect("the neighbour").display_name, name("Player"));
}

/// An id in a token may be of an account that was erased.
pub async fn an_unknown_account_is_not_renamed(ports: &Ports) {
    let refusal = ports.accounts.rename(&step(9), account(1), &name("Tarn")).await;

    assert!(matches!(refusal, Err(AccountError::NotFound)), "{refusal:?}");
}

/// No revision is given to two states.
pub async fn two_renamings_at_once_both_count(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let (one, other, tarn, lys) = (step(9), step(9), name("Tarn"), name("Lys"));
    let answers =
        tokio::join!(ports.accounts.rename(&one, account(1), &tarn), ports.accounts.rename(&other, account(1), &lys));

    let mut states = [answers.0.expect("the account exists"), answers.1.expect("the account exists")];
    states.sort_by_key(|account| account.revision);
    assert_eq!(states.clone().map(|account| account.revision.get()), [2, 3]);
    assert_eq!(find(ports, 1).await.as_ref(), Some(&states[1]));
}

/// A player who retries after a lost reply is one guest.
pub async fn a_repeated_effect_key_opens_one_guest(ports: &Ports) {
    let first = ports.accounts.open_guest(&step_with_key(0, 1), &guest(1)).await.expect("the guest is new");

    let again = ports.accounts.open_guest(&step_with_key(5, 1), &guest(2)).await.expect("the repeat is answered");

    assert_eq!(again, first);
    assert_eq!(find(ports, 2).await, None);
}

/// An owner who retries after a lost reply is signed in.
pub async fn a_repeated_effect_key_spends_one_bootstrap_token(ports: &Ports) {
    issue(ports, 1).await;
    let first = ports.accounts.bootstrap(&step_with_key(60, 1), &bootstrap(1)).await.expect("the token holds");

    let again = Bootstrap { token: bootstrap_token(1).hash, ..bootstrap(2) };
    let again = ports.accounts.bootstrap(&step_with_key(61, 1), &again).await.expect("the repeat is answered");

    assert_eq!(again, first);
    assert_eq!(find(ports, 2).await, None);
}

/// A repeat shows the account as it is, and counts nothing.
pub async fn a_repeated_effect_key_renames_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let first = ports.accounts.rename(&step_with_key(9, 1), account(1), &name("Tarn")).await.expect("an account");

    let again = ports.accounts.rename(&step_with_key(10, 1), account(1), &name("Lys")).await.expect("an account");

    assert_eq!(again, first);
    assert_eq!(find(ports, 1).await, Some(first));
}

/// A repeat issues nothing, so the token that its caller drew meanwhile does not hold.
pub async fn a_repeated_effect_key_issues_one_bootstrap_token(ports: &Ports) {
    ports.accounts.issue_bootstrap(&step_with_key(0, 1), &bootstrap_token(1)).await.expect("the token is new");

    ports.accounts.issue_bootstrap(&step_with_key(5, 1), &bootstrap_token(2)).await.expect("the repeat is answered");

    ports.accounts.bootstrap(&step(60), &bootstrap(1)).await.expect("the first token holds");
    let refusal = ports.accounts.bootstrap(&step(61), &bootstrap(2)).await;
    assert!(matches!(refusal, Err(AccountError::BootstrapTokenInvalid)), "{refusal:?}");
}

/// A refusal has changed nothing, so the corrected request may bear the same key.
pub async fn a_refused_bootstrap_leaves_its_effect_key_free(ports: &Ports) {
    let refusal = ports.accounts.bootstrap(&step_with_key(60, 1), &bootstrap(1)).await;
    assert!(matches!(refusal, Err(AccountError::BootstrapTokenInvalid)), "{refusal:?}");
    issue(ports, 1).await;

    let signed_in = ports.accounts.bootstrap(&step_with_key(61, 1), &bootstrap(1)).await.expect("the token holds");

    assert_eq!(find(ports, 1).await, Some(signed_in.account));
}

/// A client that retries before the first answer, on another node.
pub async fn one_effect_key_at_once_opens_one_guest(ports: &Ports) {
    let (one, two, three) = (step_with_key(0, 1), step_with_key(0, 1), step_with_key(0, 1));
    let (first, second, third) = (guest(1), guest(2), guest(3));

    let answers = tokio::join!(
        ports.accounts.open_guest(&one, &first),
        ports.accounts.open_guest(&two, &second),
        ports.accounts.open_guest(&three, &third)
    );

    let winner = answers.0.expect("the step is answered");
    assert_eq!(answers.1.expect("the step is answered"), winner);
    assert_eq!(answers.2.expect("the step is answered"), winner);
    let made = [find(ports, 1).await, find(ports, 2).await, find(ports, 3).await].into_iter().flatten();
    assert_eq!(made.collect::<Vec<_>>(), [winner.account]);
}

async fn find(ports: &Ports, n: u32) -> Option<Account> {
    ports.accounts.find(account(n)).await.expect("the store works")
}

async fn owner_grants(ports: &Ports, n: u32) -> Vec<Grant> {
    ports.grants.of(account(n), at(1000)).await.expect("the store works")
}

/// Puts the answer that is no error first.
fn in_order<T, E>(answers: (Result<T, E>, Result<T, E>)) -> (Result<T, E>, Result<T, E>) {
    if answers.0.is_ok() { answers } else { (answers.1, answers.0) }
}
