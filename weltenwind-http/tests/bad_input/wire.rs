//! Requests byte for byte, and their answers.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use weltenwind_http::{HttpConfig, serve};

use super::fixture::Server;

/// A request of HTTP/1.1 that may be none.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    line: String,
    head: String,
    body: Option<Vec<u8>>,
}

impl Ask {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { line: format!("{method} {path} HTTP/1.1\r\n"), head: String::new(), body: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.head, "{name}: {value}\r\n");
        self
    }

    pub(crate) fn bearing(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Adds lines to the head as they are.
    pub(crate) fn raw(mut self, lines: &str) -> Self {
        self.head.push_str(lines);
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    pub(crate) fn json(self, body: impl AsRef<[u8]>) -> Self {
        self.header("Content-Type", "application/json").body(body)
    }

    /// Says another type than JSON.
    pub(crate) fn content_type(mut self, media_type: &str) -> Self {
        self.head = self.head.replace("Content-Type: application/json\r\n", "");
        self.header("Content-Type", media_type)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}Host: 127.0.0.1\r\nConnection: close\r\n{}", self.line, self.head).into_bytes();
        if let Some(body) = &self.body {
            if !self.head.contains("Transfer-Encoding") {
                bytes.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
            }
            bytes.extend(b"\r\n");
            bytes.extend(body);
        } else {
            bytes.extend(b"\r\n");
        }
        bytes
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes()).into_owned();
        write!(f, "{:?}", text.chars().take(600).collect::<String>())
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The code of the problem; empty if there is no body at all.
    pub(crate) code: String,
    /// The member that the problem concerns first, or `-`.
    pub(crate) pointer: String,
    pub(crate) text: String,
}

/// A host that listens.
pub(crate) struct Wire {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn listen(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the network works");
        let address = listener.local_addr().expect("an address");
        let (stop, router) = (CancellationToken::new(), server.router.clone());
        let shutdown = stop.clone();
        let ended = tokio::spawn(async move { serve(listener, router, &HttpConfig::default(), shutdown).await });
        Self { address, stop, ended }
    }

    pub(crate) async fn send(&self, ask: &Ask) -> Answer {
        let (mut read, mut write) = TcpStream::connect(self.address).await.expect("the network works").into_split();
        let bytes = ask.bytes();
        // A refusal may come, and the connection go, before everything is sent.
        let sent = async { write.write_all(&bytes).await.ok() };
        let mut answer = Vec::new();
        let (_, _) = tokio::join!(sent, async { read.read_to_end(&mut answer).await.ok() });
        let text = String::from_utf8(answer).expect("answers are texts");
        parsed(text)
    }

    /// Stops, and waits until no connection is left.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.ended.await.expect("the server ends well");
    }
}

fn parsed(text: String) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    assert!(!body.contains("HTTP/1.1"), "two answers to one request: {text}");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    if body.is_empty() {
        return Answer { status, code: String::new(), pointer: "-".to_owned(), text };
    }
    let is_problem = head.to_ascii_lowercase().contains("content-type: application/problem+json");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(is_problem || status < 300, "{text}");
    let member = |value: &Value| value.as_str().map(str::to_owned);
    Answer {
        status,
        code: member(&problem["code"]).unwrap_or_default(),
        pointer: member(&problem["errors"][0]["pointer"]).unwrap_or_else(|| "-".to_owned()),
        text,
    }
}
