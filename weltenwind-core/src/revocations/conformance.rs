//! What every [`RevocationStore`] and the ports that write its log must do: plain functions, each named as the sentence it
//! proves.
//!
//! [`revocation_store_conformance!`](crate::revocation_store_conformance) makes a test of each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::{
    model::{LoggedLoss, Loss, LossSeq, Lost},
    store::RevocationStore,
};
use crate::{
    access::{AccessError, GrantStore, NewGrant, Role},
    accounts::{
        AccountStore, DeviceStore, DisplayName, SessionStore,
        conformance::{account, at, id, open_guest, session, step, step_with_key},
    },
    ids::{DeviceId, GrantId, SessionId, WorldId},
    scope::Scope,
};

/// The port under test, and those that write its log, on one store.
#[derive(Debug, Clone)]
pub struct Ports {
    /// The log.
    pub revocations: Arc<dyn RevocationStore>,
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Grants.
    pub grants: Arc<dyn GrantStore>,
}

/// Makes a test of every case of [`conformance`](crate::revocations::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::revocation_store_conformance!(my_fixture());
/// }
/// ```
#[macro_export]
macro_rules! revocation_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::revocation_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_session_that_ends_is_a_loss
            sessions_that_end_together_are_a_loss_each
            a_session_that_has_run_out_is_no_loss
            a_device_that_ends_is_one_loss
            a_role_that_is_taken_is_a_loss
            a_member_that_is_removed_loses_once
            a_name_that_is_given_up_is_a_loss
            what_is_given_is_no_loss
            a_refused_step_loses_nothing
            a_repeated_effect_key_loses_once
            the_log_is_read_page_by_page
            the_log_is_found_by_time
            old_losses_are_purged_and_numbers_go_on
            whoever_follows_the_log_misses_nothing
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::revocation_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::revocations::conformance::$case(&ports).await;
        }
    };
}

impl Ports {
    async fn log(&self) -> Vec<LoggedLoss> {
        self.revocations.page(LossSeq::START, 1000).await.expect("the store works")
    }

    async fn end(&self, seconds: i64, n: u32) {
        self.sessions.end(&step(seconds), SessionId::new(id(n))).await.expect("the store works");
    }

    /// Gives account `n` a role by grant `grant`.
    async fn give(&self, grant: u32, n: u32, role: Role, scope: Scope) {
        let grant =
            NewGrant { id: GrantId::new(id(grant)), account: account(n), role, scope, reason: None, expires_at: None };
        self.grants.grant(&step(0), &grant).await.expect("the account exists");
    }

    async fn position_at(&self, seconds: i64) -> i64 {
        self.revocations.position_at(at(seconds)).await.expect("the store works").get()
    }
}

fn loss(seq: i64, seconds: i64, n: u32, lost: Lost) -> LoggedLoss {
    LoggedLoss { seq: LossSeq::new(seq), at: at(seconds), loss: Loss { account: account(n), lost } }
}

fn lost_session(n: u32) -> Lost {
    Lost::Session(SessionId::new(id(n)))
}

const fn world(n: u32) -> Scope {
    Scope::World(WorldId::new(id(n)))
}

/// Once: a second end ends nothing.
pub async fn a_session_that_ends_is_a_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;

    ports.end(5, 2).await;
    ports.end(6, 2).await;
    ports.end(7, 1).await;
    ports.end(8, 9).await;

    assert_eq!(ports.log().await, [loss(1, 5, 2, lost_session(2)), loss(2, 7, 1, lost_session(1))]);
}

/// A rule "all but this one" would also hit a session that is opened a moment later.
pub async fn sessions_that_end_together_are_a_loss_each(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    for n in 2..=250 {
        ports.sessions.open(&step(0), account(1), &session(n)).await.expect("the account exists");
    }
    ports.end(1, 3).await;

    let ended = ports.sessions.end_others(&step(5), account(1), Some(SessionId::new(id(2)))).await;
    let again = ports.sessions.end_others(&step(6), account(1), Some(SessionId::new(id(2)))).await;

    assert_eq!((ended.expect("the store works"), again.expect("the store works")), (248, 0));
    let log = ports.log().await;
    assert_eq!(log.iter().map(|logged| logged.seq.get()).collect::<Vec<_>>(), (1..=249).collect::<Vec<_>>());
    let mut lost: Vec<_> = log.iter().map(|logged| format!("{:?}", logged.loss.lost)).collect();
    lost.sort();
    let mut expected: Vec<_> = (1..=250).filter(|n| *n != 2).map(|n| format!("{:?}", lost_session(n))).collect();
    expected.sort();
    assert_eq!(lost, expected);
    let kept = ports.sessions.find(SessionId::new(id(2))).await.expect("the store works").expect("the session");
    assert_eq!(kept.session.ended_at, None);
}

/// Nobody has it any more.
pub async fn a_session_that_has_run_out_is_no_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let ended = ports.sessions.end_others(&step(3600), account(1), None).await.expect("the store works");

    assert_eq!((ended, ports.log().await), (0, vec![]));
}

/// Every session on it is meant.
pub async fn a_device_that_ends_is_one_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    ports.devices.end(&step(5), account(1), DeviceId::new(id(1))).await.expect("it is its own");

    assert_eq!(ports.log().await, [loss(1, 5, 1, Lost::Device(DeviceId::new(id(1))))]);
}

/// With the scope in which it held.
pub async fn a_role_that_is_taken_is_a_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.give(1, 1, Role::WorldMember, world(7)).await;
    ports.give(2, 1, Role::Support, Scope::Global).await;

    ports.grants.revoke(&step(5), GrantId::new(id(1))).await.expect("it is held");
    ports.grants.revoke(&step(6), GrantId::new(id(2))).await.expect("it is held");

    let expected = [loss(1, 5, 1, Lost::Rights(world(7))), loss(2, 6, 1, Lost::Rights(Scope::Global))];
    assert_eq!(ports.log().await, expected);
}

/// However many roles that were.
pub async fn a_member_that_is_removed_loses_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.give(1, 1, Role::WorldMember, world(7)).await;
    ports.give(2, 1, Role::WorldModerator, world(7)).await;
    ports.give(3, 1, Role::WorldMember, world(8)).await;

    ports.grants.revoke_all(&step(5), account(1), world(7)).await.expect("it is a member");

    assert_eq!(ports.log().await, [loss(1, 5, 1, Lost::Rights(world(7)))]);
}

/// Nodes that remember the old name read it anew.
pub async fn a_name_that_is_given_up_is_a_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let name = DisplayName::new("Tarn").expect("a name");
    ports.accounts.rename(&step(5), account(1), &name).await.expect("the account exists");

    assert_eq!(ports.log().await, [loss(1, 5, 1, Lost::Name)]);
}

/// Gains are looked up.
pub async fn what_is_given_is_no_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.give(1, 1, Role::WorldMember, world(7)).await;
    ports.sessions.open(&step(1), account(1), &session(2)).await.expect("the account exists");

    assert_eq!(ports.log().await, []);
}

/// The last owner stays, and keeps what an owner has.
pub async fn a_refused_step_loses_nothing(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.give(1, 1, Role::WorldOwner, world(7)).await;

    let refused = ports.grants.revoke(&step(5), GrantId::new(id(1))).await;
    let foreign = ports.devices.end(&step(5), account(2), DeviceId::new(id(1))).await;

    assert!(matches!(refused, Err(AccessError::LastOwner)) && foreign.is_err());
    assert_eq!(ports.log().await, []);
    ports.end(6, 1).await;
    assert_eq!(ports.log().await[0].seq.get(), 1, "what was rolled back has taken no number");
}

/// The answer got lost.
pub async fn a_repeated_effect_key_loses_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;

    for seconds in [5, 6] {
        ports.sessions.end(&step_with_key(seconds, 1), SessionId::new(id(1))).await.expect("it is answered");
        let ended = ports.sessions.end_others(&step_with_key(seconds, 2), account(2), None).await;
        assert_eq!(ended.expect("it is answered"), 1);
    }

    assert_eq!(ports.log().await, [loss(1, 5, 1, lost_session(1)), loss(2, 5, 2, lost_session(2))]);
}

/// In the order of numbers, and no more than was asked for.
pub async fn the_log_is_read_page_by_page(ports: &Ports) {
    for n in 1..=5 {
        open_guest(&*ports.accounts, n).await;
        ports.end(i64::from(n), n).await;
    }

    let mut pages = Vec::new();
    let mut after = LossSeq::START;
    loop {
        let page = ports.revocations.page(after, 2).await.expect("the store works");
        let Some(last) = page.last() else { break };
        after = last.seq;
        pages.push(page.iter().map(|logged| logged.seq.get()).collect::<Vec<_>>());
    }

    assert_eq!(pages, [vec![1, 2], vec![3, 4], vec![5]]);
}

/// A node that starts reads the last minutes. Clocks of nodes differ, so time does not grow with numbers.
pub async fn the_log_is_found_by_time(ports: &Ports) {
    assert_eq!(ports.position_at(0).await, 0);
    for (n, seconds) in [(1, 10), (2, 30), (3, 20), (4, 40)] {
        open_guest(&*ports.accounts, n).await;
        ports.end(seconds, n).await;
    }

    let positions = [ports.position_at(5).await, ports.position_at(10).await, ports.position_at(15).await];
    assert_eq!(positions, [0, 0, 1]);
    let positions = [ports.position_at(25).await, ports.position_at(40).await, ports.position_at(41).await];
    assert_eq!(positions, [1, 3, 4]);
}

/// A node that was away for long sees that there is a hole.
pub async fn old_losses_are_purged_and_numbers_go_on(ports: &Ports) {
    for n in 1..=4 {
        open_guest(&*ports.accounts, n).await;
        ports.end(i64::from(n), n).await;
    }

    assert_eq!(ports.revocations.purge(at(3), 1).await.expect("the store works"), 1);
    assert_eq!(ports.revocations.purge(at(3), 10).await.expect("the store works"), 1);
    assert_eq!(ports.revocations.purge(at(3), 10).await.expect("the store works"), 0);
    assert_eq!(ports.log().await.iter().map(|logged| logged.seq.get()).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(ports.revocations.purge(at(99), 10).await.expect("the store works"), 2);

    assert_eq!(ports.position_at(0).await, 4);
    open_guest(&*ports.accounts, 5).await;
    ports.end(5, 5).await;
    assert_eq!(ports.log().await, [loss(5, 5, 5, lost_session(5))]);
}

/// The reason for the counter: with numbers that are drawn before the commit, a slow transaction's loss would appear behind
/// whoever has read on.
pub async fn whoever_follows_the_log_misses_nothing(ports: &Ports) {
    const ACCOUNTS: u32 = 60;
    for n in 1..=ACCOUNTS {
        open_guest(&*ports.accounts, n).await;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn({
        let (ports, is_over) = (ports.clone(), Arc::clone(&is_over));
        async move {
            let mut heard: Vec<i64> = Vec::new();
            loop {
                // Before the look, so that the last look comes behind the last loss.
                let last_look = is_over.load(Ordering::SeqCst);
                let after = LossSeq::new(heard.last().copied().unwrap_or(0));
                let page = ports.revocations.page(after, 7).await.expect("the store works");
                if page.is_empty() {
                    if last_look {
                        return heard;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                heard.extend(page.iter().map(|logged| logged.seq.get()));
            }
        }
    });

    let mut losers = JoinSet::new();
    for n in 1..=ACCOUNTS {
        let ports = ports.clone();
        losers.spawn(async move {
            if n % 2 == 0 {
                ports.end(5, n).await;
            } else {
                ports.devices.end(&step(5), account(n), DeviceId::new(id(n))).await.expect("it is its own");
            }
        });
    }
    losers.join_all().await;
    is_over.store(true, Ordering::SeqCst);

    let heard = follower.await.expect("the follower reads");
    assert_eq!(heard, (1..=i64::from(ACCOUNTS)).collect::<Vec<_>>());
}
