//! What every mutating call writes beside its own work: one row of the audit log, and what answers a repeat.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use serde_json::json;
use uuid::Uuid;
use weltenwind_core::{
    AccountId, ApiKeyId, AuditDraft, CorrelationId, DeviceId, EffectKey, GrantId, Scope, Secret, SessionId, Step,
    Timestamp, WorldId,
    access::{
        NewGrant, Permission, PermissionSet, Role,
        keys::{ApiKeyName, NewApiKey},
    },
    accounts::{
        Bootstrap, DisplayName, KeyRotation, NewBootstrapToken, NewDevice, NewGuest, NewSession, PasswordRecord,
        RootKey, Rotation, Seen, ServerKeys, SigningKey, TokenHash, Username,
    },
    worlds::{Description, JoinPolicy, NewWorld, Slug, Visibility, WorldAmendment, WorldChange, WorldName},
};

use self::fixture::{AuditRow, Fixture};

mod sqlite {
    use super::fixture;

    #[tokio::test]
    async fn a_step_is_audited_with_everything_that_is_known_of_it() {
        super::a_step_is_audited_with_everything_that_is_known_of_it(&fixture::sqlite().await).await;
    }

    #[tokio::test]
    async fn every_mutating_call_writes_one_row() {
        super::every_mutating_call_writes_one_row(&fixture::sqlite().await).await;
    }

    #[tokio::test]
    async fn what_changes_nothing_leaves_no_trace() {
        super::what_changes_nothing_leaves_no_trace(&fixture::sqlite().await).await;
    }

    #[tokio::test]
    async fn a_row_that_breaks_an_invariant_is_named() {
        super::a_row_that_breaks_an_invariant_is_named(&fixture::sqlite().await).await;
    }
}

mod postgres {
    use super::fixture;

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_step_is_audited_with_everything_that_is_known_of_it() {
        super::a_step_is_audited_with_everything_that_is_known_of_it(&fixture::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn every_mutating_call_writes_one_row() {
        super::every_mutating_call_writes_one_row(&fixture::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_changes_nothing_leaves_no_trace() {
        super::what_changes_nothing_leaves_no_trace(&fixture::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_row_that_breaks_an_invariant_is_named() {
        super::a_row_that_breaks_an_invariant_is_named(&fixture::postgres().await).await;
    }
}

async fn a_step_is_audited_with_everything_that_is_known_of_it(fixture: &Fixture) {
    let full = Step {
        actor: Some(AccountId::new(id(1))),
        session: Some(SessionId::new(id(2))),
        device: Some(DeviceId::new(id(3))),
        correlation_id: CorrelationId::accept("request-42").unwrap(),
        at: at(7),
        effect_key: Some(EffectKey::new([7; 32])),
        audit: AuditDraft::new("world.create", Scope::World(WorldId::new(id(4))))
            .because("it's windy")
            .with(json!({"slug": "mistral", "count": 3})),
        jobs: Vec::new(),
        finishes: Vec::new(),
    };
    let bare = Step { correlation_id: CorrelationId::accept("request-43").unwrap(), ..step("world.create") };

    fixture.stores.worlds.create(&full, &world(4)).await.unwrap();
    fixture.stores.worlds.create(&bare, &world(5)).await.unwrap();

    let hex = |n| Some(id(n).simple().to_string());
    let expected = [
        AuditRow {
            at: at(7).as_microsecond(),
            actor: hex(1),
            session: hex(2),
            device: hex(3),
            correlation_id: "request-42".to_owned(),
            action: "world.create".to_owned(),
            scope_kind: "world".to_owned(),
            scope_id: hex(4),
            target: id(4).to_string(),
            reason: Some("it's windy".to_owned()),
            details: Some(sqlx::types::Json(json!({"slug": "mistral", "count": 3}))),
        },
        AuditRow {
            at: at(0).as_microsecond(),
            actor: None,
            session: None,
            device: None,
            correlation_id: "request-43".to_owned(),
            action: "world.create".to_owned(),
            scope_kind: "global".to_owned(),
            scope_id: None,
            target: id(5).to_string(),
            reason: None,
            details: None,
        },
    ];
    assert_eq!(fixture.audit_log().await, expected);
}

async fn every_mutating_call_writes_one_row(fixture: &Fixture) {
    let stores = &fixture.stores;
    let owner = AccountId::new(id(2));

    stores.accounts.open_guest(&step("account.open"), &guest(1)).await.unwrap();
    stores.accounts.issue_bootstrap(&step("bootstrap.issue"), &bootstrap_token()).await.unwrap();
    stores.accounts.bootstrap(&step("bootstrap.spend"), &bootstrap(2)).await.unwrap();
    let name = DisplayName::new("Tarn").unwrap();
    stores.accounts.rename(&step("account.rename"), AccountId::new(id(1)), &name).await.unwrap();
    assert!(stores.sessions.rotate(&step("session.rotate"), &rotation(1, 0)).await.unwrap());
    stores.sessions.end(&step("session.end"), SessionId::new(id(1))).await.unwrap();
    stores
        .worlds
        .create(&step("world.create"), &NewWorld { owner: Some((owner, GrantId::new(id(4)))), ..world(3) })
        .await
        .unwrap();
    stores.worlds.amend(&step("world.change"), &renaming(3)).await.unwrap();
    stores.grants.grant(&step("grant.give"), &grant(5, 1, 3)).await.unwrap();
    stores.grants.revoke(&step("grant.take"), GrantId::new(id(5))).await.unwrap();
    stores.grants.grant(&step("grant.give"), &grant(6, 1, 3)).await.unwrap();
    let scope = Scope::World(WorldId::new(id(3)));
    stores.grants.revoke_all(&step("member.remove"), AccountId::new(id(1)), scope).await.unwrap();
    stores.keys.add_root(&step("key.rotate"), &root_key("two")).await.unwrap();
    let adopted = ServerKeys { signing: vec![signing_key("first", 0)], roots: vec![root_key(RootKey::FOUNDING)] };
    stores.keys.adopt(&adopted).await.unwrap();
    assert!(stores.keys.rotate(&step("key.rotate"), &key_rotation("first", "second")).await.unwrap());
    assert!(!stores.keys.rotate(&step("key.rotate"), &key_rotation("first", "third")).await.unwrap());
    for dropped in [1, 0] {
        let first = ["first".to_owned()];
        assert_eq!(stores.keys.drop_signing(&step("key.retire"), &first).await.unwrap(), dropped);
    }

    stores.api_keys.create(&step("api_key.make"), &api_key(7)).await.unwrap();
    stores.api_keys.used(ApiKeyId::new(id(7)), at(300)).await.unwrap();
    stores.api_keys.delete(&step("api_key.delete"), ApiKeyId::new(id(7))).await.unwrap();

    let rows = fixture.audit_log().await;
    let written: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.target.as_str())).collect();
    let targets: Vec<String> = (0..=7).map(|n| id(n).to_string()).collect();
    let expected = [
        ("account.open", targets[1].as_str()),
        ("bootstrap.issue", "bootstrap token"),
        ("bootstrap.spend", &targets[2]),
        ("account.rename", &targets[1]),
        ("session.rotate", &targets[1]),
        ("session.end", &targets[1]),
        ("world.create", &targets[3]),
        ("world.change", &targets[3]),
        ("grant.give", &targets[5]),
        ("grant.take", &targets[5]),
        ("grant.give", &targets[6]),
        ("member.remove", &targets[1]),
        ("key.rotate", "two"),
        ("key.rotate", "second"),
        ("key.retire", "signing keys"),
        ("api_key.make", &targets[7]),
        ("api_key.delete", &targets[7]),
    ];
    assert_eq!(written, expected);
}

fn api_key(n: u8) -> NewApiKey {
    NewApiKey {
        id: ApiKeyId::new(id(n)),
        hash: TokenHash::of("a key"),
        name: ApiKeyName::new("arena server").unwrap(),
        scope: Scope::Global,
        permissions: PermissionSet::of(&[Permission::ChatPost]),
        rank: 90,
        expires_at: None,
    }
}

/// Refusals, repeats, and calls that find everything done.
async fn what_changes_nothing_leaves_no_trace(fixture: &Fixture) {
    let stores = &fixture.stores;
    let with_key = |action, n| Step { effect_key: Some(EffectKey::new([n; 32])), ..step(action) };
    stores.accounts.open_guest(&with_key("account.open", 1), &guest(1)).await.unwrap();
    stores.worlds.create(&with_key("world.create", 2), &world(3)).await.unwrap();
    stores.sessions.end(&with_key("session.end", 3), SessionId::new(id(1))).await.unwrap();

    stores.accounts.open_guest(&with_key("repeated", 1), &guest(1)).await.unwrap();
    stores.worlds.create(&with_key("repeated", 2), &world(3)).await.unwrap();
    stores.sessions.end(&with_key("repeated", 3), SessionId::new(id(1))).await.unwrap();
    stores.worlds.create(&with_key("refused", 4), &NewWorld { slug: world(3).slug, ..world(9) }).await.unwrap_err();
    stores.accounts.bootstrap(&with_key("refused", 5), &bootstrap(2)).await.unwrap_err();
    stores.grants.revoke(&with_key("refused", 6), GrantId::new(id(5))).await.unwrap_err();
    stores.sessions.end(&with_key("done before", 7), SessionId::new(id(1))).await.unwrap();
    assert!(!stores.sessions.rotate(&with_key("done before", 8), &rotation(1, 0)).await.unwrap());
    for n in [9, 9, 10] {
        stores.keys.add_root(&with_key("key.rotate", n), &root_key("two")).await.unwrap();
    }

    let actions: Vec<String> = fixture.audit_log().await.into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["account.open", "world.create", "session.end", "key.rotate"]);
    assert_eq!(fixture.execute("DELETE FROM effect_keys").await, 4);
}

async fn a_row_that_breaks_an_invariant_is_named(fixture: &Fixture) {
    let stores = &fixture.stores;
    stores.accounts.open_guest(&step("account.open"), &guest(1)).await.unwrap();
    stores.grants.grant(&step("grant.give"), &grant(5, 1, 3)).await.unwrap();
    fixture.execute("UPDATE grants SET role = 'wizard'").await;

    let error = stores.grants.of(AccountId::new(id(1)), at(0)).await.unwrap_err();

    assert!(!error.is_transient());
    let told =
        format!("cannot read an account's grants: column role of row {} in table grants holds no valid value", id(5));
    assert_eq!(weltenwind_core::chain(&error), told);
}

const fn id(n: u8) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n as u128)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn step(action: &'static str) -> Step {
    Step { audit: AuditDraft::new(action, Scope::Global), ..Step::sample(at(0)) }
}

fn session(n: u8) -> NewSession {
    NewSession {
        id: SessionId::new(id(n)),
        device: NewDevice { id: DeviceId::new(id(n)), name: None, fingerprint: None, seen: Seen::new(at(0), None) },
        refresh: TokenHash::of(&format!("refresh {n}")),
        idle_expires_at: at(3600),
        expires_at: at(86_400),
    }
}

fn guest(n: u8) -> NewGuest {
    NewGuest { id: AccountId::new(id(n)), display_name: DisplayName::new("Mira").unwrap(), session: session(n) }
}

fn bootstrap_token() -> NewBootstrapToken {
    NewBootstrapToken { hash: TokenHash::of("bootstrap"), expires_at: at(900) }
}

fn bootstrap(n: u8) -> Bootstrap {
    Bootstrap {
        token: bootstrap_token().hash,
        id: AccountId::new(id(n)),
        username: Username::new("mira").unwrap(),
        display_name: DisplayName::new("Mira").unwrap(),
        password: PasswordRecord::from_stored("$argon2id$".to_owned()),
        grant: GrantId::new(id(n)),
        session: session(n),
    }
}

fn rotation(n: u8, from: u32) -> Rotation {
    let successor = TokenHash::of(&format!("refresh {n} {from}"));
    let device = (DeviceId::new(id(n)), Seen::new(at(0), None));
    Rotation { session: SessionId::new(id(n)), from, successor, idle_expires_at: at(7200), device }
}

fn world(n: u8) -> NewWorld {
    NewWorld {
        id: WorldId::new(id(n)),
        slug: Slug::new(&format!("world-{n}")).unwrap(),
        name: WorldName::new("Mistral").unwrap(),
        description: Description::new("").unwrap(),
        visibility: Visibility::Public,
        join_policy: JoinPolicy::Open,
        owner: None,
    }
}

fn renaming(n: u8) -> WorldChange {
    let amendment = WorldAmendment { name: Some(WorldName::new("Sirocco").unwrap()), ..WorldAmendment::default() };
    WorldChange { id: WorldId::new(id(n)), expected: None, amendment, archive: false }
}

fn root_key(id: &str) -> RootKey {
    RootKey { id: id.to_owned(), secret: Secret::new([2; 32]), created_at: at(0) }
}

fn signing_key(id: &str, seconds: i64) -> SigningKey {
    SigningKey { id: id.to_owned(), pkcs8: Secret::new(vec![7; 83]), created_at: at(seconds) }
}

fn key_rotation(follows: &str, id: &str) -> KeyRotation {
    KeyRotation {
        follows: follows.to_owned(),
        signing: signing_key(id, 1),
        root: root_key(&format!("root of {id}")),
        dropped: Vec::new(),
    }
}

/// Grant `n` of the world's membership to an account.
fn grant(n: u8, account: u8, world: u8) -> NewGrant {
    NewGrant {
        id: GrantId::new(id(n)),
        account: AccountId::new(id(account)),
        role: Role::WorldMember,
        scope: Scope::World(WorldId::new(id(world))),
        reason: None,
        expires_at: None,
    }
}
