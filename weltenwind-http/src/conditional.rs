//! ETags and what is asked with them (RFC 9110, 8.8.3 and 13.1).

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header, response::Parts};
use sha2::{Digest as _, Sha256};
use weltenwind_core::{Code, Revision};

use crate::problem::{Refusal, Stop};

/// No resource is ever in this state, so whoever names it is told that the resource has changed.
const NEVER: Revision = Revision::new(0);

/// Returns the tag of a single mutable resource.
pub(crate) fn strong_tag(revision: Revision) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits are visible")
}

/// Returns the tag of a computed view: half of its digest tells two states apart well enough.
pub(crate) fn weak_tag(body: &[u8]) -> HeaderValue {
    HeaderValue::from_str(&format!("W/\"{}\"", hex(&Sha256::digest(body)[..16]))).expect("digits are visible")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns whether the caller has the state that `tag` names: then a read is answered 304.
pub(crate) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = opaque(tag.as_bytes());
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|list| tags(list.as_bytes()))
        .any(|known| known == b"*" || opaque(known) == tag)
}

/// Answers that the caller has the body already; the length, where it is known, is that of the body which is left out (RFC 9110,
/// 8.6).
pub(crate) fn not_modified(mut parts: Parts, length: Option<usize>) -> Response {
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    if let Some(length) = length {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}

/// Returns the state that the caller wants to change.
///
/// One strong tag is expected. `*` is no state; a list would name several, of which the caller cannot have seen but one.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Revision, Stop> {
    let mut named = headers.get_all(header::IF_MATCH).iter().flat_map(|list| tags(list.as_bytes()));
    let required = |detail| Stop::from(Refusal::new(Code::PreconditionRequired, detail));
    let first = named.next().ok_or_else(|| required("send the ETag of the state you have seen as If-Match"))?;
    if named.next().is_some() {
        return Err(Refusal::malformed("If-Match must name one ETag").into());
    }
    if first == b"*" {
        return Err(required("If-Match: * names no state; send the ETag of the state you have seen"));
    }
    let quoted = first.strip_prefix(b"W/").unwrap_or(first);
    if quoted.len() < 2 || !(quoted.starts_with(b"\"") && quoted.ends_with(b"\"")) {
        return Err(Refusal::malformed("If-Match must be an ETag in double quotes").into());
    }
    // A weak tag never matches strongly, and a tag that is no revision was never issued.
    let digits = first.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or_default();
    let revision = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    Ok(revision.and_then(|digits| digits.parse().ok()).map_or(NEVER, Revision::new))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Splits a list at commas, of which a quoted tag may hold some.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    list.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn tags_are_compared_weakly() {
        let tag = HeaderValue::from_static("W/\"a,b\"");
        for (list, known) in
            [("\"a,b\"", true), ("\"x\", W/\"a,b\"", true), ("*", true), ("\"a\"", false), ("b", false), ("", false)]
        {
            assert_eq!(is_known(&with(header::IF_NONE_MATCH, list), &tag), known, "{list}");
        }
    }

    #[test]
    fn if_match_names_one_state() {
        for (value, answer) in [
            ("\"7\"", Ok(Revision::new(7))),
            ("W/\"7\"", Ok(NEVER)),
            ("\"x\"", Ok(NEVER)),
            ("\"+7\"", Ok(NEVER)),
            ("*", Err(Code::PreconditionRequired)),
            ("7", Err(Code::Malformed)),
            ("\"", Err(Code::Malformed)),
            ("\"7\", \"8\"", Err(Code::Malformed)),
        ] {
            let seen = if_match(&with(header::IF_MATCH, value)).map_err(|stop| match stop {
                Stop::Problem(problem) => problem.code(),
                Stop::Moved(_) => panic!("nothing has moved"),
            });
            assert_eq!(seen, answer, "{value}");
        }
        assert!(if_match(&HeaderMap::new()).is_err());
    }
}
