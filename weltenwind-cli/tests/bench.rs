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
