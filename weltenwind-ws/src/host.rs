//! What all sockets of one node share.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use weltenwind_core::{AllowedOrigins, Services, presence::SocketId};

use crate::{config::RealtimeConfig, feed::Feeds, limits::Limits, metrics::Metrics, toasts::Toasts};

/// When a world closes, all who are there look at once, some of them at the store: so few at a time hold nobody else up, and
/// nothing is written to the others until it is their turn.
const LOOKS: usize = 32;

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) services: Services,
    pub(crate) feeds: Feeds,
    pub(crate) toasts: Toasts,
    pub(crate) origins: AllowedOrigins,
    pub(crate) config: RealtimeConfig,
    pub(crate) node: String,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Arc<Limits>,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when every socket shall say goodbye; then all are summoned.
    pub(crate) drain: CancellationToken,
    /// Cancelled when sockets that are still open shall be cut; then all are summoned.
    pub(crate) cut: CancellationToken,
    /// Looks at rights that may be under way at once.
    pub(crate) looks: Semaphore,
    sockets: AtomicU64,
    /// The time over which the clients of a drain come back.
    pub(crate) reconnect_window: OnceLock<Duration>,
}

impl Host {
    pub(crate) fn new(
        services: Services,
        origins: AllowedOrigins,
        config: RealtimeConfig,
        metrics: Metrics,
    ) -> Arc<Self> {
        let node = match config.node.as_str() {
            "" => services.sources.ids.draw().as_simple().to_string(),
            name => name.to_owned(),
        };
        let limits = Limits::new(config.max_connections, config.max_connections_per_address);
        let feeds = Feeds::new(&services, config.rings_bytes, &metrics);
        Arc::new(Self {
            services,
            feeds,
            toasts: Toasts::default(),
            origins,
            config,
            node,
            metrics,
            limits,
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            looks: Semaphore::new(LOOKS),
            sockets: AtomicU64::new(0),
            reconnect_window: OnceLock::new(),
        })
    }

    /// Numbers a socket.
    pub(crate) fn next_socket(&self) -> SocketId {
        SocketId(self.sockets.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks every socket to say goodbye.
    pub(crate) fn dismiss(&self) {
        self.drain.cancel();
        self.feeds.summon();
    }

    /// Asks every socket to close and waits for it; answers how many had to be cut.
    pub(crate) async fn drain(&self) -> usize {
        self.reconnect_window.get_or_init(|| self.config.reconnect_window(self.limits.open()));
        self.dismiss();
        self.tasks.close();
        if tokio::time::timeout(self.config.drain(), self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.cut.cancel();
        self.feeds.summon();
        self.tasks.wait().await;
        left
    }
}
