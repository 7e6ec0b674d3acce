//! The one task that writes.
//!
//! SQLite takes one writer at a time. Rather than let connections compete for that place, all domains queue here: nobody
//! starves, nothing is cancelled half-way, and what a player waits for goes before what runs in the background.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{
    Notify,
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};
use weltenwind_core::StorageError;

use crate::error::Abort;

/// How soon a job is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Somebody waits for it.
    Interactive,
    /// It runs when nothing interactive waits. A job is never interrupted: keep it to 5 ms or so.
    Background,
}

type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, ()> + Send>;

/// The way to the task; the last clone's end is the task's.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    interactive: mpsc::Sender<Job>,
    background: mpsc::Sender<Job>,
    closing: Arc<Notify>,
    /// Its other end lives in the task.
    ended: watch::Receiver<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.closing.notify_one();
    }
}

impl Writer {
    /// Starts the task with the one connection that writes; `capacity` jobs of each class may wait.
    pub(super) fn start(connection: SqliteConnection, capacity: usize) -> Self {
        let (interactive, interactive_jobs) = mpsc::channel(capacity);
        let (background, background_jobs) = mpsc::channel(capacity);
        let closing = Arc::new(Notify::new());
        let (running, ended) = watch::channel(());
        let queues =
            Queues { interactive: interactive_jobs, background: background_jobs, closing: Arc::clone(&closing) };
        tokio::spawn(async move {
            run(connection, queues).await;
            drop(running);
        });
        Self { handle: Arc::new(Handle { interactive, background, closing, ended }) }
    }

    /// Queues `work`, which then runs in a transaction of its own, and waits for its answer.
    pub(super) async fn write<T, E, W>(&self, class: Class, attempted: &'static str, work: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Abort<E>>> + Send + 'static,
    {
        self.queue(class, attempted, move |connection| Box::pin(in_transaction(connection, work))).await
    }

    /// Queues a script, which begins and commits by itself, and waits for its answer.
    pub(super) async fn script<T, E, W>(&self, class: Class, attempted: &'static str, script: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Abort<E>>> + Send + 'static,
    {
        self.queue(class, attempted, move |connection| Box::pin(cleaned_up(connection, script))).await
    }

    async fn queue<T, E, W>(&self, class: Class, attempted: &'static str, work: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Abort<E>>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                // A panic is this job's alone.
                if let Ok(result) = AssertUnwindSafe(work(connection)).catch_unwind().await {
                    // Nobody listens if the caller went away.
                    let _ = answer.send(result);
                } else {
                    tracing::error!(attempted, "a write panicked");
                }
            })
        });
        let queue = match class {
            Class::Interactive => &self.handle.interactive,
            Class::Background => &self.handle.background,
        };
        queue.try_send(job).map_err(|error| {
            let cause = match error {
                TrySendError::Full(_) => "too many writes are waiting",
                TrySendError::Closed(_) => CLOSED,
            };
            StorageError::transient(attempted, cause)
        })?;
        match answered.await {
            Ok(result) => result.map_err(|abort| abort.into_error(attempted)),
            Err(_) => Err(StorageError::permanent(attempted, "the write was given up").into()),
        }
    }

    /// Fails if the task has ended.
    pub(super) fn check(&self, attempted: &'static str) -> Result<(), StorageError> {
        if self.handle.interactive.is_closed() { Err(StorageError::transient(attempted, CLOSED)) } else { Ok(()) }
    }

    /// Takes no more jobs, and waits until the queued ones are done and the connection is closed.
    pub(super) async fn close(&self) {
        self.handle.closing.notify_one();
        // An error is the news: the other end is gone.
        let _ = self.handle.ended.clone().changed().await;
    }
}

const CLOSED: &str = "the store is closed";

struct Queues {
    interactive: mpsc::Receiver<Job>,
    background: mpsc::Receiver<Job>,
    closing: Arc<Notify>,
}

impl Queues {
    /// Waits for the next job, interactive ones first; none once the queues are closed and empty.
    async fn next(&mut self) -> Option<Job> {
        tokio::select! {
            biased;
            () = self.closing.notified(), if !self.interactive.is_closed() => {
                self.interactive.close();
                self.background.close();
                Box::pin(self.next()).await
            }
            Some(job) = self.interactive.recv() => Some(job),
            Some(job) = self.background.recv() => Some(job),
            else => None,
        }
    }
}

async fn run(mut connection: SqliteConnection, mut queues: Queues) {
    while let Some(job) = queues.next().await {
        job(&mut connection).await;
    }
    // Leaves one file behind instead of three. Another process may still use the log; then it stays, and nothing is lost.
    if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await {
        tracing::debug!(%error, "left the write-ahead log behind");
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "could not close the database cleanly");
    }
}

async fn in_transaction<T, E, W>(connection: &mut SqliteConnection, work: W) -> Result<T, Abort<E>>
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Abort<E>>>,
{
    // IMMEDIATE, because a step that reads before it writes must not find that another process has written in between.
    // Dropped by a panic, it rolls back.
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let done = work(&mut tx).await;
    match done {
        Ok(done) => {
            tx.commit().await?;
            Ok(done)
        }
        Err(abort) => {
            tx.rollback().await?;
            Err(abort)
        }
    }
}

/// Runs a script and leaves no transaction behind if it stops in the middle.
async fn cleaned_up<T, E, W>(connection: &mut SqliteConnection, script: W) -> Result<T, Abort<E>>
where
    W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Abort<E>>>,
{
    let done = AssertUnwindSafe(script(connection)).catch_unwind().await;
    // After some failures SQLite has rolled back by itself. Within a transaction or without one, a savepoint makes sure
    // that there is one to roll back.
    if !matches!(done, Ok(Ok(_)))
        && let Err(error) = sqlx::query("SAVEPOINT stopped; ROLLBACK").execute(connection).await
    {
        tracing::error!(%error, "could not roll back a script");
    }
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use sqlx::Row as _;
    use tokio::task::JoinHandle;

    use super::*;

    async fn writer(capacity: usize) -> Writer {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::query("CREATE TABLE notes (text TEXT NOT NULL) STRICT").execute(&mut connection).await.unwrap();
        Writer::start(connection, capacity)
    }

    fn note<'c>(tx: &'c mut SqliteConnection, text: &'static str) -> BoxFuture<'c, Result<(), Abort<StorageError>>> {
        Box::pin(async move {
            sqlx::query("INSERT INTO notes (text) VALUES ($1)").bind(text).execute(tx).await?;
            Ok(())
        })
    }

    async fn write(writer: &Writer, text: &'static str) -> Result<(), StorageError> {
        writer.write(Class::Interactive, "write a note", move |tx| note(tx, text)).await
    }

    async fn notes(writer: &Writer) -> Vec<String> {
        let rows = writer.write(Class::Interactive, "read the notes", |tx| {
            Box::pin(async move { Ok(sqlx::query("SELECT text FROM notes ORDER BY rowid").fetch_all(tx).await?) })
        });
        let rows: Result<_, StorageError> = rows.await;
        rows.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Keeps the task busy until the sender is used or dropped.
    async fn occupied(writer: &Writer) -> (oneshot::Sender<()>, JoinHandle<Result<(), StorageError>>) {
        let (release, released) = oneshot::channel::<()>();
        let (start, started) = oneshot::channel::<()>();
        let writer = writer.clone();
        let job = tokio::spawn(async move {
            let waiting = writer.write(Class::Interactive, "wait", |_| {
                Box::pin(async move {
                    let _ = start.send(());
                    let _ = released.await;
                    Ok(())
                })
            });
            waiting.await
        });
        started.await.unwrap();
        (release, job)
    }

    #[tokio::test]
    async fn interactive_jobs_go_before_background_ones_and_otherwise_first_come_first_served() {
        let writer = writer(8).await;
        let (release, occupation) = occupied(&writer).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let queue = |class, name: &'static str| {
            let (writer, order) = (writer.clone(), Arc::clone(&order));
            async move {
                let noted = writer.write(class, "note the order", move |_| {
                    Box::pin(async move {
                        order.lock().unwrap().push(name);
                        Ok(())
                    })
                });
                let noted: Result<(), StorageError> = noted.await;
                noted
            }
        };

        let jobs = futures_util::future::join_all([
            queue(Class::Background, "background 1"),
            queue(Class::Interactive, "interactive 1"),
            queue(Class::Background, "background 2"),
            queue(Class::Interactive, "interactive 2"),
        ]);
        let (answers, ()) = tokio::join!(jobs, async { release.send(()).unwrap() });

        assert!(answers.iter().all(Result::is_ok));
        occupation.await.unwrap().unwrap();
        assert_eq!(*order.lock().unwrap(), ["interactive 1", "interactive 2", "background 1", "background 2"]);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_for_the_moment_and_the_other_class_still_has_room() {
        let writer = writer(1).await;
        let (release, occupation) = occupied(&writer).await;
        let mut waiting = Box::pin(write(&writer, "waiting"));
        assert!(waiting.as_mut().now_or_never().is_none());

        let refusal = write(&writer, "one too many").await.unwrap_err();
        let mut background = Box::pin(writer.write(Class::Background, "write a note", |tx| note(tx, "background")));
        assert!(background.as_mut().now_or_never().is_none());
        release.send(()).unwrap();

        assert!(refusal.is_transient());
        assert_eq!(weltenwind_core::chain(&refusal), "cannot write a note: too many writes are waiting");
        waiting.await.unwrap();
        background.await.unwrap();
        occupation.await.unwrap().unwrap();
        assert_eq!(notes(&writer).await, ["waiting", "background"]);
    }

    #[tokio::test]
    async fn a_job_whose_caller_went_away_is_committed() {
        let writer = writer(8).await;
        let (release, occupation) = occupied(&writer).await;

        let mut abandoned = Box::pin(write(&writer, "abandoned"));
        assert!(abandoned.as_mut().now_or_never().is_none());
        drop(abandoned);
        occupation.abort();
        release.send(()).unwrap();

        assert_eq!(notes(&writer).await, ["abandoned"]);
    }

    #[tokio::test]
    async fn an_abort_rolls_back() {
        let writer = writer(8).await;

        let refused = writer.write(Class::Interactive, "write a note", |tx| {
            Box::pin(async move {
                note(tx, "refused").await?;
                let refusal = StorageError::permanent("write a note", "it is refused");
                Err::<(), _>(Abort::Refused(refusal))
            })
        });
        let refused = refused.await.unwrap_err();
        let failed = writer.write(Class::Interactive, "write a note", |tx| {
            Box::pin(async move {
                note(&mut *tx, "failed").await?;
                sqlx::query("INSERT INTO nowhere VALUES (1)").execute(tx).await?;
                Ok(())
            })
        });
        let failed: StorageError = failed.await.unwrap_err();

        assert_eq!(weltenwind_core::chain(&refused), "cannot write a note: it is refused");
        assert!(!failed.is_transient());
        assert!(notes(&writer).await.is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_its_jobs_alone() {
        let writer = writer(8).await;

        let error = writer.write(Class::Interactive, "panic", |tx| {
            Box::pin(async move {
                note(tx, "lost").await?;
                std::future::ready(()).map::<(), _>(|()| panic!("a job panics")).await;
                Ok(())
            })
        });
        let error: StorageError = error.await.unwrap_err();
        write(&writer, "kept").await.unwrap();

        assert!(!error.is_transient());
        assert_eq!(notes(&writer).await, ["kept"]);
    }

    async fn script(writer: &Writer, text: &'static str) -> Result<(), StorageError> {
        let script = writer.script(Class::Interactive, "run a script", move |connection| {
            Box::pin(async move {
                sqlx::query(text).bind("by a script").fetch_all(connection).await?;
                Ok(())
            })
        });
        script.await
    }

    #[tokio::test]
    async fn a_script_commits_by_itself() {
        let writer = writer(8).await;
        let noted = "BEGIN IMMEDIATE; INSERT INTO notes VALUES ($1); INSERT INTO notes VALUES ($1); COMMIT";

        script(&writer, noted).await.unwrap();
        write(&writer, "by a step").await.unwrap();
        script(&writer, noted).await.unwrap();

        let by_script = "by a script";
        assert_eq!(notes(&writer).await, [by_script, by_script, "by a step", by_script, by_script]);
    }

    #[tokio::test]
    async fn a_script_that_stops_leaves_nothing_behind_whatever_runs_next() {
        let writer = writer(8).await;
        let rolls_back =
            "CREATE TEMP TRIGGER rolls_back BEFORE DELETE ON notes BEGIN SELECT RAISE(ROLLBACK, 'no'); END";
        script(&writer, rolls_back).await.unwrap();
        let noted = "BEGIN IMMEDIATE; INSERT INTO notes VALUES ($1); COMMIT";
        let mut kept = Vec::new();

        for stops in [
            "SELECT nothing FROM nowhere; BEGIN IMMEDIATE; INSERT INTO notes VALUES ($1); COMMIT",
            "BEGIN IMMEDIATE; INSERT INTO notes VALUES ($1); INSERT INTO nowhere VALUES ($1); COMMIT",
            "BEGIN IMMEDIATE; INSERT INTO notes VALUES ($1); INSERT INTO notes VALUES (NULL); COMMIT",
            // After this one SQLite has rolled back by itself.
            "BEGIN IMMEDIATE; INSERT INTO notes VALUES ($1); DELETE FROM notes; COMMIT",
        ] {
            write(&writer, "by a step").await.unwrap();
            script(&writer, stops).await.unwrap_err();
            script(&writer, stops).await.unwrap_err();
            script(&writer, noted).await.unwrap();
            script(&writer, stops).await.unwrap_err();
            kept.extend(["by a step", "by a script"]);
            assert_eq!(notes(&writer).await, kept, "{stops}");
        }
    }

    #[tokio::test]
    async fn a_script_that_panics_leaves_nothing_behind() {
        let writer = writer(8).await;

        let panicked = writer.script(Class::Interactive, "panic", |connection| {
            Box::pin(async move {
                sqlx::query("BEGIN IMMEDIATE; INSERT INTO notes VALUES ($1)").bind("lost").execute(connection).await?;
                std::future::ready(()).map::<(), _>(|()| panic!("a script panics")).await;
                Ok(())
            })
        });
        let panicked: StorageError = panicked.await.unwrap_err();
        write(&writer, "kept").await.unwrap();

        assert!(!panicked.is_transient());
        assert_eq!(notes(&writer).await, ["kept"]);
    }

    #[tokio::test]
    async fn what_is_queued_is_done_before_the_task_ends() {
        let writer = writer(8).await;
        let (release, occupation) = occupied(&writer).await;
        let mut queued = Box::pin(write(&writer, "queued"));
        assert!(queued.as_mut().now_or_never().is_none());

        let mut closing = Box::pin(writer.close());
        assert!(closing.as_mut().now_or_never().is_none());
        release.send(()).unwrap();
        closing.await;

        queued.await.unwrap();
        occupation.await.unwrap().unwrap();
        assert!(writer.check("check").unwrap_err().is_transient());
        assert!(write(&writer, "too late").await.unwrap_err().is_transient());
        writer.close().await;
    }

    #[tokio::test]
    async fn the_task_ends_with_the_last_handle() {
        let writer = writer(8).await;
        let mut ended = writer.handle.ended.clone();

        drop(writer);

        assert!(ended.changed().await.is_err());
    }
}
