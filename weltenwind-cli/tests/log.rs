//! What the running binary writes to its log: every request, and nothing of what was said in it.

mod fixture;

use std::io::{Read as _, Write as _};

use fixture::{Server, Store};
use serde_json::{Value, json};

/// A word that stands in no program; each place that it is sent in gets one of its own.
fn secret(place: &str) -> String {
    format!("swordfish{place}")
}

/// What somebody would write who wants the log to say something else.
const FORGERIES: [&str; 4] = [
    "\n2026-11-23T00:00:00.000000Z  INFO forged",
    "\r\n{\"level\":\"INFO\",\"message\":\"forged\"}",
    "\u{1b}[2K\u{1b}[1Aforged",
    "\u{2028}forged",
];

/// Sends a request byte for byte and reads what comes.
fn raw(server: &Server, text: &str) -> String {
    let mut stream = std::net::TcpStream::connect(server.address()).expect("the server listens");
    stream.write_all(text.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Says a secret in every place where one may stand, and answers them all with the number of requests that were answered.
async fn say_everywhere(server: &Server) -> (Vec<String>, usize) {
    let http = reqwest::Client::new();
    let mira = server.guest("Mira").await;
    let general = server.general().await;
    let mut secrets = vec![mira.token.clone()];
    let mut said = |place: &str| {
        secrets.push(secret(place));
        secret(place)
    };
    let at = |path: &str| format!("{}{path}", server.url);
    let mut requests = vec![
        http.get(at(&format!("/api/v1/worlds?q={}", said("query")))),
        http.get(at(&format!("/api/v1/worlds?{}=1", said("parameter")))),
        http.get(at(&format!("/api/v1/worlds?cursor={}", said("cursor")))),
        http.get(at(&format!("/api/v1/worlds/{}", said("segment")))),
        http.get(at(&format!("/{}", said("path")))),
        http.get(at(&format!("/w/{}", said("short")))),
        http.get(at("/api/v1/me")).bearer_auth(said("token")),
        http.get(at("/api/v1/me")).header("authorization", format!("Basic {}", said("basic"))),
        http.get(at("/api/v1/worlds")).header("x-request-id", said("request")),
        http.get(at("/api/v1/worlds")).header("traceparent", said("trace")),
        http.get(at("/api/v1/worlds")).header("if-none-match", format!("\"{}\"", said("tag"))),
        http.get(at("/api/v1/worlds")).header("user-agent", said("agent")).header("referer", said("referer")),
        http.get(at("/api/v1/worlds")).header("x-forwarded-for", said("forwarded")).header("origin", said("origin")),
        http.get(at("/api/v1/worlds")).header("accept", said("accept")),
        http.get(at("/realtime/v1")).header("sec-websocket-protocol", format!("weltenwind.v1, ticket.{}", said("ticket"))),
        http.patch(at("/api/v1/worlds/welcome")).header("if-match", said("state")).bearer_auth(&mira.token).json(&json!({})),
        http.request(said("METHOD").parse().expect("a method"), at("/api/v1/worlds")),
        http.post(at("/api/v1/auth/guest")).header("content-type", said("media")).body(said("text")),
        http.post(at("/api/v1/auth/guest")).json(&json!({ said("member"): said("value") })),
        http.post(at("/api/v1/auth/guest")).json(&json!({ "displayName": said("name") })),
        http.post(at("/api/v1/auth/guest")).json(&json!({ "device": { "fingerprint": said("fingerprint") } })),
        http.post(at("/api/v1/auth/register"))
            .json(&json!({ "username": said("username"), "password": said("password"), "email": format!("{}@x.org", said("mail")) })),
        http.post(at("/api/v1/auth/login")).json(&json!({ "username": "mira", "password": said("wrong") })),
        http.post(at("/api/v1/auth/refresh")).json(&json!({ "refreshToken": said("refresh") })),
        http.post(at("/api/v1/auth/refresh")).header("cookie", format!("ww_refresh={}", said("cookie"))).json(&json!({})),
        http.post(at("/api/v1/auth/bootstrap"))
            .json(&json!({ "token": said("bootstrap"), "username": "keeper", "password": "correct horse battery" })),
        http.post(at(&format!("/api/v1/channels/{general}/messages")))
            .bearer_auth(&mira.token)
            .json(&json!({ "body": said("message"), "clientId": said("client") })),
        http.post(at(&format!("/api/v1/channels/{general}/messages")))
            .bearer_auth(&mira.token)
            .json(&json!({ "body": said("refused").repeat(300) })),
    ];
    for forgery in FORGERIES {
        requests.push(http.post(at("/api/v1/auth/guest")).json(&json!({ "displayName": forgery })));
        requests.push(http.post(at("/api/v1/auth/guest")).json(&json!({ forgery: forgery })));
        requests.push(http.get(at("/api/v1/worlds")).query(&[(forgery, forgery)]));
        requests.push(
            http.post(at(&format!("/api/v1/channels/{general}/messages")))
                .bearer_auth(&mira.token)
                .json(&json!({ "body": forgery })),
        );
    }
    // The guest and the channel of the beginning.
    let answered = requests.len() + 2;
    for request in requests {
        request.send().await.expect("an answer");
    }
    raw(server, &format!("HELLO {}\r\n\r\n", said("noise")));
    raw(server, &format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", said("header")));
    (secrets, answered)
}

#[tokio::test]
async fn nothing_that_was_said_stands_in_the_log() {
    for (format, filter) in
        [("json", "info"), ("text", "info"), ("json", "weltenwind=trace,info"), ("text", "weltenwind=trace,info")]
    {
        let store = Store::sqlite();
        let server = store.serve(&["--set", &format!("log.format={format}"), "--set", &format!("log.filter={filter}")]);
        let (secrets, answered) = say_everywhere(&server).await;

        let (code, log) = server.stop();

        assert_eq!(code, Some(0));
        for secret in secrets {
            assert!(!log.to_lowercase().contains(&secret.to_lowercase()), "{secret} in {log}");
        }
        assert!(!log.contains("forged") && !log.contains('\u{1b}') && !log.contains('\u{2028}'), "{log}");
        for word in ["correct horse", "wwr_", "wwb_", "wwt_"] {
            assert!(!log.contains(word), "{word} in {log}");
        }
        // Requests that no parser made one of have no line.
        assert_eq!(log.lines().filter(|line| line.contains("answered")).count(), answered, "{log}");
        for line in log.lines() {
            let begins =
                if format == "json" { serde_json::from_str::<Value>(line).is_ok() } else { line.starts_with("20") };
            assert!(begins, "{line}");
        }
    }
}

#[tokio::test]
async fn every_request_is_one_line_that_tells_who_where_and_how_it_went() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";
    let store = Store::sqlite();
    let server = store.serve(&["--set", "log.format=json", "--set", "trusted_proxies=[\"127.0.0.0/8\"]"]);
    let mira = server.guest("Mira").await;
    let http = reqwest::Client::new();
    let ask = |path: &str| http.get(format!("{}{path}", server.url)).bearer_auth(&mira.token);
    let id = |response: &reqwest::Response| response.headers()["x-request-id"].to_str().expect("a text").to_owned();

    let known = ask("/api/v1/worlds/welcome?").header("x-request-id", "edge-2026.11_23");
    let known = known.header("traceparent", format!("00-{TRACE}-{PARENT}-01")).send().await.expect("an answer");
    let minted = ask("/api/v1/worlds/none").header("x-request-id", "no id: blanks").send().await.expect("an answer");
    let (known, problem_id) = (id(&known), id(&minted));
    let problem: Value = minted.json().await.expect("a problem");
    let (_, log) = server.stop();

    assert_eq!(known, "edge-2026.11_23");
    assert_eq!(problem["correlationId"], problem_id.as_str());
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let line = |id: &str| {
        let mut of = lines.iter().filter(|line| line["message"] == "answered" && line["span"]["id"] == id);
        let line = of.next().unwrap_or_else(|| panic!("{id} in {log}"));
        assert!(of.next().is_none(), "{id} stands twice in {log}");
        line
    };
    let (followed, begun) = (line(&known), line(&problem_id));
    for (line, status) in [(followed, 200), (begun, 404)] {
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["status"], status);
        assert!(line["ms"].is_f64(), "{line}");
        assert_eq!(line["span"]["method"], "GET");
        assert_eq!(line["span"]["route"], "/api/v1/worlds/{world}");
        assert_eq!(line["span"]["actor"], mira.id.as_str());
        let is_hex = |value: &Value, length| {
            value.as_str().is_some_and(|text| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        assert!(is_hex(&line["span"]["trace"], 32) && is_hex(&line["span"]["span"], 16), "{line}");
    }
    assert_eq!((&followed["span"]["trace"], &followed["span"]["parent"]), (&json!(TRACE), &json!(PARENT)));
    assert_ne!(followed["span"]["span"], PARENT);
    assert_ne!(begun["span"]["trace"], TRACE);
    assert_eq!(begun["span"].get("parent"), None);
}
