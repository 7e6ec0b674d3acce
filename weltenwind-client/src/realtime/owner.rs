//! The task that owns the socket: it opens connections, one after the other, and keeps what outlives them.

use std::{ops::ControlFlow, pin::pin, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    RealtimeOptions,
    connection::{Connection, Left, Program},
    conversation::{Bye, Conversation},
    event::Event,
    socket::{self, End, Socket},
};
use crate::{
    client::Client,
    error::ClientError,
    retry::{Backoff, at_random},
};

/// A connection that held for so long is no failed attempt.
const HELD: Duration = Duration::from_secs(10);

/// Why there is no further connection.
enum Over {
    /// The program wants no more.
    Closed,
    /// There cannot be one.
    Failed(ClientError),
}

/// What follows the end of a connection.
#[derive(Debug)]
enum Next {
    /// Another one, after a pause within a window if the server named one, under another token if it asked for that.
    Connect { window: Option<(Duration, Duration)>, keeps_positions: bool, needs_token: bool, error: ClientError },
    /// Nothing.
    Stop(ClientError),
}

/// Opens connections until there is no further one.
pub(super) struct Owner {
    client: Client,
    conversation: Conversation,
    program: Program,
    backoff: Backoff,
}

impl Owner {
    pub(super) fn new(client: Client, program: Program, options: &RealtimeOptions) -> Self {
        let backoff = Backoff::new(options.shortest_pause, options.longest_pause);
        let conversation = Conversation::new(options.pending_posts, backoff.clone());
        Self { client, conversation, program, backoff }
    }

    /// Runs to the end; `opened` learns of the first connection, or why there is none.
    pub(super) async fn run(mut self, opened: oneshot::Sender<Result<(), ClientError>>) {
        let mut opened = Some(opened);
        let over = self.connect_again_and_again(&mut opened).await;
        let Self { conversation, program: Program { commands, events }, .. } = self;
        // Whoever waits for an answer learns by this that there will be none.
        drop(commands);
        let inbox = conversation.end();
        let Over::Failed(error) = over else { return };
        tracing::warn!(correlation_id = error.correlation_id(), %error, "the socket stays closed");
        if let Some(opened) = opened {
            // Who asked may have gone.
            let _ = opened.send(Err(error));
            return;
        }
        for event in inbox.into_iter().chain([Event::Closed { error }]) {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn connect_again_and_again(&mut self, opened: &mut Option<oneshot::Sender<Result<(), ClientError>>>) -> Over {
        let (mut pause, mut needs_token) = (Duration::ZERO, false);
        loop {
            let socket = match self.connect(pause, needs_token, opened.is_none()).await {
                Ok(socket) => socket,
                Err(over) => return over,
            };
            match opened.take() {
                // Who asked may have gone, which is found out soon enough.
                Some(opened) => drop(opened.send(Ok(()))),
                None => self.conversation.inbox.push_back(Event::Reconnected),
            }
            let since = Instant::now();
            let left = Connection::new(&self.client, &mut self.conversation, socket).run(&mut self.program).await;
            if since.elapsed() >= HELD {
                self.backoff.reset();
            }
            let next = match left {
                Left::Closed => return Over::Closed,
                Left::Failed(error) => Next::Stop(error),
                Left::Lost { end, bye } => after(end, bye, &self.conversation.connection),
            };
            match next {
                Next::Stop(error) => {
                    self.conversation.lose(true);
                    return Over::Failed(error);
                }
                Next::Connect { window, keeps_positions, needs_token: needed, error } => {
                    needs_token = needed;
                    pause =
                        window.map_or_else(|| self.backoff.next(), |(shortest, longest)| at_random(shortest, longest));
                    self.conversation.lose(keeps_positions);
                    let connection = &self.conversation.connection;
                    tracing::info!(%connection, %error, ?pause, "the connection is lost");
                    self.conversation.tell_lost(error, pause);
                }
            }
        }
    }

    /// Opens a connection, however long that takes; what the program asks for meanwhile waits. After one that `was_open`, only
    /// what the server refuses by name is the end.
    async fn connect(&mut self, mut pause: Duration, mut needs_token: bool, was_open: bool) -> Result<Socket, Over> {
        loop {
            let error = match self.attempt(pause, &mut needs_token).await? {
                Ok(socket) => return Ok(socket),
                Err(error) if error.is_retryable() || (was_open && error.spares_the_socket()) => error,
                Err(error) => return Err(Over::Failed(error)),
            };
            let asked = error.refusal().and_then(|refusal| refusal.retry_after).unwrap_or_default();
            pause = self.backoff.next().max(asked);
            tracing::info!(correlation_id = error.correlation_id(), %error, ?pause, "no connection yet");
        }
    }

    async fn attempt(&mut self, pause: Duration, needs_token: &mut bool) -> Result<Result<Socket, ClientError>, Over> {
        let client = &self.client;
        let mut opening = pin!(async {
            sleep(pause).await;
            if *needs_token {
                match client.refresh().await {
                    // A token that came from elsewhere cannot be renewed; the server says what is wrong with it.
                    Ok(()) | Err(ClientError::NotSignedIn) => {}
                    Err(error) => return Err(error),
                }
                // A second one would be of no more use than the first.
                *needs_token = false;
            }
            socket::open(client).await
        });
        loop {
            tokio::select! {
                opened = &mut opening => return Ok(opened),
                turn = self.program.turn(&mut self.conversation) => {
                    if let ControlFlow::Break(()) = turn {
                        return Err(Over::Closed);
                    }
                }
            }
        }
    }
}

/// Decides by the class of the close code what follows. A goodbye says more than the close frame behind it.
fn after(end: End, bye: Option<Bye>, connection: &str) -> Next {
    let connection = connection.to_owned();
    let (code, reason, window, keeps_positions) = match bye {
        Some(Bye { code, reason, window, resume }) => (Some(code), reason, Some(window), resume),
        None => (end.code, end.reason, None, true),
    };
    if let Some(code @ 4200..=4299) = code {
        return Next::Stop(ClientError::Ended { code, reason, connection });
    }
    let needs_token = matches!(code, Some(4100..=4199));
    Next::Connect { window, keeps_positions, needs_token, error: ClientError::Lost { reason, connection } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(code: Option<u16>) -> End {
        End { code, reason: "over".to_owned() }
    }

    fn bye(code: u16) -> Bye {
        let window = (Duration::from_millis(250), Duration::from_secs(1));
        Bye { code, reason: "the server stops".to_owned(), window, resume: true }
    }

    #[test]
    fn the_class_of_the_close_code_decides_what_follows() {
        for code in [None, Some(1001), Some(1006), Some(4000), Some(4005), Some(4099), Some(4300)] {
            let next = after(end(code), None, "c");
            assert!(matches!(next, Next::Connect { window: None, needs_token: false, .. }), "{code:?} {next:?}");
        }
        for code in [4100, 4101, 4199] {
            let next = after(end(Some(code)), None, "c");
            assert!(matches!(next, Next::Connect { needs_token: true, .. }), "{code} {next:?}");
        }
        for code in [4200, 4203, 4299] {
            let next = after(end(Some(code)), None, "c");
            assert!(matches!(next, Next::Stop(ClientError::Ended { code: told, .. }) if told == code), "{code}");
        }
    }

    #[test]
    fn a_goodbye_names_the_window_and_outweighs_the_close_frame() {
        let next = after(end(None), Some(bye(4000)), "c");

        let Next::Connect { window: Some((shortest, longest)), error, .. } = next else { panic!("{next:?}") };
        assert_eq!((shortest.as_millis(), longest.as_millis()), (250, 1000));
        assert_eq!(error.to_string(), "the connection c was lost: the server stops");
        assert!(matches!(after(end(None), Some(bye(4201)), "c"), Next::Stop(_)));
    }
}
