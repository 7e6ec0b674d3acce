//! Bounds: how large a request is, how long it takes, and what becomes of a panic.

use std::{
    any::Any,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use weltenwind_core::Code;

use super::Edge;
use crate::{
    answer::With as _,
    problem::{Problem, Refusal},
    serve::HostUnclear,
};

/// Refuses a head or body that is too large, and a head without a host; a body without a length is cut off where it becomes so.
pub(super) async fn size(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let (max_head, max_body) = (edge.config.max_header_bytes, edge.config.max_body_bytes);
    // As HTTP/1.1 writes it: `name: value` and a line break.
    let fields: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if fields + uri > max_head {
        return refuse(Code::HeadersTooLarge, format!("the head may have {max_head} bytes"));
    }
    if request.extensions().get::<HostUnclear>().is_some() {
        return refuse(Code::Malformed, "a request names the host it is for, once".to_owned());
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
///
/// Whose fault it is decides how: a caller whose body did not come hears 408, and no operator is woken for it.
pub(super) async fn time(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let version = request.version();
    let waits = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| Body::new(Awaited { body, waits: Arc::clone(&waits) }));
    if let Ok(response) = tokio::time::timeout(edge.config.request_timeout(), next.run(request)).await {
        return response;
    }
    if !waits.load(Ordering::Relaxed) {
        return refuse(Code::TimedOut, "the request took longer than it may".to_owned());
    }
    let response = refuse(Code::BodyTooSlow, "the body did not arrive in time".to_owned());
    // HTTP/2 gives up the stream alone, and knows no such header.
    if version < Version::HTTP_2 {
        response.with(header::CONNECTION, HeaderValue::from_static("close"))
    } else {
        response
    }
}

/// A body that tells whether somebody waits for more of it.
struct Awaited {
    body: Body,
    waits: Arc<AtomicBool>,
}

impl http_body::Body for Awaited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.waits.store(frame.is_pending(), Ordering::Relaxed);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
