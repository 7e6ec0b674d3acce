//! The worker as a process of its own, and what operators see of jobs.

mod fixture;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use fixture::{PATIENCE, Store};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

/// `weltenwind worker`, which has said where operators reach it.
struct Worker {
    child: Child,
    operations: String,
}

impl Worker {
    fn start(store: &Store) -> Self {
        let mut child = store
            .command(&["worker"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut operations = None;
        for line in lines.by_ref() {
            let line = line.expect("stdout is readable");
            if let Some(address) = line.strip_prefix("Operations ") {
                operations = address.trim().split("/readyz").next().map(str::to_owned);
            }
            if line.starts_with("Worker ") {
                break;
            }
        }
        Self { child, operations: operations.expect("an address") }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{}{path}", self.operations)).await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a text"))
    }

    /// Asks it to stop, and returns its exit code and its log. One that does not stop is killed, and has no exit code.
    fn stop(mut self) -> (Option<i32>, String) {
        let told = std::process::Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill runs").success());
        let told_at = Instant::now();
        while told_at.elapsed() < PATIENCE && self.child.try_wait().expect("it can be asked").is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let mut log = String::new();
        self.child.stderr.take().expect("stderr is piped").read_to_string(&mut log).expect("a text");
        (self.child.wait().expect("it ends").code(), log)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(store: &Store, args: &[&str]) -> Value {
    let output = store.run(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

async fn execute(store: &Store, statement: &'static str) {
    let mut connection = SqliteConnection::connect(store.url()).await.expect("the file");
    sqlx::query(statement).execute(&mut connection).await.expect("the statement");
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_worker_of_its_own_does_what_waits_and_is_told_to_stop() {
    let store = Store::sqlite();
    assert!(store.run(&["migrate"]).status.success());
    execute(
        &store,
        "INSERT INTO outbox_jobs (kind, payload, correlation_id, created_at, run_at)
        VALUES ('retention.run', 'null', 'conformance', 0, 0)",
    )
    .await;
    let waiting = json(&store, &["outbox", "list"]);
    assert_eq!((&waiting[0]["kind"], waiting.as_array().map(Vec::len)), (&"retention.run".into(), Some(1)));
    assert_eq!(json(&store, &["outbox", "why", "1"])["why"], "unclaimed");

    let worker = Worker::start(&store);
    until("the job is done", async || json(&store, &["outbox", "list"]) == Value::Array(Vec::new())).await;

    assert_eq!(worker.get("/readyz").await.0, 200);
    let (_, metrics) = worker.get("/metrics").await;
    assert!(metrics.contains("weltenwind_outbox_done_total{kind=\"retention.run\"} 1\n"), "{metrics}");
    let (code, log) = worker.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("draining") && log.contains("stopped"), "{log}");
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_worker_that_listens_for_jobs_stops_when_it_is_told() {
    let store = Store::postgres().await;
    assert!(store.run(&["migrate"]).status.success());
    let worker = Worker::start(&store);
    until("the worker listens", async || {
        let mut connection = PgConnection::connect(store.url()).await.expect("the server answers");
        let listening = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'LISTEN %weltenwind_jobs%'";
        sqlx::query_scalar::<_, i64>(listening).fetch_one(&mut connection).await.expect("a count") == 1
    })
    .await;

    let (code, log) = worker.stop();

    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
    store.drop_database().await;
}

#[tokio::test]
async fn operators_see_what_stands_against_a_job_and_do_dead_ones_again() {
    let store = Store::sqlite();
    assert!(store.run(&["migrate"]).status.success());
    execute(
        &store,
        "INSERT INTO outbox_jobs (kind, payload, order_key, correlation_id, created_at, run_at, failures, errors) VALUES
        ('test.work', '1', 'key', 'conformance', 0, 0, 0, '[]'),
        ('test.work', '2', 'key', 'conformance', 0, 0, 0, '[]'),
        ('test.work', '3', NULL, 'conformance', 0, 4102444800000000, 2, '[{\"at\": 0, \"error\": \"it rains\"}]')",
    )
    .await;
    execute(
        &store,
        "INSERT INTO outbox_dead (id, kind, payload, correlation_id, created_at, died_at, failures, crashes, errors)
        VALUES (900, 'test.work', '{\"n\": 9}', 'conformance', 0, 0, 12, 1, '[{\"at\": 0, \"error\": \"it floods\"}]')",
    )
    .await;

    let why = |id: &str| json(&store, &["outbox", "why", id]);
    assert_eq!(why("1")["why"], "unclaimed");
    assert_eq!(why("2")["why"], "behind");
    assert!(why("2")["detail"].as_str().expect("a text").contains("job 1"));
    assert_eq!(why("3")["why"], "not-due");
    assert!(why("3")["detail"].as_str().expect("a text").contains("it rains"));
    assert_eq!(why("900")["why"], "dead");
    assert_eq!(json(&store, &["outbox", "show", "900"])["errors"][0]["error"], "it floods");
    assert_eq!(store.run(&["outbox", "why", "777"]).status.code(), Some(3));

    assert_eq!(json(&store, &["outbox", "retry", "900", "--dry-run"])[0]["id"], "900");
    let replayed = json(&store, &["outbox", "retry", "--kind", "test.work"]);
    assert_eq!(replayed.as_array().map(Vec::len), Some(1));
    assert_eq!(json(&store, &["outbox", "list", "--dead"]), Value::Array(Vec::new()));
    let again = json(&store, &["outbox", "show", replayed[0]["id"].as_str().expect("a number")]);
    assert_eq!((&again["payload"]["n"], &again["replayOf"], &again["failures"]), (&9.into(), &"900".into(), &0.into()));
    assert_eq!(store.run(&["outbox", "retry", "900"]).status.code(), Some(3));
}
