//! Whole nodes in a simulation: everything that can fail fails, in an order that a seed chooses, and time is tokio's own.
//!
//! Nodes run the real service over pipes; they share a store in memory and a network between their buses. Clients come back
//! by their cursors, and hold all they hear against the oracles in `oracle.rs`. The same seed is the same history.
//!
//! ```sh
//! cargo test -p weltenwind-ws --test simulator                          # the seeds of every day
//! WW_SEEDS=2000..9000 cargo test -p weltenwind-ws --test simulator      # others
//! WW_SEEDS=4711..4712 cargo test -p weltenwind-ws --test simulator      # one of them again
//! scripts/simulate 0..1000000                                           # a million, on all cores, from where it stopped
//! ```
//!
//! A seed that does not come to an end fails like any other: if time passes in it, after [`LONGEST`] of its own; if time
//! stands still, because a task goes round in circles, when [`watch`] has looked at it [`LOOKS`] times. That ends the process.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod client;
mod depot;
mod dice;
mod network;
mod oracle;
mod pipe;
mod script;
mod square;
#[path = "../support/mod.rs"]
mod support;
mod town;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    ops::Range,
    process::Command,
    sync::{Arc, Mutex, Once, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use self::{
    client::{Client, PATIENCE},
    dice::Dice,
    town::{Mutation, Town},
};

/// Seeds that are tried in every run of the tests.
const SEEDS: Range<u64> = 0..2_000;
/// Seeds that have failed once, one a line; what follows a `#` says why.
const FAILED_ONCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulator/seeds.txt");

/// How often things happened in all runs: a simulation in which something never happens says nothing about it.
static CENSUS: Mutex<BTreeMap<&str, u64>> = Mutex::new(BTreeMap::new());

/// Seeds that are under way.
static RUNNING: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

fn count(what: &'static str) {
    *CENSUS.lock().unwrap().entry(what).or_default() += 1;
}

/// What must have happened in the seeds of every day.
const USUAL: [&str; 41] = [
    "breaks of the bus",
    "changes of who is there",
    "changes replayed",
    "changes told live",
    "crowds",
    "disorder on the bus",
    "doubles on the bus",
    "drained nodes",
    "ended sessions",
    "frames written after a loss was known",
    "gaps of an epoch",
    "gaps of retention",
    "gaps of retention in the middle of a replay",
    "gaps of the window",
    "killed nodes",
    "losses on the bus",
    "messages replayed",
    "messages told live",
    "nodes cut off the store",
    "pages that are not the last",
    "pings that are answered",
    "purges",
    "purges in the middle of a replay",
    "replays gone on with",
    "requests that are given up",
    "restored backups",
    "sent away because they do not read",
    "sent away by a drain",
    "sent away with an expired token",
    "sent away with their session",
    "sent away without a sign of life",
    "sessions that cannot be read",
    "shown out of a room",
    "slow stores",
    "somebody writes",
    "stalls of the bus",
    "stores away",
    "stores that fail behind the effect",
    "stores that never answer",
    "taken rights",
    "who is there told anew",
];

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A task that panics ends alone, so the simulation has to ask.
fn gather_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
}

/// The longest that a history lasts in its own time; few last a minute and a half.
const LONGEST: Duration = Duration::from_mins(10);
/// Looks at a seed, a second apart, after which it does not come to an end any more. They are counted, and not the time: who
/// is stopped for a while is not to blame. `WW_SEED_SECONDS` sets another number.
const LOOKS: u32 = 120;

/// Ends the process with the name of a seed that does not come to an end: time stands still in it, so nothing else would.
fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let looks = std::env::var("WW_SEED_SECONDS").map_or(LOOKS, |looks| looks.parse().expect("a number of seconds"));
        std::thread::spawn(move || {
            let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let running = RUNNING.lock().unwrap().clone();
                seen.retain(|seed, _| running.contains(seed));
                for seed in running {
                    let seen = seen.entry(seed).or_default();
                    *seen += 1;
                    if *seen >= looks {
                        // What is printed goes to whoever shows a test's output once it has ended.
                        let _ = writeln!(std::io::stderr(), "seed {seed}: it has not ended after {seen} seconds");
                        std::process::exit(101);
                    }
                }
            }
        });
    });
}

/// Runs a seed and answers the fingerprint of its history, or what broke.
fn run(seed: u64, mutation: Mutation) -> Result<u64, String> {
    gather_panics();
    PANICS.take();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(async {
        let ended = tokio::time::timeout(LONGEST, simulate(seed, mutation)).await;
        ended.unwrap_or_else(|_| Err(format!("it has not ended after {LONGEST:?} of its own time")))
    });
    drop(runtime);
    match PANICS.take().into_iter().next() {
        Some(panic) => Err(panic),
        None => outcome,
    }
}

async fn simulate(seed: u64, mutation: Mutation) -> Result<u64, String> {
    let mut dice = Dice::new(!seed);
    let town = Town::found(seed, mutation).await;
    let mut done = Vec::new();
    let mut clients = Vec::new();
    for n in 0..town.plan.clients {
        let client = Client::new(&town, n, dice.fork());
        done.push(client.is_done());
        clients.push(tokio::spawn(client.live()));
    }
    let mut writers = Vec::new();
    for writer in 0..=dice.below(2) {
        let (town, dice) = (Arc::clone(&town), dice.fork());
        writers.push(tokio::spawn(async move { town.write(dice, writer).await }));
    }
    let weighing = tokio::spawn({
        let town = Arc::clone(&town);
        async move { town.weigh().await }
    });
    town.befall(dice.fork()).await;
    for writer in writers {
        writer.await.map_err(|error| error.to_string())?;
    }

    // What was on its way to the store when the last writer left gets there in the meantime. Of what a node gave up nobody is
    // told who does not ask for the head, and a client that was done before knows nothing of it: so it is quiet for longer than
    // the five seconds in which a silent room is asked for.
    let (settling, mut agreed, mut heads) = (Instant::now(), 0, town.heads());
    while agreed < 20 && !town.is_over() {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let before = std::mem::replace(&mut heads, town.heads());
        let is_quiet = heads == before && done.iter().all(|done| done.load(Ordering::SeqCst));
        agreed = if is_quiet { agreed + 1 } else { 0 };
        if settling.elapsed() > PATIENCE {
            let behind: Vec<usize> = (0..done.len()).filter(|n| !done[*n].load(Ordering::SeqCst)).collect();
            town.breaks(&format!("clients {behind:?} do not get to the end"));
        }
    }
    if mutation == Mutation::Acknowledge {
        town.acknowledge(0, "never stored".to_owned());
    }
    town.is_over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.map_err(|error| error.to_string())?;
    }
    weighing.await.map_err(|error| error.to_string())?;
    if town.broken().is_none() {
        // A room without people is kept for a moment.
        tokio::time::sleep(Duration::from_secs(45)).await;
        town.look_for_remains();
    }
    match town.broken() {
        Some(broken) => Err(broken),
        None => Ok(town.digest()),
    }
}

/// Runs seeds on all cores and answers those that failed, at most a few of them.
fn run_all(seeds: impl Iterator<Item = u64> + Send, mutation: Mutation) -> Vec<(u64, String)> {
    const ENOUGH: usize = 5;
    watch();
    let (seeds, failed) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.lock().unwrap().next() else { return };
                    RUNNING.lock().unwrap().insert(seed);
                    let outcome = run(seed, mutation);
                    RUNNING.lock().unwrap().remove(&seed);
                    if let Err(broken) = outcome {
                        eprintln!("seed {seed}: {broken}");
                        let mut failed = failed.lock().unwrap();
                        failed.push((seed, broken));
                        if failed.len() >= ENOUGH {
                            return;
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

/// Seeds that are tried at once: `WW_THREADS`, or as many as there are cores.
fn threads() -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    std::env::var("WW_THREADS").map_or_else(|_| cores(), |threads| threads.parse().expect("a number of threads"))
}

fn seeds_of_today() -> Range<u64> {
    let Ok(seeds) = std::env::var("WW_SEEDS") else { return SEEDS };
    let bounds = seeds.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    bounds.unwrap_or_else(|| panic!("WW_SEEDS is from..to, and not {seeds}"))
}

/// Seeds whose fate is known already, as `scripts/simulate` names them.
fn seeds_to_skip() -> BTreeSet<u64> {
    let seeds = std::env::var("WW_SKIP").unwrap_or_default();
    seeds.split(',').filter(|seed| !seed.is_empty()).map(|seed| seed.parse().expect("a seed")).collect()
}

#[test]
fn whatever_fails_everybody_hears_everything_once_in_order_or_is_told_that_not() {
    let begun = Instant::now();
    // Not a part of the binary: a seed that is added makes no other build of it.
    let kept = std::fs::read_to_string(FAILED_ONCE).expect("the seeds can be read");
    let kept = kept.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok());
    let seeds = seeds_of_today();

    let skipped = seeds_to_skip();
    let failed = run_all(kept.chain(seeds.clone()).filter(|seed| !skipped.contains(seed)), Mutation::None);

    let census = CENSUS.lock().unwrap();
    eprintln!("{} seeds in {:?}: {census:#?}", seeds.end - seeds.start, begun.elapsed());
    assert!(failed.is_empty(), "add what is to be remembered to tests/simulator/seeds.txt: {failed:#?}");
    if seeds.end - seeds.start >= SEEDS.end - SEEDS.start {
        let never: Vec<_> = USUAL.into_iter().filter(|what| !census.contains_key(what)).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

#[test]
fn a_seed_is_one_history() {
    for seed in 0..60 {
        let (one, other) = (run(seed, Mutation::None), run(seed, Mutation::None));

        eprintln!("seed {seed}: {one:x?}");
        assert_eq!(one, other, "seed {seed}");
    }
}

#[test]
fn every_oracle_bites() {
    for (mutation, complaint) in [
        (Mutation::Drop, "was never told"),
        (Mutation::Double, "a repeat or out of order"),
        (Mutation::Swap, "a repeat or out of order"),
        (Mutation::Alter, "is told in two ways"),
        (Mutation::HideGap, "without a gap"),
        (Mutation::HideWhole, "a hole in who is there"),
        (Mutation::Acknowledge, "acknowledged and never stored"),
        (Mutation::Revoke, "written after its loss was known"),
        (Mutation::Starve, "may keep 0"),
        (Mutation::Linger, "it has not ended after 600s of its own time"),
    ] {
        let mut complaints = (0..60).filter_map(|seed| run(seed, mutation).err());

        assert!(complaints.any(|words| words.contains(complaint)), "nobody complains of {mutation:?}");
    }
}

/// Whoever looks for a seed that does not end looks for it in what the process says last.
#[test]
fn a_seed_that_goes_round_in_circles_ends_the_run_with_its_name() {
    const SEED: u64 = 42;
    if std::env::var_os("WW_CIRCLES").is_some() {
        run_all(std::iter::once(SEED), Mutation::Circle);
        return;
    }
    let name = "a_seed_that_goes_round_in_circles_ends_the_run_with_its_name";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let ended = command.args(["--exact", name]).envs([("WW_CIRCLES", "1"), ("WW_SEED_SECONDS", "3")]).output().unwrap();

    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("seed 42: it has not ended after 3 seconds"), "{said}");
}
