//! Sign-ins by what the embedding program says, and what is asked before anybody is let in.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use weltenwind_core::{
    Actor, CorrelationId, Secret, ServiceConfig, Services, Sources,
    accounts::{
        AccountError, AccountKind, DeviceDraft, DisplayName, ExternalIdentity, HashingConfig, IdentityProvider, Issuer,
        Password, RegistrationDraft, SignIn, SignInAttempt, SignInGuard, SignInWay, Subject, Username,
    },
    limits::{LimitsConfig, Quota, Unit},
};

/// The game's own accounts: a ticket is good if it says so.
#[derive(Debug)]
struct Tickets;

#[async_trait]
impl IdentityProvider for Tickets {
    async fn identify(&self, assertion: &Secret<String>) -> Result<ExternalIdentity, AccountError> {
        let player = assertion.expose().strip_prefix("ticket of ").ok_or(AccountError::InvalidCredentials)?;
        Ok(ExternalIdentity {
            issuer: Issuer::new("https://game.example")?,
            subject: Subject::new(player)?,
            display_name: Some(DisplayName::new(&format!("Player {player}"))?),
        })
    }
}

/// Notes what it is asked, and lets pass whom it is told to.
#[derive(Debug, Default)]
struct Doorkeeper {
    seen: Mutex<Vec<(SignInWay, bool, bool)>>,
    is_closed: bool,
}

#[async_trait]
impl SignInGuard for Doorkeeper {
    async fn ask(&self, attempt: &SignInAttempt<'_>) -> Result<(), AccountError> {
        self.seen.lock().unwrap().push((attempt.way, attempt.account.is_some(), attempt.device.is_some()));
        if self.is_closed { Err(AccountError::Overloaded) } else { Ok(()) }
    }
}

fn device() -> DeviceDraft {
    DeviceDraft::new(None, Some("a fingerprint")).unwrap()
}

fn by_password(username: &str) -> SignIn {
    let (username, password) = (username.to_owned(), Secret::new("a lantern on the pier".to_owned()));
    SignIn { username, password, code: None, device: device() }
}

fn visitor() -> Actor {
    let anonymous = Actor::anonymous(CorrelationId::accept("request-42").unwrap());
    Actor { address: Some("192.0.2.1".parse().unwrap()), ..anonymous }
}

fn config() -> ServiceConfig {
    let mut config = ServiceConfig::default();
    config.accounts.hashing = HashingConfig { memory_kib: 8, passes: 1, ..HashingConfig::default() };
    config
}

fn ticket(player: &str) -> Secret<String> {
    Secret::new(format!("ticket of {player}"))
}

#[tokio::test]
async fn whoever_a_provider_knows_is_the_same_account_each_time_and_after_a_restart() {
    let fixture = fixture::sqlite().await;
    let start = async || Services::start(fixture.stores.clone(), config(), Sources::default()).await.unwrap().accounts;
    let enter = async |accounts: &weltenwind_core::accounts::Accounts, player: &str| {
        accounts.sign_in_with(&visitor(), &Tickets, &ticket(player), DeviceDraft::default()).await.unwrap()
    };
    let accounts = start().await;

    let first = enter(&accounts, "4711").await;
    let other = enter(&accounts, "4712").await;
    let again = enter(&start().await, "4711").await;

    assert_eq!((first.account.kind, first.account.display_name.as_str()), (AccountKind::Registered, "Player 4711"));
    assert_eq!(again.account, first.account);
    assert_ne!(other.account.id, first.account.id);
    let request = CorrelationId::accept("request-43").unwrap();
    let actor = accounts.authenticate(again.access_token.expose(), request).await.unwrap();
    assert_eq!(actor.account_id(), Some(first.account.id));
    let next = accounts.refresh(&visitor(), first.refresh_token.expose()).await.unwrap();
    assert_eq!(next.session, first.session);
}

#[tokio::test]
async fn whoever_a_provider_does_not_know_is_nobody_and_does_not_try_for_ever() {
    let fixture = fixture::sqlite().await;
    let limits = LimitsConfig { failed_sign_in: Quota::per(2, Unit::Day), ..LimitsConfig::default() };
    let config = ServiceConfig { limits, ..config() };
    let accounts = Services::start(fixture.stores.clone(), config, Sources::default()).await.unwrap().accounts;
    let try_with = async |assertion: &Secret<String>| {
        accounts.sign_in_with(&visitor(), &Tickets, assertion, DeviceDraft::default()).await.map(|grant| grant.session)
    };

    for _ in 0..2 {
        let made_up = try_with(&Secret::new("made up".to_owned())).await;
        assert!(matches!(made_up, Err(AccountError::InvalidCredentials)));
    }
    assert!(matches!(try_with(&Secret::new("ticket of ".to_owned())).await, Err(AccountError::RateLimited(_))));
    assert_eq!(fixture.count("SELECT count(*) FROM accounts").await, 0);
}

#[test]
fn an_identity_is_taken_as_it_stands() {
    for text in ["7", "https://game.example/", "A|b:c"] {
        assert_eq!(Subject::new(text).unwrap().as_str(), text);
    }
    for text in ["", " 7", "7 ", "7\n", "se\u{301}ance", "\u{0}", &"7".repeat(256)] {
        assert!(Subject::new(text).is_err() && Issuer::new(text).is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn every_sign_in_asks_the_guard_before_anything_is_done() {
    let fixture = fixture::sqlite().await;
    let services = Services::start(fixture.stores.clone(), config(), Sources::default()).await.unwrap();
    let open = Arc::new(Doorkeeper::default());
    let accounts = services.accounts.clone().guarded_by(open.clone());
    let draft = || RegistrationDraft {
        username: Username::new("mira").unwrap(),
        password: Password::new("a lantern on the pier").unwrap(),
        display_name: None,
        email: None,
        device: device(),
    };

    accounts.open_guest(&visitor(), None, device()).await.unwrap();
    accounts.register(&visitor(), draft()).await.unwrap();
    accounts.sign_in(&visitor(), by_password("mira")).await.unwrap();
    accounts.sign_in(&visitor(), by_password("nobody")).await.unwrap_err();
    accounts.sign_in_with(&visitor(), &Tickets, &ticket("4711"), device()).await.unwrap();

    let seen = [
        (SignInWay::Guest, false, false),
        (SignInWay::Registration, false, false),
        (SignInWay::Password, true, true),
        (SignInWay::Password, false, false),
        (SignInWay::Identity, false, false),
    ];
    assert_eq!(*open.seen.lock().unwrap(), seen);
    let before = fixture.count("SELECT count(*) FROM audit_log").await;
    let closed = Arc::new(Doorkeeper { is_closed: true, ..Doorkeeper::default() });
    let accounts = services.accounts.guarded_by(closed.clone());
    let refusals = [
        accounts.open_guest(&visitor(), None, device()).await.err(),
        accounts.register(&visitor(), draft()).await.err(),
        accounts.sign_in(&visitor(), by_password("mira")).await.err(),
        accounts.sign_in_with(&visitor(), &Tickets, &ticket("4711"), device()).await.err(),
    ];
    assert!(refusals.iter().all(|refusal| matches!(refusal, Some(AccountError::Overloaded))));
    assert_eq!(fixture.count("SELECT count(*) FROM audit_log").await, before, "nobody came in");
}
