//! The cookie that keeps a browser signed in, and who may use it.

use std::sync::Arc;

use axum::{extract::FromRequestParts, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use serde::Serialize;
use weltenwind_core::{Actor, Code, Secret, accounts::SessionGrant, wire::SessionBody};

use crate::{
    answer::{self, With as _},
    context::{App, Context, correlation_id},
    limits,
    problem::{Refusal, Stop},
};

/// Only scripts of the own origin can send it, so whoever does is a browser of ours.
const CSRF: HeaderName = HeaderName::from_static("x-weltenwind-csrf");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where a session's refresh token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// In bodies.
    Body,
    /// In a cookie that no script can read.
    Cookie,
}

/// A request of somebody who is about to sign in: an access token that comes along is not looked at.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) cx: Context,
    pub(crate) carrier: Carrier,
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Stop> {
        let visitor = limits::of_request(Actor::anonymous(correlation_id(parts)), parts);
        let cx = Context::of(parts, app, visitor).await?;
        Ok(Self { carrier: carrier(&cx)?, cx })
    }
}

impl Visit {
    /// Answers a session; a browser gets its refresh token as a cookie and not in the body.
    pub(crate) fn session(&self, grant: SessionGrant) -> (SessionBody, Option<HeaderValue>) {
        session(&self.cx, self.carrier, grant)
    }
}

/// Answers a session; a browser gets its refresh token as a cookie and not in the body.
pub(crate) fn session(cx: &Context, carrier: Carrier, grant: SessionGrant) -> (SessionBody, Option<HeaderValue>) {
    if carrier == Carrier::Body {
        return (SessionBody::from(grant), None);
    }
    let now = cx.services.sources.clock.now();
    let seconds = (grant.refresh_expires_at.as_second() - now.as_second()).max(0);
    let cookie = set(&cx.app, grant.refresh_token.expose(), seconds);
    (SessionBody { refresh_token: None, ..SessionBody::from(grant) }, Some(cookie))
}

/// Answers how the refresh token travels. A browser says so by a header, and must be of our origin then.
///
/// # Errors
///
/// 403 `origin-not-allowed`.
pub(crate) fn carrier(cx: &Context) -> Result<Carrier, Stop> {
    if cx.header(&CSRF) != Some("1") {
        return Ok(Carrier::Body);
    }
    let is_same_site = !cx.headers.contains_key(FETCH_SITE) || cx.header(&FETCH_SITE) == Some("same-origin");
    if is_same_site { require_origin(cx).map(|_| Carrier::Cookie) } else { Err(foreign_origin()) }
}

/// Returns the origin of the page that asks, if it may.
pub(crate) fn require_origin(cx: &Context) -> Result<&str, Stop> {
    cx.header(&header::ORIGIN).filter(|origin| cx.app.origins.allows(origin)).ok_or_else(foreign_origin)
}

fn foreign_origin() -> Stop {
    Refusal::new(Code::OriginNotAllowed, "this needs the header Origin, with an origin that is allowed here").into()
}

/// Says that the cookie alone, which a browser sends for any page, is not enough.
pub(crate) fn csrf_required() -> Stop {
    Refusal::new(Code::CsrfHeaderRequired, "whoever uses the cookie sends X-Weltenwind-Csrf: 1 too").into()
}

/// Returns the refresh token of the request's cookie.
pub(crate) fn refresh_token(cx: &Context) -> Option<Secret<String>> {
    refresh_token_in(&cx.headers, &cx.app)
}

/// Returns the refresh token of a cookie in these headers.
pub(crate) fn refresh_token_in(headers: &HeaderMap, app: &App) -> Option<Secret<String>> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, token)| *name == name_of(app) && !token.is_empty())?;
    Some(Secret::new(token.to_owned()))
}

/// Makes the browser forget the token.
pub(crate) fn cleared(app: &App, response: Response) -> Response {
    response.with(header::SET_COOKIE, set(app, "", 0))
}

/// The prefix makes browsers refuse a cookie that another host or an unencrypted page tries to set (RFC 6265bis, 4.1.3);
/// over plain HTTP they would refuse ours too.
const fn name_of(app: &App) -> &'static str {
    if app.is_secure { "__Host-ww_refresh" } else { "ww_refresh" }
}

fn set(app: &App, token: &str, seconds: i64) -> HeaderValue {
    let (name, secure) = (name_of(app), if app.is_secure { "; Secure" } else { "" });
    let cookie = format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::from_str(&cookie).expect("tokens are base64");
    value.set_sensitive(true);
    value
}

/// Answers a session, or what carries one, with its cookie if it has one.
pub(crate) fn answered<B: Serialize>((body, cookie): (B, Option<HeaderValue>), location: Option<&str>) -> Response {
    let response = match location {
        Some(location) => answer::created(location, &body),
        None => answer::ok(&body),
    };
    match cookie {
        Some(cookie) => response.with(header::SET_COOKIE, cookie),
        None => response,
    }
}
