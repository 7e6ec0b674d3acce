//! Writes problems.

use axum::{extract::Request, middleware::Next, response::Response};
use weltenwind_core::CorrelationId;

use crate::problem::Problem;

/// Writes the body of every refusal that has none yet, with the request's id.
pub(super) async fn problems(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<CorrelationId>().cloned().expect("the request has its id from an outer layer");
    let response = next.run(request).await;
    match response.extensions().get::<Problem>().cloned().or_else(|| Problem::of_bare(&response)) {
        Some(problem) => problem.write(response, &id),
        None => response,
    }
}
