use tokio::task::JoinSet;

use super::{Class, Duration, How, Job, LEASE, Lease, MAX_CRASHES, Ports, job, now, numbers, worker};
use crate::outbox::model::{JobState, Renewal, Swept};

fn renewal(job: &Job) -> Renewal {
    Renewal { lease: job.lease, by: LEASE }
}

impl Ports {
    async fn renew(&self, job: &Job) -> Vec<Lease> {
        self.outbox.renew(&[renewal(job)], now()).await.expect("the store works")
    }

    async fn sweep(&self) -> Swept {
        self.outbox.sweep(500, now()).await.expect("the store works")
    }
}

/// And says why.
pub async fn a_lease_that_ends_is_taken_back(ports: &Ports) {
    let held = ports.held(1).await;
    ports.time.pass(LEASE / 2).await;
    assert_eq!(ports.sweep().await, Swept::default());

    ports.time.pass(LEASE / 2).await;

    assert_eq!(ports.sweep().await, Swept { returned: 1, buried: 0 });
    assert_eq!(ports.sweep().await, Swept::default());
    let waiting = ports.find(held.id()).await;
    assert_eq!((waiting.state, waiting.failures, waiting.crashes), (JobState::Waiting, 0, 1));
    assert!(waiting.errors[0].error.contains(&worker(1).to_string()), "{:?}", waiting.errors);
}

/// For as long as its worker tells of itself.
pub async fn a_renewed_lease_is_kept(ports: &Ports) {
    let held = ports.held(1).await;

    for _ in 0..5 {
        ports.time.pass(LEASE * 2 / 3).await;
        assert_eq!(ports.renew(&held).await, []);
        assert_eq!(ports.sweep().await, Swept::default());
    }

    assert_eq!(ports.settle([held.lease], How::Done).await, 0);
}

/// To whom has lost it; a job that is done is not lost.
pub async fn a_lease_that_was_lost_is_told(ports: &Ports) {
    ports.write(&[job(1), job(2), job(3)]).await;
    let held = ports.claim(3).await;
    assert_eq!(ports.settle([held[0].lease], How::Done).await, 0);
    assert_eq!(ports.settle([held[1].lease], How::Released).await, 0);
    assert_eq!(numbers(&ports.claim_as(Class::Sound, 2, 3).await), [2]);

    let renewals: Vec<_> = held.iter().map(renewal).collect();
    let lost = ports.outbox.renew(&renewals, now()).await.expect("the store works");

    assert_eq!(lost, [held[1].lease]);
    ports.crash().await;
    assert_eq!(ports.renew(&held[2]).await, [held[2].lease]);
}

/// A handler that hangs is no reason to wait for ever, though its process tells of itself.
pub async fn no_renewal_outlives_the_deadline(ports: &Ports) {
    let held = ports.held(1).await;
    for _ in 0..14 {
        ports.time.pass(LEASE * 2 / 3).await;
        assert_eq!(ports.renew(&held).await, []);
    }

    ports.time.pass(LEASE * 2 / 3).await;

    assert_eq!(ports.renew(&held).await, [held.lease]);
    assert_eq!(ports.sweep().await, Swept { returned: 1, buried: 0 });
    assert!(ports.find(held.id()).await.errors[0].error.contains("deadline"));
}

/// Its payload may be what ends the processes. The limit stands on the row, so that whoever sweeps needs no policy.
pub async fn a_job_that_crashes_too_often_is_dead(ports: &Ports) {
    let first = ports.held(1).await;
    assert_eq!(ports.crash().await, Swept { returned: 1, buried: 0 });
    for _ in 2..MAX_CRASHES {
        assert_eq!(ports.claim_as(Class::Suspect, 1, 1).await.len(), 1);
        assert_eq!(ports.crash().await, Swept { returned: 1, buried: 0 });
    }
    assert_eq!(ports.claim_as(Class::Suspect, 1, 1).await.len(), 1);

    assert_eq!(ports.crash().await, Swept { returned: 0, buried: 1 });

    let dead = ports.outbox.find_dead(first.id()).await.expect("the store works").expect("it is dead");
    assert_eq!((dead.failures, dead.crashes, dead.errors.len()), (0, MAX_CRASHES, MAX_CRASHES as usize));
    assert_eq!(ports.live().await, []);
}

/// So that the one to blame is alone the next time.
pub async fn suspects_are_claimed_apart(ports: &Ports) {
    ports.write(&[job(1), job(2)]).await;
    ports.claim(2).await;
    ports.crash().await;
    ports.write(&[job(3)]).await;

    assert_eq!(numbers(&ports.claim_as(Class::Sound, 1, 10).await), [3]);
    assert_eq!(numbers(&ports.claim_as(Class::Suspect, 1, 1).await), [1]);
    assert_eq!(numbers(&ports.claim_as(Class::Suspect, 1, 10).await), [2]);
}

/// A number that comes again would let in whoever held it before.
pub async fn fences_are_never_set_back(ports: &Ports) {
    let mut fences = vec![ports.held(1).await.lease.fence];
    let held = |jobs: Vec<Job>| jobs.first().expect("the job waits").lease;
    ports.crash().await;
    let lease = held(ports.claim_as(Class::Suspect, 1, 1).await);
    fences.push(lease.fence);
    ports.settle([lease], How::Released).await;
    let lease = held(ports.claim_as(Class::Suspect, 1, 1).await);
    fences.push(lease.fence);
    ports.settle([lease], How::Retried { after: Duration::ZERO, error: String::new() }).await;
    fences.push(held(ports.claim_as(Class::Suspect, 1, 1).await).fence);

    assert_eq!(fences, [1, 2, 3, 4]);
}

/// Every process sweeps.
pub async fn sweepers_at_once_count_one_crash(ports: &Ports) {
    ports.write(&(1..=100).map(job).collect::<Vec<_>>()).await;
    ports.claim(100).await;
    ports.time.pass(LEASE).await;

    let mut sweepers = JoinSet::new();
    for _ in 0..8 {
        let ports = ports.clone();
        sweepers.spawn(async move { ports.sweep().await.returned });
    }
    let returned: u64 = sweepers.join_all().await.into_iter().sum();

    assert_eq!(returned, 100);
    assert!(ports.live().await.iter().all(|job| job.crashes == 1));
}
