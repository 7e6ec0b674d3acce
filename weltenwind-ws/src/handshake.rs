//! The handshake (RFC 6455, section 4.2): who is refused, is refused here, with a problem body.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use weltenwind_core::{
    Classify, ClientAddress, Code, CorrelationId, StorageError,
    accounts::AccountError,
    chain,
    revocations::LossWatch,
    security::{self, Event},
    wire::{ProblemBody, SUBPROTOCOL},
};

use crate::{host::Host, limits::Permit, sign_in::SignIn};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a socket is opened by GET")]
    MethodNotAllowed,
    #[error("a WebSocket upgrade of version 13 over HTTP/1.1 is expected")]
    UpgradeRequired,
    #[error("the header Sec-WebSocket-Key must be 16 bytes in base64")]
    KeyMalformed,
    #[error("the subprotocol {SUBPROTOCOL} must be offered")]
    SubprotocolMissing,
    #[error("the origin is not allowed; without one, only a bearer token opens a socket")]
    OriginNotAllowed,
    #[error("sign in with a bearer token, or with a ticket as second subprotocol")]
    NotSignedIn,
    #[error("too many connections are open")]
    TooManyConnections,
    #[error("the server is about to stop")]
    Draining,
    #[error("the server does not know at present who may come in")]
    Uncertain(#[source] StorageError),
    #[error(transparent)]
    SignIn(#[from] AccountError),
}

/// Of a foreign origin so many bytes are logged.
const LOGGED_ORIGIN: usize = 200;
/// After this time a place may have become free.
const TRY_AGAIN: Duration = Duration::from_secs(10);

impl Classify for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            Self::UpgradeRequired => Code::UpgradeRequired,
            Self::KeyMalformed | Self::SubprotocolMissing => Code::Malformed,
            Self::OriginNotAllowed => Code::OriginNotAllowed,
            Self::NotSignedIn => Code::Unauthenticated,
            Self::TooManyConnections => Code::TooManyConnections,
            Self::Draining | Self::Uncertain(_) => Code::Unavailable,
            Self::SignIn(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyConnections => Some(TRY_AGAIN),
            Self::Draining | Self::Uncertain(_) => Some(Duration::from_secs(1)),
            Self::SignIn(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl Refusal {
    pub(crate) fn response(&self, request: &CorrelationId) -> Response<Full<Bytes>> {
        if matches!(self.code(), Code::Internal | Code::Unavailable) {
            tracing::warn!(correlation_id = %request, code = %self.code(), error = chain(self), "a handshake failed");
        }
        let problem = ProblemBody::of(self, request);
        let body = serde_json::to_vec(&problem).expect("a problem is plain data");
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = StatusCode::from_u16(problem.status).expect("codes carry valid statuses");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = problem.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            StatusCode::UPGRADE_REQUIRED => {
                let headers = response.headers_mut();
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

/// A handshake that passed.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) sign_in: SignIn,
    pub(crate) losses: LossWatch,
    pub(crate) permit: Permit,
    pub(crate) upgrade: OnUpgrade,
    pub(crate) response: Response<Full<Bytes>>,
}

/// Decides on a handshake. What costs nothing is looked at first, and a ticket is spent last of all.
pub(crate) async fn negotiate(host: &Arc<Host>, head: &mut Parts, request: &CorrelationId) -> Result<Passed, Refusal> {
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let Offer { accept, ticket } = Offer::read(head)?;
    let upgrade = upgrade.ok_or(Refusal::UpgradeRequired)?;
    if host.drain.is_cancelled() {
        return Err(Refusal::Draining);
    }
    let address = address(head);
    let origin = allowed_origin(host, &head.headers).inspect_err(|_| {
        let origin = head.headers.get(header::ORIGIN).map_or(&b""[..], HeaderValue::as_bytes);
        let origin = String::from_utf8_lossy(&origin[..origin.len().min(LOGGED_ORIGIN)]);
        security::note_from(Event::OriginRejected, address, None, &format!("origin:{origin}"), request);
    })?;
    let permit = host.limits.admit(address).ok_or(Refusal::TooManyConnections)?;

    let (accounts, revocations) = (&host.services.accounts, &host.services.revocations);
    revocations.require_fresh().await.map_err(Refusal::Uncertain)?;
    let sign_in = match (bearer(&head.headers), ticket) {
        (Some(token), _) => SignIn::by_token(&host.services, token, request.clone()).await?,
        (None, Some(ticket)) => {
            let origin = origin.ok_or(Refusal::OriginNotAllowed)?;
            SignIn::by_ticket(accounts, ticket, origin, host.config.ticket_life(), request.clone()).await?
        }
        (None, None) => return Err(Refusal::NotSignedIn),
    };
    let losses = sign_in.watch(revocations);
    if let Some((ended, _)) = losses.standing().ended {
        // It was lost since it was looked at.
        return Err(Refusal::SignIn(ended.into()));
    }
    let (sign_in, response) = (sign_in.coming_from(address), switching_protocols(&accept));
    Ok(Passed { sign_in, losses, permit, upgrade, response })
}

/// What a client asks for by its headers.
struct Offer<'h> {
    accept: String,
    ticket: Option<&'h str>,
}

impl<'h> Offer<'h> {
    fn read(head: &'h Parts) -> Result<Self, Refusal> {
        let headers = &head.headers;
        if head.method != Method::GET {
            return Err(Refusal::MethodNotAllowed);
        }
        let wants_upgrade = head.version == Version::HTTP_11
            && words(headers, header::CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"))
            && words(headers, header::UPGRADE).any(|word| word.eq_ignore_ascii_case("websocket"))
            && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
        if !wants_upgrade {
            return Err(Refusal::UpgradeRequired);
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
        if !is_key(key) {
            return Err(Refusal::KeyMalformed);
        }
        if !words(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|word| word == SUBPROTOCOL) {
            return Err(Refusal::SubprotocolMissing);
        }
        let ticket = words(headers, header::SEC_WEBSOCKET_PROTOCOL).find_map(|word| word.strip_prefix("ticket."));
        Ok(Self { accept: derive_accept_key(key), ticket })
    }
}

/// Returns the members of a header that is a list, wherever it is split.
fn words(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Returns whether these are 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// Returns the page's origin if there is one; a wrong one is refused.
fn allowed_origin<'h>(host: &Host, headers: &'h HeaderMap) -> Result<Option<&'h str>, Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let origin = origin.to_str().ok().filter(|origin| host.origins.allows(origin));
    origin.map(Some).ok_or(Refusal::OriginNotAllowed)
}

fn address(head: &Parts) -> Option<IpAddr> {
    head.extensions.get::<ClientAddress>().map(|address| address.0)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn switching_protocols(accept: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept).expect("base64 is a header value"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_be_split_over_headers() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.append(header::CONNECTION, HeaderValue::from_static("x"));

        assert_eq!(words(&headers, header::CONNECTION).collect::<Vec<_>>(), ["keep-alive", "Upgrade", "x"]);
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for key in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j", "dGhl IHNhbXBsZSBub25jZ=="] {
            assert!(!is_key(key.as_bytes()), "{key}");
        }
    }
}
