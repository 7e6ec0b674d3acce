//! Problems: one shape for every answer that is not a success, written in one place.

use std::{error::Error, fmt, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use http_body::Body as _;
use weltenwind_core::{Class, Classify, Code, CorrelationId, FieldError, chain, wire::ProblemBody};

use crate::answer;

pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error on its way out. The layer [`crate::layers::problems`] writes it, since it knows the request's id.
#[derive(Clone)]
pub(crate) struct Problem(Arc<dyn Classify + Send + Sync>);

impl<E: Classify + Send + Sync + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Problem {
    pub(crate) fn code(&self) -> Code {
        self.0.code()
    }

    pub(crate) fn status(&self) -> u16 {
        self.code().status()
    }

    /// Describes it to a request.
    pub(crate) fn body(&self, request: &CorrelationId) -> ProblemBody {
        ProblemBody::of(&*self.0, request)
    }

    /// Describes a status that came without a body, from the router or from a mounted service.
    pub(crate) fn of_bare(response: &Response) -> Option<Self> {
        let status = response.status();
        let is_bare = response.body().size_hint().exact() == Some(0);
        if !(is_bare && (status.is_client_error() || status.is_server_error())) {
            return None;
        }
        Some(Self::from(match status {
            StatusCode::NOT_FOUND => Refusal::new(Code::NotFound, "nothing stands at this path"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Refusal::new(Code::MethodNotAllowed, "the header Allow names the methods that this path knows")
            }
            status => {
                let code = Code::ALL.iter().copied().find(|code| code.status() == status.as_u16());
                let by_kind = if status.is_server_error() { Code::Internal } else { Code::Malformed };
                Refusal::new(code.unwrap_or(by_kind), "the request was refused")
            }
        }))
    }

    /// Writes the problem over an answer that carries it; headers that were set for it stay.
    pub(crate) fn write(&self, response: Response, request: &CorrelationId) -> Response {
        let error = &*self.0;
        match error.class() {
            Class::Internal => tracing::error!(error = chain(error), code = %error.code(), "a request failed"),
            Class::Unavailable => tracing::warn!(error = chain(error), code = %error.code(), "a request failed"),
            // Its words may repeat the caller's.
            _ => tracing::debug!(code = %error.code(), "a request was refused"),
        }
        let (mut parts, _) = response.into_parts();
        // A mounted service may know statuses that no code of the catalogue has.
        let body = ProblemBody { status: parts.status.as_u16(), ..self.body(request) };
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = body.retry_after {
            parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if parts.status == StatusCode::UNAUTHORIZED {
            parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let json = serde_json::to_vec(&body).expect("a problem is plain data");
        Response::from_parts(parts, Body::from(json))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(self.status()).expect("the catalogue holds valid statuses");
        response.extensions_mut().insert(self);
        response
    }
}

/// What only a host can refuse: a header, a query, a media type.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Code,
    detail: String,
    fields: Vec<FieldError>,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), fields: Vec::new() }
    }

    /// A request that cannot be parsed.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::Malformed, detail)
    }

    /// Names the parts that are wrong.
    pub(crate) fn naming(mut self, fields: impl IntoIterator<Item = FieldError>) -> Self {
        self.fields.extend(fields);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Refusal {}

impl Classify for Refusal {
    fn code(&self) -> Code {
        self.code
    }

    fn fields(&self) -> &[FieldError] {
        &self.fields
    }
}

/// Why a handler ends before it has its answer.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It is refused, or failed.
    Problem(Problem),
    /// What was asked for has another address: 308.
    Moved(String),
}

impl<E: Into<Problem>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

impl Stop {
    /// Returns whether it is about how the request was made, which concerns only who may make it.
    fn is_broken_rule(&self) -> bool {
        match self {
            Self::Problem(problem) => {
                matches!(
                    problem.code(),
                    Code::ValidationFailed | Code::PreconditionRequired | Code::IdempotencyKeyRequired
                )
            }
            Self::Moved(_) => false,
        }
    }
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Moved(location) => answer::redirect(StatusCode::PERMANENT_REDIRECT, &location),
        }
    }
}

/// A missing permission is told before a broken rule.
pub(crate) trait UnlessDenied<T> {
    /// Asks `permission`, but only if the request breaks a rule; who may not do it anyway hears that instead.
    async fn unless_denied<P, E: Into<Stop>>(self, permission: impl Future<Output = Result<P, E>>) -> Result<T, Stop>;
}

impl<T> UnlessDenied<T> for Result<T, Stop> {
    async fn unless_denied<P, E: Into<Stop>>(self, permission: impl Future<Output = Result<P, E>>) -> Result<T, Stop> {
        if let Err(stop) = &self
            && stop.is_broken_rule()
        {
            permission.await.map_err(Into::into)?;
        }
        self
    }
}
