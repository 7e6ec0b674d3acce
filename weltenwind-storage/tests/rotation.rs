//! Keys that are replaced while two nodes run on one store.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{sync::Arc, time::Duration};

use weltenwind_core::{
    Actor, CURSOR_LIFE, Classify as _, Clock as _, Code, CorrelationId, CursorInvalid, ManualClock, ServiceConfig,
    Services, Sources,
    accounts::{AccountError, DeviceDraft, KeyPurpose, KeyState, RootKey, Rotated, SessionGrant, Urgency},
};

use self::fixture::Fixture;

/// A second less than a cursor lives at least.
const ALMOST: Duration = Duration::from_secs(CURSOR_LIFE.as_secs() - 1);
const LIST: &str = "worlds?sort=name";

mod sqlite {
    use super::fixture;

    #[tokio::test]
    async fn a_cursor_goes_from_node_to_node_through_a_rotation() {
        super::a_cursor_goes_from_node_to_node_through_a_rotation(&fixture::sqlite().await).await;
    }

    #[tokio::test]
    async fn a_session_goes_on_through_a_rotation() {
        super::a_session_goes_on_through_a_rotation(&fixture::sqlite().await).await;
    }

    #[tokio::test]
    async fn a_device_is_known_again_after_a_rotation() {
        super::a_device_is_known_again_after_a_rotation(&fixture::sqlite().await).await;
    }

    #[tokio::test]
    async fn tokens_hold_through_a_rotation_and_the_key_before_the_last_is_dropped() {
        super::tokens_hold_through_a_rotation_and_the_key_before_the_last_is_dropped(&fixture::sqlite().await).await;
    }

    #[tokio::test]
    async fn a_compromised_key_ends_its_tokens_and_nobody_is_signed_out() {
        super::a_compromised_key_ends_its_tokens_and_nobody_is_signed_out(&fixture::sqlite().await).await;
    }
}

mod postgres {
    use super::fixture;

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_cursor_goes_from_node_to_node_through_a_rotation() {
        super::a_cursor_goes_from_node_to_node_through_a_rotation(&fixture::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_session_goes_on_through_a_rotation() {
        super::a_session_goes_on_through_a_rotation(&fixture::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_device_is_known_again_after_a_rotation() {
        super::a_device_is_known_again_after_a_rotation(&fixture::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn tokens_hold_through_a_rotation_and_the_key_before_the_last_is_dropped() {
        super::tokens_hold_through_a_rotation_and_the_key_before_the_last_is_dropped(&fixture::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_compromised_key_ends_its_tokens_and_nobody_is_signed_out() {
        super::a_compromised_key_ends_its_tokens_and_nobody_is_signed_out(&fixture::postgres().await).await;
    }
}

struct Nodes {
    one: Services,
    two: Services,
    clock: Arc<ManualClock>,
}

impl Nodes {
    async fn start(fixture: &Fixture) -> Self {
        let clock = Arc::new(ManualClock::default());
        let node = async || {
            let sources = Sources { clock: clock.clone(), ..Sources::default() };
            Services::start(fixture.stores.clone(), ServiceConfig::default(), sources).await.unwrap()
        };
        let (one, two) = (node().await, node().await);
        Self { one, two, clock }
    }

    /// Replaces the root key on the first node and, a minute later, on the second; a minute later it is in use.
    async fn rotate(&self) {
        self.one.accounts.rotate_root(&Actor::operator()).await.unwrap();
        self.clock.advance(RootKey::SETTLING / 2);
        self.two.accounts.reload_keys().await.unwrap();
        self.clock.advance(RootKey::SETTLING / 2);
    }
}

fn anonymous() -> Actor {
    Actor::anonymous(CorrelationId::accept("request-42").unwrap())
}

async fn a_cursor_goes_from_node_to_node_through_a_rotation(fixture: &Fixture) {
    let nodes = Nodes::start(fixture).await;
    let (one, two) = (&nodes.one.cursors, &nodes.two.cursors);
    let opened = |cursor: &str| [one.open::<u8>(LIST, cursor), two.open::<u8>(LIST, cursor)];
    let before = one.seal(LIST, &1);

    nodes.one.accounts.rotate_root(&Actor::operator()).await.unwrap();
    // The second node does not know of it yet.
    let meanwhile = one.seal(LIST, &2);
    assert_eq!([opened(&before), opened(&meanwhile)], [[Ok(1); 2], [Ok(2); 2]]);
    nodes.clock.advance(RootKey::SETTLING);
    nodes.two.accounts.reload_keys().await.unwrap();
    let (after, after_too) = (one.seal(LIST, &3), two.seal(LIST, &3));

    assert_ne!(after, before);
    assert_eq!(after, after_too);
    nodes.clock.advance(ALMOST);
    assert_eq!([opened(&before), opened(&meanwhile), opened(&after)], [[Ok(1); 2], [Ok(2); 2], [Ok(3); 2]]);
    nodes.clock.advance(Duration::from_secs(1));
    assert_eq!(
        [opened(&before), opened(&meanwhile), opened(&after)],
        [[Err(CursorInvalid); 2], [Err(CursorInvalid); 2], [Ok(3); 2]]
    );
    let restarted = Nodes::start(fixture).await;
    restarted.clock.advance(nodes.clock.now().duration_since(restarted.clock.now()).unsigned_abs());
    assert_eq!(restarted.one.cursors.open::<u8>(LIST, &after), Ok(3));
}

async fn a_session_goes_on_through_a_rotation(fixture: &Fixture) {
    let nodes = Nodes::start(fixture).await;
    let trade = async |node: &Services, token: &SessionGrant| {
        node.accounts.refresh(&anonymous(), token.refresh_token.expose()).await.unwrap()
    };
    let first = nodes.one.accounts.open_guest(&anonymous(), None, DeviceDraft::default()).await.unwrap();
    let second = trade(&nodes.one, &first).await;

    nodes.rotate().await;
    // An answer that got lost before the rotation is answered again after it, and by either node.
    let again = [trade(&nodes.one, &first).await, trade(&nodes.two, &first).await];
    let third = trade(&nodes.two, &second).await;
    let third_again = trade(&nodes.one, &second).await;

    for repeated in again {
        assert_eq!(repeated.refresh_token, second.refresh_token);
    }
    assert_eq!(third_again.refresh_token, third.refresh_token);
    assert_eq!(trade(&nodes.one, &third).await.session, first.session);
}

async fn a_device_is_known_again_after_a_rotation(fixture: &Fixture) {
    let nodes = Nodes::start(fixture).await;
    let device = || DeviceDraft::new(None, Some("a fingerprint")).unwrap();
    let guest = async |node: &Services| node.accounts.open_guest(&anonymous(), None, device()).await.unwrap();
    let first = guest(&nodes.one).await;

    nodes.rotate().await;
    let session = fixture.stores.sessions.find(first.session).await.unwrap().unwrap().session;
    let hashes = "SELECT count(*) FROM (SELECT DISTINCT fingerprint FROM devices) AS known";
    guest(&nodes.two).await;

    // Each account has its own row, under the same keyed hash.
    assert_eq!(fixture.count(hashes).await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM devices").await, 2);
    assert_eq!(session.account, first.account.id);
}

async fn tokens_hold_through_a_rotation_and_the_key_before_the_last_is_dropped(fixture: &Fixture) {
    let nodes = Nodes::start(fixture).await;
    let (one, two, operator) = (&nodes.one.accounts, &nodes.two.accounts, Actor::operator());
    let player = one.open_guest(&anonymous(), None, DeviceDraft::default()).await.unwrap();
    let trade = async || one.refresh(&anonymous(), player.refresh_token.expose()).await.unwrap().access_token;
    let signing = async || {
        let keys = one.keys(&operator).await.unwrap();
        let signing = keys.into_iter().filter(|key| key.purpose == KeyPurpose::Signing);
        signing.map(|key| (key.id, key.state)).collect::<Vec<_>>()
    };
    let first = signing().await[0].0.clone();

    // A key is younger than the one before, whatever the clock says.
    nodes.clock.advance(Duration::from_secs(1));
    // No node but the first hears of it, and only that one signs with the new key later on.
    assert!(matches!(one.rotate_keys(&operator, Urgency::Routine).await.unwrap(), Rotated::Done(_)));
    let second = signing().await[0].0.clone();
    assert_eq!(signing().await, [(second.clone(), KeyState::Announced), (first.clone(), KeyState::Used)]);
    let before = trade().await;
    nodes.clock.advance(RootKey::SETTLING);
    let after = trade().await;

    // The second node finds the key when it is named, and asks the store once for however many made-up names.
    for token in [&before, &after] {
        assert_eq!(two.verify(token.expose()).await.unwrap().account, player.account.id);
    }
    assert_eq!(signing().await, [(second.clone(), KeyState::Used), (first.clone(), KeyState::Former)]);
    let Rotated::TooSoon(free_from) = one.rotate_keys(&operator, Urgency::Routine).await.unwrap() else {
        panic!("tokens under the first key hold");
    };
    assert_eq!(one.retire_keys().await.unwrap(), 0);
    nodes.clock.advance(free_from.duration_since(nodes.clock.now()).unsigned_abs());
    let ended = one.verify(before.expose()).await.unwrap_err();
    assert_eq!(ended.code(), Code::TokenExpired);

    let third_rotation = one.rotate_keys(&operator, Urgency::Routine).await.unwrap();

    assert!(matches!(third_rotation, Rotated::Done(_)));
    let now = signing().await;
    assert_eq!((now.len(), &now[1].0), (2, &second), "{first} is gone: {now:?}");
    nodes.clock.advance(RootKey::SETTLING * 2 + Duration::from_mins(5));
    assert_eq!((one.retire_keys().await.unwrap(), one.retire_keys().await.unwrap()), (1, 0));
    assert_eq!(signing().await, [(now[0].0.clone(), KeyState::Used)]);
}

async fn a_compromised_key_ends_its_tokens_and_nobody_is_signed_out(fixture: &Fixture) {
    let nodes = Nodes::start(fixture).await;
    let (one, two) = (&nodes.one.accounts, &nodes.two.accounts);
    let player = two.open_guest(&anonymous(), None, DeviceDraft::default()).await.unwrap();
    let stolen = player.access_token.expose();
    assert!(matches!(one.rotate_keys(&anonymous(), Urgency::Routine).await, Err(AccountError::SignInRequired)));

    assert!(matches!(one.rotate_keys(&Actor::operator(), Urgency::Compromised).await.unwrap(), Rotated::Done(_)));

    assert!(matches!(one.verify(stolen).await, Err(AccountError::TokenInvalid)));
    two.verify(stolen).await.expect("the other node has not looked");
    let next = one.refresh(&anonymous(), player.refresh_token.expose()).await.unwrap();
    assert_eq!(next.session, player.session);
    // The new token's key is unknown there, and with it the old one is forgotten.
    assert_eq!(two.verify(next.access_token.expose()).await.unwrap().session, player.session);
    assert!(matches!(two.verify(stolen).await, Err(AccountError::TokenInvalid)));
}
