//! Refusals: which there are, and how one looks.

use serde_json::{Map, Value, json};
use weltenwind_core::{Code, CorrelationId, wire::ProblemBody};

const EXAMPLES: &str = "#/components/examples/";
const REQUEST: &str = "01998b2e-7c00-7a19-8f3e-5d2a9c1b0e09";

/// A kind of refusal that whole groups of calls share.
pub(super) struct Shared {
    /// Its status, or `default`.
    pub(super) status: &'static str,
    name: &'static str,
    codes: &'static [Code],
    note: &'static str,
}

/// Every answer that a call does not declare by itself.
pub(super) const SHARED: &[Shared] = &[
    shared("400", "Malformed", &[Code::Malformed, Code::CursorInvalid], "What was sent cannot be parsed."),
    shared(
        "401",
        "Unauthenticated",
        &[Code::Unauthenticated, Code::TokenInvalid, Code::TokenExpired, Code::SessionEnded, Code::ApiKeyInvalid],
        "",
    ),
    shared("403", "Forbidden", &[Code::PermissionDenied, Code::AccountRequired], ""),
    shared("408", "BodyTooSlow", &[Code::BodyTooSlow], ""),
    shared("412", "PreconditionFailed", &[Code::PreconditionFailed], "The member `current` is the present ETag."),
    shared("413", "PayloadTooLarge", &[Code::PayloadTooLarge], ""),
    shared("415", "UnsupportedMediaType", &[Code::UnsupportedMediaType], ""),
    shared(
        "422",
        "ValidationFailed",
        &[Code::ValidationFailed],
        "The member `errors` points at each part that breaks a rule.",
    ),
    shared("428", "PreconditionRequired", &[Code::PreconditionRequired], ""),
    shared(
        "429",
        "TooManyRequests",
        &[Code::RateLimited],
        "`Retry-After` says when the same call may pass, and `RateLimit` what is left.",
    ),
    shared(
        "503",
        "Unavailable",
        &[Code::Unavailable, Code::Overloaded, Code::TimedOut],
        "The same call may pass in a moment.",
    ),
    shared(
        "default",
        "Problem",
        &[Code::NotFound, Code::MethodNotAllowed, Code::NotAcceptable, Code::HeadersTooLarge, Code::Internal],
        "Any other refusal or failure, in the same shape. `code` is of the one catalogue of codes.",
    ),
];

const fn shared(status: &'static str, name: &'static str, codes: &'static [Code], note: &'static str) -> Shared {
    Shared { status, name, codes, note }
}

impl Shared {
    pub(super) fn reference(&self) -> Value {
        json!({ "$ref": format!("#/components/responses/{}", self.name) })
    }

    pub(super) fn component(&self) -> (String, Value) {
        let mut response = response(if self.codes.is_empty() { &[Code::Internal] } else { self.codes });
        let words: Vec<String> =
            [self.note.to_owned(), list(self.codes)].into_iter().filter(|part| !part.is_empty()).collect();
        response["description"] = words.join("\n\n").into();
        (self.name.to_owned(), response)
    }
}

/// A refusal with these codes.
pub(super) fn response(codes: &[Code]) -> Value {
    let first = codes.first().copied().unwrap_or(Code::Internal);
    let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/RequestId" } });
    if matches!(first.status(), 429 | 503) || codes.contains(&Code::IdempotencyInProgress) {
        headers["Retry-After"] = json!({ "$ref": "#/components/headers/RetryAfter" });
    }
    if first.status() == 429 {
        rate_limits(&mut headers);
    }
    if first.status() == 401 {
        headers["WWW-Authenticate"] = json!({ "$ref": "#/components/headers/Authenticate" });
    }
    json!({
        "description": list(codes),
        "headers": headers,
        "content": { "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/ProblemBody" },
            "examples": codes.iter().map(|code| (code.to_string(), json!({ "$ref": format!("{EXAMPLES}{code}") }))).collect::<serde_json::Map<_, _>>(),
        } },
    })
}

/// Adds the fields that tell of limits.
pub(super) fn rate_limits(headers: &mut Value) {
    for (field, name) in [("RateLimit-Policy", "RateLimitPolicy"), ("RateLimit", "RateLimit")] {
        headers[field] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
}

/// Reads the codes that a handler's documentation names.
///
/// # Panics
///
/// If one is not in the catalogue, or has another status.
pub(super) fn codes(names: &str, status: &str) -> Vec<Code> {
    let found = names.split(", ").map(|name| Code::ALL.iter().copied().find(|code| code.as_str() == name));
    let codes: Option<Vec<Code>> = found.collect();
    codes
        .filter(|codes| codes.iter().all(|code| code.status().to_string() == status))
        .unwrap_or_else(|| panic!("{names:?} are no codes of {status}"))
}

fn list(codes: &[Code]) -> String {
    let lines: Vec<String> = codes.iter().map(|code| format!("- `{code}`: {}.", code.title())).collect();
    lines.join("\n")
}

/// The problems that a document refers to, by their codes.
pub(super) fn examples(document: &Value) -> Map<String, Value> {
    let text = document.to_string();
    let used = Code::ALL.iter().filter(|code| text.contains(&format!("\"{EXAMPLES}{code}\"")));
    used.map(|code| (code.to_string(), json!({ "summary": code.title(), "value": example(*code) }))).collect()
}

fn example(code: Code) -> ProblemBody {
    let request = CorrelationId::accept(REQUEST).expect("a UUID is an id of a request");
    let mut problem = ProblemBody::new(code, format!("{}.", code.title()), &request);
    match code.status() {
        412 => problem.current = Some("\"8\"".to_owned()),
        429 | 503 => problem.retry_after = Some(1),
        _ if code == Code::IdempotencyInProgress => problem.retry_after = Some(1),
        _ => {}
    }
    problem
}
