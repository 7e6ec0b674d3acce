//! One socket from `welcome` to `bye`.

mod farewell;
mod inbound;
#[cfg(test)]
mod tests;
mod time;

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use tokio::time::Instant;
use weltenwind_core::{
    CorrelationId, Room,
    chat::REPLAY_WINDOW,
    revocations::{LossWatch, Standing},
    wire::{ClientRecord, LimitsRecord, ServerRecord, close},
};

use self::{farewell::End, inbound::Incoming};
use crate::{
    host::Host,
    limits::Permit,
    outbox::Outbox,
    records::{self, Failure},
    requests::{Answer, Asker, Checked},
    rooms::{self, Heard, Rooms, Told, What},
    sign_in::SignIn,
    timing::{Expiry, Heartbeat, Strikes},
    wire::{Socket, Turn, Wire},
};

/// Who has passed the handshake.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) sign_in: SignIn,
    pub(crate) losses: LossWatch,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) permit: Permit,
}

/// Serves a socket until it is closed.
pub(crate) async fn serve<S: Socket>(host: Arc<Host>, socket: S, visitor: Visitor) {
    let Visitor { sign_in, losses, correlation_id, permit: _permit } = visitor;
    let conn = host.services.sources.ids.draw().to_string();
    let account = sign_in.account;
    let opened_at = Instant::now();
    let _counted = host.metrics.count();
    tracing::info!(conn, %account, %correlation_id, "a socket is open");

    let mut connection = Connection::new(Arc::clone(&host), socket, sign_in, losses, conn.clone());
    connection.greet();
    let life = async {
        let end = connection.run().await;
        connection.finish(end).await;
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

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The state of one socket, owned by one task.
struct Connection<S> {
    host: Arc<Host>,
    conn: String,
    sign_in: SignIn,
    /// What the session, its device and its account lose.
    losses: LossWatch,
    wire: Wire<S>,
    outbox: Outbox,
    rooms: Rooms,
    /// The frame that is being taken apart.
    incoming: Option<Incoming>,
    /// What was read and has not begun. Requests are answered one after the other, so a client's posts keep their order,
    /// and a post finds the room joined that the request before it joined.
    waiting: VecDeque<(CorrelationId, ClientRecord)>,
    request: Option<Task<Answer>>,
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
    records: u64,
    draining: bool,
    end: Option<End>,
}

impl<S: Socket> Connection<S> {
    fn new(host: Arc<Host>, socket: S, sign_in: SignIn, losses: LossWatch, conn: String) -> Self {
        let (config, now) = (&host.config, Instant::now());
        let mut rooms = Rooms::default();
        rooms.join(Room::User(sign_in.account), None);
        Self {
            wire: Wire::new(socket, config.write_timeout()),
            outbox: Outbox::new(config.send_buffer()),
            rooms,
            incoming: None,
            waiting: VecDeque::new(),
            request: None,
            check: None,
            check_at: now + config.ping_every(),
            undecided: 0,
            is_suspect: false,
            rights_at_request: 0,
            heartbeat: Heartbeat::new(config.ping_every(), config.pong_grace(), now),
            expiry: Expiry::new(sign_in.life, now),
            strikes: Strikes::default(),
            records: 0,
            draining: false,
            end: None,
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
            if !self.is_suspect {
                let offered = self.wire.offer(&mut self.outbox);
                self.host.metrics.records_out.inc_by(offered);
            }
            self.set(timer.as_mut());

            let reading = self.is_reading();
            // Rooms are listened to only while nothing is being written: this is what keeps a slow reader cheap.
            let listening = !self.wire.is_writing() && !self.is_suspect;
            tokio::select! {
                // In this order, because a busy room must not keep a sign of life from being read.
                biased;
                // Before everything: nothing is written to whom it is no longer meant for.
                standing = self.losses.changed() => self.take_standing(standing),
                () = &mut drained, if !self.draining => self.draining = true,
                () = &mut timer => self.pass_time(),
                answer = finished(&mut self.request) => self.take_answer(answer),
                checked = finished(&mut self.check) => self.take_check(checked),
                turn = self.wire.turn(reading) => self.take_turn(turn),
                told = self.rooms.next(), if listening => self.take_told(told),
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
        if let Some(frame) = self.wire.take_back() {
            self.outbox.restore(frame);
        }
        let request = self.next_request();
        self.check_at = Instant::now() + self.host.config.ping_every();
        self.check = Some(Box::pin(self.asker(request).check(self.rooms.names())));
    }

    /// Drops everything that is not written yet.
    fn withdraw(&mut self) {
        drop(self.wire.take_back());
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
        Asker { host: Arc::clone(&self.host), sign_in: self.sign_in.clone(), request }
    }

    /// Names the next thing that happens on this connection.
    fn next_request(&mut self) -> CorrelationId {
        self.records += 1;
        CorrelationId::accept(&format!("{}.{}", self.conn, self.records)).expect("a UUID and a number fit")
    }

    fn take_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Written { oldest } => {
                self.heartbeat.written(Instant::now());
                if let Some(oldest) = oldest {
                    let late = self.host.services.sources.clock.now().duration_since(oldest);
                    self.host.metrics.deliver.observe(late.as_secs_f64());
                }
            }
            Turn::Read(Some(Ok(message))) => self.take_message(message),
            Turn::Read(Some(Err(error))) => self.end(End::of(&error)),
            Turn::Read(None) | Turn::Broken(_) => self.end(End::Lost),
        }
    }

    /// Takes what a room tells, and what others tell right now: it all goes into one frame.
    fn take_told(&mut self, told: Told) {
        self.pass_on(told);
        while self.outbox.has_room()
            && let Some(told) = self.rooms.next_ready()
        {
            self.pass_on(told);
        }
    }

    fn pass_on(&mut self, Told { room, heard, ended }: Told) {
        let metrics = &self.host.metrics;
        for Heard { record, what } in heard {
            match what {
                What::News(accepted_at) => {
                    self.outbox.push_news(room, record, accepted_at);
                    continue;
                }
                What::Replay => metrics.replayed.inc(),
                What::Gap(cause) => metrics.gaps.with_label_values(&[rooms::name_of(cause)]).inc(),
                What::Change | What::Live => {}
            }
            self.outbox.push_of(room, record);
        }
        if let Some(error) = ended {
            let (request, failure) = (self.next_request(), Failure::from(error));
            failure.log(&request);
            self.say(&ServerRecord::Left { id: None, room, code: Some(failure.code().to_string()) });
        }
    }
}

/// Waits for a task and clears its place; without one, for ever. Dropping the future loses nothing.
async fn finished<T>(place: &mut Option<Task<T>>) -> T {
    let Some(task) = place else { return std::future::pending().await };
    let result = task.await;
    *place = None;
    result
}
