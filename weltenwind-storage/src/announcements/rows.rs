//! Announcements as rows.

use uuid::Uuid;
use weltenwind_core::{
    AnnouncementId, DedupeKey, Invalid, Revision, Timestamp,
    announcements::{
        Announcement, AnnouncementChange, AnnouncementError, AnnouncementPage, AnnouncementPosition, AnnouncementQuery,
        AnnouncementText, Audience, Readers, Title,
    },
};

use crate::{
    error::BrokenRow,
    rows::{Instant, RowName, ScopeColumns, all},
};

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct AnnouncementRow {
    number: i64,
    id: Uuid,
    #[sqlx(flatten)]
    scope: ScopeColumns,
    role: Option<String>,
    title: String,
    body: String,
    dedupe_key: Option<String>,
    publish_at: Instant,
    expires_at: Option<Instant>,
    revision: i64,
    created_at: Instant,
    updated_at: Instant,
    dispatched_at: Option<Instant>,
    withdrawn_at: Option<Instant>,
}

impl TryFrom<AnnouncementRow> for Announcement {
    type Error = BrokenRow;

    fn try_from(row: AnnouncementRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("announcements", row.id);
        let role = row.role.as_deref().map(|role| name.parse("role", role)).transpose()?;
        Ok(Self {
            id: AnnouncementId::new(row.id),
            number: row.number,
            audience: Audience::from_stored(name.scope(&row.scope)?, role),
            title: Title::from_stored(row.title),
            body: AnnouncementText::from_stored(row.body),
            dedupe_key: row.dedupe_key.map(DedupeKey::from_stored),
            publish_at: row.publish_at.0,
            expires_at: row.expires_at.map(|at| at.0),
            revision: Revision::new(row.revision),
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
            dispatched_at: row.dispatched_at.map(|at| at.0),
            withdrawn_at: row.withdrawn_at.map(|at| at.0),
        })
    }
}

/// The state of an announcement after a change, if it may happen.
pub(super) fn changed(
    present: Option<Announcement>,
    change: &AnnouncementChange,
    at: Timestamp,
) -> Result<Announcement, AnnouncementError> {
    let present = present.filter(|present| present.withdrawn_at.is_none()).ok_or(AnnouncementError::NotFound)?;
    if change.expected.is_some_and(|expected| expected != present.revision) {
        return Err(AnnouncementError::Stale(present.revision));
    }
    let amendment = change.amendment.clone();
    if amendment.publish_at.is_some() && present.publish_at <= at {
        return Err(AnnouncementError::AlreadyPublished);
    }
    let announcement = Announcement {
        title: amendment.title.unwrap_or(present.title),
        body: amendment.body.unwrap_or(present.body),
        publish_at: amendment.publish_at.unwrap_or(present.publish_at),
        expires_at: amendment.expires_at.unwrap_or(present.expires_at),
        revision: present.revision.next(),
        updated_at: at,
        withdrawn_at: change.withdraw.then_some(at),
        ..present
    };
    if announcement.expires_at.is_some_and(|end| end <= announcement.publish_at) {
        return Err(Invalid::at("/expiresAt", "expiresAt must lie behind the publication").into());
    }
    Ok(announcement)
}

/// The roles that readers hold, as a statement looks for one among them: with a blank on both sides of each.
pub(super) fn held(readers: &Readers) -> String {
    match readers {
        Readers::Staff => String::new(),
        Readers::Holding(roles) => roles.iter().fold(String::from(" "), |text, role| text + role.as_str() + " "),
    }
}

/// Makes a page of rows that were read with a probe.
pub(super) fn page(
    rows: Vec<AnnouncementRow>,
    query: &AnnouncementQuery,
    by_likeness: bool,
) -> sqlx::Result<AnnouncementPage> {
    let page = weltenwind_core::Page::from_probe(all::<Announcement, _>(rows)?, query.limit);
    let next = page.next(|last| AnnouncementPosition {
        published: last.publish_at.as_microsecond(),
        id: last.id,
        by_likeness,
    });
    Ok(AnnouncementPage { items: page.items, next })
}

/// Where a page begins: behind its position, or before everything.
pub(super) fn start(
    query: &AnnouncementQuery,
    before_all: Timestamp,
    first: Uuid,
) -> Result<(Instant, Uuid), BrokenRow> {
    match query.after {
        None => Ok((Instant(before_all), first)),
        Some(after) => {
            let at = Timestamp::from_microsecond(after.published);
            let at = at.map_err(|_| BrokenRow::new("announcements", "publish_at", after.id))?;
            Ok((Instant(at), after.id.uuid()))
        }
    }
}
