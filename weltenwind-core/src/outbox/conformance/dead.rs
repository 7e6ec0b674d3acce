use super::{
    Duration, How, JobId, JobKind, JobQuery, Limit, NewJob, Ports, Step, job, now, numbers, step, step_with_key,
};

impl Ports {
    /// Writes a job and buries it.
    async fn bury(&self, job: NewJob) -> JobId {
        self.write(&[job]).await;
        let held = self.claim(1).await;
        self.settle([held[0].lease], How::Buried { error: "it floods".to_owned() }).await;
        held[0].id()
    }

    async fn replay(&self, step: &Step, id: JobId) -> Option<JobId> {
        self.outbox.replay(step, id).await.expect("the store works")
    }

    async fn dead(&self) -> Vec<JobId> {
        let query = JobQuery { limit: Limit::MAX, ..JobQuery::default() };
        let page = self.outbox.page_dead(&query).await.expect("the store works");
        page.items.iter().map(|dead| dead.id).collect()
    }
}

/// And begins anew; its fence with it, so nobody can hold an old one.
pub async fn a_dead_job_is_replayed_under_a_new_number(ports: &Ports) {
    let dead = ports.bury(job(1).in_order_of("a").once_per("b")).await;

    let replayed = ports.replay(&Step { at: now(), ..step(0) }, dead).await.expect("it is dead");

    assert_ne!(replayed, dead);
    assert_eq!(ports.dead().await, []);
    let live = ports.find(replayed).await;
    assert_eq!((live.replay_of, live.failures, live.crashes, live.errors.len()), (Some(dead), 0, 0, 0));
    assert_eq!((live.order_key.as_deref(), live.dedupe_key.as_deref()), (Some("a"), Some("b")));
    assert_eq!(numbers(&ports.claim(10).await), [1]);
    assert_eq!(ports.replay(&step(0), dead).await, None, "it is dead no longer");
}

/// There is one under a key.
pub async fn a_replayed_job_folds_into_one_that_waits(ports: &Ports) {
    let dead = ports.bury(job(1).once_per("key")).await;
    ports.write(&[job(2).once_per("key")]).await;
    let waiting = ports.live().await[0].id;

    assert_eq!(ports.replay(&Step { at: now(), ..step(0) }, dead).await, Some(waiting));

    assert_eq!((ports.live().await.len(), ports.dead().await.len()), (1, 0));
}

/// The answer got lost.
pub async fn a_repeated_effect_key_replays_once(ports: &Ports) {
    let dead = ports.bury(job(1)).await;

    let answers = [ports.replay(&step_with_key(0, 1), dead).await, ports.replay(&step_with_key(1, 1), dead).await];

    assert!(answers[0].is_some() && answers[0] == answers[1]);
    assert_eq!(ports.live().await.len(), 1);
}

/// Oldest first, no more than asked for.
pub async fn dead_jobs_are_purged_by_age(ports: &Ports) {
    for n in 1..=3 {
        ports.bury(job(n)).await;
        ports.time.pass(Duration::from_hours(1)).await;
    }
    let purge = async |minutes: i64, limit| {
        let before = now() - jiff::SignedDuration::from_mins(minutes);
        ports.outbox.purge_dead(before, limit).await.expect("the store works")
    };

    assert_eq!(purge(200, 10).await, 0);
    assert_eq!(purge(90, 1).await, 1);
    assert_eq!(purge(90, 10).await, 1);
    assert_eq!(ports.dead().await.len(), 1);
}

/// In order of their numbers, page by page, of one kind or of all.
pub async fn jobs_and_the_dead_are_listed(ports: &Ports) {
    let other = JobKind::named("test.other");
    for n in 1..=3 {
        ports.bury(job(n)).await;
    }
    ports.write(&[job(4), NewJob { kind: other.clone(), ..job(5) }, job(6)]).await;
    let first = JobQuery { limit: Limit::new(2).expect("a limit"), ..JobQuery::default() };

    let page = ports.outbox.page_dead(&first).await.expect("the store works");
    let behind = JobQuery { after: page.next(|dead| dead.id), ..first.clone() };
    let rest = ports.outbox.page_dead(&behind).await.expect("the store works");
    assert_eq!((page.items.len(), page.more, rest.items.len(), rest.more), (2, true, 1, false));

    let page = ports.outbox.page(&first).await.expect("the store works");
    let behind = JobQuery { after: page.next(|job| job.id), ..first.clone() };
    let rest = ports.outbox.page(&behind).await.expect("the store works");
    assert_eq!((page.items.len(), page.more, rest.items.len(), rest.more), (2, true, 1, false));
    let of_kind = JobQuery { kind: Some(other), ..first };
    let page = ports.outbox.page(&of_kind).await.expect("the store works");
    assert_eq!(page.items.iter().map(|job| job.payload["n"].as_u64()).collect::<Vec<_>>(), [Some(5)]);
    assert_eq!(ports.outbox.page_dead(&of_kind).await.expect("the store works").items, []);
}

/// The oldest of its kind and order key.
pub async fn what_a_job_waits_for_is_found(ports: &Ports) {
    let foreign = NewJob { kind: JobKind::named("test.other"), ..job(0).in_order_of("a") };
    ports.write(&[foreign, job(1).in_order_of("a"), job(2).in_order_of("a"), job(3).in_order_of("a"), job(4)]).await;
    let live = ports.live().await;

    let mut blockers = Vec::new();
    for job in &live {
        let blocker = ports.outbox.blocker(job.id).await.expect("the store works");
        blockers.push(blocker.map(|blocker| blocker.payload["n"].as_u64().expect("a number")));
    }

    assert_eq!(blockers, [None, None, Some(1), Some(1), None]);
}
