//! What `weltenwind bench` measures, through the binary.

mod fixture;

use fixture::Store;
use serde_json::Value;

fn bench(store: &Store, args: &[&str]) -> Value {
    let output = store.run(&[&["bench", "realtime", "--json", "--runs", "1", "--seconds", "1"], args].concat());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {complaint}");
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// The bench itself exits with 6 if anything was lost, doubled, out of order or in a wrong room.
fn heard_everything(row: &Value) {
    for wrong in ["lost", "doubled", "outOfOrder", "elsewhere"] {
        assert_eq!(row[wrong], 0, "{row}");
    }
}

#[test]
fn every_message_is_heard_once_and_in_order_at_a_rate() {
    let store = Store::sqlite();

    let report = bench(&store, &["--sockets", "20", "--rooms", "2", "--rate", "50", "--beside", "floor"]);

    let rows = report["workloads"].as_array().expect("rows");
    let servers: Vec<_> = rows.iter().map(|row| row["server"].as_str().expect("a name")).collect();
    assert_eq!(servers, ["weltenwind", "floor"]);
    for row in rows {
        heard_everything(row);
        assert!(row["deliveriesPerSecond"]["median"].as_f64().expect("a figure") > 0.0, "{row}");
        assert!(row["kibPerSocket"]["median"].is_number(), "{row}");
    }
}

#[test]
fn every_message_is_heard_once_and_in_order_as_fast_as_it_goes() {
    let store = Store::sqlite();

    let report = bench(&store, &["--sockets", "20", "--rooms", "2", "--under-way", "4"]);

    heard_everything(&report["workloads"][0]);
    assert!(report["workloads"][0]["deliveriesPerSecond"]["median"].as_f64().expect("a figure") > 0.0);
}

#[test]
fn what_is_of_the_moment_is_counted_as_it_is_told_and_as_it_is_heard() {
    let store = Store::sqlite();
    for what in ["typing", "presence"] {
        let own = ["--sockets", "20", "--what", what, "--under-way", "4", "--beside", "floor"];

        let report = bench(&store, &own);

        let rows = report["workloads"].as_array().expect("rows");
        for row in rows {
            heard_everything(row);
            assert!(row["heard"].as_u64().expect("a count") > 20, "{row}");
            assert!(row["deliveriesPerSecond"]["median"].as_f64().expect("a figure") > 0.0, "{row}");
            assert_eq!(row["dropped"], 0, "twenty sockets that are read are not too slow: {row}");
        }
        assert_eq!(rows[0]["told"], rows[0]["heard"], "the server says what it has written");
        assert!(rows[1]["told"].is_null(), "the floor says nothing of itself: {rows:?}");
    }
}

#[test]
fn whoever_comes_back_hears_all_that_was_missed() {
    let store = Store::sqlite();

    let report = bench(&store, &["--workload", "replay"]);

    let replay = &report["replays"][0];
    heard_everything(replay);
    assert_eq!(replay["messages"], 10_000);
}

#[test]
fn running_servers_are_measured_where_they_listen() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let (url, pid) = (server.url.clone(), server.id().to_string());
    let running = ["--url", &url, "--pid", &pid, "--database", store.url()];

    let report = bench(&store, &[&["--sockets", "20", "--rooms", "2", "--rate", "50"], &running[..]].concat());

    heard_everything(&report["workloads"][0]);
    assert!(report["workloads"][0]["serverMicros"]["median"].is_number());
}

#[tokio::test]
async fn a_server_is_measured_in_a_room_that_is_there_without_its_store() {
    let (store, elsewhere) = (Store::sqlite(), Store::sqlite());
    let server = store.serve(&[]);
    let room = format!("channel:{}", server.general().await);
    let (lu, mira) = (server.guest("Lu").await, server.guest("Mira").await);
    let tokens = elsewhere.path().with_extension("tokens");
    std::fs::write(&tokens, format!("{} {}\n{}\n", lu.token, lu.id, mira.token)).expect("a file");
    let given = ["--url", &server.url, "--room", &room, "--tokens", tokens.to_str().expect("a path"), "--rate", "4"];
    let refused = |args: &[&str]| {
        let output = elsewhere.run(&[&["bench", "realtime"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };

    let report = bench(&elsewhere, &[&given[..], &["--sockets", "2"]].concat());

    let row = &report["workloads"][0];
    heard_everything(row);
    assert!(row["deliveriesPerSecond"]["median"].as_f64().expect("a figure") > 0.0, "{row}");
    let complaint = refused(&[&given[..], &["--sockets", "3"]].concat());
    assert!(complaint.contains("has 2 tokens, and 3 sockets are opened"), "{complaint}");
    let complaint = refused(&[&given[..], &["--sockets", "2", "--rooms", "2"]].concat());
    assert!(complaint.contains("own has 2 rooms: give as many"), "{complaint}");
    let complaint = refused(&["--sockets", "2", "--url", &server.url]);
    assert!(complaint.contains("--url takes the store"), "{complaint}");
    let complaint = refused(&["--idle-seconds", "4"]);
    assert!(complaint.contains("expected 0 or 50 to 300"), "{complaint}");
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL and WW_TEST_REDIS_URL"]
async fn two_nodes_share_a_room_and_their_helpers_are_counted() {
    let store = Store::postgres().await;
    let redis = std::env::var("WW_TEST_REDIS_URL").expect("WW_TEST_REDIS_URL names a server");
    let shared = ["--nodes", "2", "--redis", &redis, "--database", store.url()];

    let report = bench(&store, &[&["--sockets", "20", "--rooms", "2", "--rate", "50"], &shared[..]].concat());

    let row = &report["workloads"][0];
    heard_everything(row);
    assert!(row["databaseMicros"]["median"].as_f64().expect("a figure") > 0.0, "{row}");
    assert!(row["brokerMicros"]["median"].is_number(), "{row}");
    store.drop_database().await;
}

/// The bench itself exits with 6 if a job was done twice, or is left.
fn bench_outbox(store: &Store, args: &[&str]) -> Value {
    let small = ["bench", "outbox", "--json", "--runs", "1", "--jobs", "350", "--pickups", "5"];
    let output = store.run(&[&small[..], &["--database", store.url()], args].concat());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {complaint}");
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn each_job_was_done_and_picked_up(row: &Value) {
    for figure in ["jobsPerSecond", "enqueuedPerSecond"] {
        assert!(row[figure]["median"].as_f64().expect("a figure") > 0.0, "{figure} of {row}");
    }
    for figure in ["pickup", "withCommit"] {
        percentiles_grow(row, figure);
    }
}

fn percentiles_grow(row: &Value, figure: &str) {
    let percentile = |name| row[format!("{figure}{name}Ms")]["median"].as_f64().expect("a figure");
    let (p50, p95, p99) = (percentile("P50"), percentile("P95"), percentile("P99"));
    assert!(0.0 < p50 && p50 <= p95 && p95 <= p99, "{figure} of {row}");
}

#[test]
fn jobs_are_done_and_picked_up_and_none_is_left() {
    let store = Store::sqlite();

    let rows = bench_outbox(&store, &[]);

    assert_eq!(rows.as_array().expect("rows").len(), 1);
    each_job_was_done_and_picked_up(&rows[0]);
    assert!(rows[0]["otherProcessP50Ms"].is_null(), "{rows}");
    let left = store.run(&["outbox", "list", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&left.stdout).expect("one JSON document"), serde_json::json!([]));
}

#[test]
fn processes_on_one_file_are_not_measured_as_if_they_told_each_other() {
    let store = Store::sqlite();

    let output = store.run(&["bench", "outbox", "--nodes", "2", "--database", store.url()]);

    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn jobs_are_picked_up_by_a_worker_in_another_process() {
    let store = Store::postgres().await;

    let rows = bench_outbox(&store, &["--nodes", "2"]);

    each_job_was_done_and_picked_up(&rows[0]);
    percentiles_grow(&rows[0], "otherProcess");
    store.drop_database().await;
}

/// The bench itself exits with 6 if somebody was not told once, or a text is not found by its words.
fn bench_feed(store: &Store) -> Value {
    let size = ["--members", "450", "--announcements", "300", "--told", "3", "--readers", "9", "--rate", "50"];
    let small = ["bench", "feed", "--json", "--runs", "1", "--seconds", "1", "--searches", "3"];
    let output = store.run(&[&small[..], &size[..], &["--database", store.url()]].concat());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn everybody_was_told_and_everything_was_read(report: &Value) {
    assert_eq!(report["spreads"]["members"], 451, "the members and who publishes");
    assert!(report["spreads"]["visibleMs"]["median"].as_f64().expect("a figure") > 0.0, "{report}");
    let reads = report["reads"].as_array().expect("rows");
    assert_eq!(reads.len(), 10, "{report}");
    for read in reads {
        assert!(read["requests"].as_u64().expect("a count") > 0, "{read}");
        for figure in ["p50Ms", "p95Ms", "p99Ms"] {
            assert!(read[figure]["median"].as_f64().expect("a figure") > 0.0, "{figure} of {read}");
        }
    }
}

#[test]
fn a_world_is_told_while_its_feeds_are_read_and_its_announcements_are_found() {
    let store = Store::sqlite();

    let report = bench_feed(&store);

    everybody_was_told_and_everything_was_read(&report);
    let left = store.run(&["outbox", "list", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&left.stdout).expect("one JSON document"), serde_json::json!([]));
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_world_on_postgres_is_told_while_its_feeds_are_read() {
    let store = Store::postgres().await;

    let report = bench_feed(&store);

    everybody_was_told_and_everything_was_read(&report);
    store.drop_database().await;
}
