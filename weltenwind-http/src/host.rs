//! The host: every route, and the layers around them.

use std::{convert::Infallible, fmt, sync::Arc};

use axum::{Router, body::Body, extract::Request, middleware, response::IntoResponse};
use prometheus::Registry;
use tower::Service;
use utoipa_axum::routes;
use weltenwind_core::Services;

use crate::{
    access, announcements, auth, channels,
    config::HttpConfig,
    context::App,
    devices,
    layers::{self, Edge, Keyed, Log},
    limits, messages, notifications, outbox, pages, preferences,
    reference::{self, Calls},
    sessions, two_factor, users, worlds,
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
        let sources = services.sources.clone();
        let app =
            Arc::new(App { services: Arc::new(services), origins: config.origins(), is_secure: config.is_secure() });
        if !app.is_secure && !config.is_local() {
            tracing::warn!(
                public_url = config.public_url,
                "browsers come without TLS: whoever listens in gets their cookies"
            );
        }
        let edge = Edge::new(&sources, config, registry, Log::EveryRequest);
        let quotas = app.services.limits.clone();
        let calls = api();
        let keyed = Arc::new(Keyed::new(Arc::clone(&app), Arc::clone(&edge), calls.keyed().clone()));
        let api = calls.into_router().layer(middleware::from_fn_with_state(keyed, layers::idempotency));
        let api = api.layer(middleware::from_fn_with_state(quotas, layers::api));
        let router = api.merge(pages::routes()).with_state(app);
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
    /// [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), which [`serve`](crate::serve) sets; without it there are no
    /// limits per address.
    pub fn into_router(self) -> Router {
        layers::wrap(self.router, &self.edge)
    }
}

/// Every call of the API, one line for each path; the path itself stands at the handler.
///
/// A `POST` minds an `Idempotency-Key` and keeps what it answers, unless its path is added as
/// [`unkeyed`](Calls::unkeyed): what answers a secret must be.
pub(crate) fn api() -> Calls {
    Calls::default()
        .unkeyed(routes!(auth::guest))
        .unkeyed(routes!(auth::register))
        .unkeyed(routes!(auth::login))
        .unkeyed(routes!(auth::bootstrap))
        .unkeyed(routes!(auth::refresh))
        .unkeyed(routes!(auth::logout))
        .unkeyed(routes!(auth::ticket))
        .with(routes!(users::me, users::amend_me, users::erase_me))
        .with(routes!(users::export_me))
        .with(routes!(users::unread))
        .with(routes!(sessions::list))
        .with(routes!(sessions::end))
        .with(routes!(sessions::end_others))
        .with(routes!(devices::list))
        .with(routes!(devices::name, devices::end))
        .unkeyed(routes!(sessions::change_password))
        .unkeyed(routes!(sessions::upgrade))
        .unkeyed(routes!(two_factor::begin, two_factor::disable))
        .unkeyed(routes!(two_factor::confirm))
        .with(routes!(preferences::find, preferences::amend))
        .with(routes!(limits::mine))
        .with(routes!(users::profile))
        .with(routes!(access::list_grants, access::give_role))
        .with(routes!(access::find_grant, access::take_role))
        .with(routes!(access::check))
        .unkeyed(routes!(access::list_keys, access::make_key))
        .with(routes!(access::find_key, access::delete_key))
        .with(routes!(worlds::list, worlds::create))
        .with(routes!(worlds::find, worlds::amend, worlds::archive))
        .with(routes!(channels::list_of_world))
        .with(routes!(worlds::members))
        .with(routes!(worlds::join, worlds::leave))
        .with(routes!(worlds::remove_member))
        .with(routes!(channels::list, channels::open))
        .with(routes!(channels::find, channels::amend, channels::close))
        .with(routes!(messages::list, messages::post))
        .with(routes!(channels::mark_read))
        .with(routes!(messages::find, messages::edit, messages::remove))
        .with(routes!(announcements::list, announcements::publish))
        .with(routes!(announcements::find, announcements::amend, announcements::withdraw))
        .with(routes!(notifications::list))
        .with(routes!(notifications::count))
        .with(routes!(notifications::read))
        .with(routes!(notifications::read_all))
        .with(routes!(notifications::dismiss))
        .with(routes!(outbox::list_dead))
        .with(routes!(outbox::retry_dead))
        .with(routes!(reference::openapi))
        .with(routes!(reference::asyncapi))
}
