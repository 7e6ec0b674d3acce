use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Duration, How, JobId, JobKind, KIND, NewJob, NewWorld, Ports, Step, job, now, numbers, step, step_with_key, world,
};
use crate::outbox::model::Due;

/// With everything that was written of it.
pub async fn a_job_exists_once_its_step_is_committed(ports: &Ports) {
    let written = NewJob::new(KIND, json!({ "n": 1, "text": "wind, Wind & \"Wïnd\"", "list": [1, null, true] }));
    let step = Step { at: now(), ..step(0) }.with_jobs([written.clone(), job(2).in_order_of("a").once_per("b")]);
    ports.make(&step, 1).await.expect("the slug is free");

    let live = ports.live().await;
    assert_eq!(live.iter().map(|job| job.order_key.as_deref()).collect::<Vec<_>>(), [None, Some("a")]);
    assert_eq!(live.iter().map(|job| job.dedupe_key.as_deref()).collect::<Vec<_>>(), [None, Some("b")]);
    let claimed = ports.claim(10).await;

    assert_eq!(numbers(&claimed), [1, 2]);
    let first = &claimed[0];
    assert_eq!((&first.kind, &first.payload, &first.correlation_id), (&KIND, &written.payload, &step.correlation_id));
    assert_eq!((first.failures, first.crashes, first.lease.fence), (0, 0, 1));
    assert!(first.created_at.duration_since(now()).abs() < jiff::SignedDuration::from_mins(1));
}

/// Everything or nothing.
pub async fn a_refused_step_leaves_no_job(ports: &Ports) {
    ports.make(&step(0), 1).await.expect("the slug is free");

    let taken = NewWorld { slug: world(1).slug, ..world(2) };
    ports.worlds.create(&step(0).with_jobs([job(1)]), &taken).await.expect_err("the slug is taken");

    assert_eq!(ports.live().await, []);
}

/// The answer got lost.
pub async fn a_repeated_effect_key_writes_its_jobs_once(ports: &Ports) {
    for _ in 0..2 {
        ports.make(&step_with_key(0, 1).with_jobs([job(1)]), 1).await.expect("it is answered");
    }

    assert_eq!(ports.live().await.len(), 1);
}

/// A job follows from a change.
pub async fn a_step_that_changes_nothing_leaves_no_job(ports: &Ports) {
    let replayed = ports.outbox.replay(&step(0).with_jobs([job(1)]), JobId::new(4711)).await;

    assert_eq!(replayed.expect("the store works"), None);
    assert_eq!(ports.live().await, []);
}

/// It is refused where it is written, and not where it is read.
pub async fn a_job_that_is_too_large_fails_its_step(ports: &Ports) {
    // Nothing that compresses: it is measured as it is kept.
    let words = (0..6000_u32).map(|n| n.wrapping_mul(0x9e37_79b9) ^ n.rotate_left(7).wrapping_mul(0x85eb_ca6b));
    let noise: Vec<String> = words.map(|word| format!("{word:08x}{:08x}", word.wrapping_mul(0xc2b2_ae35))).collect();
    let large = NewJob::new(KIND, json!({ "text": noise.concat() }));

    ports.make(&step(0).with_jobs([large]), 1).await.expect_err("it is larger than 64 KiB");

    assert!(ports.live().await.is_empty() && !ports.has_world(1).await);
}

/// And the sooner instant counts.
pub async fn jobs_that_wait_under_one_key_are_one(ports: &Ports) {
    let later = |n, minutes| job(n).once_per("key").due(Due::After(Duration::from_mins(minutes)));
    ports.write(&[later(1, 10), later(2, 20), job(3).once_per("other key")]).await;
    let hour = ports.live().await[0].run_at;
    ports.write(&[later(4, 5)]).await;

    let live = ports.live().await;
    assert_eq!(live.iter().map(|job| job.payload["n"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(3)]);
    assert!(live[0].run_at < hour);
    ports.write(&[NewJob { kind: JobKind::named("test.other"), ..later(5, 1) }]).await;
    assert_eq!(ports.live().await.len(), 3, "a key stands for one job of each kind");
}

/// It may have read what there was before.
pub async fn a_job_that_runs_folds_nothing_into_itself(ports: &Ports) {
    ports.write(&[job(1).once_per("key")]).await;
    let running = ports.claim(1).await;

    ports.write(&[job(2).once_per("key"), job(3).once_per("key")]).await;

    let waiting = ports.claim(10).await;
    assert_eq!((numbers(&running), numbers(&waiting)), (vec![1], vec![2]));
    let error = "once more".to_owned();
    let again = How::Retried { after: Duration::ZERO, error };
    assert_eq!(ports.settle([running[0].lease, waiting[0].lease], again).await, 0, "both can wait again");
    assert_eq!(ports.live().await.len(), 2);
}

/// Every writer's effect is seen by the job that is left.
pub async fn writers_at_once_under_one_key_leave_one_job(ports: &Ports) {
    let mut writers = JoinSet::new();
    for n in 1..=20 {
        let ports = ports.clone();
        let jobs = [job(n).once_per("key"), job(n).once_per(format!("key of {}", n % 2))];
        let jobs = if n % 2 == 0 { jobs.into_iter().rev().collect::<Vec<_>>() } else { jobs.to_vec() };
        writers.spawn(async move { ports.make(&Step { at: now(), ..step(0) }.with_jobs(jobs), n).await });
    }
    for made in writers.join_all().await {
        made.expect("nobody is refused");
    }

    assert_eq!(ports.live().await.len(), 3);
}
