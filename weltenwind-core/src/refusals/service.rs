//! Gathers refused attempts, so that many of them are a few rows.

use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    model::{Attempt, RefusedAttempt},
    store::RefusalStore,
};
use crate::{
    actor::{Actor, ClientAddress},
    clock::{Clock, Timestamp},
    code::Code,
    error::StorageError,
    ids::AccountId,
    scope::Scope,
};

/// How many who tried something are told apart in a minute.
const TOLD_APART: usize = 256;
/// Rows that wait at most, two minutes' worth, while the store is away.
const KEPT: usize = 4 * TOLD_APART;
/// Rows of one transaction: what it takes on SQLite, nobody else writes.
const AT_ONCE: usize = 64;

/// Notes refused attempts. Clones share everything.
///
/// Of one actor (an account, a key, or a network that nobody is signed in from), one thing that was tried and one answer, the
/// first attempt in a minute is written down by the next [`Refusals::write_down`], and what follows within that minute as one
/// more row, with its count. Beyond 256 of those in a minute, each thing that was tried has one row for all others.
/// A process that is killed takes along what it had not written down.
#[derive(Debug, Clone)]
pub struct Refusals {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn RefusalStore>,
    clock: Arc<dyn Clock>,
    gathered: Mutex<Gathered>,
    /// Held while what was gathered is written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Gathered {
    minute: i64,
    /// Of this minute.
    present: HashMap<Key, Noted>,
    /// Of former minutes, and what could not be written.
    due: Vec<RefusedAttempt>,
}

#[derive(Debug)]
struct Noted {
    /// What is to be written; a count of 0 is nothing.
    refused: RefusedAttempt,
    /// Whether the first of the minute was written down: the rest waits for the minute's end.
    is_told: bool,
}

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    who: Who,
    attempt: Attempt,
    code: Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Account(AccountId),
    Network(IpAddr),
    Nobody,
    Others,
}

impl Who {
    fn of(actor: &Actor) -> Self {
        let network = || actor.address.map(|address| Self::Network(ClientAddress(address).network()));
        actor.id().map(Self::Account).or_else(network).unwrap_or(Self::Nobody)
    }
}

impl Refusals {
    /// Gathers for a store.
    pub fn new(store: Arc<dyn RefusalStore>, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { store, clock, gathered: Mutex::default(), writing: tokio::sync::Mutex::default() };
        Self { inner: Some(Arc::new(inner)) }
    }

    /// Notes nothing: where there is no audit log.
    pub const fn none() -> Self {
        Self { inner: None }
    }

    /// Notes that an actor was refused something, perhaps about somebody else's account.
    pub fn note(&self, actor: &Actor, attempt: Attempt, code: Code, scope: Scope, target: Option<AccountId>) {
        let Some(inner) = &self.inner else { return };
        let now = inner.clock.now();
        let mut gathered = inner.gathered();
        gathered.turn_to(now);
        let mut key = Key { who: Who::of(actor), attempt, code };
        if gathered.present.len() >= TOLD_APART && !gathered.present.contains_key(&key) {
            key.who = Who::Others;
        }
        let first = || RefusedAttempt {
            attempt,
            code,
            scope,
            target,
            actor: actor.id(),
            session: actor.session,
            device: actor.device,
            correlation_id: actor.correlation_id.clone(),
            first_at: now,
            last_at: now,
            count: 0,
            others: key.who == Who::Others,
        };
        let noted = gathered.present.entry(key).or_insert_with(|| Noted { refused: first(), is_told: false });
        if noted.refused.count == 0 {
            noted.refused = first();
        }
        noted.refused.count += 1;
        noted.refused.last_at = now;
    }

    /// Writes down what has come for the first time in its minute, and what was gathered in former minutes. A host calls it every
    /// second, and once more before it ends.
    ///
    /// # Errors
    ///
    /// What the store says; what was not written is tried again with the next call.
    pub async fn write_down(&self) -> Result<(), StorageError> {
        let Some(inner) = &self.inner else { return Ok(()) };
        let _writing = inner.writing.lock().await;
        let mut due = inner.gathered().take_due(inner.clock.now());
        while !due.is_empty() {
            let rest = due.split_off(due.len().min(AT_ONCE));
            if let Err(error) = inner.store.record(&due).await {
                due.extend(rest);
                inner.gathered().give_back(due);
                return Err(error);
            }
            due = rest;
        }
        Ok(())
    }

    /// Writes down everything, also of the minute that is not over: before a process ends.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn close(&self) -> Result<(), StorageError> {
        if let Some(inner) = &self.inner {
            let mut gathered = inner.gathered();
            gathered.minute = i64::MIN;
            gathered.turn_over();
        }
        self.write_down().await
    }
}

impl Inner {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn turn_to(&mut self, now: Timestamp) {
        let minute = now.as_second().div_euclid(60);
        if minute != self.minute {
            self.minute = minute;
            self.turn_over();
        }
    }

    /// Everything of the minute that has ended is due.
    fn turn_over(&mut self) {
        let ended = mem::take(&mut self.present).into_values().map(|noted| noted.refused);
        self.due.extend(ended.filter(|refused| refused.count > 0));
        self.keep_to_the_bound();
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<RefusedAttempt> {
        self.turn_to(now);
        let mut due = mem::take(&mut self.due);
        for noted in self.present.values_mut().filter(|noted| !noted.is_told) {
            due.push(noted.refused.clone());
            (noted.refused.count, noted.is_told) = (0, true);
        }
        due.sort_by_key(|refused| refused.first_at);
        due
    }

    fn give_back(&mut self, due: Vec<RefusedAttempt>) {
        self.due.extend(due);
        self.keep_to_the_bound();
    }

    /// A store that is away for long costs what is oldest.
    fn keep_to_the_bound(&mut self) {
        let lost = self.due.len().saturating_sub(KEPT);
        if lost > 0 {
            self.due.drain(..lost);
            tracing::warn!(lost, "refused attempts could not be written down for too long");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use async_trait::async_trait;

    use super::*;
    use crate::{access::Permission, actor::CorrelationId, clock::ManualClock};

    const MANAGE: Attempt = Attempt::Permission(Permission::AccessManage);

    #[derive(Debug, Default)]
    struct Book {
        rows: Mutex<Vec<RefusedAttempt>>,
        is_away: AtomicBool,
    }

    #[async_trait]
    impl RefusalStore for Book {
        async fn record(&self, refused: &[RefusedAttempt]) -> Result<(), StorageError> {
            if self.is_away.load(Ordering::SeqCst) {
                return Err(StorageError::transient("write refused attempts", "the store is away"));
            }
            self.rows.lock().unwrap().extend_from_slice(refused);
            Ok(())
        }
    }

    fn gathering() -> (Refusals, Arc<Book>, Arc<ManualClock>) {
        let (book, clock) = (Arc::new(Book::default()), Arc::new(ManualClock::default()));
        (Refusals::new(book.clone(), clock.clone()), book, clock)
    }

    fn visitor(n: u32, request: &str) -> Actor {
        let address = Some(IpAddr::from(n.to_be_bytes()));
        Actor { address, ..Actor::anonymous(CorrelationId::accept(request).unwrap()) }
    }

    fn denied(refusals: &Refusals, actor: &Actor) {
        refusals.note(actor, MANAGE, Code::PermissionDenied, Scope::Global, None);
    }

    fn counts(book: &Book) -> Vec<u64> {
        book.rows.lock().unwrap().iter().map(|row| row.count).collect()
    }

    #[tokio::test]
    async fn the_first_is_written_at_once_and_the_rest_of_its_minute_as_one() {
        let (refusals, book, clock) = gathering();
        let mira = Actor::player("Mira");

        denied(&refusals, &mira);
        refusals.write_down().await.unwrap();
        assert_eq!(counts(&book), [1]);
        for _ in 0..1000 {
            denied(&refusals, &mira);
            clock.advance(Duration::from_millis(10));
            refusals.write_down().await.unwrap();
        }
        assert_eq!(counts(&book), [1]);
        let last_at = clock.now() - Duration::from_millis(10);
        clock.advance(Duration::from_mins(1));
        refusals.write_down().await.unwrap();
        refusals.write_down().await.unwrap();

        assert_eq!(counts(&book), [1, 1000]);
        let rest = book.rows.lock().unwrap()[1].clone();
        assert_eq!((rest.actor, rest.last_at, rest.others), (mira.id(), last_at, false));
        denied(&refusals, &mira);
        refusals.write_down().await.unwrap();
        assert_eq!(counts(&book), [1, 1000, 1], "another minute");
    }

    #[tokio::test]
    async fn who_what_and_why_are_told_apart() {
        let (refusals, book, _) = gathering();
        let mira = Actor::player("Mira");

        for actor in [&mira, &Actor::player("Lu"), &visitor(1, "request-1"), &visitor(1, "request-2")] {
            denied(&refusals, actor);
        }
        refusals.note(&mira, MANAGE, Code::Unauthenticated, Scope::Global, None);
        refusals.note(&mira, Attempt::SignIn, Code::PermissionDenied, Scope::Global, mira.id());
        refusals.write_down().await.unwrap();

        let mut seen = counts(&book);
        seen.sort_unstable();
        assert_eq!(seen, [1, 1, 1, 1, 2]);
    }

    #[tokio::test]
    async fn a_flood_from_everywhere_is_a_few_hundred_rows_and_every_attempt_is_counted() {
        const FLOOD: u32 = 20_000;
        let (refusals, book, _) = gathering();

        for round in 0..2 {
            for n in 0..FLOOD {
                denied(&refusals, &visitor(n, "a-request"));
            }
            refusals.write_down().await.unwrap();
            assert!(counts(&book).len() <= TOLD_APART + 1, "round {round}: {}", counts(&book).len());
        }
        refusals.close().await.unwrap();

        assert_eq!(counts(&book).iter().sum::<u64>(), 2 * u64::from(FLOOD));
        assert!(counts(&book).len() <= 2 * (TOLD_APART + 1));
        assert_eq!(book.rows.lock().unwrap().iter().filter(|row| row.others).count(), 2);
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_later_and_never_more_than_is_kept() {
        let (refusals, book, clock) = gathering();
        book.is_away.store(true, Ordering::SeqCst);
        for minute in 0..20 {
            for n in 0..200 {
                denied(&refusals, &visitor(n, &format!("minute-{minute:04}")));
            }
            assert!(refusals.write_down().await.is_err());
            clock.advance(Duration::from_mins(1));
        }
        book.is_away.store(false, Ordering::SeqCst);

        refusals.write_down().await.unwrap();

        let rows = book.rows.lock().unwrap();
        assert_eq!(rows.len(), KEPT);
        assert_eq!(rows.last().unwrap().correlation_id.as_str(), "minute-0019", "the newest are kept");
    }
}
