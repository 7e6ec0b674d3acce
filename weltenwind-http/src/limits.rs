//! How often: what a read is charged, and what callers are told of their limits.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use weltenwind_core::{
    Actor, ClientAddress,
    limits::{Charges, Limits, Policy, Verdict},
    wire::{LimitBody, LimitsBody},
};

use crate::{
    answer::{self, Answer, With as _},
    context::{App, Context, authenticate},
    problem::{Problem, Stop},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What one request is charged. Services note it while they answer; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    charges: Charges,
    /// Who reads and may have the answer already: it is known afterwards whether that is free.
    reader: Arc<OnceLock<Actor>>,
}

impl Ledger {
    /// Returns the ledger of a request; one that came past the layers of the API has none.
    fn of(parts: &Parts) -> Self {
        parts.extensions.get().cloned().unwrap_or_default()
    }

    /// Charges whoever read and was not answered 304, and says in the answer what was charged.
    pub(crate) async fn close(&self, limits: &Limits, mut response: Response) -> Response {
        if let Some(reader) = self.reader.get()
            && response.status() != StatusCode::NOT_MODIFIED
            && let Err(limited) = limits.charge(reader, Policy::Read).await
        {
            let vary = response.headers_mut().remove(header::VARY);
            response = Problem::from(limited).into_response();
            response.headers_mut().extend(vary.map(|vary| (header::VARY, vary)));
        }
        let charges = self.charges.all();
        if !charges.is_empty() {
            tell(response.headers_mut(), &charges);
        }
        response
    }
}

/// Gives an actor what the host knows of where the request comes from.
pub(crate) fn of_request(actor: Actor, parts: &Parts) -> Actor {
    Actor { address: address(parts), charges: Some(Ledger::of(parts).charges), ..actor }
}

/// Returns the caller's address, if there is one: a program that embeds the host may not say.
fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get().map(|ClientAddress(address)| *address)
}

/// Charges a read before anything is done for it, unless the caller may have the answer already.
pub(crate) async fn charge_read(limits: &Limits, actor: &Actor, parts: &Parts) -> Result<(), Stop> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Ok(());
    }
    if parts.headers.contains_key(header::IF_NONE_MATCH) {
        Ledger::of(parts).reader.get_or_init(|| actor.clone());
        return Ok(());
    }
    Ok(limits.charge(actor, Policy::Read).await?)
}

/// Writes the fields `RateLimit-Policy` and `RateLimit` of the IETF's draft-ietf-httpapi-ratelimit-headers-11.
fn tell(headers: &mut HeaderMap, charges: &[(Policy, Verdict)]) {
    let list = |item: fn(&(Policy, Verdict)) -> String| {
        let list: Vec<String> = charges.iter().map(item).collect();
        HeaderValue::from_str(&list.join(", ")).expect("names of policies and digits are visible")
    };
    headers.insert(
        RATE_LIMIT_POLICY,
        list(|(policy, verdict)| {
            let quota = verdict.quota;
            format!("\"{policy}\";q={};w={}", quota.limit(), LimitBody::seconds(quota.window()))
        }),
    );
    headers.insert(
        RATE_LIMIT,
        list(|(policy, verdict)| {
            format!("\"{policy}\";r={};t={}", verdict.remaining, LimitBody::seconds(verdict.reset_after))
        }),
    );
}

/// A request that is not charged as a read.
#[derive(Debug)]
pub(crate) struct Free(Context);

impl FromRequestParts<Arc<App>> for Free {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Stop> {
        let actor = authenticate(parts, app).await?;
        Ok(Self(Context::of(parts, app, actor).await?))
    }
}

/// Answers how the caller stands with every limit.
///
/// Looking is free. Whoever is not signed in sees the limits of the address alone.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/limits",
    operation_id = "getMyLimits",
    tag = "accounts",
    responses(
        (status = 200, description = "The limits, and what is left of them.", body = LimitsBody),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn mine(Free(cx): Free) -> Answer {
    let states = cx.services.limits.state(cx.actor()).await;
    let body = LimitsBody { items: states.iter().map(LimitBody::from).collect() };
    // What an address has left is no more for others than what an account has.
    Ok(answer::ok(&body).with(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")))
}
