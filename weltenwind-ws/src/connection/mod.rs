//! One socket from `welcome` to `bye`.

mod farewell;
mod inbound;
#[cfg(test)]
mod tests;
mod time;

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::time::Instant;
use weltenwind_core::{
    Class, Classify as _, Code, CorrelationId, Room, chain,
    chat::{ChatError, REPLAY_WINDOW},
    presence::SocketId,
    revocations::{LossWatch, Standing},
    wire::{ClientRecord, LimitsRecord, ServerRecord, close},
};

use self::{farewell::End, inbound::Incoming};
use crate::{
    bell::Bell,
    feed::{self, SharedPage},
    host::Host,
    limits::Permit,
    outbox::Outbox,
    reader::{PageKey, Reader},
    records,
    requests::{Answer, Asker, Checked},
    rooms::Rooms,
    sign_in::SignIn,
    timing::{Allowance, Expiry, Heartbeat, Strikes},
    toasts::Viewing,
    wire::{Link, Saying, Turn, Wire, Written},
};

/// Who has passed the handshake.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) sign_in: SignIn,
    pub(crate) losses: LossWatch,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) permit: Permit,
    /// When the handshake began.
    pub(crate) began_at: Instant,
}

/// Serves a socket until it is closed; `read` is what came along with the handshake.
pub(crate) async fn serve<L: Link>(host: Arc<Host>, link: L, read: Vec<u8>, visitor: Visitor) {
    let Visitor { sign_in, losses, correlation_id, permit: _permit, began_at } = visitor;
    let conn = host.services.sources.ids.draw().to_string();
    let account = sign_in.account;
    let opened_at = Instant::now();
    let _counted = host.metrics.count();
    tracing::info!(conn, %account, %correlation_id, "a socket is open");

    let wire = Wire::new(link, &read, host.config.frame_bytes, host.config.write_timeout());
    drop(read);
    let mut connection = Connection::new(Arc::clone(&host), wire, sign_in, losses, conn.clone());
    connection.began_at = Some(began_at);
    connection.greet();
    let life = async {
        let end = connection.run().await;
        // In a box, because until then a socket need not hold the place for it.
        Box::pin(connection.finish(end)).await;
        connection.observe_loss();
        end
    };
    let end = tokio::select! {
        biased;
        () = host.cut.cancelled() => End::Cut,
        end = life => end,
    };

    let code = end.label();
    host.metrics.closed.with_label_values(&[&code]).inc();
    let seconds = opened_at.elapsed().as_secs();
    tracing::info!(conn, %account, %correlation_id, code, seconds, "a socket is closed");
}

/// A page of replay that was asked for.
type Fetched = (Room, PageKey, Result<SharedPage, ChatError>);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The state of one socket, owned by one task.
struct Connection<L> {
    host: Arc<Host>,
    conn: String,
    /// The socket, as presence knows it.
    socket: SocketId,
    /// When the handshake began, until the first frame is written.
    began_at: Option<Instant>,
    sign_in: SignIn,
    /// What the session, its device and its account lose.
    losses: LossWatch,
    wire: Wire<L>,
    outbox: Outbox,
    rooms: Rooms,
    /// Rings when a room has something to tell.
    bell: Arc<Bell>,
    /// The page of replay that is being read.
    page: Option<Task<Fetched>>,
    /// The frame that is being taken apart.
    incoming: Option<Incoming>,
    /// What was read and has not begun. Requests are answered one after the other, so a client's posts keep their order,
    /// and a post finds the room joined that the request before it joined.
    waiting: VecDeque<(CorrelationId, ClientRecord)>,
    request: Option<Task<Answer>>,
    /// Posts that have their place in the channel and wait for their commits, and answers that come after theirs.
    posts: FuturesOrdered<Task<Answer>>,
    check: Option<Task<Checked>>,
    check_at: Instant,
    undecided: u32,
    /// Whether rights were lost and the rooms were not looked at since: nothing is written meanwhile.
    is_suspect: bool,
    /// How often rights had been lost when the request that runs was begun.
    rights_at_request: u64,
    heartbeat: Heartbeat,
    expiry: Expiry,
    strikes: Strikes,
    allowance: Allowance,
    records: u64,
    draining: bool,
    /// That somebody looks at the client right now.
    viewing: Option<Viewing>,
    end: Option<End>,
}

impl<L: Link> Connection<L> {
    fn new(host: Arc<Host>, wire: Wire<L>, sign_in: SignIn, losses: LossWatch, conn: String) -> Self {
        let (config, now) = (&host.config, Instant::now());
        let bell = Arc::new(Bell::default());
        let mut rooms = Rooms::default();
        let own = host.feeds.attend_silent(Room::User(sign_in.account), &bell);
        let reader = Reader::new(own.feed.position());
        rooms.join(own, reader.silently(), None);
        Self {
            wire,
            outbox: Outbox::new(config.send_buffer()),
            rooms,
            bell,
            page: None,
            incoming: None,
            waiting: VecDeque::new(),
            request: None,
            posts: FuturesOrdered::new(),
            check: None,
            check_at: now + config.ping_every(),
            undecided: 0,
            is_suspect: false,
            rights_at_request: 0,
            heartbeat: Heartbeat::new(config.ping_every(), config.pong_grace(), now),
            expiry: Expiry::new(sign_in.life, now),
            strikes: Strikes::default(),
            allowance: Allowance::new(config.bytes_per_second.max(1), config.bytes_burst, now),
            records: 0,
            draining: false,
            end: None,
            viewing: None,
            began_at: None,
            socket: host.next_socket(),
            host,
            conn,
            sign_in,
            losses,
        }
    }

    fn greet(&mut self) {
        let config = &self.host.config;
        let welcome = ServerRecord::Welcome {
            conn: self.conn.clone(),
            node: self.host.node.clone(),
            server_time: self.host.services.sources.clock.now().into(),
            ping_every_seconds: config.ping_every().as_secs(),
            token_ttl_seconds: self.sign_in.life.as_secs(),
            limits: LimitsRecord {
                rooms: config.max_rooms,
                frame_bytes: config.frame_bytes,
                replay_window: REPLAY_WINDOW,
            },
        };
        self.say(&welcome);
    }

    async fn run(&mut self) -> End {
        let drain = self.host.drain.clone();
        let drained = drain.cancelled();
        let timer = tokio::time::sleep_until(self.due());
        tokio::pin!(drained, timer);
        loop {
            self.take_records();
            self.begin_requests();
            if self.draining && self.owes_nothing() {
                self.end(End::Bye(close::DRAIN, "the server stops"));
            }
            if let Some(end) = self.end {
                return end;
            }
            self.begin_page();
            self.set(timer.as_mut());

            let (is_reading, is_fetching) = (self.is_reading(), self.page.is_some());
            let Self { outbox, rooms, wire, bell, began_at, host, viewing, .. } = self;
            let viewing = viewing.as_ref();
            let looks_at = timer.deadline();
            let saying = Saying { outbox, rooms, bell, viewing, is_writing: !self.is_suspect, is_fetching, looks_at };
            let count = |written: &Written| observe(host, began_at, written);
            tokio::select! {
                // In this order, because a busy room must not keep a sign of life from being read.
                biased;
                // Before everything: nothing is written to whom it is no longer meant for.
                standing = self.losses.changed() => self.take_standing(standing),
                () = &mut drained, if !self.draining => self.draining = true,
                () = &mut timer => self.pass_time(),
                answer = finished(&mut self.request) => self.take_answer(answer),
                Some(answer) = self.posts.next(), if !self.posts.is_empty() => self.give(answer),
                checked = finished(&mut self.check) => self.take_check(checked),
                (room, key, page) = finished(&mut self.page) => self.take_page(room, key, page),
                turn = wire.turn(saying, is_reading, count) => {
                    if self.take_turn(turn) {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// Takes what was lost: the sign-in itself, which ends the socket, or rights, which may cost it rooms.
    fn take_standing(&mut self, standing: Standing) {
        match standing.ended {
            Some((ended, _)) => {
                self.withdraw();
                self.end(End::of_ended(ended));
            }
            None => self.suspect(),
        }
    }

    /// Holds everything back until the rooms were looked at; a look that is under way began too early.
    fn suspect(&mut self) {
        self.is_suspect = true;
        self.wire.hold();
        let request = self.next_request();
        self.check_at = Instant::now() + self.host.config.ping_every();
        self.check = Some(Box::pin(self.asker(request).check(self.rooms.names())));
    }

    /// Drops everything that is not written yet.
    fn withdraw(&mut self) {
        self.wire.withdraw();
        self.outbox.clear();
    }

    /// Measures how long a loss took to end the socket.
    fn observe_loss(&self) {
        if let Some((_, at)) = self.losses.standing().ended {
            let took = self.host.services.sources.clock.now().duration_since(at);
            self.host.metrics.revoke.observe(took.as_secs_f64());
        }
    }

    /// The first end is the one that counts.
    fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    fn say(&mut self, record: &ServerRecord) {
        self.outbox.push(records::write(record));
    }

    fn asker(&self, request: CorrelationId) -> Asker {
        Asker {
            host: Arc::clone(&self.host),
            sign_in: self.sign_in.clone(),
            request,
            bell: Arc::clone(&self.bell),
            socket: self.socket,
        }
    }

    /// Names the next thing that happens on this connection.
    fn next_request(&mut self) -> CorrelationId {
        self.records += 1;
        CorrelationId::accept(&format!("{}.{}", self.conn, self.records)).expect("a UUID and a number fit")
    }

    /// Takes what happened on the socket; answers whether others should have their turn.
    fn take_turn(&mut self, turn: Turn) -> bool {
        match turn {
            Turn::Written { is_much } => {
                if !self.wire.is_stalled() {
                    self.heartbeat.written(Instant::now());
                }
                return is_much;
            }
            Turn::Read(bytes) => {
                let now = Instant::now();
                self.heartbeat.heard(now);
                self.allowance.take(bytes, now);
            }
            Turn::PageWanted | Turn::Stalled => {}
            Turn::News => {
                self.take_ended();
                for toast in self.viewing.iter().flat_map(Viewing::take_toasts) {
                    self.outbox.push(toast);
                }
            }
            Turn::Lost => self.end(End::Lost),
        }
        false
    }

    /// Begins to read the page that a room needs next; one after the other, and each only when the one before is written.
    fn begin_page(&mut self) {
        if self.page.is_none()
            && !self.is_suspect
            && let Some((feed, key, is_late)) = self.rooms.wants()
        {
            self.host.metrics.pages.with_label_values(&[if is_late { "lag" } else { "replay" }]).inc();
            self.page = Some(Box::pin(async move { (feed.room, key, feed.page(key).await) }));
        }
    }

    fn take_page(&mut self, room: Room, key: PageKey, page: Result<SharedPage, ChatError>) {
        match page {
            Ok(page) => self.rooms.take_page(room, key, page),
            Err(error) if error.class() == Class::Unavailable => {
                tracing::warn!(%room, error = chain(&error), "a replay is late");
                // The room is late, not lost.
                let feed = self.rooms.feed_of(room);
                self.page = feed.map(|feed| -> Task<_> {
                    Box::pin(async move {
                        tokio::time::sleep(STORE_PAUSE).await;
                        (room, key, feed.page(key).await)
                    })
                });
            }
            Err(error) => self.lose(room, &error),
        }
    }

    /// Takes notice of rooms that tell nothing more.
    fn take_ended(&mut self) {
        for (room, code) in self.rooms.ended() {
            self.rooms.leave(room);
            self.say(&ServerRecord::Left { id: None, room, code: Some(code.to_string()) });
        }
    }

    fn lose(&mut self, room: Room, error: &ChatError) {
        let code = error.code();
        if code == Code::Internal {
            tracing::error!(%room, error = chain(error), "a replay failed");
        }
        if self.rooms.leave(room) {
            self.say(&ServerRecord::Left { id: None, room, code: Some(code.to_string()) });
        }
    }
}

/// Counts what was written.
fn observe(host: &Host, began_at: &mut Option<Instant>, written: &Written) {
    let metrics = &host.metrics;
    if let Some(began_at) = began_at.take() {
        metrics.connect.observe(began_at.elapsed().as_secs_f64());
    }
    metrics.records_out.inc_by(written.records);
    if written.replayed > 0 {
        metrics.replayed.inc_by(written.replayed);
    }
    for cause in &written.gaps {
        metrics.gaps.with_label_values(&[feed::name_of(*cause)]).inc();
    }
    if let Some(oldest) = written.oldest {
        let late = host.services.sources.clock.now().duration_since(oldest);
        metrics.deliver.observe(late.as_secs_f64());
    }
}

/// Pause before the store is asked again for a page after it was away.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Waits for a task and clears its place; without one, for ever. Dropping the future loses nothing.
async fn finished<T>(place: &mut Option<Task<T>>) -> T {
    let Some(task) = place else { return std::future::pending().await };
    let result = task.await;
    *place = None;
    result
}
