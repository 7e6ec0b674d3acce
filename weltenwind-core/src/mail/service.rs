//! The rules of mail.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    error::MailError,
    letter::{Letter, MailLocale},
    model::{MailIntent, NewMail, Queued},
    port::{MailStore, Mailer, NoMailer},
    post,
};
use crate::{
    accounts::Email,
    actor::Actor,
    dedupe::DedupeKey,
    error::StorageError,
    ids::{AccountId, MailId},
    outbox::Outbox,
    scope::Scope,
    services::Sources,
    step::AuditDraft,
};

/// How long letters are known by their keys.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// Letters that are deleted in one step.
const PURGED_AT_ONCE: u32 = 500;

/// A letter that somebody wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailDraft {
    /// The key under which it is sent once; nothing of it is shown to whoever receives the letter.
    pub dedupe_key: DedupeKey,
    /// Whose it is, if it is an account's.
    pub account: Option<AccountId>,
    /// Whom it goes to.
    pub to: Email,
    /// In which language.
    pub locale: MailLocale,
    /// What it is about.
    pub letter: Letter,
}

/// Letters, for the services that have something to write.
#[derive(Debug, Clone)]
pub struct Mail {
    pub(super) store: Arc<dyn MailStore>,
    pub(super) mailer: Arc<dyn Mailer>,
    pub(super) url: String,
    pub(super) sources: Sources,
}

impl Mail {
    /// Wires the rules to their store, for the installation that is reached at `url`; without a server to hand letters to.
    pub fn new(store: Arc<dyn MailStore>, url: impl Into<String>, sources: Sources) -> Self {
        Self { store, mailer: Arc::new(NoMailer), url: url.into(), sources }
    }

    /// Hands letters to this server.
    #[must_use]
    pub fn through(mut self, mailer: Arc<dyn Mailer>) -> Self {
        self.mailer = mailer;
        self
    }

    /// Returns whether there is a server to hand letters to.
    pub fn is_configured(&self) -> bool {
        self.mailer.is_configured()
    }

    /// Writes a letter down and has it sent, once under its key. For the other services, which have decided that it may be sent.
    ///
    /// # Errors
    ///
    /// [`MailError::NotConfigured`].
    pub async fn send(&self, actor: &Actor, outbox: &Outbox, draft: MailDraft) -> Result<Queued, MailError> {
        if !self.is_configured() {
            return Err(MailError::NotConfigured);
        }
        let id = MailId::new(self.sources.ids.draw());
        let MailDraft { dedupe_key, account, to, locale, letter } = draft;
        let audit = AuditDraft::new("mail.queue", Scope::Global).with(json!({ "locale": locale.as_str() }));
        let step = actor.step(self.sources.clock.now(), audit).with_jobs([post::send(id)]);
        let new = NewMail { id, dedupe_key, account, to, locale, letter };
        let queued = self.store.queue(&step, &new).await?;
        outbox.wake(&step.jobs);
        Ok(queued)
    }

    /// Reads what has become of a letter.
    pub async fn find(&self, id: MailId) -> Result<Option<MailIntent>, StorageError> {
        self.store.find(id).await
    }

    /// Deletes letters that were settled a month ago, and answers how many there were.
    pub async fn enforce_retention(&self) -> Result<u64, MailError> {
        let before = self.sources.clock.now() - KEPT;
        let mut deleted = 0;
        loop {
            let batch = self.store.purge(before, PURGED_AT_ONCE).await?;
            deleted += batch;
            if batch < u64::from(PURGED_AT_ONCE) {
                return Ok(deleted);
            }
        }
    }
}
