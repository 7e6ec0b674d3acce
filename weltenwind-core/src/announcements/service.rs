//! The rules of announcements.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    error::AnnouncementError,
    model::{
        Announcement, AnnouncementAmendment, AnnouncementChange, AnnouncementDraft, AnnouncementPage,
        AnnouncementPosition, AnnouncementQuery, AnnouncementSort, AnnouncementState, NewAnnouncement, Published,
        Readers,
    },
    store::AnnouncementStore,
};
use crate::{
    access::{AccessControlService, Denied, GrantStore, Permission, Place, Places, WhyDenied},
    actor::{Actor, Identity},
    clock::Timestamp,
    error::StorageError,
    ids::AnnouncementId,
    limits::{Limits, Policy},
    notifications::fan_out,
    outbox::Outbox,
    page::{Limit, Revision},
    scope::{Scope, ScopeKind},
    services::Sources,
    step::AuditDraft,
    validation::Invalid,
};

/// How far ahead an announcement can be published.
const HORIZON: Duration = Duration::from_hours(366 * 24);
/// How long one that was withdrawn stays as a row: longer than any notification of it.
const KEPT_WITHDRAWN: Duration = Duration::from_hours(181 * 24);
/// Announcements that are deleted in one step.
const PURGED_AT_ONCE: u32 = 500;

/// Which announcements somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncementSearch {
    /// Where they belong.
    pub scope: Scope,
    /// Where they are in their time.
    pub state: AnnouncementState,
    /// Only those with these words in title or body.
    pub text: Option<String>,
    /// The order.
    pub sort: AnnouncementSort,
    /// Only those behind this position.
    pub after: Option<AnnouncementPosition>,
    /// How many.
    pub limit: Limit,
}

impl AnnouncementSearch {
    /// The newest announcements that are visible in a scope.
    pub fn of(scope: Scope) -> Self {
        Self {
            scope,
            state: AnnouncementState::default(),
            text: None,
            sort: AnnouncementSort::default(),
            after: None,
            limit: Limit::default(),
        }
    }
}

/// Announcements, for whoever makes and whoever reads them.
#[derive(Debug, Clone)]
pub struct Announcements {
    store: Arc<dyn AnnouncementStore>,
    grants: Arc<dyn GrantStore>,
    places: Arc<dyn Places>,
    access: Arc<dyn AccessControlService>,
    outbox: Outbox,
    sources: Sources,
    limits: Limits,
}

impl Announcements {
    /// Wires the rules to their ports.
    pub fn new(
        store: Arc<dyn AnnouncementStore>,
        grants: Arc<dyn GrantStore>,
        places: Arc<dyn Places>,
        access: Arc<dyn AccessControlService>,
        outbox: Outbox,
        sources: Sources,
        limits: Limits,
    ) -> Self {
        Self { store, grants, places, access, outbox, sources, limits }
    }

    /// Makes an announcement. Needs `announcement.publish` in the audience's scope.
    ///
    /// A dedupe key that was used there before answers the first announcement.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError::ScopeNotFound`]; [`AnnouncementError::Invalid`] if it expires before it is published, or is to be
    /// published more than a year ahead.
    pub async fn publish(&self, actor: &Actor, draft: AnnouncementDraft) -> Result<Published, AnnouncementError> {
        let scope = draft.audience.scope();
        self.require_publish_in(actor, scope).await?;
        self.limits.charge(actor, Policy::Notification).await?;
        let now = self.sources.clock.now();
        let publish_at = draft.publish_at.map_or(now, |wanted| micros(wanted).max(now));
        let expires_at = draft.expires_at.map(micros);
        require_order(now, publish_at, expires_at)?;
        let AnnouncementDraft { audience, title, body, dedupe_key, .. } = draft;
        let id = AnnouncementId::new(self.sources.ids.draw());
        let new = NewAnnouncement { id, audience, title, body, dedupe_key, publish_at, expires_at };
        let details = json!({ "audience": audience.kind(), "role": audience.held_role() });
        let audit = AuditDraft::new("announcement.publish", scope).with(details);
        let step = actor.step(now, audit).with_jobs([fan_out(id, publish_at, now)]);
        let published = self.store.publish(&step, &new).await?;
        self.outbox.wake(&step.jobs);
        Ok(published)
    }

    /// Reads an announcement for whoever belongs to its audience; one that is not visible, for whoever may change it.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError::NotFound`], also where the reader may not know of it.
    pub async fn find(&self, actor: &Actor, id: AnnouncementId) -> Result<Announcement, AnnouncementError> {
        Ok(self.seen(actor, id).await?.0)
    }

    /// Lists announcements for whoever belongs to their audience: in a world, for whoever may see the world. Those that are not
    /// visible need `announcement.publish`.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError::ScopeNotFound`], also where the reader may not know of it.
    pub async fn list(&self, actor: &Actor, search: AnnouncementSearch) -> Result<AnnouncementPage, AnnouncementError> {
        let AnnouncementSearch { scope, state, text, sort, after, limit } = search;
        let place = self.readable_place(actor, scope).await?;
        if state != AnnouncementState::Published {
            self.require(actor, &place).await?;
        }
        let readers = self.readers(actor, &place).await?;
        let at = self.sources.clock.now();
        let query = AnnouncementQuery { scope, readers, state, at, text, sort, after, limit };
        Ok(self.store.page(&query).await?)
    }

    /// Changes an announcement that the caller has seen in state `expected`. Needs `announcement.publish` in its scope.
    ///
    /// Its audience stays, since whoever was told was told.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError::Stale`], [`AnnouncementError::AlreadyPublished`].
    pub async fn amend(
        &self,
        actor: &Actor,
        id: AnnouncementId,
        expected: Option<Revision>,
        amendment: AnnouncementAmendment,
    ) -> Result<Announcement, AnnouncementError> {
        self.change(actor, "announcement.amend", AnnouncementChange { id, expected, amendment, withdraw: false }).await
    }

    /// Withdraws an announcement: it is gone for everybody. Needs `announcement.publish` in its scope.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError::Stale`].
    pub async fn withdraw(
        &self,
        actor: &Actor,
        id: AnnouncementId,
        expected: Option<Revision>,
    ) -> Result<Announcement, AnnouncementError> {
        let amendment = AnnouncementAmendment::default();
        self.change(actor, "announcement.withdraw", AnnouncementChange { id, expected, amendment, withdraw: true })
            .await
    }

    /// Passes if the actor may make announcements in a scope.
    pub async fn require_publish_in(&self, actor: &Actor, scope: Scope) -> Result<(), AnnouncementError> {
        require_sign_in(actor, scope)?;
        let place = self.readable_place(actor, scope).await?;
        self.require(actor, &place).await
    }

    /// Passes if the actor may change an announcement.
    pub async fn require_publish(&self, actor: &Actor, id: AnnouncementId) -> Result<(), AnnouncementError> {
        self.changeable(actor, id).await.map(|_| ())
    }

    /// Deletes what was withdrawn long ago, and answers how much that was.
    pub async fn enforce_retention(&self) -> Result<u64, AnnouncementError> {
        let before = self.sources.clock.now() - KEPT_WITHDRAWN;
        let mut deleted = 0;
        loop {
            let batch = self.store.purge(before, PURGED_AT_ONCE).await?;
            deleted += batch;
            if batch < u64::from(PURGED_AT_ONCE) {
                return Ok(deleted);
            }
        }
    }

    async fn change(
        &self,
        actor: &Actor,
        action: &'static str,
        mut change: AnnouncementChange,
    ) -> Result<Announcement, AnnouncementError> {
        let announcement = self.changeable(actor, change.id).await?;
        self.limits.charge(actor, Policy::Notification).await?;
        let now = self.sources.clock.now();
        let amendment = &mut change.amendment;
        amendment.publish_at = amendment.publish_at.map(|wanted| micros(wanted).max(now));
        amendment.expires_at = amendment.expires_at.map(|end| end.map(micros));
        if let Some(publish_at) = amendment.publish_at {
            require_order(now, publish_at, amendment.expires_at.unwrap_or(announcement.expires_at))?;
        }
        let jobs = change.amendment.publish_at.map(|publish_at| fan_out(change.id, publish_at, now));
        let step = actor.step(now, AuditDraft::new(action, announcement.audience.scope())).with_jobs(jobs);
        let announcement = self.store.amend(&step, &change).await?;
        self.outbox.wake(&step.jobs);
        Ok(announcement)
    }

    /// Returns an announcement that the actor may see, and where it is.
    async fn seen(&self, actor: &Actor, id: AnnouncementId) -> Result<(Announcement, Place), AnnouncementError> {
        let announcement = self.store.find(id).await?.filter(|announcement| announcement.withdrawn_at.is_none());
        let announcement = announcement.ok_or(AnnouncementError::NotFound)?;
        let place = match self.readable_place(actor, announcement.audience.scope()).await {
            Ok(place) => place,
            Err(AnnouncementError::ScopeNotFound(_) | AnnouncementError::Denied(_)) => {
                return Err(AnnouncementError::NotFound);
            }
            Err(error) => return Err(error),
        };
        let readers = self.readers(actor, &place).await?;
        let is_seen = match readers {
            Readers::Staff => true,
            Readers::Holding(_) => announcement.is_visible(self.sources.clock.now()),
        };
        if is_seen && readers.see(announcement.audience) {
            Ok((announcement, place))
        } else {
            Err(AnnouncementError::NotFound)
        }
    }

    async fn changeable(&self, actor: &Actor, id: AnnouncementId) -> Result<Announcement, AnnouncementError> {
        require_sign_in(actor, Scope::Global)?;
        let (announcement, place) = self.seen(actor, id).await?;
        self.require(actor, &place).await?;
        Ok(announcement)
    }

    async fn require(&self, actor: &Actor, place: &Place) -> Result<(), AnnouncementError> {
        Ok(self.access.require(actor, Permission::AnnouncementPublish, place).await?)
    }

    /// Returns the place of a scope whose announcements the actor may read. What is told to everybody is told to everybody, but
    /// for tokens that were narrowed to somewhere else.
    async fn readable_place(&self, actor: &Actor, scope: Scope) -> Result<Place, AnnouncementError> {
        let place = self.places.place(scope).await?.ok_or(AnnouncementError::ScopeNotFound(scope))?;
        if scope.kind() == ScopeKind::Global {
            if place.lies_in(actor.ceiling) {
                return Ok(place);
            }
            return Err(Denied { permission: Permission::WorldRead, scope, why: WhyDenied::Missing }.into());
        }
        if self.access.allows(actor, Permission::WorldRead, &place).await? {
            Ok(place)
        } else {
            Err(AnnouncementError::ScopeNotFound(scope))
        }
    }

    /// Returns which announcements of a place are meant for the actor. One reading of the store at most, and none for whoever is
    /// not signed in.
    async fn readers(&self, actor: &Actor, place: &Place) -> Result<Readers, StorageError> {
        let publish = Permission::AnnouncementPublish;
        let account = match &actor.identity {
            Identity::Operator => return Ok(Readers::Staff),
            Identity::Key(key) if key.permissions.contains(publish) && place.lies_in(actor.ceiling) => {
                return Ok(Readers::Staff);
            }
            Identity::Key(_) | Identity::Anonymous => return Ok(Readers::Holding(Vec::new())),
            Identity::Account(principal) => principal.account,
        };
        let grants = self.grants.of(account, self.sources.clock.now()).await?;
        let is_staff = |scope, role: crate::access::Role| place.lies_in(scope) && role.permissions().contains(publish);
        if grants.iter().any(|grant| is_staff(grant.scope, grant.role)) {
            return Ok(Readers::Staff);
        }
        let held = grants.into_iter().filter(|grant| grant.scope == place.scope()).map(|grant| grant.role);
        Ok(Readers::Holding(held.collect()))
    }
}

/// Cuts an instant to what stores keep.
fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).expect("an instant in whole microseconds stays in range")
}

fn require_order(now: Timestamp, publish_at: Timestamp, expires_at: Option<Timestamp>) -> Result<(), Invalid> {
    if publish_at.duration_since(now).as_secs_f64() > HORIZON.as_secs_f64() {
        return Err(Invalid::at("/publishAt", "publishAt must lie within a year"));
    }
    if expires_at.is_some_and(|end| end <= publish_at) {
        return Err(Invalid::at("/expiresAt", "expiresAt must lie behind the publication"));
    }
    Ok(())
}

/// Refuses whoever is not signed in, before anything is looked for: what exists is no answer to them.
fn require_sign_in(actor: &Actor, scope: Scope) -> Result<(), Denied> {
    if actor.is_anonymous() {
        let permission = Permission::AnnouncementPublish;
        return Err(Denied { permission, scope, why: WhyDenied::SignInRequired });
    }
    Ok(())
}
