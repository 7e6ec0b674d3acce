use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::task::JoinSet;

use super::super::model::JobState;
use super::{Claim, Class, Duration, How, JobKind, NewJob, Ports, Timestamp, claim_of, job, now, numbers, worker};

/// Oldest first among those that are due.
pub async fn jobs_are_claimed_oldest_first_and_no_more_than_asked_for(ports: &Ports) {
    for n in 1..=5 {
        ports.write(&[job(n)]).await;
    }

    let claims = [ports.claim(2).await, ports.claim(2).await, ports.claim(2).await, ports.claim(2).await];

    assert_eq!(claims.each_ref().map(|jobs| numbers(jobs)), [vec![1, 2], vec![3, 4], vec![5], vec![]]);
}

/// While its lease lasts.
pub async fn a_claimed_job_is_nobody_elses(ports: &Ports) {
    let held = ports.held(1).await;

    assert_eq!(ports.claim_as(Class::Sound, 2, 10).await, []);
    assert_eq!(ports.claim_as(Class::Suspect, 2, 10).await, []);
    let JobState::Leased { worker: by, until, deadline } = ports.find(held.id()).await.state else {
        panic!("it is leased");
    };
    let store_now = ports.outbox.now(now()).await.expect("the store works");
    let left = |until: Timestamp| until.duration_since(store_now).as_secs();
    assert_eq!(by, worker(1));
    assert!((28..=30).contains(&left(until)) && (297..=300).contains(&left(deadline)));
}

/// 32 of them, none twice and none left.
pub async fn claimers_at_once_share_the_jobs(ports: &Ports) {
    const JOBS: u32 = 640;
    for n in (1..=JOBS).step_by(64) {
        ports.write(&(n..n + 64).map(job).collect::<Vec<_>>()).await;
    }

    let mut claimers = JoinSet::new();
    for n in 1..=32 {
        let ports = ports.clone();
        claimers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let jobs = ports.claim_as(Class::Sound, n, 10).await;
                if jobs.is_empty() {
                    return mine;
                }
                mine.extend(numbers(&jobs));
            }
        });
    }
    let claimed = claimers.join_all().await;

    let all: Vec<u64> = claimed.iter().flatten().copied().collect();
    assert_eq!(all.len(), JOBS as usize);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (1..=u64::from(JOBS)).collect());
    let (least, most) = (claimed.iter().map(Vec::len).min(), claimed.iter().map(Vec::len).max());
    assert!(most < Some(JOBS as usize / 4), "nobody takes the jobs of all others: {least:?} to {most:?}");
}

/// The next one once the one before is done or dead, not when it has failed.
pub async fn jobs_in_order_run_one_after_the_other(ports: &Ports) {
    ports.write(&[job(1).in_order_of("a"), job(2).in_order_of("a"), job(3).in_order_of("b"), job(4)]).await;

    let first = ports.claim(10).await;
    assert_eq!(numbers(&first), [1, 3, 4]);
    assert_eq!(ports.claim(10).await, []);
    let retried = How::Retried { after: Duration::from_mins(1), error: "it rains".to_owned() };
    assert_eq!(ports.settle([first[0].lease], retried).await, 0);
    assert_eq!(ports.claim(10).await, [], "it is not overtaken while it waits to be tried again");

    ports.time.pass(Duration::from_mins(1)).await;
    let again = ports.claim(10).await;
    assert_eq!(numbers(&again), [1]);
    assert_eq!(ports.settle([again[0].lease], How::Buried { error: "it floods".to_owned() }).await, 0);
    assert_eq!(numbers(&ports.claim(10).await), [2]);
}

/// Whoever writes and claims at the same time.
pub async fn jobs_in_order_never_overlap(ports: &Ports) {
    const WRITERS: u32 = 4;
    const EACH: u32 = 25;
    let mut writers = JoinSet::new();
    for w in 0..WRITERS {
        let ports = ports.clone();
        writers.spawn(async move {
            for n in 0..EACH {
                ports.write(&[job(w * EACH + n).in_order_of(format!("key {}", n % 2))]).await;
            }
        });
    }
    let mut claimers = JoinSet::new();
    for c in 1..=4 {
        let ports = ports.clone();
        claimers.spawn(async move {
            let mut spans = Vec::new();
            let mut idle = 0;
            while idle < 50 {
                let jobs = ports.claim_as(Class::Sound, c, 3).await;
                idle = if jobs.is_empty() { idle + 1 } else { 0 };
                if jobs.is_empty() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let held = ports.live().await;
                for job in &jobs {
                    let mine = held.iter().find(|live| live.id == job.id()).expect("it is held");
                    let same = held.iter().filter(|live| live.order_key == mine.order_key);
                    let others = same.filter(|live| live.id != mine.id && live.state != JobState::Waiting);
                    assert_eq!(others.count(), 0, "another job of the key runs");
                    spans.push((mine.order_key.clone(), job.id()));
                }
                assert_eq!(ports.settle(jobs.iter().map(|job| job.lease), How::Done).await, 0);
            }
            spans
        });
    }
    writers.join_all().await;
    let done: Vec<_> = claimers.join_all().await.into_iter().flatten().collect();

    assert_eq!(done.len(), (WRITERS * EACH) as usize);
    assert_eq!(ports.live().await, []);
}

/// It is neither left behind nor claimed too soon, however close the two meet.
pub async fn a_job_that_comes_while_the_one_before_it_goes_is_next(ports: &Ports) {
    const KEYS: u32 = 8;
    const ROUNDS: u32 = 25;
    let mut keys = JoinSet::new();
    for k in 1..=KEYS {
        let ports = ports.clone();
        keys.spawn(async move {
            let kind: JobKind = format!("test.work-{k}").parse().expect("a kind");
            let next = |n| [NewJob { kind: kind.clone(), ..job(n).in_order_of("key") }];
            let claim = Claim { kind: kind.clone(), ..claim_of(Class::Sound, worker(k), 10) };
            ports.write(&next(0)).await;
            for n in 0..ROUNDS {
                let held = ports.outbox.claim(&claim, now()).await.expect("the store works");
                assert_eq!(numbers(&held), [u64::from(n)]);
                let comes = next(n + 1);
                let ((), lost) = tokio::join!(ports.write(&comes), ports.settle([held[0].lease], How::Done));
                assert_eq!(lost, 0);
            }
        });
    }

    keys.join_all().await;
}

/// None of them fails, and none is left.
pub async fn writers_and_finishers_of_several_keys_do_not_stop_each_other(ports: &Ports) {
    const WRITERS: u32 = 4;
    const ROUNDS: u32 = 15;
    const KEYS: u32 = 5;
    let done = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for w in 0..WRITERS {
        let ports = ports.clone();
        tasks.spawn(async move {
            for n in 0..ROUNDS {
                let keys = (0..KEYS).map(|k| if w % 2 == 0 { k } else { KEYS - 1 - k });
                let jobs: Vec<_> = keys.map(|k| job(n).in_order_of(format!("key {k}"))).collect();
                ports.write(&jobs).await;
            }
        });
    }
    for c in 1..=3 {
        let (ports, done) = (ports.clone(), Arc::clone(&done));
        tasks.spawn(async move {
            while done.load(Ordering::SeqCst) < WRITERS * ROUNDS * KEYS {
                let jobs = ports.claim_as(Class::Sound, c, 10).await;
                let count = u32::try_from(jobs.len()).expect("ten at most");
                assert_eq!(ports.settle(jobs.iter().rev().map(|job| job.lease), How::Done).await, 0);
                done.fetch_add(count, Ordering::SeqCst);
            }
        });
    }
    tasks.join_all().await;

    assert_eq!(ports.live().await, []);
}

/// A handler gets what it can do.
pub async fn jobs_without_work_are_not_claimed_by_other_kinds(ports: &Ports) {
    ports.write(&[NewJob { kind: JobKind::named("test.other"), ..job(1) }]).await;

    assert_eq!(ports.claim(10).await, []);
    let other = Claim { kind: JobKind::named("test.other"), ..claim_of(Class::Sound, worker(1), 10) };
    assert_eq!(ports.outbox.claim(&other, now()).await.expect("the store works").len(), 1);
}
