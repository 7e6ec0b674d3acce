//! Bounds: how large a request is, how long it takes, and what becomes of a panic.

use std::{any::Any, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::header;
use http_body_util::Limited;
use weltenwind_core::Code;

use super::Edge;
use crate::problem::{Problem, Refusal};

/// Refuses a head or body that is too large; a body without a length is cut off where it becomes so.
pub(super) async fn size(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let (max_head, max_body) = (edge.config.max_header_bytes, edge.config.max_body_bytes);
    // As HTTP/1.1 writes it: `name: value` and a line break.
    let fields: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if fields + uri > max_head {
        return refuse(Code::HeadersTooLarge, format!("the head may have {max_head} bytes"));
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max_body)) {
        return Problem::from(too_large(max_body)).into_response();
    }
    next.run(request.map(|body| Body::new(Limited::new(body, max_body)))).await
}

/// Says how large a body may be.
fn too_large(max_body: usize) -> Refusal {
    Refusal::new(Code::PayloadTooLarge, format!("the body may have {max_body} bytes"))
}

/// Answers for a handler that takes too long, and drops it. What it handed to a store may have taken effect.
pub(super) async fn time(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(edge.config.request_timeout(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => refuse(Code::TimedOut, "the request took longer than it may".to_owned()),
    }
}

/// Answers for a handler that panicked.
#[expect(clippy::needless_pass_by_value, reason = "the layer gives the panic away")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    refuse(Code::Internal, format!("a handler panicked: {}", words.unwrap_or("it said nothing")))
}

fn refuse(code: Code, detail: String) -> Response {
    Problem::from(Refusal::new(code, detail)).into_response()
}
