//! What a node knows of losses, whatever happens to the bus, the store and the node itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use uuid::Uuid;
use weltenwind_core::{
    AccountId, Classify as _, Clock as _, Code, DeviceId, ManualClock, Scope, SessionId, StorageError, Timestamp,
    bus::LocalBus,
    revocations::{Ended, LoggedLoss, Loss, LossSeq, Lost, MemoryRevocationStore, RevocationStore, Revocations},
};

const LIFE: Duration = Duration::from_mins(5);
const SECOND: Duration = Duration::from_secs(1);

fn account(n: u128) -> AccountId {
    AccountId::new(Uuid::from_u128(n))
}

fn session(n: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(n))
}

fn device(n: u128) -> DeviceId {
    DeviceId::new(Uuid::from_u128(n))
}

fn lost(n: u128, lost: Lost) -> Loss {
    Loss::of(account(n), lost)
}

/// A log that can be away.
#[derive(Debug, Default)]
struct Log {
    memory: MemoryRevocationStore,
    away: AtomicBool,
}

#[async_trait]
impl RevocationStore for Log {
    async fn page(&self, after: LossSeq, limit: u16) -> Result<Vec<LoggedLoss>, StorageError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StorageError::transient("read the log of losses", "it is away"));
        }
        self.memory.page(after, limit).await
    }

    async fn position_at(&self, at: Timestamp) -> Result<LossSeq, StorageError> {
        self.memory.position_at(at).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.memory.purge(before, limit).await
    }
}

/// An installation: one log, one clock, one bus, any number of nodes.
#[derive(Default)]
struct Town {
    log: Arc<Log>,
    clock: Arc<ManualClock>,
    bus: Arc<LocalBus>,
}

impl Town {
    async fn node(&self) -> Revocations {
        self.node_on(self.bus.clone()).await
    }

    async fn node_on(&self, bus: Arc<LocalBus>) -> Revocations {
        Revocations::start(self.log.clone(), bus, self.clock.clone(), LIFE).await.expect("the log can be read")
    }

    fn lose(&self, n: u128, what: Lost) {
        self.log.memory.append([lost(n, what)], self.clock.now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_known_at_once_where_it_is_announced() {
    let town = Town::default();
    let node = town.node().await;
    for (n, what) in [(1, Lost::Session(session(1))), (2, Lost::Device(device(2))), (3, Lost::Account)] {
        assert_eq!(node.check(account(n), session(n), device(n)), Ok(()));
        town.lose(n, what);
    }

    node.announce().await;

    assert_eq!(node.check(account(1), session(1), device(1)), Err(Ended::Session));
    assert_eq!(node.check(account(2), session(2), device(2)), Err(Ended::Device));
    assert_eq!(node.check(account(3), session(3), device(3)), Err(Ended::Session));
    assert_eq!(node.check(account(1), session(4), device(1)), Ok(()), "another session of the account holds");
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_known_elsewhere_by_a_hint_or_half_a_second_later_without() {
    let town = Town::default();
    let (here, hinted, deaf) =
        (town.node().await, town.node().await, town.node_on(Arc::new(LocalBus::default())).await);
    let mut watches = [&hinted, &deaf].map(|node| node.watch(account(1), session(1), device(1)));
    let start = tokio::time::Instant::now();

    town.lose(1, Lost::Session(session(1)));
    here.announce().await;

    assert_eq!(watches[0].changed().await.ended, Some((Ended::Session, town.clock.now())));
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
    watches[1].changed().await;
    assert!(start.elapsed() <= Duration::from_millis(510), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_knows_what_was_lost_before() {
    let town = Town::default();
    town.lose(1, Lost::Session(session(1)));
    town.clock.advance(LIFE);
    for n in 2..5000 {
        town.lose(n, Lost::Session(session(n)));
    }

    let node = town.node().await;

    assert!(node.check(account(1), session(1), device(1)).is_err(), "a token of then may still hold");
    assert!(node.check(account(4999), session(4999), device(1)).is_err());
    assert_eq!(node.remembered(), 4999);
}

#[tokio::test(start_paused = true)]
async fn what_no_token_can_contradict_any_more_is_forgotten() {
    let town = Town::default();
    town.lose(1, Lost::Session(session(1)));
    let node = town.node().await;
    town.clock.advance(LIFE);
    town.lose(2, Lost::Device(device(2)));
    node.announce().await;
    assert_eq!(node.remembered(), 2);

    // The life of a token, and two minutes for clocks and slow transactions.
    town.clock.advance(2 * Duration::from_mins(1) + SECOND);
    node.announce().await;

    assert_eq!((node.remembered(), node.check(account(1), session(1), device(1))), (1, Ok(())));
    assert!(node.check(account(2), session(2), device(2)).is_err());
    town.clock.advance(LIFE);
    node.announce().await;
    assert_eq!(node.remembered(), 0);
    let later = town.node().await;
    assert_eq!(later.remembered(), 0, "nor does a node that starts read it");
}

#[tokio::test(start_paused = true)]
async fn what_was_looked_up_before_a_loss_is_looked_up_anew() {
    let town = Town::default();
    let node = town.node().await;
    let before = node.mark();

    town.lose(1, Lost::Name);
    town.lose(2, Lost::Rights(Scope::Global));
    node.announce().await;

    for n in [1, 2] {
        assert!(node.touched_since(account(n), before) && !node.touched_since(account(n), node.mark()));
        assert_eq!(node.check(account(n), session(n), device(n)), Ok(()), "it is still signed in");
    }
    assert!(!node.touched_since(account(3), before));
}

#[tokio::test(start_paused = true)]
async fn a_watch_hears_of_its_own_losses_alone() {
    let town = Town::default();
    let node = town.node().await;
    let mut own = node.watch(account(1), session(1), device(1));
    let other = node.watch(account(1), session(2), device(2));
    let stranger = node.watch(account(9), session(9), device(9));

    town.lose(1, Lost::Name);
    town.lose(1, Lost::Session(session(3)));
    town.lose(1, Lost::Rights(Scope::Global));
    town.lose(1, Lost::Rights(Scope::Global));
    node.announce().await;
    let standing = own.changed().await;
    assert_eq!((standing.ended, standing.rights_lost), (None, 2));
    town.lose(1, Lost::Device(device(1)));
    town.lose(1, Lost::Session(session(1)));
    node.announce().await;

    assert_eq!(own.changed().await.ended.map(|(why, _)| why), Some(Ended::Device), "the first end counts");
    assert_eq!((other.standing().ended, other.standing().rights_lost), (None, 2));
    assert_eq!(stranger.standing(), weltenwind_core::revocations::Standing::default());
    let late = node.watch(account(1), session(1), device(1));
    assert!(late.standing().ended.is_some(), "who comes late is told at once");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_read_for_ten_seconds_does_not_decide() {
    let town = Town::default();
    let node = town.node().await;
    town.log.away.store(true, Ordering::SeqCst);
    town.clock.advance(3 * SECOND);
    assert!(!node.is_current(town.clock.now()), "what is remembered is believed for a second only");
    node.require_fresh().await.expect("it read three seconds ago");

    town.clock.advance(7 * SECOND);

    let refused = node.require_fresh().await.expect_err("it does not know");
    assert_eq!((refused.code(), refused.retry_after()), (Code::Unavailable, Some(SECOND)));
    node.announce().await;
    town.lose(1, Lost::Session(session(1)));
    town.log.away.store(false, Ordering::SeqCst);
    node.require_fresh().await.expect("it reads when it is asked");
    assert!(node.check(account(1), session(1), device(1)).is_err());
    assert!(node.is_current(town.clock.now()));
}

#[tokio::test(start_paused = true)]
async fn a_node_finds_back_by_itself() {
    let town = Town::default();
    let node = town.node().await;
    let mut watch = node.watch(account(1), session(1), device(1));
    town.log.away.store(true, Ordering::SeqCst);
    town.lose(1, Lost::Session(session(1)));
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(watch.standing().ended, None);
    let start = tokio::time::Instant::now();

    town.log.away.store(false, Ordering::SeqCst);

    watch.changed().await;
    assert!(start.elapsed() <= Duration::from_millis(510), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_for_longer_than_losses_are_kept_believes_nothing_of_before() {
    let town = Town::default();
    let node = town.node().await;
    let (before, watch) = (node.mark(), node.watch(account(1), session(1), device(1)));
    town.log.away.store(true, Ordering::SeqCst);
    town.lose(1, Lost::Rights(Scope::Global));
    town.clock.advance(Duration::from_hours(25));
    let purged = town.log.purge(town.clock.now() - Duration::from_hours(24), 100).await.expect("it is not asked away");
    assert_eq!(purged, 1);

    town.log.away.store(false, Ordering::SeqCst);
    node.require_fresh().await.expect("it can read again");

    assert!(node.touched_since(account(1), before) && node.touched_since(account(2), before));
    assert!(watch.standing().rights_lost > 0, "sockets look again");
    assert!(!node.touched_since(account(1), node.mark()), "what is looked up now is believed again");
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_the_numbers_is_not_passed_over() {
    let town = Town::default();
    let node = town.node().await;
    let before = node.mark();
    town.log.away.store(true, Ordering::SeqCst);
    town.lose(1, Lost::Rights(Scope::Global));
    town.clock.advance(SECOND);
    assert_eq!(town.log.purge(town.clock.now(), 100).await.expect("an operator purges by hand"), 1);
    town.lose(2, Lost::Rights(Scope::Global));
    town.log.away.store(false, Ordering::SeqCst);

    node.announce().await;

    assert!(node.touched_since(account(1), before), "the first loss is gone, but not its effect");
    assert!(!node.touched_since(account(1), node.mark()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_at_once_are_all_known_when_they_return() {
    let town = Arc::new(Town::default());
    let node = town.node().await;
    let mut losers = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (town, node) = (Arc::clone(&town), node.clone());
        losers.spawn(async move {
            town.lose(n, Lost::Session(session(n)));
            node.announce().await;
            node.check(account(n), session(n), device(n)).is_err()
        });
    }

    assert!(losers.join_all().await.into_iter().all(|is_known| is_known));
}

#[tokio::test(start_paused = true)]
async fn a_program_without_a_log_knows_of_nothing_and_believes_for_a_second() {
    let none = Revocations::none();

    assert_eq!(none.check(account(1), session(1), device(1)), Ok(()));
    none.require_fresh().await.expect("there is nothing to read");
    none.announce().await;
    assert!(!none.is_current(ManualClock::default().now()) && !none.touched_since(account(1), none.mark()));
    assert_eq!(none.enforce_retention().await.expect("there is nothing to delete"), 0);
}

#[tokio::test(start_paused = true)]
async fn old_losses_are_deleted_after_a_day() {
    let town = Town::default();
    let node = town.node().await;
    for n in 0..1200 {
        town.lose(n, Lost::Session(session(n)));
    }
    town.clock.advance(Duration::from_hours(23));
    assert_eq!(node.enforce_retention().await.expect("the log can be written"), 0);
    town.clock.advance(Duration::from_hours(2));

    assert_eq!(node.enforce_retention().await.expect("the log can be written"), 1200);
}
