//! Pages of other origins that may call the API (Fetch Standard, 3.2).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use weltenwind_core::Code;

use super::Edge;
use crate::{
    answer::With as _,
    problem::{Problem, Refusal},
};

/// Whatever some path knows; one that does not know a method refuses it itself.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// What a page may send. The header of the cookie mode is not among them, and credentials are never allowed: the cookie is
/// for pages of the installation's own origin, which need no permission.
const SENT: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, traceparent, tracestate, x-challenge-solution",
);
/// What its scripts may read beside the body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, idempotency-replayed, link, location, ratelimit, ratelimit-policy, retry-after, x-request-id",
);
/// Seconds for which a browser need not ask again; none of them remembers longer.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");

/// Tells browsers which pages may call the API, and answers the question that they ask beforehand.
pub(super) async fn cors(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let origin = only(request.headers(), &header::ORIGIN).cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && origin.is_some()
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let allowed = origin.filter(|origin| origin.to_str().is_ok_and(|origin| edge.origins.allows(origin)));
    let mut response = match (&allowed, is_preflight) {
        (None, true) => {
            Problem::from(Refusal::new(Code::OriginNotAllowed, "pages of this origin may not call the API"))
                .into_response()
        }
        (Some(_), true) => answered_beforehand(next.run(request).await),
        (_, false) => next.run(request).await,
    };
    response.headers_mut().entry(header::VARY).or_insert(HeaderValue::from_static("origin"));
    match allowed {
        Some(origin) => response
            .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
            .with(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
        None => response,
    }
}

/// Says what may be sent, where there is a path at all: the router has refused the method of the question.
fn answered_beforehand(response: Response) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let mut answer = Response::new(Body::empty())
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS)
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT)
        .with(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// Returns a header that stands once.
fn only<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}
