//! The pages: one shell, the files it loads, and the addresses that people share.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, RawPathParams, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts};
use rust_embed::{EmbeddedFile, RustEmbed};
use weltenwind_core::{
    Actor, Code,
    accounts::AccountError,
    limits::Policy,
    worlds::{World, WorldError, WorldRef},
};

use crate::{
    answer::{self, Answer, With as _},
    conditional,
    context::{App, correlation_id},
    cookies,
    layers::PAGE_POLICY,
    limits, manual,
    problem::{Refusal, Stop},
    return_path,
};

#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

const SHELL: &str = "index.html";
const SIGN_IN: &str = "/sign-in";
/// Pages below a world's that stand in the contract and are not built yet: they are moved with their world, and not found.
const UNBUILT: [&str; 5] = ["feed", "ranking", "groups", "invites", "members"];

/// Every page's address.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(shell))
        .route("/worlds", get(shell))
        .route("/worlds/{world}", get(world))
        .route("/worlds/{world}/chat", get(world_chat))
        .route("/worlds/{world}/{below}", get(below_world))
        .route("/w/{slug}", get(short))
        .route(SIGN_IN, get(sign_in))
        .route("/account", get(account))
        .route("/me", get(me))
        .route("/settings", get(unbuilt))
        .route("/admin", get(unbuilt))
        .route("/admin/{*below}", get(unbuilt))
        .route("/assets/{file}", get(asset))
        .route("/favicon.ico", get(favicon))
        .merge(manual::routes())
}

/// Somebody who opens an address.
struct Visitor {
    /// Nobody; who it is says [`Visitor::signed_in`].
    actor: Actor,
    headers: HeaderMap,
    uri: Uri,
    /// What the address names.
    named: String,
    /// What stands behind that.
    below: String,
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Stop> {
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| nothing_here())?;
        let mut values = params.iter().map(|(_, value)| value.to_owned());
        let (named, below) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
        let actor = limits::of_request(Actor::anonymous(correlation_id(parts)), parts);
        Ok(Self { actor, headers: parts.headers.clone(), uri: parts.uri.clone(), named, below })
    }
}

impl Visitor {
    /// Answers who it is, by the cookie that keeps a browser signed in. A link on a foreign page brings none along: then the
    /// shell, once it is loaded, signs in by itself.
    ///
    /// The cookie is looked at and not traded, since a page changes nothing. A look is a read of the address.
    async fn signed_in(&self, app: &App) -> Result<Option<Actor>, Stop> {
        let Some(token) = cookies::refresh_token_in(&self.headers, app) else { return Ok(None) };
        app.services.limits.charge(&self.actor, Policy::Read).await?;
        let request = self.actor.correlation_id.clone();
        match app.services.accounts.actor_of_refresh_token(token.expose(), request).await {
            Ok(actor) => Ok(Some(actor)),
            Err(AccountError::Storage(error)) => Err(AccountError::Storage(error).into()),
            Err(_) => Ok(None),
        }
    }
}

async fn shell(visitor: Visitor) -> Response {
    file(SHELL, &visitor.headers).unwrap_or_else(missing)
}

async fn asset(visitor: Visitor) -> Response {
    // The shell has addresses of its own.
    let name = Some(visitor.named.as_str()).filter(|name| *name != SHELL);
    name.and_then(|name| file(name, &visitor.headers)).unwrap_or_else(missing)
}

/// Browsers ask for it where no page names another.
async fn favicon(visitor: Visitor) -> Response {
    file("favicon.svg", &visitor.headers).unwrap_or_else(missing)
}

async fn world(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    page_of(&app, visitor, "").await
}

async fn world_chat(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    page_of(&app, visitor, "/chat").await
}

/// A page of a world that is not built yet. Others are none at all.
async fn below_world(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    if !UNBUILT.contains(&visitor.below.as_str()) {
        return refused(&visitor.headers, nothing_here());
    }
    match resolve(&app, &visitor).await {
        Ok(world) if world.slug.as_str() != visitor.named => moved(&world, &format!("/{}", visitor.below)),
        Ok(_) => refused(&visitor.headers, nothing_here()),
        Err(stop) => refused(&visitor.headers, stop),
    }
}

/// A world's page, under its present slug alone: an id or a former slug is one redirect away from it.
async fn page_of(app: &App, visitor: Visitor, below: &str) -> Response {
    match resolve(app, &visitor).await {
        Ok(world) if world.slug.as_str() == visitor.named => vary(shell(visitor).await),
        Ok(world) => moved(&world, below),
        // A member who comes from elsewhere brings no cookie and sees the world all the same: the shell signs in.
        Err(stop) => refused(&visitor.headers, stop),
    }
}

/// Sends to the present address of a world, which is built of what is stored alone.
fn moved(world: &World, below: &str) -> Response {
    answer::redirect(StatusCode::MOVED_PERMANENTLY, &format!("/worlds/{}{below}", world.slug))
}

/// Says what is not there: to people by the shell, which can sign in, and to programs by a problem.
fn refused(asked: &HeaderMap, stop: Stop) -> Response {
    match stop {
        Stop::Problem(problem) if problem.status() == 404 && accepts_html(asked) => {
            let mut page = file(SHELL, &HeaderMap::new()).unwrap_or_else(missing);
            *page.status_mut() = StatusCode::NOT_FOUND;
            page.headers_mut().remove(header::ETAG);
            vary(page)
        }
        stop => vary(stop.into_response()),
    }
}

/// `/w/{slug}`: the short address of a world.
async fn short(State(app): State<Arc<App>>, visitor: Visitor) -> Answer {
    Ok(moved(&resolve(&app, &visitor).await?, ""))
}

/// Finds a world as its visitor may see it; whoever is signed in is asked for only if nobody in particular may.
async fn resolve(app: &App, visitor: &Visitor) -> Result<World, Stop> {
    let reference: WorldRef = visitor.named.parse().map_err(|_| WorldError::NotFound)?;
    let hidden = match app.services.worlds.resolve(&visitor.actor, &reference).await {
        Err(WorldError::NotFound) => WorldError::NotFound,
        found => return Ok(found?.world),
    };
    match visitor.signed_in(app).await? {
        Some(actor) => Ok(app.services.worlds.resolve(&actor, &reference).await?.world),
        None => Err(hidden.into()),
    }
}

/// `/sign-in?next=`: the ways in, and then the page that was asked for. Whoever is signed in goes there at once.
async fn sign_in(State(app): State<Arc<App>>, visitor: Visitor) -> Answer {
    let asked = visitor.uri.query().and_then(return_path::asked_for);
    let next = asked.as_deref().and_then(return_path::within);
    if visitor.signed_in(&app).await?.is_some() {
        return Ok(see_other(next.unwrap_or("/")));
    }
    // What leads elsewhere does not stay in the address either.
    if asked.is_some() && next.is_none() { Ok(see_other(SIGN_IN)) } else { Ok(personal(shell(visitor).await)) }
}

/// `/account`: one's own name and sessions.
async fn account(State(app): State<Arc<App>>, visitor: Visitor) -> Answer {
    match visitor.signed_in(&app).await? {
        Some(_) => Ok(personal(shell(visitor).await)),
        None => Ok(to_sign_in(&visitor)),
    }
}

/// `/me`: the short address of one's account.
async fn me() -> Response {
    answer::redirect(StatusCode::MOVED_PERMANENTLY, "/account")
}

/// A page for people who are signed in that is not built yet.
async fn unbuilt(State(app): State<Arc<App>>, visitor: Visitor) -> Answer {
    match visitor.signed_in(&app).await? {
        Some(_) => Ok(refused(&visitor.headers, nothing_here())),
        None => Ok(to_sign_in(&visitor)),
    }
}

/// Sends to the way in, and from there back here.
fn to_sign_in(visitor: &Visitor) -> Response {
    see_other(&format!("{SIGN_IN}?next={}", return_path::escaped(visitor.uri.path())))
}

fn see_other(location: &str) -> Response {
    personal(answer::redirect(StatusCode::SEE_OTHER, location))
}

/// What depends on who asks is kept by nobody else.
fn personal(response: Response) -> Response {
    response
        .with(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))
        .with(header::VARY, HeaderValue::from_static("cookie"))
}

/// A file of the page; its tag names its content, and browsers ask each time whether it is still the same.
fn file(name: &str, asked: &HeaderMap) -> Option<Response> {
    let EmbeddedFile { data, metadata } = Files::get(name)?;
    let tag = format!("\"{}\"", conditional::hex(&metadata.sha256_hash()[..16]));
    let tag = HeaderValue::from_str(&tag).expect("digits are visible");
    let (known, length) = (conditional::is_known(asked, &tag), data.len());
    let mut response = Response::new(Body::from(data))
        .with(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .with(header::ETAG, tag);
    if name == SHELL {
        response = response.with(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    }
    Some(if known { conditional::not_modified(response.into_parts().0, Some(length)) } else { response })
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn nothing_here() -> Stop {
    Refusal::new(Code::NotFound, "nothing stands at this path").into()
}

fn missing() -> Response {
    nothing_here().into_response()
}

fn vary(response: Response) -> Response {
    response.with(header::VARY, HeaderValue::from_static("accept"))
}

pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|range| range.trim_start().starts_with("text/html"))
}
