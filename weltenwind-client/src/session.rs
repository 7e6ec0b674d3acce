//! Who is signed in, and the tokens that prove it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weltenwind_core::{Secret, wire::SessionBody, wire::UserBody};

/// A token is renewed when less than this remains of it, or a fifth of its life if that is shorter.
const MARGIN: Duration = Duration::from_secs(30);

/// The session that all clones of a client share.
#[derive(Debug, Default)]
pub(crate) struct Session {
    state: Mutex<State>,
    /// Held by the one that renews; all others wait for what it gets.
    pub(crate) renewing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts sign-ins, so that what belongs to one is not taken for another's.
    sign_in: u64,
    tokens: Option<Arc<Tokens>>,
}

/// What a sign-in brought.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) sign_in: u64,
    pub(crate) access: Secret<String>,
    pub(crate) refresh: Option<Secret<String>>,
    pub(crate) user: Option<UserBody>,
    renew_at: Option<Instant>,
}

impl Tokens {
    /// Returns whether the access token should be renewed before it is used again.
    pub(crate) fn is_due(&self) -> bool {
        self.refresh.is_some() && self.renew_at.is_some_and(|at| Instant::now() >= at)
    }
}

impl Session {
    pub(crate) fn tokens(&self) -> Option<Arc<Tokens>> {
        self.lock().tokens.clone()
    }

    /// Begins a session. `asked_at` is before the token was issued, so the token never lives longer than it is believed to.
    pub(crate) fn begin(&self, body: SessionBody, asked_at: Instant) -> UserBody {
        let user = body.user.clone();
        let mut state = self.lock();
        state.sign_in += 1;
        state.tokens = Some(Arc::new(tokens(state.sign_in, body, asked_at)));
        user
    }

    /// Begins a session of a token alone.
    pub(crate) fn begin_with(&self, access: String) {
        let mut state = self.lock();
        state.sign_in += 1;
        let (sign_in, access) = (state.sign_in, Secret::new(access));
        state.tokens = Some(Arc::new(Tokens { sign_in, access, refresh: None, user: None, renew_at: None }));
    }

    /// Goes on with newer tokens of the same sign-in; if somebody else has signed in meanwhile, they are dropped.
    pub(crate) fn go_on(&self, sign_in: u64, body: SessionBody, asked_at: Instant) {
        let mut state = self.lock();
        if state.sign_in == sign_in && state.tokens.is_some() {
            state.tokens = Some(Arc::new(tokens(sign_in, body, asked_at)));
        }
    }

    /// Notes that a sign-in cannot be renewed any more, so that the server is not asked again and again.
    pub(crate) fn give_up(&self, sign_in: u64) {
        let mut state = self.lock();
        let Some(old) = state.tokens.take_if(|tokens| tokens.sign_in == sign_in) else { return };
        let (access, user) = (old.access.clone(), old.user.clone());
        state.tokens = Some(Arc::new(Tokens { sign_in, access, refresh: None, user, renew_at: None }));
    }

    pub(crate) fn end(&self) {
        self.lock().tokens = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tokens(sign_in: u64, body: SessionBody, asked_at: Instant) -> Tokens {
    let life = Duration::from_secs(body.expires_in);
    Tokens {
        sign_in,
        access: Secret::new(body.access_token),
        refresh: body.refresh_token.map(Secret::new),
        user: Some(body.user),
        renew_at: asked_at.checked_add(life.saturating_sub(MARGIN.min(life / 5))),
    }
}
