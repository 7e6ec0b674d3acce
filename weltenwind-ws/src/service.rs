//! The host as a tower service.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::{rt::TokioIo, server::conn::auto};
use prometheus::Registry;
use tokio::{net::TcpStream, time::Instant};
use weltenwind_core::{AllowedOrigins, Classify as _, CorrelationId, Services};

use crate::{
    config::RealtimeConfig,
    connection::{self, Visitor},
    handshake::{self, Passed},
    host::Host,
    metrics::Metrics,
    wire::Link,
};

/// The sockets of one node: a tower service that answers a WebSocket handshake at any path it is mounted on.
///
/// Clones share everything. An outer layer may put a [`CorrelationId`] and a
/// [`ClientAddress`](weltenwind_core::ClientAddress) into the request's extensions; without the first a name is drawn,
/// without the second only the total number of sockets is limited. The HTTP server must support upgrades, and sockets run
/// on the tokio runtime that the service is called on.
///
/// ```
/// use weltenwind_core::{AllowedOrigins, Services};
/// use weltenwind_ws::{Realtime, RealtimeConfig};
///
/// fn routes(services: Services) -> Result<axum::Router, prometheus::Error> {
///     let origins = AllowedOrigins::of_public_url("https://wind.example");
///     let realtime = Realtime::new(services, origins, RealtimeConfig::default(), prometheus::default_registry())?;
///     Ok(axum::Router::new().route_service("/realtime/v1", realtime))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Realtime {
    host: Arc<Host>,
}

impl Realtime {
    /// Makes a host for the pages of `origins` and registers its metrics.
    ///
    /// # Errors
    ///
    /// If `registry` has metrics of these names already: one host, one registry.
    pub fn new(
        services: Services,
        origins: AllowedOrigins,
        config: RealtimeConfig,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::register(registry)?;
        Ok(Self { host: Host::new(services, origins, config, metrics) })
    }

    /// Sends every client away and waits until they are gone, at most [`RealtimeConfig::drain_seconds`]; then cuts those
    /// that are left and answers how many they were.
    ///
    /// Records that were read before are answered. Each client gets `bye` with code 4000 and a span of time at random
    /// within which it comes back, so that the next node is not overrun. New handshakes are refused from now on.
    pub async fn drain(&self) -> usize {
        self.host.drain().await
    }

    /// Returns how many sockets are open.
    pub fn connections(&self) -> usize {
        self.host.limits.open()
    }
}

impl<B> tower::Service<Request<B>> for Realtime {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A handshake has no body.
        let (mut head, _) = request.into_parts();
        let (host, began_at) = (Arc::clone(&self.host), Instant::now());
        Box::pin(async move {
            let correlation_id = head.extensions.get().cloned();
            let correlation_id = correlation_id.unwrap_or_else(|| CorrelationId::draw(&*host.services.sources.ids));
            match handshake::negotiate(&host, &mut head, &correlation_id).await {
                Ok(Passed { sign_in, losses, permit, upgrade, response }) => {
                    let visitor = Visitor { sign_in, losses, correlation_id, permit, began_at };
                    host.tasks.spawn(open(Arc::clone(&host), upgrade, visitor));
                    Ok(response)
                }
                Err(refusal) => {
                    host.metrics.refused.with_label_values(&[refusal.code().as_str()]).inc();
                    Ok(refusal.response(&correlation_id))
                }
            }
        })
    }
}

/// Within this time the answer to the handshake is written, or the client has left.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

async fn open(host: Arc<Host>, upgrade: OnUpgrade, visitor: Visitor) {
    let upgraded = match tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => {
            tracing::debug!(correlation_id = %visitor.correlation_id, %error, "a client left during the handshake");
            return;
        }
        Err(_) => return,
    };
    // A plain TCP stream is taken out of hyper's hands, so that what is written together leaves with one call and nothing
    // of the handshake is kept. Anything else, TLS or a pipe, is served through them.
    match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => {
            // The bytes are not kept: they hold on to the whole buffer of the handshake.
            begin(&host, parts.io.into_inner(), &parts.read_buf, visitor);
        }
        Err(upgraded) => begin(&host, TokioIo::new(upgraded), &[], visitor),
    }
}

/// Serves a socket in a task of its own, which has no place for what the handshake needed.
fn begin<L: Link + 'static>(host: &Arc<Host>, link: L, read: &[u8], visitor: Visitor) {
    host.tasks.spawn(connection::serve(Arc::clone(host), link, read, visitor));
}
