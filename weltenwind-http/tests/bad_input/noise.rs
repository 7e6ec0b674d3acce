//! Random JSON, and random bytes, for every call that takes a body.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Method;
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseResult, TestRunner},
};
use serde_json::{Map, Value};

use super::{
    calls::{demands_key, filled, openapi, operations},
    fixture::{Person, Reply, Town, id},
};

/// Requests for each call and kind of noise.
const CASES: u32 = 24;

struct Call {
    method: Method,
    path: String,
    example: Value,
    members: Vec<String>,
    caller: Person,
    demands_key: bool,
}

/// Values that readers stumble over, and what any could be made of.
fn leaf() -> impl Strategy<Value = Value> {
    const WORDS: &[&str] =
        &["", "global", "public", "mask", "\0", "\u{202e}", "null", "018f0000-0000-7000-8000-000000000000", "💨"];

    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON has no such number", |n| n.is_finite().then(|| Value::from(n))),
        select(WORDS).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        (0_usize..3000).prop_map(|n| "m".repeat(n).into()),
    ]
}

fn tree(members: &[String]) -> impl Strategy<Value = Value> + use<> {
    let mut known: Vec<String> = members.to_vec();
    known.extend([String::new(), "__proto__".to_owned()]);
    leaf().prop_recursive(4, 24, 6, move |inner| {
        let name = prop_oneof![select(known.clone()), ".{0,8}"];
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(name, inner, 0..6).prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// The documented example with something else in one place: nearer to what is taken than a random tree ever comes.
fn changed(call: &Call) -> impl Strategy<Value = Value> + use<> {
    let (example, members) = (call.example.clone(), call.members.clone());
    let name = prop_oneof![4 => select(members.clone()), 1 => Just("unknown".to_owned())];
    (name, prop::option::weighted(0.9, tree(&members))).prop_map(move |(name, value)| {
        let mut body = example.as_object().cloned().unwrap_or_default();
        match value {
            Some(value) => body.insert(name, value),
            None => body.remove(&name),
        };
        body.into()
    })
}

impl Call {
    async fn send(&self, town: &Town, body: impl Into<Body>) -> Reply {
        let ask = town.server.ask(self.method.clone(), &self.path).by(&self.caller);
        let ask = ask.with_some("idempotency-key", self.demands_key.then(|| town.server.fresh_key()).as_deref());
        ask.with("if-match", "\"0\"").text("application/json", body).await
    }
}

/// Whatever the body: a success, or a problem that is not the server's.
fn is_answered(reply: &Reply) -> TestCaseResult {
    prop_assert!(reply.status.as_u16() < 500, "{} {:?}", reply.status, reply.body);
    if !reply.status.is_success() {
        reply.problem();
    }
    Ok(())
}

fn run<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> TestCaseResult) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(strategy, test).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn no_body_makes_the_server_fail() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let town = runtime.block_on(Town::start());
    let document = runtime.block_on(openapi(&town.server));
    let mut statuses = BTreeSet::new();

    for (path, method, operation) in operations(&document) {
        let Some(body) = operation.pointer("/requestBody/content/application~1json") else { continue };
        let message = runtime.block_on(town.server.say(&town.owner, &town.lobby, "hi"));
        let schema = body["schema"]["$ref"].as_str().expect("a schema");
        let properties = document.pointer(&format!("{}/properties", &schema[1..])).expect("members");
        let call = Call {
            method: method.to_uppercase().parse().expect("a method"),
            path: filled(&town, path, id(&message)),
            example: body["example"].clone(),
            members: properties.as_object().expect("members").keys().cloned().collect(),
            caller: town.owner.clone(),
            demands_key: demands_key(operation),
        };
        let seen = std::cell::RefCell::new(&mut statuses);
        let answered = |bytes: Vec<u8>| {
            let reply = runtime.block_on(call.send(&town, bytes));
            seen.borrow_mut().insert(reply.status.as_u16());
            is_answered(&reply)
        };

        if path.ends_with("/messages/{id}") {
            // What is sound gets through, whatever the dice say.
            answered(call.example.to_string().into_bytes()).expect("it is answered");
        }
        run(&changed(&call), |body| answered(body.to_string().into_bytes()));
        run(&tree(&call.members), |body| answered(body.to_string().into_bytes()));
        let cut = call.example.to_string().into_bytes();
        run(&(0..cut.len()), |at| answered(cut[..at].to_vec()));
        run(&vec(any::<u8>(), 0..200), answered);
    }

    // Some got through the parser, and some further.
    for status in [200, 400, 422] {
        assert!(statuses.contains(&status), "nothing was answered {status}: {statuses:?}");
    }
}
