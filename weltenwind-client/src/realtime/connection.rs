//! One connection from `welcome` to its end.

use std::{collections::VecDeque, ops::ControlFlow, pin::Pin, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use weltenwind_core::wire::ClientRecord;

use super::{
    conversation::{Bye, Command, Conversation, Wish},
    event::Event,
    socket::{self, End, Socket},
};
use crate::{client::Client, error::ClientError};

/// How long the server has for its first record, and to close once it has said goodbye.
const GRACE: Duration = Duration::from_secs(15);
/// How long beyond the pings' interval a server may be silent before the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// How often a client that does not read says of itself that it is there, at least: it does not hear that it is asked.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// … and at most, however often the server would ask.
const SHORTEST_SIGN: Duration = Duration::from_millis(100);
/// The pause after a token could not be renewed.
const TOKEN_PAUSE: Duration = Duration::from_secs(2);

/// The program's side: what it asks for, and what it takes.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
}

impl Program {
    /// Takes a command, or hands an event over; breaks when the program wants no more. Dropping the future loses nothing.
    pub(super) async fn turn(&mut self, conversation: &mut Conversation) -> ControlFlow<()> {
        let has_news = !conversation.inbox.is_empty();
        tokio::select! {
            permit = self.events.reserve(), if has_news => {
                let Ok(permit) = permit else { return ControlFlow::Break(()) };
                if let Some(event) = conversation.inbox.pop_front() {
                    permit.send(event);
                }
            }
            command = self.commands.recv() => match command {
                Some(command) => conversation.command(command),
                None => return ControlFlow::Break(()),
            },
            () = self.events.closed() => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }
}

/// How a connection was left.
#[derive(Debug)]
pub(super) enum Left {
    /// It broke, or was closed by the server, perhaps after a goodbye.
    Lost { end: End, bye: Option<Bye> },
    /// The server does not keep to the protocol.
    Failed(ClientError),
    /// The program wants no more.
    Closed,
}

type NewToken = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// A connection that is open.
pub(super) struct Connection<'a> {
    client: &'a Client,
    conversation: &'a mut Conversation,
    socket: Socket,
    /// Finished records that wait to be written.
    outgoing: VecDeque<tokio_tungstenite::tungstenite::Message>,
    bye: Option<Bye>,
    new_token: Option<NewToken>,
    /// How long the server may be silent, and since when it is.
    patience: Duration,
    heard: Instant,
    /// When something was said last.
    spoke: Instant,
}

impl<'a> Connection<'a> {
    pub(super) fn new(client: &'a Client, conversation: &'a mut Conversation, socket: Socket) -> Self {
        Self {
            client,
            conversation,
            socket,
            outgoing: VecDeque::new(),
            bye: None,
            new_token: None,
            patience: GRACE,
            heard: Instant::now(),
            spoke: Instant::now(),
        }
    }

    /// Talks until the connection ends.
    pub(super) async fn run(mut self, program: &mut Program) -> Left {
        self.conversation.open();
        loop {
            let wake_at = self.conversation.pass_time(Instant::now());
            if !self.conversation.outbox.is_empty() {
                self.spoke = Instant::now();
            }
            self.outgoing.extend(self.conversation.outbox.drain(..).map(|record| socket::frame(&record)));
            let (has_work, is_reading) = (self.socket.writer.has_work(&self.outgoing), self.conversation.is_reading());
            if !is_reading {
                // Nobody listens, so the silence proves nothing.
                self.heard = Instant::now();
            }
            let silent_until = self.heard + self.patience;
            let sign_due = self.spoke + (self.conversation.pings_every / 2).clamp(SHORTEST_SIGN, SIGN_OF_LIFE);
            tokio::select! {
                written = self.socket.writer.write(&mut self.outgoing), if has_work => {
                    if let Err(end) = written {
                        return self.lost(end);
                    }
                }
                frame = self.socket.reader.next(), if is_reading => {
                    self.heard = Instant::now();
                    let taken = match frame {
                        ControlFlow::Continue(text) => self.take(&text),
                        ControlFlow::Break(end) => return self.lost(end),
                    };
                    if let Err(error) = taken {
                        return Left::Failed(error);
                    }
                }
                turn = program.turn(self.conversation) => {
                    if turn.is_break() {
                        // What was taken from the program is on its way; the close frame goes behind it.
                        let farewell = async {
                            let _ = self.socket.writer.write(&mut self.outgoing).await;
                            self.socket.writer.close().await;
                        };
                        let _ = tokio::time::timeout(GRACE, farewell).await;
                        return Left::Closed;
                    }
                }
                token = finished(&mut self.new_token) => self.take_token(token),
                () = sleep_until(silent_until), if is_reading => {
                    let reason = format!("nothing was heard for {} seconds", self.patience.as_secs());
                    return self.lost(End { code: None, reason });
                }
                () = sleep_until(sign_due), if !is_reading && !has_work => {
                    self.conversation.outbox.push_back(ClientRecord::Pong);
                }
                () = sleep_until(wake_at.unwrap_or(silent_until)), if wake_at.is_some() => {}
            }
        }
    }

    fn lost(self, end: End) -> Left {
        Left::Lost { end, bye: self.bye }
    }

    fn take(&mut self, frame: &str) -> Result<(), ClientError> {
        for line in frame.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let record = socket::read(line).map_err(|error| self.conversation.unreadable(error))?;
            let Some(record) = record else { continue };
            match self.conversation.record(record)? {
                Some(Wish::Welcome) => self.patience = self.conversation.pings_every + SILENCE,
                Some(Wish::NewToken) => self.new_token = Some(renew(self.client.clone(), self.socket.token.clone())),
                Some(Wish::Goodbye(bye)) => {
                    tracing::debug!(connection = %self.conversation.connection, ?bye, "the server says goodbye");
                    self.bye = Some(bye);
                    self.patience = GRACE;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn take_token(&mut self, token: Option<String>) {
        self.new_token = None;
        if let Some(token) = token {
            self.socket.token.clone_from(&token);
            self.conversation.refresh(token);
        }
    }
}

/// Gets another token than the one that carries the socket; none if there will not be one.
fn renew(client: Client, stale: String) -> NewToken {
    Box::pin(async move {
        loop {
            let tokens = client.inner.session.tokens()?;
            if *tokens.access.expose() != stale {
                return Some(tokens.access.expose().clone());
            }
            let Err(error) = client.renew(&tokens, client.until()).await else { continue };
            tracing::warn!(correlation_id = error.correlation_id(), %error, "the socket's token is not renewed");
            if !error.spares_the_socket() {
                return None;
            }
            sleep(TOKEN_PAUSE).await;
        }
    })
}

/// Waits for a token; for ever if none was asked for.
async fn finished(token: &mut Option<NewToken>) -> Option<String> {
    match token {
        Some(token) => token.await,
        None => std::future::pending().await,
    }
}
