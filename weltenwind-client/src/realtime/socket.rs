//! The handshake, and frames as records.
//!
//! The handshake is an ordinary call that ends in an upgrade: it shares the client's addresses, proxies and trust, and a
//! refusal has a problem body like any other.

use std::{collections::VecDeque, ops::ControlFlow};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use reqwest::{StatusCode, Upgraded, header};
use serde::Deserialize;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};
use weltenwind_core::{
    IdGenerator as _, SystemIds,
    wire::{ClientRecord, SUBPROTOCOL, ServerRecord},
};

use crate::{
    call::{refusal, unreachable},
    client::Client,
    error::ClientError,
    session::Tokens,
};

/// The largest frame that is taken. Servers send 64 KiB or little more.
const MAX_FRAME: usize = 4 * 1024 * 1024;

type Stream = WebSocketStream<Upgraded>;

/// An open socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// The access token that carries it.
    pub(super) token: String,
}

/// Opens a socket as whoever is signed in.
pub(super) async fn open(client: &Client) -> Result<Socket, ClientError> {
    let tokens = client.tokens(client.until()).await.ok_or(ClientError::NotSignedIn)?;
    match shake_hands(client, &tokens).await {
        Err(error) if error.is_stale_token() && tokens.refresh.is_some() => {
            let newer = client.renew(&tokens, client.until()).await?;
            shake_hands(client, &newer).await
        }
        answer => answer,
    }
}

async fn shake_hands(client: &Client, tokens: &Tokens) -> Result<Socket, ClientError> {
    let correlation_id = SystemIds.draw().to_string();
    let (key, token) = (generate_key(), tokens.access.expose().clone());
    let request = client
        .inner
        .http
        .get(client.address(["realtime", "v1"]))
        .bearer_auth(&token)
        .header("x-request-id", &correlation_id)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    // The limit is for the answer alone: given to the request it would hold for the socket's life.
    let answer = tokio::time::timeout(client.inner.timeout, request.send()).await;
    let response = answer
        .map_err(|late| ClientError::Unreachable {
            correlation_id: correlation_id.clone(),
            sent: true,
            source: late.into(),
        })?
        .map_err(|error| unreachable(&correlation_id, error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response, correlation_id).await);
    }
    let says = |name, expected: &str| response.headers().get(name).is_some_and(|value| value == expected);
    if !says(header::SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes()))
        || !says(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
    {
        let source = format!("the server does not speak {SUBPROTOCOL}").into();
        return Err(ClientError::Unreadable { correlation_id, source });
    }
    let upgraded = response.upgrade().await.map_err(|error| unreachable(&correlation_id, error))?;
    let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
    let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
    let (sink, stream) = stream.split();
    Ok(Socket { reader: Reader { stream }, writer: Writer { sink, is_dirty: false }, token })
}

/// How a connection ended, as far as the frames tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: Option<u16>,
    pub(super) reason: String,
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct Reader {
    stream: SplitStream<Stream>,
}

impl Reader {
    /// Waits for a frame and returns its text, or how the connection ended. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> ControlFlow<End, String> {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => ControlFlow::Continue(text.as_str().to_owned()),
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame.map(|frame| (frame.code.into(), frame.reason.to_string())).unzip();
                let reason = reason.unwrap_or_else(|| "closed by the server".to_owned());
                ControlFlow::Break(End { code, reason })
            }
            // Tungstenite answers the protocol's own pings; binary frames are not spoken.
            Some(Ok(_)) => ControlFlow::Continue(String::new()),
            Some(Err(error)) => ControlFlow::Break(End { code: None, reason: error.to_string() }),
            None => ControlFlow::Break(End { code: None, reason: "the connection ended".to_owned() }),
        }
    }
}

/// Writes records.
#[derive(Debug)]
pub(super) struct Writer {
    sink: SplitSink<Stream, Message>,
    is_dirty: bool,
}

impl Writer {
    /// Returns whether there is something to write.
    pub(super) fn has_work(&self, records: &VecDeque<Message>) -> bool {
        self.is_dirty || !records.is_empty()
    }

    /// Writes everything. Dropping the future loses nothing: what was taken is written with the next call.
    pub(super) async fn write(&mut self, records: &mut VecDeque<Message>) -> Result<(), End> {
        let lost = |error: tokio_tungstenite::tungstenite::Error| End { code: None, reason: error.to_string() };
        while !records.is_empty() {
            std::future::poll_fn(|cx| self.sink.poll_ready_unpin(cx)).await.map_err(lost)?;
            if let Some(record) = records.pop_front() {
                self.is_dirty = true;
                self.sink.start_send_unpin(record).map_err(lost)?;
            }
        }
        self.sink.flush().await.map_err(lost)?;
        self.is_dirty = false;
        Ok(())
    }

    /// Says that nothing more will be said.
    pub(super) async fn close(&mut self) {
        // A connection that is broken already needs no goodbye.
        let _ = self.sink.close().await;
    }
}

/// Finishes a record.
pub(super) fn frame(record: &ClientRecord) -> Message {
    Message::text(serde_json::to_string(record).expect("a record is plain data"))
}

/// Reads a line. A kind of record that this client does not know is passed over, since a newer server may send some.
pub(super) fn read(line: &str) -> Result<Option<ServerRecord>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tagged {
        t: String,
    }

    const KNOWN: &[&str] = &[
        "welcome",
        "joined",
        "msg",
        "update",
        "live",
        "gap",
        "presence",
        "typing",
        "ok",
        "err",
        "left",
        "refresh-needed",
        "ping",
        "bye",
    ];
    match serde_json::from_str(line) {
        Ok(record) => Ok(Some(record)),
        Err(error) => {
            let kind = serde_json::from_str::<Tagged>(line)?.t;
            if KNOWN.contains(&kind.as_str()) {
                return Err(error);
            }
            tracing::debug!(kind, "a record of an unknown kind is passed over");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use weltenwind_core::Room;

    use super::*;

    #[test]
    fn a_newer_servers_records_are_passed_over_and_its_members_ignored() {
        assert_eq!(read(r#"{"t":"fanfare","room":"global","kind":"flags-changed"}"#).unwrap(), None);
        let notice = read(r#"{"t":"notice","room":"global","kind":"flags-changed","ttl":60}"#).unwrap();
        let expected = ServerRecord::Notice { room: Room::Global, kind: "flags-changed".to_owned(), id: None };
        assert_eq!(notice, Some(expected), "a kind that is about no notification");
        assert_eq!(read(r#"{"t":"ping","since":"2030"}"#).unwrap(), Some(ServerRecord::Ping));
    }

    #[test]
    fn a_record_that_is_known_and_does_not_fit_is_an_error() {
        for line in [r#"{"t":"msg","room":"global"}"#, "[]", "no json", r#"{"t":7}"#] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
