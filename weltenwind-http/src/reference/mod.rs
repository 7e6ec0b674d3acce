//! The documents of the API and of the socket, made of the code that answers.
//!
//! A call's documentation stands at its handler: method, path, body, what it answers and which codes it refuses with. What
//! holds for every call of a kind (headers, conditional requests, pages, problems) is added in one place, `openapi.rs`.

mod asyncapi;
mod calls;
mod openapi;
mod params;
mod problems;
mod records;
mod samples;
mod schemas;
mod who;

use std::sync::LazyLock;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::header;
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::{
    calls::Calls,
    params::{
        Csrf, IfMatch, InChannel, InWorld, OfAccount, OfAnnouncement, OfDevice, OfGrant, OfJob, OfKey, OfMember,
        OfMessage, OfNotification, OfSession, Origin,
    },
};
use crate::{
    answer::{Answer, JSON, With as _},
    context::Context,
    host,
};

static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| written(&openapi::document(host::api())));
static ASYNCAPI: LazyLock<Bytes> = LazyLock::new(|| written(&asyncapi::document()));

/// The document of the HTTP API, to be read.
pub(crate) fn openapi_document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| read(&OPENAPI));
    &DOCUMENT
}

/// The document of the socket, to be read.
pub(crate) fn asyncapi_document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| read(&ASYNCAPI));
    &DOCUMENT
}

fn read(document: &[u8]) -> Value {
    serde_json::from_slice(document).expect("what was written can be read")
}

/// Answers this document.
///
/// It is made of the code that answers, so it is that of this very version.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    operation_id = "getOpenapi",
    tag = "documents",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = serde_json::Value)),
    security((), ("bearer" = []))
)]
pub(crate) async fn openapi(_: Context) -> Answer {
    Ok(document(&OPENAPI))
}

/// Answers the document of the socket at `/realtime/v1`.
///
/// Its messages have the shape that they have here.
#[utoipa::path(
    get,
    path = "/api/v1/asyncapi.json",
    operation_id = "getAsyncapi",
    tag = "documents",
    responses((status = 200, description = "An AsyncAPI 3.0 document.", body = serde_json::Value)),
    security((), ("bearer" = []))
)]
pub(crate) async fn asyncapi(_: Context) -> Answer {
    Ok(document(&ASYNCAPI))
}

fn document(bytes: &Bytes) -> Response {
    Response::new(Body::from(bytes.clone())).with(header::CONTENT_TYPE, JSON)
}

/// Indented, since the same bytes are committed and reviewed.
fn written(document: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec_pretty(document).expect("a document is plain data");
    bytes.push(b'\n');
    bytes.into()
}
