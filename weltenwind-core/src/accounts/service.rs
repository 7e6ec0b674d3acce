//! The rules of accounts, sessions and tokens.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use serde_json::json;
use tokio::sync::{Mutex, OnceCell};

use super::{
    devices::DeviceStore,
    error::AccountError,
    guard::{EverybodyPasses, SignInAttempt, SignInGuard, SignInWay},
    keys::{KeyStore, RootKey, ServerKeys, SigningKey},
    model::{
        Account, AccountKind, AccountQuery, Bootstrap, DeviceDraft, DisplayName, Email, NewBootstrapToken, NewDevice,
        NewGuest, NewSession, Registration, SignedIn, TokenHash, Username, token_text,
    },
    password::{HashingConfig, Password, PasswordHasher, PasswordRecord},
    preferences::PreferenceStore,
    ring::{KeyRing, root_key},
    store::{AccountStore, SessionStore},
    token::{AccessToken, TokenIssuer},
    two_factor::{Proof, SecondFactorStore},
};
use crate::{
    actor::{Actor, Identity},
    clock::Timestamp,
    code::Code,
    cursor::CursorSealer,
    error::{Classify as _, StorageError},
    gather::Gather,
    ids::{AccountId, DeviceId, GrantId, SessionId},
    limits::{LimitKey, Limits, Policy},
    page::Page,
    refusals::{Attempt, Refusals},
    revocations::{Mark, Revocations},
    scope::Scope,
    secret::Secret,
    security::{self, Event},
    services::Sources,
    step::{AuditDraft, Step},
};

/// How long sign-ins last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountsConfig {
    /// Issuer and audience of access tokens: the installation's public URL.
    pub issuer: String,
    /// The life of an access token.
    pub access_token_life: Duration,
    /// How long a session lasts that is not refreshed.
    pub session_idle: Duration,
    /// How long a session lasts in any case.
    pub session_life: Duration,
    /// How passwords are hashed.
    pub hashing: HashingConfig,
}

impl Default for AccountsConfig {
    /// Five minutes, 30 days and 180 days.
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            issuer: "http://127.0.0.1:8080".to_owned(),
            access_token_life: Duration::from_mins(5),
            session_idle: 30 * DAY,
            session_life: 180 * DAY,
            hashing: HashingConfig::default(),
        }
    }
}

/// How long a one-time token for the first admin holds.
const BOOTSTRAP_LIFE: Duration = Duration::from_mins(15);
/// For how long what is remembered of a session is believed while this node knows of every loss.
const BELIEVED: Duration = Duration::from_mins(1);
/// The same while it does not: then an ended session has no effect for longer than this.
const BELIEVED_BLINDLY: Duration = Duration::from_secs(1);
/// Sessions that are remembered; some 300 bytes each.
const REMEMBERED_SESSIONS: u64 = 100_000;

/// What a caller says of an account to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationDraft {
    /// The name to sign in with.
    pub username: Username,
    /// The password.
    pub password: Password,
    /// The name that others see; the username if absent.
    pub display_name: Option<DisplayName>,
    /// Where mail reaches its owner.
    pub email: Option<Email>,
    /// Where it is registered.
    pub device: DeviceDraft,
}

/// What somebody shows to sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The username.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
    /// A code of the second factor, or a recovery code.
    pub code: Option<Secret<String>>,
    /// Where it is signed in from.
    pub device: DeviceDraft,
}

/// What a sign-in answers.
#[derive(Debug, Clone)]
pub struct SessionGrant {
    /// The token for requests.
    pub access_token: Secret<String>,
    /// The life of the access token.
    pub expires_in: Duration,
    /// The token for the next access token.
    pub refresh_token: Secret<String>,
    /// When the refresh token ends if it is not used.
    pub refresh_expires_at: Timestamp,
    /// The session.
    pub session: SessionId,
    /// The account.
    pub account: Account,
    /// What the access token may reach at most.
    pub scope: Scope,
}

/// A one-time token that makes its bearer a global owner.
#[derive(Debug, Clone)]
pub struct BootstrapTicket {
    /// The token.
    pub token: Secret<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Where accounts and what belongs to them are kept.
#[derive(Debug, Clone)]
pub struct AccountPorts {
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Keys.
    pub keys: Arc<dyn KeyStore>,
    /// Second factors.
    pub factors: Arc<dyn SecondFactorStore>,
    /// Preferences.
    pub preferences: Arc<dyn PreferenceStore>,
}

/// Accounts, sessions and tokens.
#[derive(Debug, Clone)]
pub struct Accounts {
    pub(super) inner: Arc<Inner>,
    pub(super) guard: Arc<dyn SignInGuard>,
    pub(super) refusals: Refusals,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) accounts: Arc<dyn AccountStore>,
    pub(super) sessions: Arc<dyn SessionStore>,
    pub(super) devices: Arc<dyn DeviceStore>,
    pub(super) factors: Arc<dyn SecondFactorStore>,
    pub(super) preferences: Arc<dyn PreferenceStore>,
    pub(super) revocations: Revocations,
    pub(super) config: AccountsConfig,
    pub(super) sources: Sources,
    pub(super) limits: Limits,
    pub(super) hasher: PasswordHasher,
    pub(super) tokens: TokenIssuer,
    pub(super) keys: Arc<dyn KeyStore>,
    /// When keys were last looked for because a token named an unknown one.
    pub(super) keys_looked_for: Mutex<Option<Timestamp>>,
    pub(super) ring: KeyRing,
    pub(super) known: Cache<SessionId, Known>,
    /// Reads what is not remembered of a session.
    reading: Gather<SessionId, Arc<SignedIn>>,
    /// What the password of an unknown username is checked against.
    decoy: OnceCell<PasswordRecord>,
}

#[derive(Debug, Clone)]
pub(super) struct Known {
    signed_in: Arc<SignedIn>,
    read_at: Timestamp,
    /// How far losses were known before it was read.
    mark: Mark,
}

/// What is known only here of a session that is about to be opened.
pub(super) struct Unopened {
    refresh: Secret<String>,
    /// How far losses were known before the session was opened.
    mark: Mark,
}

impl Accounts {
    /// Wires the rules to their ports; a store without keys gets its keys here.
    pub async fn start(
        ports: AccountPorts,
        revocations: Revocations,
        config: AccountsConfig,
        sources: Sources,
        limits: Limits,
    ) -> Result<Self, AccountError> {
        let AccountPorts { accounts, sessions, devices, keys, factors, preferences } = ports;
        let mut secret = [0; 32];
        sources.random.fill(&mut secret);
        let now = sources.clock.now();
        let root = root_key(RootKey::FOUNDING.to_owned(), secret, now);
        let signing = TokenIssuer::generate_key(&sources.ids.draw().to_string(), now)?;
        let adopted = keys.adopt(&ServerKeys { signing: vec![signing], roots: vec![root] }).await?;
        let inner = Inner {
            hasher: PasswordHasher::new(&config.hashing)?,
            tokens: TokenIssuer::new(&config.issuer, &adopted)?,
            ring: KeyRing::new(adopted.roots, Arc::clone(&sources.clock)),
            keys,
            keys_looked_for: Mutex::new(None),
            known: Cache::new(REMEMBERED_SESSIONS),
            reading: gather_sessions(&sessions),
            decoy: OnceCell::new(),
            accounts,
            sessions,
            devices,
            factors,
            preferences,
            revocations,
            config,
            sources,
            limits,
        };
        Ok(Self { inner: Arc::new(inner), guard: Arc::new(EverybodyPasses), refusals: Refusals::none() })
    }

    /// Notes who is refused a sign-in or another password, for the audit log.
    #[must_use]
    pub fn noting(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals;
        self
    }

    /// Notes that somebody wanted in by a password that is not the account's.
    pub(super) fn note_wrong_credentials(&self, actor: &Actor, attempt: Attempt, target: Option<AccountId>) {
        self.refusals.note(actor, attempt, Code::InvalidCredentials, Scope::Global, target);
    }

    /// Asks `guard` before every sign-in, instead of letting everybody pass.
    #[must_use]
    pub fn guarded_by(mut self, guard: Arc<dyn SignInGuard>) -> Self {
        self.guard = guard;
        self
    }

    /// Returns the sealer of cursors under the installation's root keys.
    pub fn cursor_sealer(&self) -> CursorSealer {
        self.inner.ring.cursor_sealer()
    }

    /// Makes another root key and no signing key. For the operator alone.
    ///
    /// Cursors and refresh tokens are derived from it once it is [`RootKey::SETTLING`] old; cursors that were sealed before
    /// open for [`CURSOR_LIFE`](crate::CURSOR_LIFE) more, and every session takes its next refresh token from it.
    /// Fingerprints of devices stay under the first key, so that devices are known again.
    pub async fn rotate_root(&self, actor: &Actor) -> Result<(), AccountError> {
        if actor.identity != Identity::Operator {
            return Err(AccountError::SignInRequired);
        }
        let inner = &self.inner;
        let now = inner.sources.clock.now();
        let root = inner.fresh_root(now);
        inner.keys.add_root(&actor.step(now, AuditDraft::new("key.rotate", Scope::Global)), &root).await?;
        self.reload_keys().await
    }

    /// Opens an account for somebody who gives nothing but, perhaps, a name.
    pub async fn open_guest(
        &self,
        actor: &Actor,
        display_name: Option<DisplayName>,
        device: DeviceDraft,
    ) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Guest).await?;
        let attempt = SignInAttempt { actor, way: SignInWay::Guest, account: None, device: None };
        self.guard.ask(&attempt).await?;
        let now = inner.sources.clock.now();
        let id = AccountId::new(inner.sources.ids.draw());
        let display_name = display_name.unwrap_or_else(|| inner.guest_name());
        let (session, unopened) = inner.new_session(actor, device, now);
        let audit = AuditDraft::new("account.guest", Scope::Global).with(json!({ "account": id }));
        let guest = NewGuest { id, display_name, session };
        let signed_in = inner.accounts.open_guest(&actor.step(now, audit), &guest).await?;
        inner.grant_new(signed_in, unopened, now)
    }

    /// Makes a registered account.
    ///
    /// # Errors
    ///
    /// [`AccountError::UsernameTaken`].
    pub async fn register(&self, actor: &Actor, draft: RegistrationDraft) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Auth).await?;
        let attempt = SignInAttempt { actor, way: SignInWay::Registration, account: None, device: None };
        self.guard.ask(&attempt).await?;
        let RegistrationDraft { username, password, display_name, email, device } = draft;
        let password = inner.hasher.hash(password).await?;
        let now = inner.sources.clock.now();
        let id = AccountId::new(inner.sources.ids.draw());
        let display_name = match display_name {
            Some(name) => name,
            None => DisplayName::new(username.as_str())?,
        };
        let (session, unopened) = inner.new_session(actor, device, now);
        let audit = AuditDraft::new("account.register", Scope::Global).with(json!({ "account": id }));
        let registration = Registration { id, username, display_name, email, password, session };
        let signed_in = inner.accounts.register(&actor.step(now, audit), &registration).await?;
        inner.grant_new(signed_in, unopened, now)
    }

    /// Signs in with username and password and, where the account has a second factor, its code. An unknown username costs the
    /// same work as a wrong password, and has limits like any other.
    ///
    /// # Errors
    ///
    /// [`AccountError::InvalidCredentials`], whichever of the two is wrong; [`AccountError::TwoFactorRequired`] if both are
    /// right and the code is absent; [`AccountError::TwoFactorCodeInvalid`]; [`AccountError::RateLimited`] also where others have
    /// tried too many passwords for this account, unless the device is one that the account knows.
    pub async fn sign_in(&self, actor: &Actor, sign_in: SignIn) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Auth).await?;
        inner.limits.check(actor, Policy::FailedSignIn).await?;
        let SignIn { username, password, code, device } = sign_in;
        let credentials = match Username::new(&username) {
            Ok(username) => inner.accounts.credentials(&username).await?,
            Err(_) => None,
        };
        let asked_for = credentials.as_ref().map(|credentials| credentials.account);
        let counted_as = asked_for.unwrap_or_else(|| inner.nobody_called(&username));
        let known_device = inner.known_device(counted_as, &device).await?;
        let attempt = SignInAttempt { actor, way: SignInWay::Password, account: asked_for, device: known_device };
        self.guard.ask(&attempt).await?;
        let budget = known_device.map_or(LimitKey::Account(counted_as), LimitKey::Device);
        inner.limits.charge_to(actor, Policy::SignIn, budget).await?;
        let record = match &credentials {
            Some(credentials) => credentials.password.clone(),
            None => inner.decoy().await?,
        };
        let matches = inner.hasher.verify(Password::presented(password.expose()), record).await?;
        let Some(credentials) = credentials.filter(|_| matches) else {
            security::note(Event::LoginFailed, actor, None, "invalid-credentials");
            self.note_wrong_credentials(actor, Attempt::SignIn, asked_for);
            inner.limits.charge(actor, Policy::FailedSignIn).await?;
            return Err(AccountError::InvalidCredentials);
        };
        let account = credentials.account;
        let proof = match (inner.enabled_factor(account).await?, code) {
            (None, _) => None,
            (Some(_), None) => return Err(AccountError::TwoFactorRequired),
            (Some(factor), Some(code)) => {
                let account = self.find(account).await?;
                Some(inner.prove(actor, &account, &factor, code.expose()).await?)
            }
        };
        let now = inner.sources.clock.now();
        let (session, unopened) = inner.new_session(actor, device, now);
        let audit = AuditDraft::new("session.open", Scope::Global)
            .with(json!({ "account": account, "proof": proof.as_ref().map_or("password", Proof::name) }));
        let step = actor.step(now, audit);
        let signed_in = match &proof {
            Some(proof) => {
                let opened = inner.factors.open(&step, account, &session, proof).await;
                Inner::noting_spent(actor, account, proof, opened)?
            }
            None => inner.sessions.open(&step, account, &session).await?,
        };
        // What was changed between its check and the opening did not see this session.
        let (refusal, reason) = if inner.accounts.password(account).await?.as_ref() != Some(&credentials.password) {
            (AccountError::InvalidCredentials, "the password was changed meanwhile")
        } else if proof.is_none() && inner.enabled_factor(account).await?.is_some() {
            (AccountError::TwoFactorRequired, "a second factor was enabled meanwhile")
        } else {
            return inner.grant_new(signed_in, unopened, now);
        };
        let audit = AuditDraft::new("session.end", Scope::Global).because(reason);
        inner.end_session(&actor.step(now, audit), session.id).await?;
        Err(refusal)
    }

    /// Lists accounts. For the operator alone.
    pub async fn list(&self, actor: &Actor, query: &AccountQuery) -> Result<Page<Account>, AccountError> {
        if actor.identity != Identity::Operator {
            return Err(AccountError::SignInRequired);
        }
        Ok(self.inner.accounts.page(query).await?)
    }

    /// Makes a one-time token for a global owner. For the operator alone: whoever holds the store holds the installation.
    pub async fn issue_bootstrap(&self, actor: &Actor) -> Result<BootstrapTicket, AccountError> {
        if actor.identity != Identity::Operator {
            return Err(AccountError::SignInRequired);
        }
        let inner = &self.inner;
        let now = inner.sources.clock.now();
        let token = token_text("wwb_", &inner.random());
        let expires_at = now + BOOTSTRAP_LIFE;
        let step = actor.step(now, AuditDraft::new("bootstrap.issue", Scope::Global));
        let new = NewBootstrapToken { hash: TokenHash::of(token.expose()), expires_at };
        inner.accounts.issue_bootstrap(&step, &new).await?;
        Ok(BootstrapTicket { token, expires_at })
    }

    /// Makes the bearer of a one-time token a global owner.
    pub async fn bootstrap(
        &self,
        actor: &Actor,
        token: &str,
        username: Username,
        password: Password,
    ) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Auth).await?;
        let password = inner.hasher.hash(password).await?;
        let now = inner.sources.clock.now();
        let id = AccountId::new(inner.sources.ids.draw());
        let (session, unopened) = inner.new_session(actor, DeviceDraft::default(), now);
        let audit = AuditDraft::new("account.bootstrap", Scope::Global).with(json!({ "account": id }));
        let bootstrap = Bootstrap {
            token: TokenHash::of(token),
            id,
            display_name: DisplayName::new(username.as_str())?,
            username,
            password,
            grant: GrantId::new(inner.sources.ids.draw()),
            session,
        };
        let signed_in = inner.accounts.bootstrap(&actor.step(now, audit), &bootstrap).await;
        if let Err(refused @ (AccountError::BootstrapTokenInvalid | AccountError::BootstrapTokenSpent)) = &signed_in {
            security::note(Event::BootstrapFailed, actor, None, "bootstrap-token");
            self.refusals.note(actor, Attempt::Bootstrap, refused.code(), Scope::Global, None);
        }
        inner.grant_new(signed_in?, unopened, now)
    }

    /// Reads the actor's own account.
    pub async fn me(&self, actor: &Actor) -> Result<Account, AccountError> {
        self.find(actor.oneself()?.account).await
    }

    /// Reads any account's public profile.
    pub async fn find(&self, id: AccountId) -> Result<Account, AccountError> {
        self.inner.accounts.find(id).await?.ok_or(AccountError::NotFound)
    }

    /// Reads the registered account of a username.
    pub async fn find_by_username(&self, username: &Username) -> Result<Account, AccountError> {
        let credentials = self.inner.accounts.credentials(username).await?.ok_or(AccountError::NotFound)?;
        self.find(credentials.account).await
    }

    /// Gives the actor another display name; messages keep the name they were written under.
    pub async fn rename(&self, actor: &Actor, name: &DisplayName) -> Result<Account, AccountError> {
        let id = actor.oneself()?.account;
        self.inner.limits.charge(actor, Policy::Write).await?;
        let step = actor.step(self.inner.sources.clock.now(), AuditDraft::new("account.rename", Scope::Global));
        let account = self.inner.accounts.rename(&step, id, name).await?;
        // Every node forgets the old name.
        self.inner.revocations.announce().await;
        Ok(account)
    }
}

impl Inner {
    /// Finds the device that an account knows by its fingerprint; the store is asked whether or not there is such an account.
    async fn known_device(&self, account: AccountId, device: &DeviceDraft) -> Result<Option<DeviceId>, StorageError> {
        match &device.fingerprint {
            Some(text) => self.devices.find_known(account, &self.fingerprint(text)).await,
            None => Ok(None),
        }
    }

    fn fingerprint(&self, text: &str) -> TokenHash {
        TokenHash::new(self.ring.derive_lasting("device fingerprint", text.as_bytes()))
    }

    /// Returns by what attempts on a username that nobody has are counted.
    fn nobody_called(&self, username: &str) -> AccountId {
        let digest = self.ring.derive_lasting("unknown username", username.trim().to_lowercase().as_bytes());
        let bytes = digest[..16].try_into().expect("16 of 32 bytes");
        AccountId::new(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    pub(super) fn fresh_root(&self, now: Timestamp) -> RootKey {
        root_key(self.sources.ids.draw().to_string(), self.random(), now)
    }

    pub(super) fn fresh_signing(&self, now: Timestamp) -> Result<SigningKey, StorageError> {
        TokenIssuer::generate_key(&self.sources.ids.draw().to_string(), now)
    }

    /// Plans a session; with it comes what [`grant_new`](Self::grant_new) needs once it is open.
    pub(super) fn new_session(&self, actor: &Actor, device: DeviceDraft, now: Timestamp) -> (NewSession, Unopened) {
        let id = SessionId::new(self.sources.ids.draw());
        let refresh = self.refresh_token(id, 0);
        let fingerprint = device.fingerprint.map(|text| self.fingerprint(&text));
        let session = NewSession {
            id,
            device: NewDevice {
                id: DeviceId::new(self.sources.ids.draw()),
                name: device.name,
                fingerprint,
                seen: self.seen(actor, now),
            },
            refresh: TokenHash::of(refresh.expose()),
            idle_expires_at: now + self.config.session_idle,
            expires_at: now + self.config.session_life,
        };
        (session, Unopened { refresh, mark: self.revocations.mark() })
    }

    /// Hands out a session that was just opened, which is remembered as if it had been read.
    pub(super) fn grant_new(
        &self,
        signed_in: SignedIn,
        Unopened { refresh, mark }: Unopened,
        now: Timestamp,
    ) -> Result<SessionGrant, AccountError> {
        let known = Known { signed_in: Arc::new(signed_in.clone()), read_at: now, mark };
        self.known.insert(signed_in.session.id, known);
        self.grant(signed_in, refresh, now)
    }

    pub(super) fn grant(
        &self,
        signed_in: SignedIn,
        refresh_token: Secret<String>,
        now: Timestamp,
    ) -> Result<SessionGrant, AccountError> {
        let SignedIn { account, session } = signed_in;
        let token = AccessToken {
            account: account.id,
            session: session.id,
            device: session.device,
            scope: Scope::Global,
            expires_at: now + self.config.access_token_life,
        };
        Ok(SessionGrant {
            access_token: self.tokens.issue(&token, self.sources.ids.draw(), now)?,
            expires_in: self.config.access_token_life,
            refresh_token,
            refresh_expires_at: session.expires_at.min(now + self.config.session_idle),
            session: session.id,
            account,
            scope: token.scope,
        })
    }

    pub(super) async fn signed_in(&self, id: SessionId, now: Timestamp) -> Result<Option<Arc<SignedIn>>, StorageError> {
        if let Some(known) = self.known.get(&id)
            && self.believes(&known, now)
        {
            return Ok(Some(known.signed_in));
        }
        // Before the look: a loss that comes meanwhile is then newer than what is found.
        let mark = self.revocations.mark();
        let Some(signed_in) = self.reading.get(id).await? else { return Ok(None) };
        self.known.insert(id, Known { signed_in: Arc::clone(&signed_in), read_at: now, mark });
        Ok(Some(signed_in))
    }

    /// Returns whether what is remembered of a session is as good as a look into the store.
    fn believes(&self, known: &Known, now: Timestamp) -> bool {
        let limit = if self.revocations.is_current(now) { BELIEVED } else { BELIEVED_BLINDLY };
        let SignedIn { account, session } = &*known.signed_in;
        // That it has run out may be old: a refresh on another node moves its end.
        known.read_at <= now
            && now < known.read_at + limit
            && session.holds_at(now)
            && !self.revocations.touched_since(account.id, known.mark)
    }

    /// Ends a session and makes that known.
    pub(super) async fn end_session(&self, step: &Step, session: SessionId) -> Result<(), AccountError> {
        self.sessions.end(step, session).await?;
        self.known.invalidate(&session);
        self.revocations.announce().await;
        Ok(())
    }

    /// Returns what the password of somebody without one is checked against, so that it costs the same work.
    pub(super) async fn decoy(&self) -> Result<PasswordRecord, AccountError> {
        Ok(self.decoy.get_or_try_init(|| self.hasher.hash(Password::presented(""))).await?.clone())
    }

    /// Computes a session's refresh token of a generation, so that it can be answered again though only its hash is kept.
    pub(super) fn refresh_token(&self, session: SessionId, generation: u32) -> Secret<String> {
        token_text("wwr_", &self.ring.derive("refresh token", &refresh_message(session, generation)))
    }

    /// Computes the refresh token of a generation that was issued before, perhaps under a root key that was replaced since.
    pub(super) async fn issued_refresh_token(
        &self,
        session: SessionId,
        generation: u32,
    ) -> Result<Option<Secret<String>>, StorageError> {
        for derived in self.ring.derive_all("refresh token", &refresh_message(session, generation)) {
            let token = token_text("wwr_", &derived);
            if self.sessions.find_refresh(&TokenHash::of(token.expose())).await?.is_some() {
                return Ok(Some(token));
            }
        }
        Ok(None)
    }

    pub(super) fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.sources.random.fill(&mut bytes);
        bytes
    }

    pub(super) fn guest_name(&self) -> DisplayName {
        let mut bytes = [0; 2];
        self.sources.random.fill(&mut bytes);
        let number = u16::from_be_bytes(bytes) % 10_000;
        DisplayName::new(&format!("Guest {number:04}")).expect("the name is short")
    }
}

fn gather_sessions(sessions: &Arc<dyn SessionStore>) -> Gather<SessionId, Arc<SignedIn>> {
    let sessions = Arc::clone(sessions);
    Gather::start(move |ids| {
        let sessions = Arc::clone(&sessions);
        async move {
            let found = sessions.find_all(&ids).await?;
            Ok(found.into_iter().map(|signed_in| (signed_in.session.id, Arc::new(signed_in))).collect())
        }
    })
}

fn refresh_message(session: SessionId, generation: u32) -> Vec<u8> {
    let mut message = session.uuid().into_bytes().to_vec();
    message.extend_from_slice(&generation.to_be_bytes());
    message
}

impl AccountKind {
    /// Returns whether the account is a guest's.
    pub const fn is_guest(self) -> bool {
        matches!(self, Self::Guest)
    }
}
