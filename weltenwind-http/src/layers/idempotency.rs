//! `Idempotency-Key`: a request that is repeated has one effect and one answer.

use std::{
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use tracing::Instrument as _;
use uuid::Uuid;
use weltenwind_core::{
    Actor, Code, CorrelationId, StorageError, chain,
    idempotency::{Admission, Claim, IdempotencyError, IdempotencyKey, KeyedRequest, StoredAnswer},
    wire::ProblemBody,
};

use super::Edge;
use crate::{
    answer::With as _,
    context::{self, App, Authenticated},
    problem::{PROBLEM_JSON, Problem, Refusal, Stop},
};

pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Which calls mind the header, and what they need for it.
#[derive(Debug)]
pub(crate) struct Keyed {
    app: Arc<App>,
    edge: Arc<Edge>,
    paths: BTreeSet<String>,
}

impl Keyed {
    /// Minds the header on `POST` to these templates.
    pub(crate) const fn new(app: Arc<App>, edge: Arc<Edge>, paths: BTreeSet<String>) -> Self {
        Self { app, edge, paths }
    }

    fn minds(&self, request: &Request) -> bool {
        request.method() == Method::POST
            && request.headers().contains_key(KEY)
            && request.extensions().get::<MatchedPath>().is_some_and(|path| self.paths.contains(path.as_str()))
    }
}

/// Runs a request under a key once, and answers its repeats as the first. Who is not signed in has no keys.
pub(crate) async fn idempotency(State(keyed): State<Arc<Keyed>>, request: Request, next: Next) -> Response {
    if keyed.minds(&request) {
        answer(keyed, request, next).await.unwrap_or_else(Stop::into_response)
    } else {
        next.run(request).await
    }
}

async fn answer(keyed: Arc<Keyed>, request: Request, next: Next) -> Result<Response, Stop> {
    let (mut parts, body) = request.into_parts();
    let actor = context::authenticate(&parts, &keyed.app).await?;
    let Some(account) = actor.id() else {
        parts.extensions.insert(Authenticated(actor));
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let key = key(&parts.headers)?;
    let body = context::collect(body).await?;
    let request = KeyedRequest {
        account,
        method: parts.method.as_str(),
        path: parts.uri.path(),
        key: &key,
        query: parts.uri.query(),
        body: &body,
    };
    let claim = match keyed.app.services.idempotency.admit(&request).await {
        Ok(Admission::Run(claim)) => claim,
        Ok(Admission::Repeat(answer)) => {
            keyed.edge.metrics.replayed();
            return Ok(replayed(answer, &actor.correlation_id)?);
        }
        Err(refusal) => {
            if matches!(refusal, IdempotencyError::InProgress) {
                keyed.edge.metrics.repeated_too_early();
            }
            return Err(refusal.into());
        }
    };
    let actor = Actor { effect_key: Some(claim.effect_key()), ..actor };
    parts.extensions.insert(Authenticated(actor.clone()));
    let request = Request::from_parts(parts, Body::from(body));
    // A task of its own: whoever goes away and comes back finds the request done, and not half-way under a lease.
    let running = tokio::spawn(run(keyed, claim, actor, request, next).in_current_span());
    match running.await {
        Ok(response) => Ok(response),
        Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Refusal::new(Code::Unavailable, "the server is about to stop").into()),
    }
}

/// Runs the request, and settles the claim whatever comes of it.
async fn run(keyed: Arc<Keyed>, claim: Claim, actor: Actor, request: Request, next: Next) -> Response {
    let idempotency = &keyed.app.services.idempotency;
    let limit = keyed.edge.config.request_timeout();
    let ended = AssertUnwindSafe(tokio::time::timeout(limit, next.run(request))).catch_unwind().await;
    let (response, settled) = match ended {
        Ok(Ok(response)) => {
            let (response, answer) = kept(response, &actor.correlation_id).await;
            (Ok(response), idempotency.settle(&actor, &claim, &answer).await)
        }
        Ok(Err(_)) => {
            let refusal = Refusal::new(Code::TimedOut, "the request took longer than it may");
            (Ok(Problem::from(refusal).into_response()), idempotency.abandon(&claim).await)
        }
        Err(panic) => (Err(panic), idempotency.abandon(&claim).await),
    };
    if let Err(error) = settled {
        // What was done is done and can be told. A repeat finds it by the effect key once the lease is over.
        tracing::warn!(error = chain(&error), "the answer to a request under a key is not kept");
    }
    response.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Returns the key, which must stand once.
fn key(headers: &HeaderMap) -> Result<IdempotencyKey, IdempotencyError> {
    let mut values = headers.get_all(KEY).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(text), None) => IdempotencyKey::new(text),
        _ => Err(IdempotencyError::KeyInvalid),
    }
}

/// The thing that a body shows.
#[derive(Deserialize)]
struct Shown {
    id: Uuid,
}

/// Returns the answer as it was, and what a repeat gets of it. What differs from request to request stays out.
async fn kept(response: Response, id: &CorrelationId) -> (Response, StoredAnswer) {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("a handler's answer is in memory");
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (content_type, body) = match parts.extensions.get::<Problem>() {
        Some(problem) => {
            let body = serde_json::to_vec(&problem.body(id)).expect("a problem is plain data");
            (PROBLEM_JSON.to_str().ok().map(str::to_owned), body)
        }
        None => (text(header::CONTENT_TYPE), bytes.to_vec()),
    };
    let shown: Option<Shown> = parts.status.is_success().then(|| serde_json::from_slice(&bytes).ok()).flatten();
    let answer = StoredAnswer {
        status: parts.status.as_u16(),
        location: text(header::LOCATION),
        etag: text(header::ETAG),
        content_type,
        resource: shown.map(|shown| shown.id),
        body,
    };
    (Response::from_parts(parts, Body::from(bytes)), answer)
}

/// Answers as the first time, under this request's id.
fn replayed(answer: StoredAnswer, id: &CorrelationId) -> Result<Response, StorageError> {
    const ATTEMPTED: &str = "answer as the first time";
    let broken = |error: http::Error| StorageError::permanent(ATTEMPTED, error);
    let StoredAnswer { status, location, etag, content_type, mut body, .. } = answer;
    if content_type.as_deref().map(str::as_bytes) == Some(PROBLEM_JSON.as_bytes()) {
        let problem: ProblemBody =
            serde_json::from_slice(&body).map_err(|error| StorageError::permanent(ATTEMPTED, error))?;
        body = serde_json::to_vec(&problem.told_to(id)).expect("a problem is plain data");
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).map_err(|error| broken(error.into()))?;
    for (name, value) in [(header::LOCATION, location), (header::ETAG, etag), (header::CONTENT_TYPE, content_type)] {
        if let Some(value) = value {
            let value = HeaderValue::from_str(&value).map_err(|error| broken(error.into()))?;
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response.with(REPLAYED, HeaderValue::from_static("true")))
}
