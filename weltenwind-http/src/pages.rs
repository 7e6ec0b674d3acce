//! The pages: one shell, the files it loads, and the addresses that people share.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, RawPathParams, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use rust_embed::{EmbeddedFile, RustEmbed};
use weltenwind_core::{
    Actor, Code,
    worlds::{World, WorldError, WorldRef},
};

use crate::{
    answer::{self, Answer, With as _},
    conditional,
    context::{App, correlation_id},
    layers::PAGE_POLICY,
    manual,
    problem::{Refusal, Stop},
};

#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

const SHELL: &str = "index.html";

/// Every page's address.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(shell))
        .route("/worlds", get(shell))
        .route("/worlds/{world}", get(world))
        .route("/worlds/{world}/chat", get(world_chat))
        .route("/w/{slug}", get(short))
        .route("/assets/{file}", get(asset))
        .route("/favicon.ico", get(favicon))
        .merge(manual::routes())
}

/// Somebody who opens an address: nobody is signed in yet.
struct Visitor {
    actor: Actor,
    headers: HeaderMap,
    /// What the address names.
    named: String,
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Stop> {
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| nothing_here())?;
        let named = params.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default();
        Ok(Self { actor: Actor::anonymous(correlation_id(parts)), headers: parts.headers.clone(), named })
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

/// A world's page, under its present slug alone: an id or a former slug is one redirect away from it.
async fn page_of(app: &App, visitor: Visitor, below: &str) -> Response {
    match resolve(app, &visitor).await {
        Ok(world) if world.slug.as_str() == visitor.named => vary(shell(visitor).await),
        Ok(world) => answer::redirect(StatusCode::MOVED_PERMANENTLY, &format!("/worlds/{}{below}", world.slug)),
        // A member of a private world sees it all the same: the shell signs in by its cookie, which this request cannot use.
        Err(Stop::Problem(problem)) if problem.status() == 404 && accepts_html(&visitor.headers) => {
            let mut page = file(SHELL, &HeaderMap::new()).unwrap_or_else(missing);
            *page.status_mut() = StatusCode::NOT_FOUND;
            page.headers_mut().remove(header::ETAG);
            vary(page)
        }
        Err(stop) => vary(stop.into_response()),
    }
}

/// `/w/{slug}`: the short address of a world.
async fn short(State(app): State<Arc<App>>, visitor: Visitor) -> Answer {
    let world = resolve(&app, &visitor).await?;
    Ok(answer::redirect(StatusCode::MOVED_PERMANENTLY, &format!("/worlds/{}", world.slug)))
}

async fn resolve(app: &App, visitor: &Visitor) -> Result<World, Stop> {
    let reference: WorldRef = visitor.named.parse().map_err(|_| WorldError::NotFound)?;
    Ok(app.services.worlds.resolve(&visitor.actor, &reference).await?.world)
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
