//! A bench's own player on `/realtime/v1`: it posts when its time has come, or notes when it heard.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};
use weltenwind_core::{
    ChannelId, Room,
    wire::{ClientRecord, ServerRecord},
};

use crate::failure::Failure;

/// Longer than a node takes to answer while it is of any use.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where and when a message was sent; every message says so of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Which of the nodes.
    pub(super) node: usize,
    /// Microseconds since the bench's clock began.
    micros: u64,
}

impl Stamp {
    const MARK: &str = "\"body\":\"sent-at-";

    fn new(node: usize, time: Duration) -> Self {
        Self { node, micros: u64::try_from(time.as_micros()).expect("a bench ends before the clock does") }
    }

    /// As long as chat messages are; the peers in the documents were measured with as much.
    fn body(self) -> String {
        let Self { node, micros } = self;
        format!("sent-at-{node}-{micros:012} {}", "the wind has turned, and with it the fleet; ".repeat(5))
    }

    /// Finds the stamp in a record's text: to parse each record would measure the parser.
    fn find(record: &str) -> Option<Self> {
        let (_, stamped) = record.split_once(Self::MARK)?;
        let (node, micros) = stamped.get(..14)?.split_once('-')?;
        Some(Self { node: node.parse().ok()?, micros: micros.parse().ok()? })
    }

    pub(super) fn is_in(self, from: Duration, until: Duration) -> bool {
        (from..until).contains(&Duration::from_micros(self.micros))
    }

    fn age(self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_micros(self.micros))
    }
}

/// An open socket.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    node: String,
}

/// When to post: once in every `pause`, from `start` to `until`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) start: Duration,
    pub(super) pause: Duration,
    pub(super) until: Duration,
}

/// Signs in on a node's socket.
pub(super) async fn open(node: &str, token: &str) -> Result<Socket, Failure> {
    let failed = |error: Error| refused(node, &error);
    let url = format!("{}/realtime/v1", node.replacen("http", "ws", 1));
    let mut request = url.into_client_request().map_err(failed)?;
    let bearer = format!("Bearer {token}").parse().map_err(|_| Failure::failed("the access token is no header"))?;
    request.headers_mut().insert("authorization", bearer);
    request.headers_mut().insert("sec-websocket-protocol", "weltenwind.v1".parse().expect("a header"));
    let (stream, _) = connect_async(request).await.map_err(failed)?;
    Ok(Socket { stream, node: node.to_owned() })
}

fn refused(node: &str, error: &Error) -> Failure {
    let failure = Failure::failed(format!("{node} refuses a socket: {error}"));
    let Error::Http(response) = error else { return failure };
    match response.status().as_u16() {
        401 => failure.hint("nodes take each other's tokens if they share a store and are given the same public_url"),
        429 => failure.hint("start the nodes with --set realtime.max_connections_per_address=10000"),
        _ => failure,
    }
}

impl Socket {
    /// Joins a room and hears what happens from now on.
    pub(super) async fn join(&mut self, room: ChannelId) -> Result<(), Failure> {
        self.send(&ClientRecord::Join { id: 1, room: Room::Channel(room), since: None }).await?;
        loop {
            let text = tokio::time::timeout(PATIENCE, self.next())
                .await
                .map_err(|_| Failure::failed(format!("{} does not answer", self.node)))??;
            for line in text.lines() {
                match serde_json::from_str(line) {
                    Ok(ServerRecord::Live { .. }) => return Ok(()),
                    Ok(ServerRecord::Err { detail, .. }) => {
                        return Err(Failure::failed(format!("{} refuses to join: {detail}", self.node)));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Notes how old each message is when it is heard, until it is told to stop.
    pub(super) async fn listen(mut self, clock: Instant, stop: &AtomicBool) -> Result<Vec<(Stamp, Duration)>, Failure> {
        const LOOK: Duration = Duration::from_millis(200);
        let mut heard = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let Ok(text) = tokio::time::timeout(LOOK, self.next()).await else { continue };
            let (text, now) = (text?, clock.elapsed());
            for line in text.lines() {
                if let Some(stamp) = Stamp::find(line) {
                    heard.push((stamp, stamp.age(now)));
                } else if line.starts_with(r#"{"t":"ping""#) {
                    self.send(&ClientRecord::Pong).await?;
                } else if line.starts_with(r#"{"t":"gap""#) {
                    return Err(Failure::failed(format!("{} left a gap", self.node)));
                }
            }
        }
        Ok(heard)
    }

    /// Posts to a joined room as the poster on `node`, whether answers come or not, and answers what was acknowledged.
    pub(super) async fn post(
        mut self,
        room: ChannelId,
        node: usize,
        clock: Instant,
        times: Times,
    ) -> Result<Vec<Stamp>, Failure> {
        let mut sent = Vec::new();
        let mut acknowledged = 0;
        let mut next = times.start;
        loop {
            let is_over = next >= times.until;
            if is_over && acknowledged == sent.len() {
                return Ok(sent);
            }
            let wait = if is_over { PATIENCE } else { next.saturating_sub(clock.elapsed()) };
            match tokio::time::timeout(wait, self.next()).await {
                Ok(text) => {
                    for line in text?.lines() {
                        if line.starts_with(r#"{"t":"ok""#) {
                            acknowledged += 1;
                        } else if line.starts_with(r#"{"t":"err""#) {
                            return Err(Failure::failed(format!("{} refuses a message: {line}", self.node)));
                        }
                    }
                }
                Err(_) if is_over => return Err(Failure::failed(format!("{} does not acknowledge", self.node))),
                Err(_) => {
                    let (n, stamp) = (sent.len(), Stamp::new(node, clock.elapsed()));
                    let id = i64::try_from(n).expect("a bench posts less");
                    let (room, client_id, body) = (Room::Channel(room), n.to_string(), stamp.body());
                    self.send(&ClientRecord::Pub { id, room, client_id, body, reply_to: None }).await?;
                    sent.push(stamp);
                    next += times.pause;
                }
            }
        }
    }

    /// Waits until the node closes the socket, and answers with which code and when.
    pub(super) async fn closed(mut self) -> Result<(u16, Instant), Failure> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Close(frame))) => {
                    let at = Instant::now();
                    let frame = frame.ok_or_else(|| self.lost("it was closed without a code"))?;
                    return Ok((frame.code.into(), at));
                }
                Some(Ok(Message::Text(text))) if text.contains(r#"{"t":"ping""#) => {
                    self.send(&ClientRecord::Pong).await?;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.lost(&error.to_string())),
                None => return Err(self.lost("it was closed without a word")),
            }
        }
    }

    async fn send(&mut self, record: &ClientRecord) -> Result<(), Failure> {
        let text = serde_json::to_string(record).expect("a record is plain data");
        self.stream.send(Message::text(text)).await.map_err(|error| self.lost(&error.to_string()))
    }

    /// The next frame's text, a record a line. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<String, Failure> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(_))) | None => return Err(self.lost("it was closed")),
                Some(Err(error)) => return Err(self.lost(&error.to_string())),
                Some(Ok(_)) => {}
            }
        }
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::failed(format!("a socket to {} was lost: {why}", self.node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_the_time_it_was_sent() {
        let stamp = Stamp::new(1, Duration::from_micros(1_234_567));

        let record = serde_json::json!({ "t": "msg", "message": { "body": stamp.body() } }).to_string();

        assert_eq!(Stamp::find(&record), Some(stamp));
        assert_eq!(stamp.age(Duration::from_micros(1_234_600)), Duration::from_micros(33));
        assert!(stamp.is_in(Duration::from_secs(1), Duration::from_secs(2)));
        assert!(!stamp.is_in(Duration::from_secs(2), Duration::from_secs(3)));
    }
}
