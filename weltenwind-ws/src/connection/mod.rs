//! One socket from `welcome` to `bye`.

mod farewell;
mod inbound;
#[cfg(test)]
mod tests;
mod time;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::{Duration, Instant, Sleep};
use uuid::Uuid;
use weltenwind_core::{
    Class, Classify as _, Code, CorrelationId, Room, Timestamp, chain,
    chat::{ChatError, REPLAY_WINDOW},
    presence::SocketId,
    revocations::{LossWatch, Standing},
    wire::{LimitsRecord, ServerRecord, close},
};

use self::{
    farewell::End,
    inbound::{Incoming, Waiting},
};
use crate::{
    bell::Bell,
    feed::{self, SharedPage},
    host::Host,
    limits::Permit,
    metrics::Counted,
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
///
/// It is no async function, because such a one keeps the places of its arguments for as long as it runs, and there are many
/// sockets.
pub(crate) fn serve<L: Link>(
    host: Arc<Host>,
    link: L,
    read: &[u8],
    visitor: Visitor,
) -> impl Future<Output = ()> + Send + use<L> {
    let mut connection = Connection::new(host, link, read, visitor);
    connection.greet();
    async move {
        let end = connection.run().await;
        // In a box, because until then a socket need not hold the place for it.
        let end = Box::pin(connection.finish(end)).await;
        connection.note_end(end);
    }
}

/// A page of replay that was asked for.
type Fetched = (Room, PageKey, Result<SharedPage, ChatError>);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The state of one socket, owned by one task.
struct Connection<L> {
    host: Arc<Host>,
    /// The connection's name in the log.
    conn: Uuid,
    /// The socket, as presence knows it.
    socket: SocketId,
    opened_at: Instant,
    /// When the handshake began, until the first frame is written.
    began_at: Option<Instant>,
    _permit: Permit,
    _counted: Counted,
    sign_in: SignIn,
    /// What the session, its device and its account lose.
    losses: LossWatch,
    wire: Wire<L>,
    outbox: Outbox,
    rooms: Rooms,
    /// Rings when a room has something to tell, or something is asked of all sockets.
    bell: Arc<Bell>,
    /// The page of replay that is being read.
    page: Option<Task<Fetched>>,
    /// The frame that is being taken apart.
    incoming: Option<Incoming>,
    /// What was read and has not begun. Requests are answered one after the other, so a client's posts keep their order,
    /// and a post finds the room joined that the request before it joined.
    waiting: VecDeque<Waiting>,
    request: Option<Task<Answer>>,
    /// Posts that have their place in the channel and wait for their commits, and answers that come after theirs. Their
    /// commits need nobody to wait for them, so only the first is waited for.
    posts: VecDeque<Task<Answer>>,
    check: Option<Task<Checked>>,
    check_at: Instant,
    /// When something ends by itself that may be the right to be here, until it was looked at behind that. In a box, because
    /// few sockets have one.
    until: Option<Box<Instant>>,
    undecided: u32,
    /// Whether rights were lost and the rooms were not looked at since: nothing is written meanwhile.
    is_suspect: bool,
    /// How often rights had been lost when the request that runs was begun.
    rights_at_request: u64,
    heartbeat: Heartbeat,
    expiry: Expiry,
    /// In a box, because few clients have any.
    strikes: Option<Box<Strikes>>,
    allowance: Allowance,
    records: u64,
    draining: bool,
    /// That somebody looks at the client right now.
    viewing: Option<Box<Viewing>>,
    end: Option<End>,
}

impl<L: Link> Connection<L> {
    fn new(host: Arc<Host>, link: L, read: &[u8], visitor: Visitor) -> Self {
        let Visitor { sign_in, losses, correlation_id, permit, began_at } = visitor;
        let (config, now) = (&host.config, Instant::now());
        let bell = Arc::new(Bell::default());
        let mut rooms = Rooms::default();
        let own = host.feeds.attend_silent(Room::User(sign_in.account), &bell);
        let reader = Reader::new(own.feed.position());
        rooms.join(own, reader.silently(), None);
        // Whoever comes later than that is not summoned.
        let draining = host.drain.is_cancelled();
        let conn = host.services.sources.ids.draw();
        tracing::info!(%conn, account = %sign_in.account, %correlation_id, "a socket is open");
        Self {
            conn,
            socket: host.next_socket(),
            opened_at: now,
            began_at: Some(began_at),
            _permit: permit,
            _counted: host.metrics.count(),
            wire: Wire::new(link, read, config.frame_bytes),
            outbox: Outbox::new(config.send_buffer()),
            rooms,
            bell,
            page: None,
            incoming: None,
            waiting: VecDeque::new(),
            request: None,
            posts: VecDeque::new(),
            check: None,
            check_at: now + config.ping_every(),
            until: None,
            undecided: 0,
            is_suspect: false,
            rights_at_request: 0,
            heartbeat: Heartbeat::new(now),
            expiry: Expiry::new(sign_in.life, now),
            strikes: None,
            allowance: Allowance::new(config.bytes_per_second.max(1), config.bytes_burst, now),
            records: 0,
            draining,
            viewing: None,
            end: None,
            host,
            sign_in,
            losses,
        }
    }

    fn greet(&mut self) {
        let config = &self.host.config;
        let welcome = ServerRecord::Welcome {
            conn: self.conn.to_string(),
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
        self.hold_from(self.sign_in.ends_at);
    }

    async fn run(&mut self) -> End {
        let timer = tokio::time::sleep_until(self.due());
        tokio::pin!(timer);
        loop {
            self.take_records();
            self.begin_requests();
            self.take_toasts();
            if self.draining && self.owes_nothing() {
                self.end(End::Bye(close::DRAIN, "the server stops"));
            }
            if let Some(end) = self.end {
                return end;
            }
            self.begin_page();
            self.set(timer.as_mut());
            if std::future::poll_fn(|cx| self.poll_event(timer.as_mut(), cx)).await {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes the next thing that happens; answers whether others should have their turn.
    ///
    /// A message in a room passes through here for each socket, so this looks at what is there and at nothing else.
    fn poll_event(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<bool> {
        // In this order, because a busy room must not keep a sign of life from being read. First of all, nothing is written
        // to whom it is no longer meant for.
        if let Poll::Ready(standing) = self.losses.poll_changed(cx) {
            self.take_standing(standing);
        } else if self.hear(cx) {
            // It was dealt with.
        } else if timer.as_mut().poll(cx).is_ready() {
            self.pass_time();
        } else if let Poll::Ready(answer) = poll_task(&mut self.request, cx) {
            self.take_answer(answer);
        } else if let Some(answer) = self.posts.front_mut().map(|post| post.as_mut().poll(cx))
            && let Poll::Ready(answer) = answer
        {
            self.posts.pop_front();
            self.give(answer);
        } else if let Poll::Ready(checked) = poll_task(&mut self.check, cx) {
            self.take_check(checked);
        } else if let Poll::Ready((room, key, page)) = poll_task(&mut self.page, cx) {
            self.take_page(room, key, page);
        } else {
            let (is_reading, is_fetching) = (self.is_reading(), self.page.is_some());
            let Self { outbox, rooms, losses, wire, began_at, host, .. } = self;
            let looks_at = timer.deadline();
            let saying = Saying { outbox, rooms, losses, is_writing: !self.is_suspect, is_fetching, looks_at };
            let turn = ready!(wire.poll_turn(cx, saying, is_reading, |written| observe(host, began_at, written)));
            return Poll::Ready(self.take_turn(turn));
        }
        Poll::Ready(false)
    }

    /// Hears the bell; answers whether there is more to do than to look what the rooms have to tell.
    fn hear(&mut self, cx: &Context<'_>) -> bool {
        let heard = self.bell.poll_heard(cx);
        if heard.is_summons() {
            self.draining = true;
            if self.host.cut.is_cancelled() {
                self.end(End::Cut);
            }
            return true;
        }
        let has_toasts = self.viewing.as_ref().is_some_and(|viewing| viewing.has_toasts());
        if !heard.is_news() || !(has_toasts || self.rooms.has_ended()) {
            return false;
        }
        self.take_ended();
        true
    }

    /// Takes toasts as long as there is room for them; the others wait, and no more of them than are kept.
    fn take_toasts(&mut self) {
        let Some(viewing) = &self.viewing else { return };
        while self.outbox.has_room()
            && let Some(toast) = viewing.next_toast()
        {
            self.outbox.push(toast);
        }
    }

    /// Takes what was lost: the sign-in itself, which ends the socket, or rights, which may cost it rooms.
    fn take_standing(&mut self, standing: Standing) {
        match standing.ended {
            Some((ended, _)) => self.end_with_nothing(End::of_ended(ended)),
            None if standing.lost_in.is_some_and(|scope| self.rooms.may_be_lost_in(scope)) => self.suspect(),
            None => {}
        }
    }

    /// Ends the socket with nothing before the farewell: what waits is no longer meant for whoever reads it.
    fn end_with_nothing(&mut self, end: End) {
        self.withdraw();
        self.end(end);
    }

    /// Holds everything back from an instant on, until the rights were looked at behind it.
    fn hold_from(&mut self, until: Option<Timestamp>) {
        if let Some(until) = until {
            let left = until.duration_since(self.host.services.sources.clock.now());
            let until = Instant::now() + Duration::try_from(left).unwrap_or_default();
            // A look that was begun before may not have known of the earlier one.
            let until = self.until.as_deref().map_or(until, |known| until.min(*known));
            self.until = Some(Box::new(until));
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

    /// Counts and logs how the socket has ended, and how long a loss took to end it.
    fn note_end(&self, end: End) {
        let (Host { metrics, services, .. }, code) = (&*self.host, end.label());
        if let Some((_, at)) = self.losses.standing().ended {
            metrics.revoke.observe(services.sources.clock.now().duration_since(at).as_secs_f64());
        }
        metrics.closed.with_label_values(&[&code]).inc();
        let (conn, account, seconds) = (self.conn, self.sign_in.account, self.opened_at.elapsed().as_secs());
        tracing::info!(%conn, %account, code, seconds, "a socket is closed");
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
                if self.outbox.is_empty() && !self.wire.is_behind() {
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

/// Looks whether a task has ended, and clears its place then.
fn poll_task<T>(place: &mut Option<Task<T>>, cx: &mut Context<'_>) -> Poll<T> {
    let Some(task) = place else { return Poll::Pending };
    let result = ready!(task.as_mut().poll(cx));
    *place = None;
    Poll::Ready(result)
}
