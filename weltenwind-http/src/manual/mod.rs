//! The reference for people: `/docs`, `/docs/realtime` and `/problems`, made of the documents that machines read.
//!
//! Everything stands in the page itself and loads nothing from elsewhere; a script adds the search, and nothing else needs it.

mod calls;
mod html;
mod markdown;
mod problems;
mod records;
mod schema;

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use weltenwind_core::Code;

use crate::{
    answer::With as _,
    conditional,
    context::App,
    layers::PAGE_POLICY,
    pages::accepts_html,
    problem::{Refusal, Stop},
    reference,
};

/// Every page of the reference.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/docs", get(calls))
        .route("/docs/realtime", get(records))
        .route("/problems", get(problems))
        .route("/problems/{code}", get(problem))
}

async fn calls(request: Request) -> Response {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| calls::page(reference::openapi_document()).into());
    page(&PAGE, request.headers())
}

async fn records(request: Request) -> Response {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| records::page(reference::asyncapi_document()).into());
    page(&PAGE, request.headers())
}

async fn problems(request: Request) -> Response {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| problems::index().into());
    page(&PAGE, request.headers())
}

async fn problem(request: Request) -> Response {
    let named = request.uri().path().rsplit('/').next().unwrap_or_default();
    if let Some(code) = Code::ALL.iter().copied().find(|code| code.as_str() == named) {
        return page(&problems::page(code, reference::openapi_document()).into(), request.headers());
    }
    let vary = HeaderValue::from_static("accept");
    if accepts_html(request.headers()) {
        let mut response = page(&problems::unknown().into(), &HeaderMap::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().remove(header::ETAG);
        return response.with(header::VARY, vary);
    }
    Stop::from(Refusal::new(Code::NotFound, "no problem has this code")).into_response().with(header::VARY, vary)
}

/// Answers a page, or 304 to who has it.
fn page(html: &Bytes, asked: &HeaderMap) -> Response {
    let tag = conditional::weak_tag(html);
    let is_known = conditional::is_known(asked, &tag);
    let response = Response::new(Body::from(html.clone()))
        .with(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .with(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)
        .with(header::ETAG, tag);
    if is_known {
        let (parts, _) = response.into_parts();
        return conditional::not_modified(parts, Some(html.len()));
    }
    response
}
