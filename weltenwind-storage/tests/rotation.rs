//! Root keys that are replaced while two nodes run on one store.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{sync::Arc, time::Duration};

use weltenwind_core::{
    Actor, CURSOR_LIFE, Clock as _, CorrelationId, CursorInvalid, ManualClock, ServiceConfig, Services, Sources,
    accounts::{DeviceDraft, RootKey, SessionGrant},
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
