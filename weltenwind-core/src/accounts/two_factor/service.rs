use serde_json::json;

use super::{
    code::{Authenticator, Presented, RECOVERY_BYTES, RECOVERY_CODES, SECRET_BYTES, recovery_code},
    seal::{self, SealedSecret},
    store::{Confirmation, Proof, Removal, SecondFactor},
};
use crate::{
    accounts::{Account, AccountError, Accounts, SessionGrant, TokenHash, credentials::acting, service::Inner},
    actor::{Actor, Identity},
    error::StorageError,
    ids::AccountId,
    limits::Policy,
    scope::Scope,
    secret::Secret,
    security::{self, Event},
    step::AuditDraft,
};

/// For what keys are derived that seal secrets.
const SEALING: &str = "second factor";

/// What an authenticator is to know.
#[derive(Debug, Clone)]
pub struct TwoFactorEnrolment {
    /// The secret in base32, to be typed.
    pub secret: Secret<String>,
    /// The same as an `otpauth:` address, to be shown as a picture.
    pub otpauth_uri: Secret<String>,
}

/// Ten codes, each of which stands in for an authenticator once.
#[derive(Debug, Clone)]
pub struct RecoveryCodes(Vec<Secret<String>>);

impl RecoveryCodes {
    /// Returns the codes.
    pub fn iter(&self) -> impl Iterator<Item = &Secret<String>> {
        self.0.iter()
    }
}

impl Accounts {
    /// Makes a secret for the actor's authenticator. Nothing is asked for until it has shown a first code; until then every
    /// call makes another secret in place of the last.
    ///
    /// # Errors
    ///
    /// [`AccountError::RegistrationRequired`] for a guest; [`AccountError::TwoFactorEnabled`].
    pub async fn begin_two_factor(&self, actor: &Actor) -> Result<TwoFactorEnrolment, AccountError> {
        let inner = &self.inner;
        let account = self.registered(actor).await?;
        inner.limits.charge(actor, Policy::Write).await?;
        let mut secret = [0; SECRET_BYTES];
        inner.sources.random.fill(&mut secret);
        let mut nonce = [0; 12];
        inner.sources.random.fill(&mut nonce);
        let sealed = seal::seal(inner.ring.sealing(SEALING), nonce, account.id, &secret);
        let step = actor.step(inner.sources.clock.now(), AuditDraft::new("two-factor.begin", Scope::Global));
        inner.factors.begin(&step, account.id, &sealed).await?;
        let authenticator = inner.authenticator(&account, &secret);
        Ok(TwoFactorEnrolment { secret: authenticator.secret(), otpauth_uri: authenticator.uri() })
    }

    /// Enables the actor's second factor with its first code: from now on signing in asks for one. Every session of the
    /// account ends with its sockets, and a new one is answered.
    ///
    /// # Errors
    ///
    /// [`AccountError::TwoFactorCodeInvalid`]; [`AccountError::TwoFactorNotEnabled`] if none was begun;
    /// [`AccountError::TwoFactorEnabled`]; unavailable if this node cannot read what was lost.
    pub async fn confirm_two_factor(
        &self,
        actor: &Actor,
        code: &str,
    ) -> Result<(RecoveryCodes, SessionGrant), AccountError> {
        let inner = &self.inner;
        let (_, session, device) = acting(actor)?;
        let account = self.registered(actor).await?;
        let begun = inner.factors.find(account.id).await?.ok_or(AccountError::TwoFactorNotEnabled)?;
        if begun.is_enabled() {
            return Err(AccountError::TwoFactorEnabled);
        }
        let proof = inner.prove(actor, &account, &begun, code).await?;
        // No recovery code is older than the second factor that it belongs to.
        let Proof::Code { secret, step } = proof else { return Err(wrong_code(actor, account.id)) };
        inner.revocations.require_fresh().await?;
        let codes: Vec<Secret<String>> = (0..RECOVERY_CODES).map(|_| inner.draw_recovery_code()).collect();
        let recovery = codes.iter().filter_map(|code| Presented::read(code.expose()));
        let recovery = recovery.filter_map(|code| inner.recovery_hash(account.id, &code)).collect();
        let now = inner.sources.clock.now();
        let (session, refresh) = inner.next_session(session, device, now);
        let audit = AuditDraft::new("two-factor.enable", Scope::Global).with(json!({ "session": session.id }));
        let confirmation = Confirmation { account: account.id, secret, step, recovery, session };
        let signed_in = inner.factors.confirm(&actor.step(now, audit), &confirmation).await?;
        security::note(Event::TwoFactorEnabled, actor, Some(account.id), "by-their-owner");
        inner.revocations.announce().await;
        Ok((RecoveryCodes(codes), inner.grant(signed_in, refresh, now)?))
    }

    /// Gives the actor's second factor up, for one of its codes or a recovery code. Every session of the account ends with its
    /// sockets, and a new one is answered.
    ///
    /// # Errors
    ///
    /// [`AccountError::TwoFactorCodeInvalid`]; [`AccountError::TwoFactorNotEnabled`]; unavailable if this node cannot read what
    /// was lost.
    pub async fn disable_two_factor(&self, actor: &Actor, code: &str) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        let (_, session, device) = acting(actor)?;
        let account = self.registered(actor).await?;
        let factor = inner.enabled_factor(account.id).await?.ok_or(AccountError::TwoFactorNotEnabled)?;
        let proof = inner.prove(actor, &account, &factor, code).await?;
        inner.revocations.require_fresh().await?;
        let now = inner.sources.clock.now();
        let (session, refresh) = inner.next_session(session, device, now);
        let audit = AuditDraft::new("two-factor.disable", Scope::Global)
            .with(json!({ "session": session.id, "proof": proof.name() }));
        let removal = Removal { account: account.id, proof, session };
        let disabled = inner.factors.disable(&actor.step(now, audit), &removal).await;
        let signed_in = Inner::noting_spent(actor, account.id, &removal.proof, disabled)?;
        security::note(Event::TwoFactorDisabled, actor, Some(account.id), "by-their-owner");
        inner.revocations.announce().await;
        inner.grant(signed_in, refresh, now)
    }

    /// Takes an account's second factor away, for somebody who has lost it: ends all of the account's sessions, and returns how
    /// many it were. For the operator alone.
    ///
    /// # Errors
    ///
    /// [`AccountError::TwoFactorNotEnabled`].
    pub async fn remove_two_factor(&self, actor: &Actor, account: AccountId) -> Result<u64, AccountError> {
        if actor.identity != Identity::Operator {
            return Err(AccountError::SignInRequired);
        }
        let inner = &self.inner;
        let audit = AuditDraft::new("two-factor.remove", Scope::Global).with(json!({ "account": account }));
        let ended = inner.factors.remove(&actor.step(inner.sources.clock.now(), audit), account).await?;
        security::note(Event::TwoFactorDisabled, actor, Some(account), "by-an-operator");
        inner.revocations.announce().await;
        Ok(ended)
    }

    /// Returns whether signing in to an account asks for a code. For the operator alone.
    pub async fn has_two_factor(&self, actor: &Actor, account: AccountId) -> Result<bool, AccountError> {
        if actor.identity != Identity::Operator {
            return Err(AccountError::SignInRequired);
        }
        Ok(self.inner.enabled_factor(account).await?.is_some())
    }

    /// Reads the actor's own account, which must not be a guest's.
    async fn registered(&self, actor: &Actor) -> Result<Account, AccountError> {
        let account = self.me(actor).await?;
        if account.kind.is_guest() { Err(AccountError::RegistrationRequired) } else { Ok(account) }
    }
}

impl Inner {
    /// Reads the second factor that signing in to an account asks for.
    pub(in crate::accounts) async fn enabled_factor(
        &self,
        account: AccountId,
    ) -> Result<Option<SecondFactor>, StorageError> {
        Ok(self.factors.find(account).await?.filter(SecondFactor::is_enabled))
    }

    /// Makes a proof of what was typed. Every attempt is charged, to the account and the address that it comes from together:
    /// whoever tries elsewhere does not lock its owner out.
    pub(in crate::accounts) async fn prove(
        &self,
        actor: &Actor,
        account: &Account,
        factor: &SecondFactor,
        code: &str,
    ) -> Result<Proof, AccountError> {
        self.limits.charge_for(actor, account.id, Policy::TwoFactor).await?;
        let proof = match Presented::read(code) {
            Some(Presented::Code(code)) => {
                let secret = self.opened(account.id, &factor.secret)?;
                let step =
                    self.authenticator(account, secret.expose()).step_of(code.expose(), self.sources.clock.now());
                step.map(|step| Proof::Code { secret: factor.secret.clone(), step })
            }
            Some(recovery) => self.recovery_hash(account.id, &recovery).map(Proof::Recovery),
            None => None,
        };
        proof.ok_or_else(|| wrong_code(actor, account.id))
    }

    /// Notes what became of a proof, for whoever guards the installation.
    pub(in crate::accounts) fn noting_spent<T>(
        actor: &Actor,
        account: AccountId,
        proof: &Proof,
        answer: Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        match (&answer, proof) {
            (Err(AccountError::TwoFactorCodeInvalid), _) => Err(wrong_code(actor, account)),
            (Ok(_), Proof::Recovery(_)) => {
                security::note(Event::RecoveryCodeUsed, actor, Some(account), "recovery-code");
                answer
            }
            _ => answer,
        }
    }

    fn opened(&self, account: AccountId, sealed: &SealedSecret) -> Result<Secret<[u8; SECRET_BYTES]>, StorageError> {
        let key = self.ring.opening(&sealed.root, SEALING);
        let opened = key.and_then(|key| seal::open(&key, account, sealed));
        opened.ok_or_else(|| StorageError::permanent("open an authenticator's secret", "no root key opens it"))
    }

    fn authenticator(&self, account: &Account, secret: &[u8; SECRET_BYTES]) -> Authenticator {
        let username = account.username.as_ref().map_or_else(|| account.id.to_string(), ToString::to_string);
        Authenticator::new(secret, host_of(&self.config.issuer), &username)
    }

    fn draw_recovery_code(&self) -> Secret<String> {
        let mut bytes = [0; RECOVERY_BYTES];
        self.sources.random.fill(&mut bytes);
        recovery_code(&bytes)
    }

    /// Hashes a recovery code under a key that never changes, since it is looked up by its hash.
    fn recovery_hash(&self, account: AccountId, code: &Presented) -> Option<TokenHash> {
        let Presented::Recovery(code) = code else { return None };
        let message = [account.uuid().as_bytes().as_slice(), code.expose().as_bytes()].concat();
        Some(TokenHash::new(self.ring.derive_lasting("recovery code", &message)))
    }
}

impl Proof {
    /// Returns what kind of proof it is, for the audit log.
    pub(in crate::accounts) const fn name(&self) -> &'static str {
        match self {
            Self::Code { .. } => "code",
            Self::Recovery(_) => "recovery-code",
        }
    }
}

/// Notes a code that does not pass.
fn wrong_code(actor: &Actor, account: AccountId) -> AccountError {
    security::note(Event::TwoFactorFailed, actor, Some(account), "two-factor-code-invalid");
    AccountError::TwoFactorCodeInvalid
}

/// Returns the host of a public address, by which an authenticator tells two installations apart; a colon cannot stand there.
fn host_of(url: &str) -> &str {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|v6| v6.split_once(']')).map_or(host, |_| "localhost");
    match host.split(':').next() {
        Some(host) if !host.is_empty() => host,
        _ => "weltenwind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_called_by_its_host() {
        for (url, host) in [
            ("https://wind.example/", "wind.example"),
            ("http://127.0.0.1:8080", "127.0.0.1"),
            ("http://[::1]:8080", "localhost"),
            ("wind.example:443", "wind.example"),
            ("", "weltenwind"),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
