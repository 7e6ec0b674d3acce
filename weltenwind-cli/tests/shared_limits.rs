//! Two nodes with one Redis have one quota together; without it each has its own, and nobody notices more than that.

mod fixture;
#[path = "../../weltenwind-storage/tests/redis_server/mod.rs"]
mod redis_server;

use fixture::{Guest, PATIENCE, Server, Store};
use redis_server::RedisServer;
use serde_json::{Value, json};

/// Posts that nobody gets back while the test runs.
const CHAT: &str = "limits.chat=1/day burst 6";

async fn remaining(node: &Server, guest: &Guest) -> u64 {
    let answer = reqwest::Client::new().get(format!("{}/api/v1/me/limits", node.url)).bearer_auth(&guest.token);
    let answer = answer.send().await.expect("an answer");
    let limits: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("limits");
    let items = limits["items"].as_array().expect("a list").iter();
    items.filter(|item| item["policy"] == "chat").find_map(|item| item["remaining"].as_u64()).expect("a number")
}

/// Waits until a node decides together with the other.
async fn shares(node: &Server, guest: &Guest) {
    let wait = async {
        loop {
            let before = node.metric("weltenwind_rate_limit_fallbacks_total").await;
            remaining(node, guest).await;
            if node.metric("weltenwind_rate_limit_fallbacks_total").await <= before {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("limits are shared in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn two_nodes_have_one_quota_and_a_redis_that_is_away_stops_nobody() {
    let (store, redis) = (Store::postgres().await, RedisServer::start());
    let url = format!("redis.url={}", redis.url());
    // One address for both, as behind a balancer: a token of one node holds on the other.
    let nodes = [(); 2].map(|()| store.serve(&["--set", &url, "--set", "public_url=http://wind.test", "--set", CHAT]));
    let channel = nodes[0].general().await;
    let mira = nodes[0].guest("Mira").await;
    for node in &nodes {
        shares(node, &mira).await;
    }
    let path = format!("/api/v1/channels/{channel}/messages");
    let post = async |node: usize| nodes[node].post(&path, Some(&mira.token), &json!({ "body": "hi" })).await.0;

    let mut answers = Vec::new();
    for n in 0..8 {
        answers.push(post(n % 2).await);
    }
    assert_eq!(answers, [201, 201, 201, 201, 201, 201, 429, 429]);
    for node in &nodes {
        assert!(node.metric("weltenwind_rate_limit_refusals_total{policy=\"chat\"}").await > 0.0);
    }

    redis.pause();
    let alone = [post(0).await, post(1).await, post(0).await];
    assert_eq!(alone, [201, 201, 201], "each node counts for itself meanwhile");
    assert_eq!((remaining(&nodes[0], &mira).await, remaining(&nodes[1], &mira).await), (4, 5));
    redis.resume();

    for node in &nodes {
        shares(node, &mira).await;
        assert!(node.metric("weltenwind_rate_limit_fallbacks_total").await > 0.0);
        assert_eq!(remaining(node, &mira).await, 0, "what was counted together holds again");
    }
    assert_eq!((post(0).await, post(1).await), (429, 429));
    drop(nodes);
    store.drop_database().await;
}
