//! The rules of exports and erasures.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    error::PrivacyError,
    export::Export,
    model::{ERASED_NAME, Erasure, ErasurePlan, ErasureQuery, Holdings, LastOwner, NewErasure},
    store::PrivacyStore,
};
use crate::{
    accounts::{Accounts, DisplayName},
    actor::{Actor, Identity},
    chat::{Chat, WrittenQuery},
    error::chain,
    ids::AccountId,
    limits::{Limits, Policy},
    page::Page,
    revocations::Revocations,
    scope::Scope,
    security::{self, Event},
    services::Sources,
    step::AuditDraft,
};

/// How young a sign-in must be for what cannot be undone.
const RECENT: Duration = Duration::from_mins(15);
/// Requests that were under way when an account was erased have ended after this; what they wrote is then cleared away.
const SETTLING: Duration = Duration::from_mins(2);
/// Other nodes know of an erasure before this has passed.
const KNOWN_EVERYWHERE: Duration = Duration::from_secs(2);
/// How long it is known by what an erased account would be known again.
const MARKS_KEPT: Duration = Duration::from_hours(90 * 24);

/// What exports and erasures rest on.
#[derive(Debug, Clone)]
pub struct PrivacyParts {
    /// What is held, and the ledger.
    pub store: Arc<dyn PrivacyStore>,
    /// Accounts.
    pub accounts: Accounts,
    /// What they have written.
    pub chat: Chat,
    /// Who is told that they are no more.
    pub revocations: Revocations,
    /// Time, identity and randomness.
    pub sources: Sources,
    /// How often things may be done.
    pub limits: Limits,
}

/// Exports and erasures of accounts.
#[derive(Debug, Clone)]
pub struct Privacy {
    inner: Arc<Inner>,
}

pub(super) type Inner = PrivacyParts;

impl Privacy {
    /// Wires the rules to their parts.
    pub fn new(parts: PrivacyParts) -> Self {
        Self { inner: Arc::new(parts) }
    }

    /// Begins to export what is held on the actor.
    pub async fn export(&self, actor: &Actor) -> Result<Export, PrivacyError> {
        let account = actor.oneself()?.account;
        Export::begin(Arc::clone(&self.inner), &self.holdings(account).await?).await
    }

    /// Begins to export what is held on an account. For the operator alone; it is audited.
    ///
    /// # Errors
    ///
    /// [`PrivacyError::NotFound`].
    pub async fn export_of(&self, actor: &Actor, account: AccountId) -> Result<Export, PrivacyError> {
        require_operator(actor)?;
        let holdings = self.holdings(account).await?;
        let step = actor.step(self.inner.sources.clock.now(), AuditDraft::new("account.export", Scope::Global));
        self.inner.store.note(&step, account).await?;
        Export::begin(Arc::clone(&self.inner), &holdings).await
    }

    /// Erases the actor, with all that belongs to it. Its sockets close here at once and everywhere within a second, and what
    /// it wrote stands under [`ERASED_NAME`].
    ///
    /// A registered account must have signed in within the last 15 minutes; a guest, who cannot sign in again, need not.
    ///
    /// # Errors
    ///
    /// [`PrivacyError::RecentSignInRequired`]; [`PrivacyError::LastOwner`]; unavailable if this node cannot read what was lost.
    pub async fn erase_oneself(&self, actor: &Actor) -> Result<Erasure, PrivacyError> {
        let principal = actor.oneself()?;
        let (account, is_guest) = (principal.account, principal.kind.is_guest());
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Write).await?;
        inner.revocations.require_fresh().await?;
        if !is_guest {
            let session = actor.session.ok_or(PrivacyError::SignInRequired)?;
            let (_, session) = inner.accounts.find_session(actor, session).await?;
            if inner.sources.clock.now() >= session.created_at + RECENT {
                return Err(PrivacyError::RecentSignInRequired);
            }
        }
        self.erase_now(actor, account, "by-its-owner").await
    }

    /// Erases an account. For the operator alone.
    ///
    /// # Errors
    ///
    /// [`PrivacyError::NotFound`]; [`PrivacyError::LastOwner`].
    pub async fn erase(&self, actor: &Actor, account: AccountId) -> Result<Erasure, PrivacyError> {
        require_operator(actor)?;
        self.erase_now(actor, account, "by-an-operator").await
    }

    /// Says what an erasure would do. For the operator alone.
    ///
    /// # Errors
    ///
    /// [`PrivacyError::NotFound`].
    pub async fn plan(&self, actor: &Actor, account: AccountId) -> Result<ErasurePlan, PrivacyError> {
        require_operator(actor)?;
        let holdings = self.holdings(account).await?;
        let last_owner_of = self.inner.store.last_owner_of(account).await?;
        let mut query = WrittenQuery { author: account, besides: None, after: None, limit: 5000 };
        let mut messages = 0;
        loop {
            let places = self.inner.chat.written(&query).await?;
            let Some(last) = places.last() else { return Ok(ErasurePlan { holdings, messages, last_owner_of }) };
            query.after = Some((last.channel, last.seq));
            messages += places.len() as u64;
        }
    }

    /// Erases an account again that a ledger says was erased, after an older backup was restored, and answers how the ledger
    /// has it now. For the operator alone. That a scope loses its last owner stops nothing: it was decided before.
    pub async fn erase_again(&self, actor: &Actor, entry: &Erasure) -> Result<Erasure, PrivacyError> {
        require_operator(actor)?;
        let marks = match self.inner.store.holdings(entry.account).await? {
            Some(holdings) => self.inner.accounts.erasure_marks(&holdings.account),
            None => super::ErasureMarks::default(),
        };
        let erasure = NewErasure {
            account: entry.account,
            marks,
            last_owner: LastOwner::Goes,
            erased_at: entry.erased_at,
            erased_by: entry.erased_by,
        };
        self.take(actor, &erasure, "again-after-a-restore").await
    }

    /// Lists the accounts that were erased. For the operator alone.
    pub async fn erasures(&self, actor: &Actor, query: &ErasureQuery) -> Result<Page<Erasure>, PrivacyError> {
        require_operator(actor)?;
        Ok(self.inner.store.erasures(query).await?)
    }

    /// Goes on with erasures that are not through, whoever began them, and returns how many are now. Whoever serves calls it
    /// when it starts and at least every minute.
    pub async fn finish(&self) -> Result<u64, PrivacyError> {
        let inner = &self.inner;
        let mut settled = 0;
        for Erasure { account, unsettled_since, .. } in inner.store.unsettled().await? {
            let now = inner.sources.clock.now();
            inner.store.sweep(account).await?;
            inner.chat.rename_author(account, &erased_name()).await?;
            if let Some(since) = unsettled_since.filter(|since| now >= *since + SETTLING) {
                inner.store.settle(account, since).await?;
                settled += 1;
            }
        }
        Ok(settled)
    }

    /// Forgets by what accounts would be known again that were erased 90 days ago, and returns how many marks it were.
    pub async fn enforce_retention(&self) -> Result<u64, PrivacyError> {
        Ok(self.inner.store.purge_marks(self.inner.sources.clock.now() - MARKS_KEPT).await?)
    }

    async fn holdings(&self, account: AccountId) -> Result<Holdings, PrivacyError> {
        self.inner.store.holdings(account).await?.ok_or(PrivacyError::NotFound)
    }

    async fn erase_now(&self, actor: &Actor, account: AccountId, reason: &str) -> Result<Erasure, PrivacyError> {
        let known = self.inner.accounts.find(account).await?;
        let erasure = NewErasure {
            account,
            marks: self.inner.accounts.erasure_marks(&known),
            last_owner: LastOwner::Stays,
            erased_at: self.inner.sources.clock.now(),
            erased_by: actor.id(),
        };
        self.take(actor, &erasure, reason).await
    }

    /// Takes the step, tells everybody, and renames what the account wrote.
    async fn take(&self, actor: &Actor, erasure: &NewErasure, reason: &str) -> Result<Erasure, PrivacyError> {
        let inner = &self.inner;
        let audit = AuditDraft::new("account.erase", Scope::Global).with(json!({ "how": reason }));
        let erased = inner.store.erase(&actor.step(inner.sources.clock.now(), audit), erasure).await?;
        security::note(Event::AccountErased, actor, Some(erased.account), reason);
        inner.revocations.announce().await;
        if erased.unsettled_since.is_some() {
            self.rename(erased.account).await;
        }
        Ok(erased)
    }

    /// Renames what an erased account wrote, also if the caller goes away, and again once every node knows that it is no more.
    async fn rename(&self, account: AccountId) {
        let chat = self.inner.chat.clone();
        let (first, done) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let renamed = chat.rename_author(account, &erased_name()).await;
            if let Err(error) = &renamed {
                tracing::warn!(error = chain(error), %account, "messages of an erased account are renamed a little later");
            }
            // Nobody waits any more: it goes on all the same.
            let _ = first.send(());
            tokio::time::sleep(KNOWN_EVERYWHERE).await;
            if let Err(error) = chat.rename_author(account, &erased_name()).await {
                tracing::warn!(error = chain(&error), %account, "messages of an erased account are renamed a little later");
            }
        });
        // Its end without a word is that of the program.
        let _ = done.await;
    }
}

fn require_operator(actor: &Actor) -> Result<(), PrivacyError> {
    if actor.identity == Identity::Operator { Ok(()) } else { Err(PrivacyError::SignInRequired) }
}

fn erased_name() -> DisplayName {
    DisplayName::new(ERASED_NAME).expect("the name is short")
}
