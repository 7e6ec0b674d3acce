use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::{Ports, loss, lost_session};
use crate::{
    accounts::conformance::{account, at, id, open_guest, step},
    ids::DeviceId,
    revocations::LossSeq,
};

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
