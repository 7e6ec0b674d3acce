//! `weltenwind bench access`: how long it takes to decide whether somebody may do something, and what it costs to remember.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use clap::Args;
use serde::Serialize;
use weltenwind_core::{
    AccountId, Actor, Clock, CorrelationId, GrantId, ManualClock, Page, Principal, Revision, Scope, ServiceConfig,
    Services, Sources, Step, StorageError, SystemClock, SystemIds, Timestamp, WorldId,
    access::{
        AccessControlService, AccessError, Grant, GrantDraft, GrantQuery, GrantStore, Member, MemberQuery, NewGrant,
        Permission, Place, Role, RoleAccess,
    },
    accounts::{AccountKind, DeviceDraft, DisplayName},
    worlds::{Description, JoinPolicy, Slug, Visibility, World, WorldDraft, WorldName},
};

use weltenwind_storage::StorageConfig;

use super::Waits;
use crate::{failure::Failure, output::Output, store::unopened};

#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// Accounts that are remembered at once.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    accounts: u32,
    /// Worlds in which each of them holds a role.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    scopes: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

/// One row of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    decision: &'static str,
    threads: u32,
    decisions_per_second: u64,
    /// The time of one thread for one decision, on average.
    nanoseconds: u64,
    /// Of those that read the store; one in memory is too short to be timed by itself.
    p99_ms: Option<f64>,
    /// How often the store was asked meanwhile, where that is counted.
    reads: Option<u64>,
}

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    rows: Vec<Measured>,
    accounts: u32,
    scopes: u32,
    /// What the process has grown by while it came to know them.
    resident_mib: Option<f64>,
}

/// Decisions between two looks at the clock.
const ROUND: usize = 1000;
/// Accounts that ask in turn where there are many: more than a processor's cache holds.
const MANY: usize = 10_000;
/// Accounts that are made in the real store.
const STORED: usize = 50;

pub(crate) async fn run(args: &AccessArgs, storage: &StorageConfig, output: Output) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let (resident_mib, access, reads, town) = remember(args).await?;
    for (askers, threads) in [(1, 1), (MANY, 1), (1, 2), (MANY, 2)] {
        let town = Arc::clone(&town);
        let (access, before) = (Arc::clone(&access), reads.load(Ordering::Relaxed));
        let what = if askers == 1 { "hit, one account" } else { "hit, many accounts" };
        let (decided, took) = decide(args, access, &town, askers, threads).await?;
        let read = reads.load(Ordering::Relaxed) - before;
        rows.push(measured(what, threads, decided, took, None, Some(read)));
    }
    rows.push(misses(args, storage).await?);
    let answer = Answer { rows, accounts: args.accounts, scopes: args.scopes, resident_mib };
    output.value(&answer, table)
}

/// The rows, and what it costs to remember.
fn table(answer: &Answer) -> String {
    let mut lines = vec![format!(
        "{:<20}{:>8}{:>14}{:>14}{:>10}{:>8}",
        "DECISION", "THREADS", "DECISIONS/S", "NS/DECISION", "P99 MS", "READS"
    )];
    for row in &answer.rows {
        let p99 = row.p99_ms.map_or_else(String::new, |ms| format!("{ms:.2}"));
        let reads = row.reads.map_or_else(String::new, |reads| reads.to_string());
        let Measured { decision, threads, decisions_per_second: rate, nanoseconds, .. } = row;
        lines.push(format!("{decision:<20}{threads:>8}{rate:>14}{nanoseconds:>14}{p99:>10}{reads:>8}"));
    }
    if let Some(mib) = answer.resident_mib {
        let Answer { accounts, scopes, .. } = answer;
        lines.push(format!("{accounts} accounts with roles in {scopes} worlds each are remembered in {mib:.1} MiB"));
    }
    lines.join("\n")
}

/// Grants that are worked out from the account, so that what is measured is what decisions remember, and not what a store
/// in memory would hold.
#[derive(Debug)]
struct WorkedOut {
    scopes: u32,
    reads: Arc<AtomicU64>,
}

fn unused<T>() -> Result<T, StorageError> {
    Err(StorageError::permanent("read grants that are worked out", "the bench asks for nothing else"))
}

#[async_trait]
impl GrantStore for WorkedOut {
    async fn of(&self, account: AccountId, at: Timestamp) -> Result<Vec<Grant>, StorageError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let grant = |n| Grant {
            id: GrantId::new(account.uuid()),
            account,
            role: Role::WorldMember,
            scope: Scope::World(world_of(account, n)),
            granted_by: None,
            reason: None,
            expires_at: None,
            created_at: at,
        };
        Ok((0..self.scopes).map(grant).collect())
    }

    async fn find(&self, _: GrantId) -> Result<Option<Grant>, StorageError> {
        unused()
    }

    async fn page(&self, _: &GrantQuery) -> Result<Page<Grant>, StorageError> {
        unused()
    }

    async fn grant(&self, _: &Step, _: &NewGrant) -> Result<Grant, AccessError> {
        Ok(unused()?)
    }

    async fn revoke(&self, _: &Step, _: GrantId) -> Result<Grant, AccessError> {
        Ok(unused()?)
    }

    async fn revoke_all(&self, _: &Step, _: AccountId, _: Scope) -> Result<(), AccessError> {
        Ok(unused()?)
    }

    async fn members(&self, _: &MemberQuery) -> Result<Page<Member>, StorageError> {
        unused()
    }
}

fn account(n: u32) -> AccountId {
    // Spread as random bits are.
    AccountId::new(uuid::Uuid::from_u128((u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

fn world_of(account: AccountId, n: u32) -> WorldId {
    WorldId::new(uuid::Uuid::from_u128(account.uuid().as_u128().wrapping_add(u128::from(n) + 1)))
}

/// A world that is closed, so that a role decides.
fn place_of(id: WorldId) -> Result<Place, Failure> {
    let made = Timestamp::UNIX_EPOCH;
    let world = World {
        id,
        slug: Slug::new("bench")?,
        name: WorldName::new("Bench")?,
        description: Description::new("")?,
        visibility: Visibility::Private,
        join_policy: JoinPolicy::Invite,
        revision: Revision::FIRST,
        created_at: made,
        updated_at: made,
        archived_at: None,
    };
    Ok(Place::world(&world))
}

fn actor_of(account: AccountId) -> Result<Actor, Failure> {
    let principal = Principal { account, kind: AccountKind::Registered, display_name: DisplayName::new("Bench")? };
    Ok(Actor::account(principal, CorrelationId::draw(&SystemIds)))
}

type Town = Arc<[(Actor, Place)]>;
type Remembering = (Option<f64>, Arc<RoleAccess>, Arc<AtomicU64>, Town);

/// Has every account decided about once, and answers what the process has grown by.
async fn remember(args: &AccessArgs) -> Result<Remembering, Failure> {
    let reads = Arc::new(AtomicU64::new(0));
    let store = Arc::new(WorkedOut { scopes: args.scopes, reads: Arc::clone(&reads) });
    // The clock stands still: what is remembered is neither forgotten nor read again while it is looked at.
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let access = Arc::new(RoleAccess::new(store, clock));
    let mut town = Vec::new();
    for n in 0..args.accounts.min(u32::try_from(MANY).unwrap_or(u32::MAX)) {
        let account = account(n);
        town.push((actor_of(account)?, place_of(world_of(account, n % args.scopes))?));
    }
    let before = resident_mib();
    for n in 0..args.accounts {
        let account = account(n);
        let place = place_of(world_of(account, 0))?;
        if !access.allows(&actor_of(account)?, Permission::ChatPost, &place).await? {
            return Err(Failure::failed("a member may not post in the bench's own world"));
        }
    }
    let grown = before.zip(resident_mib()).map(|(before, after)| after - before);
    Ok((grown, access, reads, town.into()))
}

/// What the process holds in memory; unknown where the system does not say.
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// Decides about accounts that are remembered until the time is over, and answers how often.
async fn decide(
    args: &AccessArgs,
    access: Arc<RoleAccess>,
    town: &Town,
    askers: usize,
    threads: u32,
) -> Result<(u64, Duration), Failure> {
    let (town, time) = (Arc::clone(town), Duration::from_secs(args.seconds));
    let askers = askers.min(town.len());
    let begun = Instant::now();
    let deciding = move || {
        let mut deciding = Vec::new();
        for n in 0..threads as usize {
            let (access, town) = (Arc::clone(&access), Arc::clone(&town));
            deciding.push(thread::spawn(move || decide_alone(&*access, &town[..askers], n * askers / 2, time)));
        }
        deciding.into_iter().map(|thread| thread.join().unwrap_or(0)).sum::<u64>()
    };
    let decided = tokio::task::spawn_blocking(deciding).await;
    let decided = decided.map_err(|error| Failure::failed(format!("a thread ended badly: {error}")))?;
    Ok((decided, begun.elapsed()))
}

fn decide_alone(access: &dyn AccessControlService, town: &[(Actor, Place)], start: usize, time: Duration) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    runtime.block_on(async {
        let (begun, mut at, mut decided) = (Instant::now(), start, 0);
        while begun.elapsed() < time {
            for _ in 0..ROUND {
                let (actor, place) = &town[at % town.len()];
                let decision = access.decide(actor, Permission::ChatPost, place).await;
                if !black_box(decision).is_ok_and(|decision| decision.allowed) {
                    return 0;
                }
                at += 1;
            }
            decided += ROUND as u64;
        }
        decided
    })
}

/// Forgets before each decision, over a real store.
async fn misses(args: &AccessArgs, storage: &StorageConfig) -> Result<Measured, Failure> {
    let stores = weltenwind_storage::open(storage).await.map_err(unopened)?;
    let services = Services::start(stores.clone(), ServiceConfig::default(), Sources::default()).await?;
    let operator = Actor::operator();
    let draft = WorldDraft {
        name: WorldName::new("Bench")?,
        slug: Some(Slug::new(&format!("bench-{}", std::process::id()))?),
        description: Description::new("")?,
        visibility: Visibility::Private,
        join_policy: JoinPolicy::Invite,
    };
    let world = services.worlds.create(&operator, draft).await?;
    let (place, mut people) = (Place::world(&world), Vec::new());
    for _ in 0..STORED {
        let session = services.accounts.open_guest(&operator, None, DeviceDraft::default()).await?;
        let account = session.account.id;
        let scope = Scope::World(world.id);
        let draft = GrantDraft { account, role: Role::WorldMember, scope, reason: None, expires_at: None };
        services.grants.give(&operator, draft).await?;
        people.push(actor_of(account)?);
    }
    let access = RoleAccess::new(stores.grants, Arc::new(SystemClock));
    let (begun, mut waits) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        let actor = &people[waits.len() % people.len()];
        if let Some(account) = actor.account_id() {
            access.forget(account);
        }
        let asked = Instant::now();
        if !access.allows(actor, Permission::ChatPost, &place).await? {
            return Err(Failure::failed("a member may not post in the bench's own world"));
        }
        waits.push(asked.elapsed());
    }
    let took = begun.elapsed();
    services.worlds.archive(&operator, &weltenwind_core::worlds::WorldRef::Id(world.id), None).await?;
    services.health.close().await;
    let waits = Waits::new(waits);
    let decided = waits.count() as u64;
    Ok(measured("miss", 1, decided, took, Some(waits.at(99)), None))
}

fn measured(
    decision: &'static str,
    threads: u32,
    decided: u64,
    took: Duration,
    p99_ms: Option<f64>,
    reads: Option<u64>,
) -> Measured {
    let per_second = u128::from(decided) * 1_000_000 / took.as_micros().max(1);
    let nanoseconds = took.as_nanos() * u128::from(threads) / u128::from(decided.max(1));
    Measured {
        decision,
        threads,
        decisions_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        nanoseconds: u64::try_from(nanoseconds).unwrap_or(u64::MAX),
        p99_ms,
        reads,
    }
}
