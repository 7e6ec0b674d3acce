//! The accept loop: HTTP/1.1 with upgrades and HTTP/2 in clear on one port, bounded heads, and an orderly end.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use weltenwind_core::chain;

use crate::config::HttpConfig;

/// How long to wait when the system has no connection to give, for want of file descriptors as a rule.
const BREATHER: Duration = Duration::from_millis(100);
/// Requests that one HTTP/2 connection may have running at once.
const MAX_STREAMS: u32 = 128;
/// The least buffer hyper takes.
const MIN_BUFFER: usize = 8 * 1024;

/// Serves every connection of `listener` until `shutdown`, then lets running requests end for as long as the configuration
/// allows, and closes what is left.
///
/// A connection that was upgraded to a socket is not waited for: whoever took it over ends it.
pub async fn serve(listener: TcpListener, service: Router, config: &HttpConfig, shutdown: CancellationToken) {
    let server = Server {
        builder: builder(config),
        service,
        header_timeout: config.header_timeout(),
        drain: shutdown.clone(),
        cut: CancellationToken::new(),
    };
    let server = Arc::new(server);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(Arc::clone(&server).connection(stream, peer));
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "cannot accept connections");
                tokio::time::sleep(BREATHER).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(config.drain(), connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections whose requests did not end in time");
        server.cut.cancel();
        connections.wait().await;
    }
}

fn builder(config: &HttpConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Twice the size, so that the layer that writes problems meets what is too large before the parser gives up on it.
    let buffer = config.max_header_bytes.saturating_mul(2).max(MIN_BUFFER);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_buf_size(buffer)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(config.header_timeout())
        .keep_alive_timeout(config.header_timeout())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(buffer).unwrap_or(u32::MAX));
    builder
}

/// Marks a request that came over HTTP/1.1 without exactly one field `Host`, which must be refused (RFC 9112, 3.2). A
/// program that calls the service itself need not say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostUnclear;

/// What all connections share.
struct Server {
    builder: Builder<TokioExecutor>,
    service: Router,
    header_timeout: Duration,
    /// No new requests.
    drain: CancellationToken,
    /// No more time.
    cut: CancellationToken,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // Small frames should not wait for others; a socket that refuses is served all the same.
        let _ = stream.set_nodelay(true);
        let spoke = AtomicBool::new(false);
        let service = service_fn(|mut request: Request<Incoming>| {
            spoke.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            if request.version() == Version::HTTP_11 && request.headers().get_all(header::HOST).iter().count() != 1 {
                request.extensions_mut().insert(HostUnclear);
            }
            self.service.clone().oneshot(request.map(Body::new))
        });
        let mut connection = pin!(self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        // The parser's own time-out begins once it knows the version, so a silent client has to be noticed here.
        let mut silence = pin!(tokio::time::sleep(self.header_timeout));
        let (mut is_watched, mut is_draining) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error = chain(&*error), %peer, "a connection ended early");
                    }
                    return;
                }
                () = silence.as_mut(), if is_watched => {
                    if !spoke.load(Ordering::Relaxed) {
                        return;
                    }
                    is_watched = false;
                }
                () = self.drain.cancelled(), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.cut.cancelled() => return,
            }
        }
    }
}

/// Returns whether only the connection that was about to be accepted is concerned.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
