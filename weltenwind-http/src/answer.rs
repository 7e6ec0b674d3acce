//! What handlers answer.

use axum::{
    BoxError,
    body::Body,
    response::{IntoResponse, Response},
};
use futures_util::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use weltenwind_core::{Revision, wire::ListBody};

use crate::{conditional, problem::Stop};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a handler returns.
pub(crate) type Answer = Result<Response, Stop>;

/// 200 with a body.
pub(crate) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, bytes(body))
}

/// 201 with the thing that was made and where it stands.
pub(crate) fn created(location: &str, body: &impl Serialize) -> Response {
    json(StatusCode::CREATED, bytes(body)).with(header::LOCATION, path(location))
}

/// 204.
pub(crate) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// 304, for a handler that knows its tag before it has read the body.
pub(crate) fn not_modified() -> Response {
    StatusCode::NOT_MODIFIED.into_response()
}

/// Marks an answer that is written while it is sent; its tag is known before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streamed;

/// 200 with JSON that is written piece by piece, under a tag that `state` is hashed to. An error ends the connection before the
/// last piece, so nobody takes half an answer for a whole one.
pub(crate) fn streamed<E: Into<BoxError>>(
    state: &[u8],
    pieces: impl Stream<Item = Result<Vec<u8>, E>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(pieces)).with(header::CONTENT_TYPE, JSON);
    response.extensions_mut().insert(Streamed);
    response.with(header::ETAG, conditional::weak_tag(state))
}

/// Writes a body.
pub(crate) fn bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("bodies are plain data")
}

/// A status with a body that is JSON.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body)).with(header::CONTENT_TYPE, JSON);
    *response.status_mut() = status;
    response
}

/// A part of a list; `next` is the cursor of the part behind it, and `link` where that is found.
pub(crate) fn list<T: Serialize>(
    items: impl IntoIterator<Item = T>,
    next: Option<String>,
    link: Option<String>,
) -> Response {
    ok(&ListBody { items: items.into_iter().collect(), next_cursor: next }).with_next(link)
}

/// Sends to another path of this installation.
pub(crate) fn redirect(status: StatusCode, location: &str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, path(location));
    // The way may change again: a world can be renamed twice.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    (status, headers).into_response()
}

fn path(path: &str) -> HeaderValue {
    HeaderValue::from_str(path).expect("paths are built from identifiers, slugs and what was a path before")
}

/// Adds headers to an answer.
pub(crate) trait With: Sized {
    fn with(self, name: HeaderName, value: HeaderValue) -> Self;

    /// Names the state of the resource: its strong ETag.
    fn tagged(self, revision: Revision) -> Self {
        self.with(header::ETAG, conditional::strong_tag(revision))
    }

    /// Names where the list goes on.
    fn with_next(self, link: Option<String>) -> Self {
        match link {
            Some(link) => self.with(header::LINK, path(&format!("<{link}>; rel=\"next\""))),
            None => self,
        }
    }
}

impl With for Response {
    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers_mut().insert(name, value);
        self
    }
}
