//! A wire between clients and a server: it can be cut, and lead elsewhere.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Forwards every connection until it is cut.
pub(crate) struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    target: Option<SocketAddr>,
    cut: CancellationToken,
    /// So many bytes of what the server says come through, and then the connection is lost; once.
    left: Option<usize>,
}

impl Wire {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State { target: Some(target), cut: CancellationToken::new(), left: None };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, cut) = {
                    let state = shared.lock().expect("the state is sound");
                    (state.target, state.cut.clone())
                };
                if let Some(target) = target {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        cut.run_until_cancelled(forward(near, target, &shared)).await;
                    });
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection; new ones pass.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().expect("the state is sound");
        std::mem::take(&mut state.cut).cancel();
    }

    /// Breaks the next connection on which the server answers, before the answer has come through.
    pub(crate) fn lose_next_answer(&self) {
        self.cut_behind(0);
    }

    /// Breaks a connection once so many more bytes of what the server says have come through.
    pub(crate) fn cut_behind(&self, bytes: usize) {
        self.state.lock().expect("the state is sound").left = Some(bytes);
    }

    /// Breaks every connection and lets none pass.
    pub(crate) fn lead_nowhere(&self) {
        self.state.lock().expect("the state is sound").target = None;
        self.cut();
    }

    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.state.lock().expect("the state is sound").target = Some(target);
    }
}

async fn forward(mut near: TcpStream, target: SocketAddr, state: &Mutex<State>) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((mut near_reader, mut near_writer), (mut far_reader, mut far_writer)) = (near.split(), far.split());
    let answers = async {
        let mut part = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = far_reader.read(&mut part).await {
            let passing = {
                let left = &mut state.lock().expect("the state is sound").left;
                let passing = left.map_or(length, |left| left.min(length));
                *left = left.and_then(|left| (length <= left).then(|| left - length));
                passing
            };
            if near_writer.write_all(&part[..passing]).await.is_err() || passing < length {
                break;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut near_reader, &mut far_writer) => {}
        () = answers => {}
    }
}
