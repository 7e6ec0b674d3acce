//! What a handler knows of its request, and how it reads it.

use std::{str::FromStr, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, RawPathParams},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Uri, header, request::Parts};
use http_body_util::LengthLimitError;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use weltenwind_core::{
    Actor, AllowedOrigins, Code, CorrelationId, Revision, Services, WorldId,
    accounts::AccountError,
    worlds::{WorldError, WorldRef},
};

use crate::{
    answer, conditional,
    json::Node,
    layers, limits,
    problem::{Refusal, Stop},
    query,
};

/// What every handler shares.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) services: Arc<Services>,
    pub(crate) origins: AllowedOrigins,
    /// Whether browsers reach the installation by TLS.
    pub(crate) is_secure: bool,
}

/// No member and no parameter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A request whose caller is known and whose query was read as `Q`.
#[derive(Debug)]
pub(crate) struct Context<Q = Nothing> {
    pub(crate) app: Arc<App>,
    pub(crate) services: Arc<Services>,
    pub(crate) query: Q,
    pub(crate) headers: HeaderMap,
    actor: Actor,
    uri: Uri,
    params: Vec<(String, String)>,
}

impl<Q: DeserializeOwned> FromRequestParts<Arc<App>> for Context<Q> {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Stop> {
        let quotas = &app.services.limits;
        let actor = match parts.extensions.remove::<Authenticated>() {
            Some(Authenticated(actor)) => actor,
            None => match authenticate(parts, app).await {
                Ok(actor) => actor,
                Err(refused) => {
                    // Tokens are not tried for free.
                    let nobody = limits::of_request(Actor::anonymous(correlation_id(parts)), parts);
                    limits::charge_read(quotas, &nobody, parts).await?;
                    return Err(refused.into());
                }
            },
        };
        limits::charge_read(quotas, &actor, parts).await?;
        Self::of(parts, app, actor).await
    }
}

/// Who a layer has found to ask, so that the handler need not look again.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated(pub(crate) Actor);

/// Finds who asks.
pub(crate) async fn authenticate(parts: &Parts, app: &App) -> Result<Actor, AccountError> {
    let actor = match bearer(&parts.headers)? {
        Some(token) => app.services.authenticate(token, correlation_id(parts)).await?,
        None => Actor::anonymous(correlation_id(parts)),
    };
    if let Some(id) = actor.id() {
        tracing::Span::current().record("actor", tracing::field::display(id));
    }
    Ok(limits::of_request(actor, parts))
}

impl<Q: DeserializeOwned> Context<Q> {
    /// Reads a request as `actor`'s.
    pub(crate) async fn of(parts: &mut Parts, app: &Arc<App>, actor: Actor) -> Result<Self, Stop> {
        let params = RawPathParams::from_request_parts(parts, &()).await;
        let params = params.map_err(|_| Refusal::new(Code::NotFound, "nothing stands at this path"))?;
        Ok(Self {
            app: Arc::clone(app),
            services: Arc::clone(&app.services),
            query: query::read(&parts.uri)?,
            headers: parts.headers.clone(),
            actor,
            uri: parts.uri.clone(),
            params: params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }
}

impl<Q> Context<Q> {
    /// Returns who asks.
    pub(crate) const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Returns a part of the path, if it is a `T`.
    pub(crate) fn param<T: FromStr>(&self, name: &str) -> Option<T> {
        self.params.iter().find(|(known, _)| known == name)?.1.parse().ok()
    }

    /// Returns a header, if it stands once and is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// Returns the world of the path, for somebody who wants to change something in it: whoever is not signed in hears that first.
    ///
    /// A former slug ends the request with the address to repeat it at, before anything else is done.
    pub(crate) async fn world(&self) -> Result<WorldRef, Stop> {
        self.require_sign_in()?;
        self.world_id().await.map(WorldRef::Id)
    }

    /// Passes whoever is signed in. Asked first where everybody else is refused in any case, so that they hear that and nothing of
    /// what else is wrong.
    pub(crate) fn require_sign_in(&self) -> Result<(), AccountError> {
        if self.actor.is_anonymous() { Err(AccountError::SignInRequired) } else { Ok(()) }
    }

    /// Returns the world of the path, for whoever may read it; a former slug as in [`Context::world`].
    pub(crate) async fn world_id(&self) -> Result<WorldId, Stop> {
        let reference = self.param("world").ok_or(WorldError::NotFound)?;
        if let WorldRef::Id(id) = reference {
            return Ok(id);
        }
        let resolved = self.services.worlds.resolve(&self.actor, &reference).await?;
        if resolved.canonical { Ok(resolved.world.id) } else { Err(self.moved_to(resolved.world.slug.as_str())) }
    }

    /// Sends to the same call of the world with this slug.
    pub(crate) fn moved_to(&self, slug: &str) -> Stop {
        const WORLDS: &str = "/api/v1/worlds/";
        let below = self.uri.path().strip_prefix(WORLDS).and_then(|path| path.split_once('/')).map(|(_, below)| below);
        let below = below.map_or_else(String::new, |below| format!("/{below}"));
        let query = self.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        Stop::Moved(format!("{WORLDS}{slug}{below}{query}"))
    }

    /// Returns the state that the caller wants to change.
    pub(crate) fn if_match(&self) -> Result<Revision, Stop> {
        conditional::if_match(&self.headers)
    }

    /// Passes a request that bears an `Idempotency-Key`, where one is required.
    pub(crate) fn require_key(&self) -> Result<(), Stop> {
        if self.headers.contains_key(layers::KEY) {
            return Ok(());
        }
        let detail = "send an Idempotency-Key, so that a repeat of this request has no second effect";
        Err(Refusal::new(Code::IdempotencyKeyRequired, detail).into())
    }

    /// Reads a body that must be there.
    pub(crate) async fn json<T: DeserializeOwned>(&self, body: Body) -> Result<T, Stop> {
        read(self.tree(body).await?)
    }

    /// Reads a body that may be absent.
    pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(&self, body: Body) -> Result<T, Stop> {
        let bytes = collect(body).await?;
        if bytes.is_empty() { Ok(T::default()) } else { read(self.parse(&bytes)?) }
    }

    /// Reads a body without saying yet what it should be.
    pub(crate) async fn tree(&self, body: Body) -> Result<Node, Stop> {
        let bytes = collect(body).await?;
        if bytes.is_empty() {
            return Err(Refusal::malformed("a JSON body is required").into());
        }
        self.parse(&bytes)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Node, Stop> {
        if !self.header(&header::CONTENT_TYPE).is_some_and(is_json)
            || self.headers.contains_key(header::CONTENT_ENCODING)
        {
            let detail = "the body must be sent as application/json, in UTF-8 and without a content encoding";
            return Err(Refusal::new(Code::UnsupportedMediaType, detail).into());
        }
        Node::parse(bytes)
            .map_err(|error| Refusal::malformed(format!("the body cannot be read as JSON: {error}")).into())
    }

    /// Answers a part of a list; `parameter` takes the cursor of the part behind it.
    pub(crate) fn list<T: Serialize>(&self, items: impl IntoIterator<Item = T>, next: Option<String>) -> Response {
        let link = next.as_deref().map(|cursor| self.link("cursor", cursor));
        answer::list(items, next, link)
    }

    /// Returns this call's address with another value of a parameter.
    pub(crate) fn link(&self, parameter: &str, value: &str) -> String {
        let others = self.uri.query().unwrap_or_default().split('&');
        let others = others.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(parameter));
        let query: Vec<&str> = others.collect();
        let separator = if query.is_empty() { "" } else { "&" };
        format!("{}?{}{separator}{parameter}={value}", self.uri.path(), query.join("&"))
    }
}

/// Makes a `T` of a body, or says which member does not fit.
pub(crate) fn read<T: DeserializeOwned>(node: Node) -> Result<T, Stop> {
    node.read().map_err(|error| weltenwind_core::Invalid { errors: vec![error] }.into())
}

/// Reads a body to its end.
pub(crate) async fn collect(body: Body) -> Result<Bytes, Stop> {
    to_bytes(body, usize::MAX).await.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return Refusal::new(Code::PayloadTooLarge, "the body is larger than it may be").into();
            }
            cause = error.source();
        }
        Refusal::malformed("the body ended before it was complete").into()
    })
}

/// Returns whether a media type is JSON in UTF-8, the only encoding JSON has between systems (RFC 8259, 8.1).
fn is_json(media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || essence.strip_prefix("application/").is_some_and(|subtype| subtype.len() > 5 && subtype.ends_with("+json"));
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
                charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

/// Returns the token of the header `Authorization`.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AccountError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(AccountError::TokenInvalid)?;
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AccountError::TokenInvalid);
    }
    Ok(Some(token.trim()))
}

pub(crate) fn correlation_id(parts: &Parts) -> CorrelationId {
    parts.extensions.get().cloned().expect("the request has its id from an outer layer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_by_its_media_type() {
        for (media_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/merge-patch+json", true),
            ("application/json; charset=\"utf-8\"; version=1", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("text/json", false),
            ("application/+json", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            assert_eq!(is_json(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn only_one_bearer_token_counts() {
        let with = |values: &[&str]| {
            let pairs = values.iter().map(|value| (header::AUTHORIZATION, value.parse().unwrap()));
            pairs.collect::<HeaderMap>()
        };
        assert_eq!(bearer(&with(&[])).unwrap(), None);
        assert_eq!(bearer(&with(&["bearer abc"])).unwrap(), Some("abc"));
        for bad in [&["Basic abc"][..], &["Bearer"], &["Bearer a", "Bearer b"]] {
            assert!(bearer(&with(bad)).is_err(), "{bad:?}");
        }
    }
}
