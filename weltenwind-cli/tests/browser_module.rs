//! The browser's module of the socket, as a game's own page uses it: in a real browser, against the real binary.

mod fixture;
#[path = "fixture/window.rs"]
mod window;
#[path = "fixture/wire.rs"]
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fixture::{Guest, PATIENCE, Server, Store};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use weltenwind_core::limits::LimitsConfig;
use window::{Driver, Window};
use wire::Wire;

/// Opens a socket under the tokens that the page is given, and notes what the program hears.
const OPEN: &str = r"
    const { Realtime } = await import('/assets/realtime.js');
    globalThis.heard = [];
    globalThis.realtime = new Realtime({ ...options, token: (stale) => {
        if (stale === tokens[0] && tokens.length > 1) tokens.shift();
        return stale === tokens[0] ? null : tokens[0];
    } });
    for (const type of ['message', 'update', 'live', 'gap', 'presence', 'typing', 'notice', 'left', 'disconnected',
        'reconnected', 'closed']) {
        realtime.addEventListener(type, ({ detail }) => heard.push({ type, ...detail }));
    }
    await realtime.open();
";

/// A page of the server's that runs nothing of its own.
const EMPTY_PAGE: &str = "/problems";

async fn open(window: &Window, address: &str, tokens: &[&str], options: Value) {
    window.driver.goto(format!("{address}{EMPTY_PAGE}")).await.expect("the page loads");
    let script = format!("return (async (tokens, options) => {{ {OPEN} }})(...arguments);");
    window.driver.execute(script, vec![json!(tokens), options]).await.expect("the socket opens");
}

async fn act(window: &Window, expression: &str) -> Value {
    window.eval(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// Answers the code with which something fails.
async fn refusal(window: &Window, expression: &str) -> Value {
    act(window, &format!("{expression}.then(() => null, (problem) => problem.code)")).await
}

/// What was heard of some types, in order.
async fn heard(window: &Window, types: &[&str]) -> Vec<Value> {
    let heard = act(window, &format!("heard.filter(({{ type }}) => {}.includes(type))", json!(types))).await;
    heard.as_array().expect("a list").clone()
}

async fn post(server: &Server, channel: &str, author: &Guest, body: &str) -> Value {
    let path = format!("/api/v1/channels/{channel}/messages");
    let (status, message) = server.post(&path, Some(&author.token), &json!({ "body": body })).await;
    assert_eq!(status, 201, "{message}");
    message
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn on_a_wire_that_is_cut_again_and_again_everything_is_posted_once_and_heard_once_in_order() {
    const EACH: usize = 150;

    let (store, driver, wire) = (Store::sqlite(), Driver::start(), Wire::new().await);
    let server = store.serve(&["--set", &format!("public_url={}", wire.url())]);
    wire.lead_to(&server.url.replace("http://", ""));
    let channel = server.general().await;
    let (mira, oskar) = (server.guest("Mira").await, server.guest("Oskar").await);
    let (here, there) = (driver.window().await, driver.window().await);
    let room = format!("channel:{channel}");
    for (window, who) in [(&here, &mira), (&there, &oskar)] {
        let options = json!({ "shortestPauseMs": 50, "longestPauseMs": 400 });
        open(window, &wire.url(), &[&who.token], options).await;
        act(window, &format!("realtime.join('{room}')")).await;
        act(window, "realtime.room('global').join()").await;
        act(window, "realtime.room('global').say('in a storm')").await;
    }

    for (window, name) in [(&here, "mira"), (&there, "oskar")] {
        let begun = format!(
            "void (globalThis.posted = [], (async () => {{
                for (let n = 0; n < {EACH}; n++) {{
                    posted.push(realtime.publish('{room}', '{name} ' + n));
                    await new Promise((go) => setTimeout(go, 15));
                }}
            }})())"
        );
        act(window, &begun).await;
    }
    let is_done = format!("posted.length === {EACH} && realtime.waitingPosts === 0");
    let mut cuts = 0;
    while act(&here, &is_done).await != json!(true) || act(&there, &is_done).await != json!(true) {
        wire.cut();
        cuts += 1;
        assert!(cuts < 600, "something is never sent");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    assert!(cuts >= 5, "{cuts} cuts prove nothing");
    let history = server.history(&channel).await;
    assert_eq!(history.len(), 2 * EACH, "posted once");
    for window in [&here, &there] {
        window.until("heard.filter(({ type }) => type === 'message').length", json!(2 * EACH)).await;
        let told = heard(window, &["message", "update", "gap", "left", "closed"]).await;
        let ids: Vec<&Value> = told.iter().map(|event| &event["message"]["id"]).collect();
        let expected: Vec<&Value> = history.iter().map(|message| &message["id"]).collect();
        assert_eq!(ids, expected, "heard once and in order, and nothing else");
        assert_eq!(act(window, "Promise.all(posted).then((all) => all.length)").await, json!(EACH));
        let seen = "realtime.presence('global').members.map(({ displayName, state }) => [displayName, state]).sort()";
        window.until(seen, json!([["Mira", "in a storm"], ["Oskar", "in a storm"]])).await;
        let lost = heard(window, &["disconnected", "reconnected"]).await;
        assert!(lost.len() >= 6, "the wire was cut: {lost:?}");
        let turns = ["disconnected", "reconnected"].iter().cycle();
        assert!(lost.iter().zip(turns).all(|(event, turn)| event["type"] == *turn), "{lost:?}");
    }
    here.close().await;
    there.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn what_changed_meanwhile_is_told_once_in_its_newest_state() {
    let (store, driver, wire) = (Store::sqlite(), Driver::start(), Wire::new().await);
    let server = store.serve(&["--set", &format!("public_url={}", wire.url())]);
    wire.lead_to(&server.url.replace("http://", ""));
    let channel = server.general().await;
    let (mira, oskar) = (server.guest("Mira").await, server.guest("Oskar").await);
    let window = driver.window().await;
    open(&window, &wire.url(), &[&mira.token], json!({})).await;
    let joined = act(&window, &format!("realtime.join('channel:{channel}')")).await;
    assert_eq!(joined["recovered"], json!(false));
    let first = post(&server, &channel, &oskar, "well met").await;
    window.until("heard.filter(({ type }) => type === 'message').length", json!(1)).await;

    wire.lead_to("127.0.0.1:1");
    wire.cut();
    window.until("realtime.state", json!("waiting")).await;
    let second = post(&server, &channel, &oskar, "anybody ther?").await;
    for (message, body) in [(&first, "well met, all"), (&second, "anybody there?")] {
        let path = format!("/api/v1/messages/{}", message["id"].as_str().expect("an id"));
        let answer = server.try_patch(&path, &oskar.token, &json!({ "body": body })).await;
        assert_eq!(answer.expect("an answer").0, 200);
    }
    assert_eq!(refusal(&window, "realtime.typing('global')").await, json!("not-connected"));
    wire.lead_to(&server.url.replace("http://", ""));

    window.until("heard.at(-1)?.type", json!("live")).await;
    let told = heard(&window, &["message", "update", "gap"]).await;
    let told: Vec<_> = told.iter().map(|event| json!([event["type"], event["message"]["body"]])).collect();
    assert_eq!(
        json!(told),
        json!([["message", "well met"], ["update", "well met, all"], ["message", "anybody there?"]]),
        "what was edited before it was ever heard is news"
    );
    let cursor = act(&window, "heard.findLast(({ cursor }) => cursor).cursor").await;
    act(&window, &format!("realtime.leave('channel:{channel}')")).await;
    post(&server, &channel, &oskar, "still here?").await;
    let joined = act(&window, &format!("realtime.join('channel:{channel}', {cursor})")).await;
    assert_eq!(joined["recovered"], json!(true));
    window.until("heard.at(-1).type", json!("live")).await;
    let told = heard(&window, &["message", "update"]).await;
    assert_eq!(told.len(), 4);
    assert_eq!(told[3]["message"]["body"], "still here?");
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_that_is_opened_anew_in_the_midst_of_a_replay_goes_on_with_it() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let channel = server.general().await;
    let (mira, oskar) = (server.guest("Mira").await, server.guest("Oskar").await);
    let window = driver.window().await;
    open(&window, &server.url, &[&mira.token], json!({})).await;
    let joined = act(&window, &format!("realtime.join('channel:{channel}')")).await;
    act(&window, &format!("realtime.leave('channel:{channel}')")).await;
    let first = post(&server, &channel, &oskar, "1").await;
    for body in ["2", "3", "4"] {
        post(&server, &channel, &oskar, body).await;
    }
    let edit = async |body: &str| {
        let path = format!("/api/v1/messages/{}", first["id"].as_str().expect("an id"));
        let answer = server.try_patch(&path, &oskar.token, &json!({ "body": body })).await;
        assert_eq!(answer.expect("an answer").0, 200);
    };
    edit("one").await;
    let mut since = joined["cursor"].clone();
    // The second time from within the first replay, as a page that was closed there and kept the cursor.
    for (last, expected) in [("one", ["2", "3", "4", "one"].as_slice()), ("ONE", &["4", "ONE"])] {
        edit(last).await;
        open(&window, &server.url, &[&mira.token], json!({})).await;

        act(&window, &format!("realtime.join('channel:{channel}', {since})")).await;

        window.until("heard.at(-1)?.type", json!("live")).await;
        let told = heard(&window, &["message", "update", "gap"]).await;
        let told: Vec<_> = told.iter().map(|event| (&event["type"], &event["message"]["body"])).collect();
        let expected: Vec<_> = expected.iter().map(|body| (json!("message"), json!(body))).collect();
        assert_eq!(told, expected.iter().map(|(kind, body)| (kind, body)).collect::<Vec<_>>());
        since = act(&window, "heard.filter(({ type }) => type === 'message')[1].cursor").await;
    }
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_post_that_may_be_stored_is_sent_again_under_its_name_or_its_outcome_is_unknown() {
    const POSTS: &str = r"
        const { Conversation } = await import('/assets/realtime-conversation.js');
        const sent = [];
        const conversation = new Conversation(256, () => {}, { shortest: 1, longest: 4 });
        const open = () => conversation.open((record) => sent.push(record));
        const post = (body) => conversation.publish('channel:c', body, {})
            .then(({ seq }) => seq, (problem) => [problem.code, problem.cause?.code ?? null, problem.clientId, problem.isRetryable]);
        const refuse = (code, retryAfterMs) => conversation.take(
            { t: 'err', id: sent.at(-1).id, code, detail: 'Not now.', correlationId: 'c.7', retryAfterMs });
        const until = async (count) => {
            while (sent.length < count) await new Promise((go) => setTimeout(go, 1));
        };
        const store = (seq) => conversation.take({ t: 'ok', id: sent.at(-1).id, message: { seq } });
        const said = () => sent.splice(0).map(({ clientId, body }) => [clientId, body]);
        open();

        const stored = [post('one')];
        refuse('timed-out', 50);
        await until(2);
        refuse('slow-mode', 50);
        stored.push(post('two'));
        await until(3);
        // Nothing more is sent until this one is stored.
        const before = sent.length;
        store(1);
        await until(4);
        store(2);
        const ordered = [await Promise.all(stored), said(), before];

        const farewell = post('farewell');
        conversation.lose(true);
        open();
        refuse('permission-denied');
        const lost = [await farewell, said()];

        const away = post('away');
        for (let tries = 1; tries <= 10; tries++) {
            await until(tries);
            refuse('unavailable', 1);
        }
        const unknown = [await away, said()];

        const soon = post('soon');
        refuse('slow-mode', 5_000);
        return [ordered, lost, unknown, await soon, conversation.waiting];
    ";

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.driver.goto(format!("{}{EMPTY_PAGE}", server.url)).await.expect("the page loads");

    let told = window.driver.execute(format!("return (async () => {{ {POSTS} }})();"), Vec::new()).await;

    let told = told.expect("an answer").json().clone();
    let [ordered, lost, unknown] = [0, 1, 2].map(|n| told[n].clone());
    let (one, two) = (&ordered[1][0], &ordered[1][3]);
    assert_eq!(ordered, json!([[1, 2], [one, one, one, two], 3]), "and in its place");
    assert_eq!((&one[1], &two[1]), (&json!("one"), &json!("two")));
    let (farewell, away) = (&lost[1][0], &unknown[1][0]);
    assert_eq!(lost, json!([["outcome-unknown", "permission-denied", farewell[0], false], [farewell, farewell]]));
    assert_eq!(unknown, json!([["outcome-unknown", "unavailable", away[0], false], vec![away; 10]]));
    assert_eq!((&told[3], &told[4]), (&json!(["slow-mode", null, "", true]), &json!(0)), "this one was not stored");
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn what_was_said_without_a_connection_is_stored_in_order_and_once_though_it_exceeds_the_quota() {
    const POSTS: usize = 60;

    let (store, driver, wire) = (Store::sqlite(), Driver::start(), Wire::new().await);
    let own_quota = format!("limits.chat={}", LimitsConfig::default().chat);
    let server = store.serve(&["--set", &format!("public_url={}", wire.url()), "--set", &own_quota]);
    let address = server.url.replace("http://", "");
    wire.lead_to(&address);
    let channel = server.general().await;
    let mira = server.guest("Mira").await;
    let window = driver.window().await;
    open(&window, &wire.url(), &[&mira.token], json!({ "shortestPauseMs": 20, "longestPauseMs": 200 })).await;
    act(&window, &format!("realtime.join('channel:{channel}')")).await;

    wire.lead_to("127.0.0.1:1");
    wire.cut();
    window.until("realtime.state", json!("waiting")).await;
    let crowd =
        format!("Array.from({{ length: {POSTS} }}, (_, n) => realtime.publish('channel:{channel}', String(n)))");
    act(&window, &format!("void (globalThis.posted = Promise.all({crowd}))")).await;
    wire.lead_to(&address);

    window.until("realtime.waitingPosts", json!(0)).await;
    let seqs = act(&window, "posted.then((all) => all.map(({ seq }) => seq))").await;
    assert_eq!(seqs, json!((1..=POSTS).collect::<Vec<_>>()));
    let bodies: Vec<Value> = server.history(&channel).await.iter().map(|message| message["body"].clone()).collect();
    assert_eq!(bodies, (0..POSTS).map(|n| json!(n.to_string())).collect::<Vec<_>>());
    // Who stands by is told at once.
    let codes =
        act(&window, &format!("Promise.allSettled({crowd}).then((all) => all.map((it) => it.reason?.code))")).await;
    assert!(codes.as_array().expect("a list").iter().filter(|code| **code == "rate-limited").count() > 20, "{codes}");
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_token_is_renewed_on_the_open_socket_and_one_that_cannot_be_costs_the_connection() {
    const LIFE: Duration = Duration::from_secs(4);

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&["--set", &format!("realtime.ticket_life_seconds={}", LIFE.as_secs())]);
    let channel = server.general().await;
    let (here, there) = (driver.window().await, driver.window().await);
    let account = json!({ "displayName": "Mira" });
    let (_, session) = server.post("/api/v1/auth/guest", None, &account).await;
    let refresh = json!({ "refreshToken": session["refreshToken"] });
    let (status, newer) = server.post("/api/v1/auth/refresh", None, &refresh).await;
    assert_eq!(status, 200, "{newer}");
    let [old, new] = [&session, &newer].map(|session| session["accessToken"].as_str().expect("a token"));
    assert_ne!(old, new);

    open(&here, &server.url, &[old, new], json!({})).await;
    open(&there, &server.url, &[&server.guest("Oskar").await.token], json!({})).await;
    for window in [&here, &there] {
        act(window, &format!("realtime.join('channel:{channel}')")).await;
    }

    there.until("heard.some(({ type }) => type === 'reconnected')", json!(true)).await;
    tokio::time::sleep(LIFE).await;
    act(&here, &format!("realtime.publish('channel:{channel}', 'still the same socket')")).await;
    assert_eq!(heard(&here, &["disconnected", "reconnected", "closed"]).await, Vec::<Value>::new());
    let why = act(&there, "heard.find(({ type }) => type === 'disconnected').problem.code").await;
    assert_eq!(why, json!("lost"));
    assert!(server.metric("weltenwind_ws_closed_total{code=\"4100\"}").await >= 1.0);
    here.close().await;
    there.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_drain_names_the_pause_and_an_ended_session_is_the_end() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let mira = server.guest("Mira").await;
    let window = driver.window().await;
    let slow = json!({ "shortestPauseMs": 60_000, "longestPauseMs": 90_000, "pendingPosts": 2 });
    open(&window, &server.url, &[&mira.token], slow).await;
    let address = server.address().to_owned();
    server.stop();
    window.until("heard[0]?.type", json!("disconnected")).await;
    assert!(
        act(&window, "heard[0].retryInMs").await.as_f64().expect("a number") < 60_000.0,
        "the server names the window"
    );

    let channel = "channel:01a206d0-33cf-7641-bb37-ddc67574a6de";
    act(&window, &format!("void (globalThis.waiting = ['a', 'b'].map((body) => realtime.publish('{channel}', body)))"))
        .await;
    assert_eq!(refusal(&window, &format!("realtime.publish('{channel}', 'c')")).await, json!("queue-full"));
    assert_eq!(refusal(&window, "realtime.publish('global', 'c')").await, json!("not-a-channel"));
    let server = store.serve_at(&address);
    // Its own pauses are long, unless the network comes back.
    window.until("(dispatchEvent(new Event('online')), realtime.state)", json!("open")).await;
    for post in ["waiting[0]", "waiting[1]"] {
        assert_eq!(refusal(&window, post).await, json!("not-joined"), "the server refuses in its words");
    }
    assert_eq!(
        refusal(&window, "realtime.join('world:01a206d0-33cf-7641-bb37-ddc67574a6de')").await,
        json!("world-not-found")
    );
    act(&window, "realtime.join('global')").await;
    assert_eq!(refusal(&window, "realtime.join('global')").await, json!("already-joined"));

    let (status, _) = server.post("/api/v1/auth/logout", Some(&mira.token), &json!({})).await;
    assert_eq!(status, 204);
    window.until("heard.at(-1).type", json!("closed")).await;
    let end = act(&window, "[heard.at(-1).problem.code, heard.at(-1).problem.closeCode, realtime.state]").await;
    assert_eq!(end, json!(["ended", 4201, "closed"]));
    assert_eq!(refusal(&window, "realtime.say('global', 'anybody?')").await, json!("ended"));
    assert_eq!(act(&window, "realtime.presence('global')").await, Value::Null);
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn who_is_not_signed_in_any_more_hears_so_and_nothing_is_tried_again() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let mira = server.guest("Mira").await;
    let window = driver.window().await;
    assert_eq!(server.post("/api/v1/auth/logout", Some(&mira.token), &json!({})).await.0, 204);
    window.driver.goto(format!("{}{EMPTY_PAGE}", server.url)).await.expect("the page loads");

    for (token, code) in [(json!(mira.token), "session-ended"), (Value::Null, "not-signed-in")] {
        let opened = format!(
            "import('/assets/realtime.js').then(({{ Realtime }}) => {{
                globalThis.realtime = new Realtime({{ token: () => {token} }});
                return realtime.open();
            }}).then(() => null, (problem) => [problem.code, realtime.state])"
        );
        assert_eq!(act(&window, &opened).await, json!([code, "closed"]));
    }
    let asked =
        act(&window, "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('tickets')).length");
    assert_eq!(tokio::time::timeout(PATIENCE, asked).await.expect("an answer"), json!(1));
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_server_that_names_a_pause_is_not_asked_before() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&["--set", "limits.write=1/s"]);
    let token = server.guest("Mira").await.token;
    let window = driver.window().await;
    window.driver.goto(format!("{}{EMPTY_PAGE}", server.url)).await.expect("the page loads");

    let opened = format!(
        "import('/assets/realtime.js').then(({{ Realtime }}) => {{
            globalThis.codes = new Set();
            return Promise.all([1, 2, 3].map(() => {{
                const realtime = new Realtime({{ token: () => '{token}', shortestPauseMs: 5, longestPauseMs: 10 }});
                realtime.addEventListener('state', () => realtime.problem && codes.add(realtime.problem.code));
                return realtime.open().then(() => realtime.state);
            }}));
        }})"
    );
    assert_eq!(act(&window, &opened).await, json!(["open", "open", "open"]));
    assert_eq!(act(&window, "[...codes]").await, json!(["rate-limited"]));
    let asked = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('tickets')).length";
    let asked = act(&window, asked).await.as_u64().expect("a number");
    assert!((4..=9).contains(&asked), "asked {asked} times");
    window.close().await;
}

/// Something before a server, which answers by itself for want of one.
struct Proxy {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl Proxy {
    /// Gives these answers, a status and a body each, and the last of them again and again.
    async fn answering(answers: Vec<(u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                if !matches!(stream.read(&mut request).await, Ok(1..)) {
                    continue;
                }
                let (status, body) = &answers[counted.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} No\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                // Who asked may have gone.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { address, asked }
    }

    async fn until_asked(&self, times: usize) {
        let asked = async {
            while self.asked.load(Ordering::SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("it is asked");
    }
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn once_the_socket_was_open_only_what_the_server_refuses_by_name_is_the_end() {
    let (store, driver, wire) = (Store::sqlite(), Driver::start(), Wire::new().await);
    let server = store.serve(&["--set", &format!("public_url={}", wire.url())]);
    let address = server.url.replace("http://", "");
    wire.lead_to(&address);
    let mira = server.guest("Mira").await;
    let window = driver.window().await;
    let page = |status| (status, format!("<html><h1>Error {status}</h1>"));
    let defect = json!({ "code": "internal", "correlationId": "request-1", "detail": "Not now." }).to_string();
    open(&window, &wire.url(), &[&mira.token], json!({ "shortestPauseMs": 5, "longestPauseMs": 20 })).await;

    let proxy = Proxy::answering(vec![page(500), page(520), page(404), (500, "{}".to_owned()), (500, defect)]).await;
    wire.lead_to(&proxy.address);
    wire.cut();
    proxy.until_asked(6).await;
    assert_eq!(act(&window, "realtime.problem.code").await, json!("internal"));
    wire.lead_to(&address);

    window.until("realtime.state", json!("open")).await;
    assert_eq!(heard(&window, &["closed"]).await, Vec::<Value>::new());
    // At first, a defect is told; a server that something before it cannot reach is waited for.
    let again = format!(
        "void (globalThis.another = new realtime.constructor({{ token: () => '{}', shortestPauseMs: 5, longestPauseMs: 20 }}),
            globalThis.opened = another.open().then(() => null, (problem) => problem.code))",
        mira.token
    );
    wire.lead_to(&proxy.address);
    wire.cut();
    act(&window, &again).await;
    assert_eq!(act(&window, "opened").await, json!("internal"));
    let proxy = Proxy::answering(vec![page(520)]).await;
    wire.lead_to(&proxy.address);
    act(&window, &again).await;
    proxy.until_asked(3).await;
    wire.lead_to(&address);
    assert_eq!(act(&window, "opened").await, Value::Null);
    window.close().await;
}

/// Runs a conversation without a socket, whose part of the server the script has.
async fn converse(script: &str) -> Value {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.driver.goto(format!("{}{EMPTY_PAGE}", server.url)).await.expect("the page loads");
    let whole = format!(
        "return (async () => {{
            const {{ Conversation }} = await import('/assets/realtime-conversation.js');
            const {{ Problem }} = await import('/assets/problem.js');
            const [sent, heard] = [[], []];
            const conversation = new Conversation(256, (type) => heard.push(type), {{ shortest: 1, longest: 4 }});
            const open = () => conversation.open((record) => sent.push(record));
            const until = async (count) => {{
                while (sent.length < count) await new Promise((go) => setTimeout(go, 1));
            }};
            const said = () => sent.splice(0).map(({{ t, id }}) => [t, id]);
            const room = 'global';
            const joined = (id) => {{
                const presence = {{ version: id, members: [{{ id: String(id), displayName: 'Lu' }}], count: 1 }};
                conversation.take({{ t: 'joined', id, room, recovered: false, presence }});
            }};
            const refuse = (id, code) => conversation.take({{ t: 'err', id, code, detail: 'No.', correlationId: 'c.7' }});
            open();
            {script}
        }})();"
    );
    let told = window.driver.execute(whole, Vec::new()).await.expect("an answer").json().clone();
    window.close().await;
    told
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_joined_room_is_asked_for_again_whatever_the_server_fails_by() {
    let told = converse(
        "conversation.join(room, null);
        joined(1);
        conversation.lose(true);
        open();
        const begin = performance.now();
        refuse(2, 'internal');
        await until(3);
        const pause = performance.now() - begin;
        joined(3);
        return [said(), heard, pause >= 1_990];",
    );

    let expected = json!([[["join", 1], ["join", 2], ["join", 3]], ["presence", "presence"], true]);
    assert_eq!(told.await, expected);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_room_that_is_joined_anew_outlives_what_crosses_its_request() {
    let told = converse(
        "conversation.join(room, null);
        joined(1);
        conversation.take({ t: 'presence', room, version: 9, join: [], leave: [], count: 1 });
        for (const code of ['internal', 'room-not-found']) conversation.take({ t: 'left', room, code });
        refuse(2, 'not-joined');
        joined(3);
        const crossed = [said(), conversation.present(room).members[0].id];
        conversation.lose(true);
        open();
        refuse(4, 'already-joined');
        joined(6);
        return [...crossed, said(), conversation.present(room).members[0].id, heard];",
    );

    let (first, then) = ([("join", 1), ("leave", 2), ("join", 3)], [("join", 4), ("leave", 5), ("join", 6)]);
    assert_eq!(told.await, json!([first, "3", then, "6", ["presence", "presence", "presence"]]));
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_post_that_is_under_way_when_the_socket_ends_may_be_stored_and_one_that_was_not_sent_is_not() {
    let told = converse(
        "const post = (room) => conversation.publish(room, 'farewell', { clientId: 'a7' })
            .then(null, ({ code, cause, clientId }) => [code, cause?.code ?? null, clientId]);
        const underWay = post('channel:c');
        conversation.join('channel:d', null).catch(() => {});
        const unsent = post('channel:d');
        conversation.end(new Problem({ code: 'ended' }));
        return [await underWay, await unsent, said(), conversation.waiting];",
    );

    let expected = json!([["outcome-unknown", "ended", "a7"], ["ended", null, ""], [["pub", 1], ["join", 2]], 0]);
    assert_eq!(told.await, expected);
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn what_the_server_knows_or_is_being_told_is_not_said_twice() {
    let told = converse(
        "const ok = (id) => conversation.take({ t: 'ok', id });
        conversation.join(room, null);
        joined(1);
        const says = [conversation.foreground(true), conversation.foreground(true)];
        says.push(conversation.say(room, 'away'), conversation.say(room, 'away'));
        ok(2);
        ok(3);
        says.push(conversation.foreground(true), conversation.say(room, 'away'));
        await Promise.all(says);
        const once = said();
        conversation.lose(true);
        const waits = conversation.foreground(true);
        open();
        const again = said();
        ok(5);
        ok(4);
        await waits;
        return [once, again.length, again.map(([t]) => t).sort()];",
    );

    let once = [("join", 1), ("foreground", 2), ("presence", 3)];
    assert_eq!(told.await, json!([once, 2, ["foreground", "join"]]));
}

/// Holds the conversations of the documents with the module's own part of them, and answers for each its title, what it said
/// otherwise than written, and what its program heard.
const TRANSCRIPTS: &str = r"
    const { Conversation } = await import('/assets/realtime-conversation.js');
    const held = [];
    for (const text of transcripts.trim().split('\n\n')) {
        const [sent, heard, wrong] = [[], [], []];
        const conversation = new Conversation(256, (type) => heard.push(type));
        conversation.open((record) => sent.push(JSON.parse(JSON.stringify(record))));
        const said = { join: (it) => conversation.join(it.room, it.since ?? null), leave: (it) => conversation.leave(it.room),
            pub: (it) => conversation.publish(it.room, it.body, it), presence: (it) => conversation.say(it.room, it.state),
            typing: (it) => conversation.type(it.room), foreground: (it) => conversation.foreground(it.on),
            refresh: (it) => conversation.refresh(it.token) };
        for (const line of text.split('\n')) {
            const record = /^[<>]/.test(line) && JSON.parse(line.slice(2));
            if (line[0] === '<') conversation.take(record);
            if (line[0] !== '>') continue;
            const answer = said[record.t]?.(record);
            // What fails is told with what follows.
            answer?.catch((problem) => heard.push(problem.code));
            const own = sent.shift();
            const sorted = (it) => JSON.stringify(Object.entries(it ?? {}).sort());
            if (sorted(own) !== sorted(record)) wrong.push([own, record]);
        }
        await null;
        await null;
        held.push([text.split('\n')[0].slice(2), [...wrong, ...sent], heard]);
    }
    return held;
";

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_module_says_and_hears_what_the_documents_say() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.driver.goto(format!("{}{EMPTY_PAGE}", server.url)).await.expect("the page loads");
    let transcripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../weltenwind-core/src/wire/transcripts.txt");
    let transcripts = std::fs::read_to_string(transcripts).expect("the transcripts");

    let script = format!("return (async (transcripts) => {{ {TRANSCRIPTS} }})(...arguments);");
    let held = window.driver.execute(script, vec![json!(transcripts)]).await.expect("they are held");

    let nothing: [Value; 0] = [];
    assert_eq!(
        *held.json(),
        json!([
            ["A channel is joined, heard and left", nothing, ["live", "message", "update", "message", "not-joined"]],
            ["What was missed is replayed", nothing, ["live", "message", "live"]],
            ["What cannot be replayed is told", nothing, ["gap", "live"]],
            [
                "Who is there, and who is writing",
                nothing,
                ["presence", "live", "presence", "presence", "typing", "presence"]
            ],
            ["A sign of life, and a newer token", nothing, ["notice"]],
            ["A room is taken away", nothing, ["live", "left"]],
            ["The server stops", nothing, []],
        ])
    );
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn behind_a_hole_the_room_is_joined_anew_and_the_difference_told() {
    const HOLE: &str = r"
        const { Conversation } = await import('/assets/realtime-conversation.js');
        const [sent, heard] = [[], []];
        const conversation = new Conversation(256, (type, { join, leave, count } = {}) => {
            if (type === 'presence') heard.push([join.map(({ id }) => id), leave, count]);
        });
        conversation.open(({ t, id, room, state }) => sent.push([t, id, state ?? null]));
        const [mira, lu, ola] = ['mira', 'lu', 'ola'].map((id) => ({ id, displayName: id }));
        const room = 'global';
        const joined = (id, version, members, count = members.length) =>
            conversation.take({ t: 'joined', id, room, recovered: false, presence: { version, members, count } });
        const change = (version, join, leave, count) =>
            conversation.take({ t: 'presence', room, version, join, leave, count });
        conversation.join(room, null);
        joined(1, 1, [mira, lu]);
        conversation.say(room, 'away');
        conversation.take({ t: 'ok', id: 2 });
        change(1, [mira], [], 2);
        change(3, [], ['lu'], 1);
        change(4, [ola], [], 2);
        joined(4, 4, [mira, ola]);
        change(5, [], ['mira', 'ola'], 3);
        const many = conversation.present(room);
        change(6, [mira, lu], [], 2);
        const few = conversation.present(room);
        conversation.take({ t: 'presence', room, version: 9, whole: true, join: [ola], leave: [], count: 1 });
        change(10, [lu], [], 2);
        return [sent, heard, many, few, conversation.present(room)];
    ";

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.driver.goto(format!("{}{EMPTY_PAGE}", server.url)).await.expect("the page loads");

    let told = window.driver.execute(format!("return (async () => {{ {HOLE} }})();"), Vec::new()).await;

    let [mira, lu, ola] = ["mira", "lu", "ola"].map(|id| json!({ "id": id, "displayName": id }));
    assert_eq!(
        *told.expect("an answer").json(),
        json!([
            // What was said is said again in the room that was joined anew.
            [["join", 1, null], ["presence", 2, "away"], ["leave", 3, null], ["join", 4, null], ["presence", 5, "away"]],
            [
                [["mira", "lu"], [], 2],
                [["ola"], ["lu"], 2],
                [[], ["mira", "ola"], 3],
                [["mira", "lu"], [], 2],
                // Who was too slow is told everybody, and joins nothing anew.
                [["ola"], ["mira", "lu"], 1],
                [["lu"], [], 2],
            ],
            { "members": [], "count": 3 },
            { "members": [mira, lu], "count": 2 },
            { "members": [ola, lu], "count": 2 },
        ])
    );
    window.close().await;
}
