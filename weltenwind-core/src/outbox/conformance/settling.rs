use super::{
    Class, Duration, How, JobId, KIND, Lease, Ports, Settlement, Step, finishing, job, now, numbers, request,
    step_with_key,
};
use crate::outbox::model::{ERROR_BYTES, JobState};

fn failed(minutes: u64, error: &str) -> How {
    How::Retried { after: Duration::from_mins(minutes), error: error.to_owned() }
}

/// And finishing it again finds nothing.
pub async fn a_done_job_is_gone(ports: &Ports) {
    let held = ports.held(1).await;

    assert_eq!(ports.settle([held.lease], How::Done).await, 0);
    assert_eq!(ports.settle([held.lease], How::Done).await, 1);
    assert_eq!(ports.live().await, []);
}

/// It says how often it failed and why.
pub async fn a_failed_job_waits_its_pause(ports: &Ports) {
    let held = ports.held(1).await;

    assert_eq!(ports.settle([held.lease], failed(10, "the mail server is away")).await, 0);

    assert_eq!(ports.claim(10).await, []);
    let waiting = ports.find(held.id()).await;
    assert_eq!((waiting.state, waiting.failures, waiting.crashes), (JobState::Waiting, 1, 0));
    assert_eq!(waiting.errors.len(), 1);
    assert_eq!(waiting.errors[0].error, "the mail server is away");
    ports.time.pass(Duration::from_mins(9)).await;
    assert_eq!(ports.claim(10).await, []);
    ports.time.pass(Duration::from_mins(1)).await;
    let again = ports.claim(10).await;
    assert_eq!((numbers(&again), again[0].failures), (vec![1], 1));
}

/// Eight of them, each of 2 KiB at most.
pub async fn the_newest_errors_of_a_job_are_kept(ports: &Ports) {
    ports.write(&[job(1)]).await;
    for n in 1..=10 {
        let held = ports.claim(1).await;
        let error = if n == 10 { "ü\0".repeat(3000) } else { format!("error {n}") };
        assert_eq!(ports.settle([held[0].lease], failed(0, &error)).await, 0);
    }

    let live = ports.live().await;
    let errors: Vec<_> = live[0].errors.iter().map(|mishap| mishap.error.as_str()).collect();
    assert_eq!(errors[..7], ["error 3", "error 4", "error 5", "error 6", "error 7", "error 8", "error 9"]);
    assert!(errors[7].starts_with('ü') && errors[7].len() <= ERROR_BYTES && errors.len() == 8);
    assert_eq!(live[0].failures, 10);
}

/// It was not tried.
pub async fn a_released_job_waits_as_before(ports: &Ports) {
    let held = ports.held(1).await;

    assert_eq!(ports.settle([held.lease], How::Released).await, 0);

    let again = ports.claim(10).await;
    assert_eq!((again[0].failures, again[0].crashes, again[0].lease.fence), (0, 0, 2));
}

/// With everything that was known of it.
pub async fn a_buried_job_is_dead(ports: &Ports) {
    ports.write(&[job(1).in_order_of("a").once_per("b")]).await;
    let held = ports.claim(1).await;
    assert_eq!(ports.settle([held[0].lease], failed(0, "first")).await, 0);
    let held = ports.claim(1).await;

    assert_eq!(ports.settle([held[0].lease], How::Buried { error: "last".to_owned() }).await, 0);

    assert_eq!(ports.live().await, []);
    let dead = ports.outbox.find_dead(held[0].id()).await.expect("the store works").expect("it is dead");
    assert_eq!((dead.id, &dead.kind, &dead.payload), (held[0].id(), &KIND, &held[0].payload));
    assert_eq!((dead.order_key.as_deref(), dead.dedupe_key.as_deref()), (Some("a"), Some("b")));
    assert_eq!((dead.failures, dead.crashes, dead.replay_of), (2, 0, None));
    assert_eq!(dead.errors.iter().map(|mishap| mishap.error.as_str()).collect::<Vec<_>>(), ["first", "last"]);
    assert_eq!((dead.created_at, dead.correlation_id), (held[0].created_at, request()));
    assert!(dead.died_at >= dead.created_at);
}

/// A slice whose jobs fared differently; what somebody else has stays as it is.
pub async fn one_call_settles_in_every_way(ports: &Ports) {
    ports.write(&(1..=5).map(job).collect::<Vec<_>>()).await;
    let held = ports.claim(5).await;
    let stale = Lease { fence: held[4].lease.fence - 1, ..held[4].lease };
    let ways = [How::Done, How::Released, failed(9, "later"), How::Buried { error: "never".to_owned() }, How::Done];
    let leases = [held[0].lease, held[1].lease, held[2].lease, held[3].lease, stale];
    let settlements: Vec<_> = leases.into_iter().zip(ways).map(|(lease, how)| Settlement { lease, how }).collect();

    let lost = ports.outbox.settle(&settlements, now()).await.expect("the store works");

    assert_eq!(lost, [stale]);
    let live = ports.live().await;
    let states: Vec<_> = live.iter().map(|job| (job.payload["n"].as_u64(), job.state == JobState::Waiting)).collect();
    assert_eq!(states, [(Some(2), true), (Some(3), true), (Some(5), false)]);
    assert!(ports.outbox.find_dead(held[3].id()).await.expect("the store works").is_some());
}

/// In one transaction.
pub async fn an_effect_and_the_end_of_its_job_are_one(ports: &Ports) {
    ports.write(&[job(1), job(2)]).await;
    let held = ports.claim(10).await;

    ports.make(&finishing(held.iter().map(|job| job.lease)), 1).await.expect("the jobs are held");

    assert!(ports.live().await.is_empty() && ports.has_world(1).await);
}

/// Whoever was away for too long has done nothing.
pub async fn an_effect_under_a_lost_lease_is_rolled_back(ports: &Ports) {
    let late = ports.held(1).await;
    ports.crash().await;

    ports.make(&finishing([late.lease]), 1).await.expect_err("the lease has ended");
    assert!(!ports.has_world(1).await, "nobody has the job yet");

    let other = ports.claim_as(Class::Suspect, 2, 1).await;
    ports.make(&finishing([late.lease]), 2).await.expect_err("somebody else has the job");
    ports.make(&finishing([other[0].lease]), 3).await.expect("the job is held");
    ports.make(&finishing([late.lease]), 4).await.expect_err("the job is done");
    ports.make(&finishing([other[0].lease]), 5).await.expect_err("the job is done");

    let made = [ports.has_world(2).await, ports.has_world(3).await, ports.has_world(4).await, ports.has_world(5).await];
    assert_eq!(made, [false, true, false, false]);
}

/// The effect is that of all its jobs.
pub async fn one_lost_lease_rolls_the_whole_slice_back(ports: &Ports) {
    ports.write(&[job(1), job(2)]).await;
    let held = ports.claim(10).await;
    assert_eq!(ports.settle([held[0].lease], How::Released).await, 0);

    ports.make(&finishing(held.iter().map(|job| job.lease)), 1).await.expect_err("one is no longer held");

    assert!(!ports.has_world(1).await);
    assert_eq!(ports.live().await.len(), 2);
    assert_eq!(ports.settle([held[1].lease], How::Done).await, 0, "the other is held as before");
}

/// The first attempt was killed behind its commit, or the step bears a key that another way has used.
pub async fn an_effect_that_was_there_before_ends_its_job(ports: &Ports) {
    ports.make(&step_with_key(0, 1), 1).await.expect("the slug is free");
    let held = ports.held(1).await;

    let again = Step { effect_key: step_with_key(0, 1).effect_key, ..finishing([held.lease]) };
    ports.make(&again, 1).await.expect("it is answered");

    assert_eq!(ports.live().await, []);
    let held = ports.held(2).await;
    let nothing = ports.outbox.replay(&finishing([held.lease]), JobId::new(4711)).await;
    assert_eq!(nothing.expect("the store works"), None);
    assert_eq!(ports.live().await, [], "a step that finds nothing to do ends its job, too");
}

/// So long work goes on from where it was, in slices that each happen once.
pub async fn a_job_can_follow_from_the_end_of_another(ports: &Ports) {
    ports.write(&[job(1).once_per("work").in_order_of("work")]).await;
    let held = ports.claim(1).await;

    let next = job(2).once_per("work").in_order_of("work");
    ports.make(&finishing([held[0].lease]).with_jobs([next]), 1).await.expect("the job is held");

    assert_eq!(numbers(&ports.claim(10).await), [2]);
    assert_eq!(ports.live().await.len(), 1);
}

/// Not by finishing it, not by failing it, not by giving it back.
pub async fn whoever_lost_a_job_changes_nothing(ports: &Ports) {
    let late = ports.held(1).await;
    ports.crash().await;
    let other = ports.claim_as(Class::Suspect, 2, 1).await;
    let before = ports.find(late.id()).await;

    for how in [How::Done, How::Released, failed(9, "late"), How::Buried { error: "late".to_owned() }] {
        assert_eq!(ports.settle([late.lease], how).await, 1);
    }

    assert_eq!(ports.find(late.id()).await, before);
    assert_eq!(ports.settle([other[0].lease], How::Done).await, 0);
}
