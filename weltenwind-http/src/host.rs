//! The host: every route, and the layers around them.

use std::{convert::Infallible, fmt, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware,
    response::IntoResponse,
    routing::{delete, get, post, put},
};
use prometheus::Registry;
use tower::Service;
use weltenwind_core::Services;

use crate::{
    auth, channels,
    config::HttpConfig,
    context::App,
    layers::{self, Edge, Log},
    messages, pages, users, worlds,
};

/// The API and the pages of an installation, as one tower service.
///
/// ```no_run
/// use tokio_util::sync::CancellationToken;
/// use weltenwind_core::{ServiceConfig, Services, Sources};
/// use weltenwind_http::{HttpConfig, HttpHost};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stores = weltenwind_storage::open(&weltenwind_storage::StorageConfig::default()).await?;
/// let services = Services::start(stores, ServiceConfig::default(), Sources::default()).await?;
/// let config = HttpConfig::default();
/// let community = HttpHost::new(services, config.clone(), &prometheus::Registry::new()).into_router();
///
/// let listener = tokio::net::TcpListener::bind(&config.listen).await?;
/// weltenwind_http::serve(listener, community, &config, CancellationToken::new()).await;
/// # Ok(())
/// # }
/// ```
///
/// A game server that answers HTTP already takes the community as what it falls back to, behind routes of its own:
///
/// ```no_run
/// # fn community() -> axum::Router { axum::Router::new() }
/// let game: axum::Router = axum::Router::new()
///     .route("/score", axum::routing::get(|| async { "42" }))
///     .fallback_service(community());
/// ```
pub struct HttpHost {
    router: Router,
    edge: Arc<Edge>,
}

impl fmt::Debug for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHost").field("edge", &self.edge).finish_non_exhaustive()
    }
}

impl HttpHost {
    /// Puts services behind HTTP; requests are counted in `registry`.
    pub fn new(services: Services, config: HttpConfig, registry: &Registry) -> Self {
        let ids = Arc::clone(&services.sources.ids);
        let app = App { services: Arc::new(services), origins: config.origins(), is_secure: config.is_secure() };
        if !app.is_secure && !config.is_local() {
            tracing::warn!(
                public_url = config.public_url,
                "browsers come without TLS: whoever listens in gets their cookies"
            );
        }
        let edge = Edge::new(ids, config, registry, Log::EveryRequest);
        let router = api().layer(middleware::from_fn(layers::api)).merge(pages::routes()).with_state(Arc::new(app));
        Self { router, edge }
    }

    /// Puts another service at `path` on the same port, under the same outer layers: the sockets, for example.
    ///
    /// # Panics
    ///
    /// If `path` is taken or does not begin with a slash.
    #[must_use]
    pub fn mount<S>(mut self, path: &str, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.router = self.router.route_service(path, service);
        self
    }

    /// Returns the finished service. It is a router of axum and a [`tower::Service`] of any request with bytes for a body,
    /// so it serves a hyper connection as well as another program's routes.
    ///
    /// The caller's address is taken from the request's extension
    /// [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), which [`serve`](crate::serve) sets.
    pub fn into_router(self) -> Router {
        layers::wrap(self.router, &self.edge)
    }
}

/// Every call of the API.
fn api() -> Router<Arc<App>> {
    let router = Router::new()
        .route("/api/v1/auth/guest", post(auth::guest))
        .route("/api/v1/auth/register", post(auth::register))
        .route("/api/v1/auth/login", post(auth::login))
        .route("/api/v1/auth/bootstrap", post(auth::bootstrap))
        .route("/api/v1/auth/refresh", post(auth::refresh))
        .route("/api/v1/auth/logout", post(auth::logout))
        .route("/api/v1/realtime/tickets", post(auth::ticket))
        .route("/api/v1/users/{id}", get(users::profile))
        .route("/api/v1/worlds", get(worlds::list).post(worlds::create))
        .route("/api/v1/worlds/{world}", get(worlds::find).patch(worlds::amend).delete(worlds::archive))
        .route("/api/v1/worlds/{world}/channels", get(channels::list_of_world))
        .route("/api/v1/worlds/{world}/members", get(worlds::members))
        .route("/api/v1/worlds/{world}/members/me", put(worlds::join).delete(worlds::leave))
        .route("/api/v1/worlds/{world}/members/{userId}", delete(worlds::remove_member))
        .route("/api/v1/channels", get(channels::list).post(channels::open))
        .route("/api/v1/channels/{id}", get(channels::find).patch(channels::amend).delete(channels::close))
        .route("/api/v1/channels/{id}/messages", get(messages::list).post(messages::post))
        .route("/api/v1/channels/{id}/read", put(channels::mark_read))
        .route("/api/v1/messages/{id}", get(messages::find).patch(messages::edit).delete(messages::remove));
    // One's own account has two names.
    ["/api/v1/users/me", "/api/v1/me"].into_iter().fold(router, |router, me| {
        router.route(me, get(users::me).patch(users::amend_me)).route(&format!("{me}/unread"), get(users::unread))
    })
}
