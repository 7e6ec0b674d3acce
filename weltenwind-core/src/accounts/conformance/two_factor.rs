use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Ports, account, at, credentials::next, hash, id, open_guest, registration, session, step, step_with_key};
use crate::{
    accounts::{AccountError, Confirmation, NextSession, Proof, Removal, SealedSecret, SecondFactor, SignedIn},
    ids::{DeviceId, SessionId},
};

/// Somebody who reads the picture again, or with another authenticator, is not left with the first one.
pub async fn a_second_factor_is_begun_anew_until_it_is_confirmed(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    assert_eq!(find(ports, 1).await, None);

    ports.factors.begin(&step(1), account(1), &secret(1)).await.expect("there is none");
    ports.factors.begin(&step(2), account(1), &secret(2)).await.expect("it is not confirmed");

    assert_eq!(find(ports, 1).await, Some(SecondFactor { secret: secret(2), confirmed_at: None }));
    let old = ports.factors.confirm(&step(3), &confirmation(1, 1, 7)).await;
    assert!(matches!(old, Err(AccountError::TwoFactorNotEnabled)), "{old:?}");
    ports.factors.confirm(&step(3), &confirmation(1, 2, 7)).await.expect("it was begun");
    let again = ports.factors.begin(&step(4), account(1), &secret(3)).await;
    assert!(matches!(again, Err(AccountError::TwoFactorEnabled)), "{again:?}");
    assert_eq!(find(ports, 1).await, Some(SecondFactor { secret: secret(2), confirmed_at: Some(at(3)) }));
}

/// A guest has no sign-in, and nobody has none either.
pub async fn a_guest_begins_no_second_factor(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let guest = ports.factors.begin(&step(1), account(1), &secret(1)).await;
    let nobody = ports.factors.begin(&step(1), account(2), &secret(1)).await;

    assert!(matches!(guest, Err(AccountError::RegistrationRequired)), "{guest:?}");
    assert!(matches!(nobody, Err(AccountError::NotFound)), "{nobody:?}");
    assert_eq!(find(ports, 1).await, None);
}

/// Whoever signed in without a code before is out.
pub async fn a_confirmed_second_factor_ends_every_session_but_opens_one(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    ports.sessions.open(&step(1), account(1), &session(2)).await.expect("the account exists");
    ports.factors.begin(&step(2), account(1), &secret(1)).await.expect("there is none");

    let signed_in = ports.factors.confirm(&step(9), &confirmation(1, 1, 7)).await.expect("it was begun");

    assert_eq!((signed_in.account.id, signed_in.session.id), (account(1), SessionId::new(id(7))));
    assert_eq!(found_session(ports, 7).await, Some(signed_in));
    for ended in [1, 2] {
        assert_eq!(found_session(ports, ended).await.expect("the session").session.ended_at, Some(at(9)));
    }
}

/// What was not begun, or on a session that is over, is not confirmed.
pub async fn a_refused_confirmation_leaves_the_second_factor_begun(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");

    let early = ports.factors.confirm(&step(1), &confirmation(1, 1, 7)).await;
    assert!(matches!(early, Err(AccountError::TwoFactorNotEnabled)), "{early:?}");
    ports.factors.begin(&step(2), account(1), &secret(1)).await.expect("there is none");
    ports.sessions.end(&step(3), SessionId::new(id(1))).await.expect("the store works");
    let late = ports.factors.confirm(&step(4), &confirmation(1, 1, 7)).await;

    assert!(matches!(late, Err(AccountError::SessionEnded)), "{late:?}");
    assert_eq!(find(ports, 1).await, Some(SecondFactor { secret: secret(1), confirmed_at: None }));
    let recovery = open(ports, 8, &Proof::Recovery(hash("recovery", 1, 0))).await;
    assert!(matches!(recovery, Err(AccountError::TwoFactorCodeInvalid)), "{recovery:?}");
}

/// Two tabs show one code: the account has one set of recovery codes.
pub async fn two_confirmations_at_once_let_one_pass(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    ports.factors.begin(&step(1), account(1), &secret(1)).await.expect("there is none");
    let (one, two) = (confirmation(1, 1, 7), confirmation(1, 1, 8));

    let (first, second) = (step(9), step(9));
    let answers = tokio::join!(ports.factors.confirm(&first, &one), ports.factors.confirm(&second, &two));

    let answers = [answers.0, answers.1];
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(answers.iter().any(|answer| matches!(answer, Err(AccountError::TwoFactorEnabled))), "{answers:?}");
}

/// Who looks over a shoulder, or reads the line, gets nothing by it.
pub async fn a_code_opens_one_session_and_none_before_it_opens_another(ports: &Ports) {
    enabled(ports).await;

    let signed_in = open(ports, 8, &code(1, 101)).await.expect("the step is later than the first");

    assert_eq!(found_session(ports, 8).await, Some(signed_in));
    for used in [99, 100, 101] {
        let refused = open(ports, 9, &code(1, used)).await;
        assert!(matches!(refused, Err(AccountError::TwoFactorCodeInvalid)), "{used}: {refused:?}");
    }
    assert_eq!(found_session(ports, 9).await, None);
    open(ports, 9, &code(1, 102)).await.expect("the next step");
}

/// The code was checked against a secret that has been given up meanwhile.
pub async fn a_code_of_another_secret_opens_nothing(ports: &Ports) {
    enabled(ports).await;

    let other = open(ports, 8, &code(2, 101)).await;
    let unknown = ports.factors.open(&step(9), account(5), &session(9), &code(1, 101)).await;

    assert!(matches!(other, Err(AccountError::TwoFactorCodeInvalid)), "{other:?}");
    assert!(matches!(unknown, Err(AccountError::NotFound)), "{unknown:?}");
}

/// Many sign-ins at once with one code: one passes.
pub async fn one_code_at_once_opens_one_session(ports: &Ports) {
    enabled(ports).await;

    let answers = at_once(ports, &code(1, 101)).await;

    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let refused = answers.iter().filter(|answer| matches!(answer, Err(AccountError::TwoFactorCodeInvalid))).count();
    assert_eq!(refused, answers.len() - 1, "{answers:?}");
}

/// Each code on the paper stands in for the authenticator once.
pub async fn a_recovery_code_is_used_once(ports: &Ports) {
    enabled(ports).await;
    let codes: Vec<Proof> = (0..3).map(|n| Proof::Recovery(hash("recovery", 1, n))).collect();

    open(ports, 8, &codes[0]).await.expect("it was never used");
    let again = open(ports, 9, &codes[0]).await;
    let answers = at_once(ports, &codes[1]).await;

    assert!(matches!(again, Err(AccountError::TwoFactorCodeInvalid)), "{again:?}");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    open(ports, 9, &codes[2]).await.expect("the others are there");
    let unknown = open(ports, 10, &Proof::Recovery(hash("recovery", 2, 0))).await;
    assert!(matches!(unknown, Err(AccountError::TwoFactorCodeInvalid)), "{unknown:?}");
}

/// Neither the old codes nor the old paper are good for the next one.
pub async fn a_second_factor_that_was_given_up_leaves_nothing(ports: &Ports) {
    enabled(ports).await;
    let removal = |proof| Removal { account: account(1), proof, session: following(7, 8) };

    let wrong = ports.factors.disable(&step(9), &removal(code(1, 100))).await;
    assert!(matches!(wrong, Err(AccountError::TwoFactorCodeInvalid)), "{wrong:?}");
    assert!(find(ports, 1).await.is_some_and(|factor| factor.is_enabled()));
    let signed_in = ports.factors.disable(&step(9), &removal(code(1, 101))).await.expect("the code is fresh");

    assert_eq!(signed_in.session.id, SessionId::new(id(8)));
    assert_eq!(found_session(ports, 7).await.expect("the session").session.ended_at, Some(at(9)));
    assert_eq!(find(ports, 1).await, None);
    ports.factors.begin(&step(10), account(1), &secret(2)).await.expect("there is none");
    let mut confirmation = Confirmation { session: following(8, 9), ..confirmation(1, 2, 9) };
    confirmation.recovery = vec![hash("recovery", 2, 0)];
    ports.factors.confirm(&step(11), &confirmation).await.expect("it was begun");
    for old in [Proof::Recovery(hash("recovery", 1, 1)), code(1, 200)] {
        let refused = open(ports, 10, &old).await;
        assert!(matches!(refused, Err(AccountError::TwoFactorCodeInvalid)), "{refused:?}");
    }
}

/// A recovery code may give the second factor up, on a session that holds.
pub async fn a_second_factor_is_given_up_on_a_session_that_holds(ports: &Ports) {
    enabled(ports).await;
    let proof = Proof::Recovery(hash("recovery", 1, 0));
    ports.sessions.end(&step(8), SessionId::new(id(7))).await.expect("the store works");
    open(ports, 8, &code(1, 101)).await.expect("the step is fresh");

    let ended = Removal { account: account(1), proof: proof.clone(), session: following(7, 9) };
    let refused = ports.factors.disable(&step(10), &ended).await;
    assert!(matches!(refused, Err(AccountError::SessionEnded)), "{refused:?}");
    let holding = Removal { session: following(8, 9), ..ended };
    ports.factors.disable(&step(10), &holding).await.expect("a refusal has spent nothing");

    assert_eq!(find(ports, 1).await, None);
}

/// The operator helps whoever has lost both, and whoever may have found them is out.
pub async fn a_second_factor_is_removed_with_every_session(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    let none = ports.factors.remove(&step(1), account(1)).await;
    ports.factors.begin(&step(1), account(1), &secret(1)).await.expect("there is none");
    let begun = ports.factors.remove(&step(2), account(1)).await;
    ports.factors.confirm(&step(3), &confirmation(1, 1, 7)).await.expect("it was begun");
    open(ports, 8, &code(1, 101)).await.expect("the step is fresh");

    let ended = ports.factors.remove(&step_with_key(9, 1), account(1)).await.expect("it is enabled");

    assert!(matches!(none, Err(AccountError::TwoFactorNotEnabled)), "{none:?}");
    assert!(matches!(begun, Err(AccountError::TwoFactorNotEnabled)), "{begun:?}");
    assert_eq!((ended, find(ports, 1).await), (2, None));
    for session in [7, 8] {
        assert_eq!(found_session(ports, session).await.expect("the session").session.ended_at, Some(at(9)));
    }
    ports.factors.remove(&step_with_key(9, 1), account(1)).await.expect("a repeat has no second effect");
}

/// A session is opened without a code while the second factor is confirmed: it is ended by that, or comes behind it.
pub async fn what_opens_while_a_second_factor_is_confirmed_is_seen_or_comes_later(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    ports.factors.begin(&step(1), account(1), &secret(1)).await.expect("there is none");
    let mut openings = JoinSet::new();
    for n in 20..40 {
        let (sessions, factors) = (Arc::clone(&ports.sessions), Arc::clone(&ports.factors));
        openings.spawn(async move {
            let signed_in = sessions.open(&step(9), account(1), &session(n)).await.expect("the account exists");
            let factor = factors.find(account(1)).await.expect("the store works");
            (signed_in.session.id, factor.is_some_and(|factor| factor.is_enabled()))
        });
    }

    ports.factors.confirm(&step(9), &confirmation(1, 1, 7)).await.expect("it was begun");

    for (session, was_enabled) in openings.join_all().await {
        let found = ports.sessions.find(session).await.expect("the store works").expect("the session");
        assert!(was_enabled || found.session.ended_at.is_some(), "{session} was opened without a code");
    }
}

fn secret(n: u8) -> SealedSecret {
    SealedSecret { root: "root".to_owned(), bytes: vec![n; 48] }
}

/// The code of step 100, on session `n` of the registration, with three recovery codes.
fn confirmation(n: u32, with: u8, session: u32) -> Confirmation {
    Confirmation {
        account: account(n),
        secret: secret(with),
        step: 100,
        recovery: (0..3).map(|code| hash("recovery", n, code)).collect(),
        session: following(n, session),
    }
}

/// Session `session` in place of session `replaced`, on the device of the registration.
fn following(replaced: u32, session: u32) -> NextSession {
    NextSession { device: DeviceId::new(id(1)), ..next(replaced, session) }
}

fn code(with: u8, step: i64) -> Proof {
    Proof::Code { secret: secret(with), step }
}

/// Account 1 with a second factor, whose first code was that of step 100, and session 7.
async fn enabled(ports: &Ports) {
    ports.accounts.register(&step(0), &registration(1)).await.expect("the name is free");
    ports.factors.begin(&step(1), account(1), &secret(1)).await.expect("there is none");
    ports.factors.confirm(&step(2), &confirmation(1, 1, 7)).await.expect("it was begun");
}

async fn open(ports: &Ports, n: u32, proof: &Proof) -> Result<SignedIn, AccountError> {
    ports.factors.open(&step(9), account(1), &session(n), proof).await
}

/// Opens ten sessions with one proof.
async fn at_once(ports: &Ports, proof: &Proof) -> Vec<Result<SignedIn, AccountError>> {
    let mut attempts = JoinSet::new();
    for n in 100..110 {
        let (factors, proof) = (Arc::clone(&ports.factors), proof.clone());
        attempts.spawn(async move { factors.open(&step(9), account(1), &session(n), &proof).await });
    }
    attempts.join_all().await
}

async fn find(ports: &Ports, n: u32) -> Option<SecondFactor> {
    ports.factors.find(account(n)).await.expect("the store works")
}

async fn found_session(ports: &Ports, n: u32) -> Option<SignedIn> {
    ports.sessions.find(SessionId::new(id(n))).await.expect("the store works")
}
