//! Refused attempts in the audit log of both stores.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use weltenwind_core::{
    Actor, Clock as _, CorrelationId, ManualClock, Scope, Secret, ServiceConfig, Services, Sources,
    access::{GrantDraft, Role},
    accounts::{AccountError, DeviceDraft, HashingConfig, Password, RegistrationDraft, SessionGrant, SignIn, Username},
};

use self::fixture::{AuditRow, Fixture};

mod sqlite {
    use super::fixture;

    #[tokio::test]
    async fn a_refused_attempt_says_who_tried_what_and_for_which_request() {
        super::a_refused_attempt_says_who_tried_what_and_for_which_request(&fixture::sqlite().await).await;
    }

    #[tokio::test]
    async fn a_flood_of_refused_attempts_is_two_rows_a_minute() {
        super::a_flood_of_refused_attempts_is_two_rows_a_minute(&fixture::sqlite().await).await;
    }
}

mod postgres {
    use super::fixture;

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_refused_attempt_says_who_tried_what_and_for_which_request() {
        super::a_refused_attempt_says_who_tried_what_and_for_which_request(&fixture::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_flood_of_refused_attempts_is_two_rows_a_minute() {
        super::a_flood_of_refused_attempts_is_two_rows_a_minute(&fixture::postgres().await).await;
    }
}

const PASSWORD: &str = "a lantern on the pier";

async fn start(fixture: &Fixture) -> (Services, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let mut config = ServiceConfig::default();
    config.accounts.hashing = HashingConfig { memory_kib: 8, passes: 1, ..HashingConfig::default() };
    let sources = Sources { clock: clock.clone(), ..Sources::default() };
    (Services::start(fixture.stores.clone(), config, sources).await.unwrap(), clock)
}

fn visitor(request: &str) -> Actor {
    Actor::anonymous(CorrelationId::accept(request).unwrap())
}

async fn register(services: &Services, username: &str) -> SessionGrant {
    let draft = RegistrationDraft {
        username: Username::new(username).unwrap(),
        password: Password::new(PASSWORD).unwrap(),
        display_name: None,
        email: None,
        device: DeviceDraft::default(),
    };
    services.accounts.register(&visitor("registration"), draft).await.unwrap()
}

async fn acting(services: &Services, session: &SessionGrant, request: &str) -> Actor {
    let request = CorrelationId::accept(request).unwrap();
    services.accounts.authenticate(session.access_token.expose(), request).await.unwrap()
}

fn ownership(of: &SessionGrant) -> GrantDraft {
    GrantDraft { account: of.account.id, role: Role::Owner, scope: Scope::Global, reason: None, expires_at: None }
}

/// The rows of refused attempts, oldest first.
async fn refused(fixture: &Fixture) -> Vec<AuditRow> {
    fixture.audit_log().await.into_iter().filter(|row| row.action.ends_with(".refused")).collect()
}

fn details(row: &AuditRow) -> Value {
    row.details.clone().unwrap().0
}

async fn a_refused_attempt_says_who_tried_what_and_for_which_request(fixture: &Fixture) {
    let (services, clock) = start(fixture).await;
    let (mira, lu) = (register(&services, "mira").await, register(&services, "luna").await);
    let accounts = &services.accounts;

    let actor = acting(&services, &mira, "to-be-an-owner").await;
    services.grants.give(&actor, ownership(&mira)).await.unwrap_err();
    clock.advance(Duration::from_secs(1));
    let sign_in = SignIn {
        username: "luna".to_owned(),
        password: Secret::new("not the password".to_owned()),
        code: None,
        device: DeviceDraft::default(),
    };
    let login = accounts.sign_in(&visitor("sign-in-as-lu"), sign_in).await;
    assert!(matches!(login, Err(AccountError::InvalidCredentials)));
    clock.advance(Duration::from_secs(1));
    let actor = acting(&services, &mira, "change-password").await;
    accounts.change_password(&actor, "not the password", Password::new(PASSWORD).unwrap()).await.unwrap_err();
    clock.advance(Duration::from_secs(1));
    let username = Username::new("keeper").unwrap();
    let (visitor_with_link, password) = (visitor("made-up-link"), Password::new(PASSWORD).unwrap());
    accounts.bootstrap(&visitor_with_link, "wwb_x", username, password).await.unwrap_err();
    // What is not sensitive leaves no trace.
    let world = weltenwind_core::worlds::WorldRef::Id(weltenwind_core::WorldId::new(uuid::Uuid::from_u128(7)));
    services.worlds.resolve(&visitor("not-sensitive"), &world).await.unwrap_err();
    assert!(refused(fixture).await.is_empty(), "nobody waits for the audit log");

    services.refusals.write_down().await.unwrap();

    let rows = refused(fixture).await;
    let seen: Vec<_> = rows.iter().map(|row| (row.correlation_id.as_str(), row.action.as_str())).collect();
    let expected = [
        ("to-be-an-owner", "permission.refused"),
        ("sign-in-as-lu", "session.open.refused"),
        ("change-password", "account.password.refused"),
        ("made-up-link", "account.bootstrap.refused"),
    ];
    assert_eq!(seen, expected);
    let hex = |id: uuid::Uuid| Some(id.simple().to_string());
    for row in [&rows[0], &rows[2]] {
        let session = services.accounts.find_session(&Actor::operator(), mira.session).await.unwrap().1;
        assert_eq!(row.actor, hex(mira.account.id.uuid()));
        assert_eq!((&row.session, &row.device), (&hex(mira.session.uuid()), &hex(session.device.uuid())));
    }
    assert_eq!((&rows[1].actor, &rows[1].target), (&None, &lu.account.id.to_string()));
    assert_eq!(rows[0].at, (clock.now() - Duration::from_secs(3)).as_microsecond());
    let until = (clock.now() - Duration::from_secs(3)).to_string();
    let permission = json!({ "code": "permission-denied", "permission": "access.manage", "count": 1, "until": until });
    assert_eq!(details(&rows[0]), permission);
    let codes: Vec<_> = rows.iter().map(|row| details(row)["code"].clone()).collect();
    let invalid = "invalid-credentials";
    assert_eq!(codes, ["permission-denied", invalid, invalid, "bootstrap-token-invalid"]);
    services.refusals.write_down().await.unwrap();
    assert_eq!(refused(fixture).await.len(), 4, "each is written once");
}

async fn a_flood_of_refused_attempts_is_two_rows_a_minute(fixture: &Fixture) {
    let (services, clock) = start(fixture).await;
    let mira = register(&services, "mira").await;
    let actor = acting(&services, &mira, "again-and-again").await;

    for n in 0..500 {
        services.grants.give(&actor, ownership(&mira)).await.unwrap_err();
        if n % 50 == 0 {
            services.refusals.write_down().await.unwrap();
        }
    }
    clock.advance(Duration::from_mins(1));
    services.refusals.write_down().await.unwrap();

    let counts: Vec<_> = refused(fixture).await.iter().map(|row| details(row)["count"].clone()).collect();
    assert_eq!(counts, [1, 499]);
    services.grants.give(&actor, ownership(&mira)).await.unwrap_err();
    services.refusals.close().await.unwrap();
    assert_eq!(refused(fixture).await.len(), 3, "a stop leaves nothing behind");
}
