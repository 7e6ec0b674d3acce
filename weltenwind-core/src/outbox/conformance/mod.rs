//! What every [`OutboxStore`], and the ports whose steps write and finish jobs, must do: plain functions, each named as the
//! sentence it proves.
//!
//! [`outbox_store_conformance!`](crate::outbox_store_conformance) makes a test of each.

mod claiming;
mod dead;
mod leasing;
mod settling;
mod timing;
mod writing;

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::json;

pub use self::{claiming::*, dead::*, leasing::*, settling::*, timing::*, writing::*};
use super::{
    model::{Claim, Class, How, Job, JobId, JobKind, JobQuery, Lease, LiveJob, NewJob, Settlement},
    store::OutboxStore,
};
use crate::{
    accounts::conformance::{at, id, step, step_with_key},
    actor::CorrelationId,
    clock::{Clock, SystemClock, Timestamp},
    ids::WorkerId,
    page::{Limit, Page},
    step::Step,
    worlds::{NewWorld, WorldError, WorldStore, conformance::new as world},
};

/// Lets time pass for jobs: a store that goes by a clock of its own cannot be given another one, but what stands on its rows
/// can be moved into the past.
#[async_trait]
pub trait Passing: Debug + Send + Sync {
    /// Moves every instant of jobs, leases and schedules so far into the past.
    async fn pass(&self, by: Duration);
}

/// The port under test, one whose steps write and finish jobs, and the way to let time pass.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Jobs.
    pub outbox: Arc<dyn OutboxStore>,
    /// Worlds, as an effect that is there or is not.
    pub worlds: Arc<dyn WorldStore>,
    /// Time.
    pub time: Arc<dyn Passing>,
}

/// Makes a test of every case of [`conformance`](crate::outbox::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::outbox_store_conformance!(my_fixture());
/// }
/// ```
#[macro_export]
macro_rules! outbox_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::outbox_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_job_exists_once_its_step_is_committed
            a_refused_step_leaves_no_job
            a_repeated_effect_key_writes_its_jobs_once
            a_step_that_changes_nothing_leaves_no_job
            a_job_that_is_too_large_fails_its_step
            jobs_that_wait_under_one_key_are_one
            a_job_that_runs_folds_nothing_into_itself
            writers_at_once_under_one_key_leave_one_job
            jobs_are_claimed_oldest_first_and_no_more_than_asked_for
            a_claimed_job_is_nobody_elses
            claimers_at_once_share_the_jobs
            jobs_in_order_run_one_after_the_other
            jobs_in_order_never_overlap
            a_job_that_comes_while_the_one_before_it_goes_is_next
            writers_and_finishers_of_several_keys_do_not_stop_each_other
            jobs_without_work_are_not_claimed_by_other_kinds
            a_done_job_is_gone
            a_failed_job_waits_its_pause
            the_newest_errors_of_a_job_are_kept
            a_released_job_waits_as_before
            a_buried_job_is_dead
            one_call_settles_in_every_way
            an_effect_and_the_end_of_its_job_are_one
            an_effect_under_a_lost_lease_is_rolled_back
            one_lost_lease_rolls_the_whole_slice_back
            an_effect_that_was_there_before_ends_its_job
            a_job_can_follow_from_the_end_of_another
            whoever_lost_a_job_changes_nothing
            a_lease_that_ends_is_taken_back
            a_renewed_lease_is_kept
            a_lease_that_was_lost_is_told
            no_renewal_outlives_the_deadline
            a_job_that_crashes_too_often_is_dead
            suspects_are_claimed_apart
            fences_are_never_set_back
            sweepers_at_once_count_one_crash
            a_dead_job_is_replayed_under_a_new_number
            a_replayed_job_folds_into_one_that_waits
            a_repeated_effect_key_replays_once
            dead_jobs_are_purged_by_age
            jobs_and_the_dead_are_listed
            what_a_job_waits_for_is_found
            jobs_for_later_wait
            what_there_is_is_counted
            a_schedule_is_moved_on_by_one
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::outbox_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::outbox::conformance::$case(&ports).await;
        }
    };
}

const KIND: JobKind = JobKind::named("test.work");
const LEASE: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_mins(5);
const MAX_CRASHES: u32 = 3;

/// Job `n` of the kind that the cases use.
fn job(n: u32) -> NewJob {
    NewJob::new(KIND, json!({ "n": n }))
}

fn worker(n: u32) -> WorkerId {
    WorkerId::new(id(n))
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn request() -> CorrelationId {
    CorrelationId::accept("conformance").expect("the text fits")
}

const fn claim_of(class: Class, by: WorkerId, limit: u16) -> Claim {
    Claim { kind: KIND, class, worker: by, limit, lease: LEASE, deadline: DEADLINE, max_crashes: MAX_CRASHES }
}

/// Which job of [`job`] it is.
fn number(job: &Job) -> u64 {
    job.payload["n"].as_u64().expect("a number")
}

fn numbers(jobs: &[Job]) -> Vec<u64> {
    jobs.iter().map(number).collect()
}

/// A step that happens now and finishes jobs.
fn finishing(leases: impl IntoIterator<Item = Lease>) -> Step {
    Step { at: now(), finishes: leases.into_iter().collect(), ..step(0) }
}

impl Ports {
    async fn write(&self, jobs: &[NewJob]) {
        self.outbox.enqueue(jobs, &request(), now()).await.expect("the store works");
    }

    async fn claim_as(&self, class: Class, by: u32, limit: u16) -> Vec<Job> {
        self.outbox.claim(&claim_of(class, worker(by), limit), now()).await.expect("the store works")
    }

    /// Claims sound jobs as worker 1.
    async fn claim(&self, limit: u16) -> Vec<Job> {
        self.claim_as(Class::Sound, 1, limit).await
    }

    /// Writes job `n` and claims it as worker 1.
    async fn held(&self, n: u32) -> Job {
        self.write(&[job(n)]).await;
        self.claim(1).await.pop().expect("the job is due")
    }

    /// Settles, and returns how many leases were lost.
    async fn settle(&self, leases: impl IntoIterator<Item = Lease>, how: How) -> usize {
        let settlements: Vec<_> = leases.into_iter().map(|lease| Settlement { lease, how: how.clone() }).collect();
        self.outbox.settle(&settlements, now()).await.expect("the store works").len()
    }

    async fn make(&self, step: &Step, n: u32) -> Result<(), WorldError> {
        self.worlds.create(step, &world(n)).await.map(drop)
    }

    async fn has_world(&self, n: u32) -> bool {
        let NewWorld { id, .. } = world(n);
        self.worlds.find(id).await.expect("the store works").is_some()
    }

    async fn live(&self) -> Vec<LiveJob> {
        let query = JobQuery { limit: Limit::MAX, ..JobQuery::default() };
        let Page { items, .. } = self.outbox.page(&query).await.expect("the store works");
        items
    }

    async fn find(&self, id: JobId) -> LiveJob {
        self.outbox.find(id).await.expect("the store works").expect("the job")
    }

    /// Lets a lease run out, and takes back what was held.
    async fn crash(&self) -> super::model::Swept {
        self.time.pass(LEASE).await;
        self.outbox.sweep(500, now()).await.expect("the store works")
    }
}
