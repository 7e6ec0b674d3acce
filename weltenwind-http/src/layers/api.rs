//! What holds for every call of the API, and not for pages.

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use weltenwind_core::{Code, limits::Limits};

use crate::{
    answer::{JSON, Streamed, With as _},
    conditional,
    limits::Ledger,
    problem::{Problem, Refusal},
};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// What everybody may read may be kept by everybody, and is asked for anew each time: a removed message must not live on.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, no-cache");
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");
/// Who asks shapes the answer, and the origin of the page what its scripts may read.
const VARY: HeaderValue = HeaderValue::from_static("authorization, origin");

/// Refuses callers that cannot read JSON, says how long answers may be kept, answers 304 to those who have them, and charges
/// reads to those who have not.
pub(crate) async fn api(State(limits): State<Limits>, mut request: Request, next: Next) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    if !accepts_json(&headers) {
        return Problem::from(Refusal::new(Code::NotAcceptable, "the API answers application/json")).into_response();
    }
    let ledger = Ledger::default();
    request.extensions_mut().insert(ledger.clone());
    let response = answered(&method, &headers, next.run(request).await).await;
    ledger.close(&limits, response).await
}

async fn answered(method: &Method, headers: &HeaderMap, response: Response) -> Response {
    let mut response = response.with(header::VARY, VARY);
    let is_read = method == Method::GET || method == Method::HEAD;
    let keep = match (is_read, headers.contains_key(header::AUTHORIZATION)) {
        (false, _) => NO_STORE,
        (true, true) => PRIVATE,
        (true, false) => PUBLIC,
    };
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(keep);
    if is_read && response.status() == StatusCode::OK && response.headers().get(header::CONTENT_TYPE) == Some(&JSON) {
        return conditional(headers, response).await;
    }
    response
}

/// Gives a read its tag, unless the handler knows a better one, and leaves the body out if the caller has it.
async fn conditional(asked: &HeaderMap, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if parts.extensions.get::<Streamed>().is_some() {
        let is_known = parts.headers.get(header::ETAG).is_some_and(|tag| conditional::is_known(asked, tag));
        return if is_known { conditional::not_modified(parts, None) } else { Response::from_parts(parts, body) };
    }
    let bytes = to_bytes(body, usize::MAX).await.expect("a handler's answer is in memory");
    let tag = parts.headers.entry(header::ETAG).or_insert_with(|| conditional::weak_tag(&bytes)).clone();
    if conditional::is_known(asked, &tag) {
        return conditional::not_modified(parts, Some(bytes.len()));
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Reads `Accept` (RFC 9110, 12.5.1): the most specific range that fits JSON decides, and its weight must not be zero.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut best: Option<(u8, bool)> = None;
    let mut ranges = 0;
    for list in headers.get_all(header::ACCEPT) {
        for range in list.to_str().unwrap_or_default().split(',').map(str::trim).filter(|range| !range.is_empty()) {
            ranges += 1;
            let mut parts = range.split(';').map(str::trim);
            let specific = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/json" => 3,
                "application/*" => 2,
                "*/*" => 1,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let wanted = weight.is_none_or(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0));
            if best.is_none_or(|(known, _)| specific > known) {
                best = Some((specific, wanted));
            }
        }
    }
    ranges == 0 || best.is_some_and(|(_, wanted)| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_callers_that_cannot_read_json_are_refused() {
        for (accept, accepted) in [
            ("", true),
            ("*/*", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/json", true),
            ("Application/JSON;q=0.1", true),
            ("application/*", true),
            ("text/html", false),
            ("application/json;q=0", false),
            ("*/*, application/json;q=0.0", false),
            ("application/json, */*;q=0", true),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(accepts_json(&headers), accepted, "{accept}");
        }
    }
}
