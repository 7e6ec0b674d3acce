//! What an announcement is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    access::Role,
    clock::Timestamp,
    dedupe::DedupeKey,
    ids::AnnouncementId,
    page::{Limit, Revision},
    scope::{Scope, ScopeKind},
    validation::{Invalid, one_line, paragraphs, text},
};

text! {
    /// What an announcement is called: 1 to 120 characters on one line.
    Title, "/title", |text| one_line("title", text, 1, 120)
}

text! {
    /// What an announcement says: 1 to 4000 characters, line breaks allowed.
    AnnouncementText, "/body", |text| paragraphs("body", text, 1, 4000)
}

/// Whom an announcement is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Audience {
    scope: Scope,
    role: Option<Role>,
}

impl Audience {
    /// Everybody on the installation, in a world, or in a group.
    pub const fn of(scope: Scope) -> Self {
        Self { scope, role: None }
    }

    /// Whoever holds a role by a grant in exactly this scope.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if the scope is not of the role's kind.
    pub fn role(role: Role, scope: Scope) -> Result<Self, Invalid> {
        let kind = role.scope_kind();
        if kind == scope.kind() {
            return Ok(Self { scope, role: Some(role) });
        }
        // The member that is missing, or that is there and should not be.
        let (member, says) = match (kind, scope.kind()) {
            (ScopeKind::World, _) => ("worldId", "is a role of a world: worldId is required"),
            (ScopeKind::Group, _) => ("groupId", "is a role of a group: groupId is required"),
            (ScopeKind::Global, ScopeKind::World) => ("worldId", "is a role of no world"),
            (ScopeKind::Global, _) => ("groupId", "is a role of no group"),
        };
        Err(Invalid::at(&format!("/audience/{member}"), format!("{role} {says}")))
    }

    /// Takes an audience that was checked when it was stored.
    pub const fn from_stored(scope: Scope, role: Option<Role>) -> Self {
        Self { scope, role }
    }

    /// Returns where it is.
    pub const fn scope(self) -> Scope {
        self.scope
    }

    /// Returns the role that one must hold there to belong to it.
    pub const fn held_role(self) -> Option<Role> {
        self.role
    }

    /// Returns the kind.
    pub const fn kind(self) -> AudienceKind {
        match (self.role, self.scope) {
            (Some(_), _) => AudienceKind::Role,
            (None, Scope::Global) => AudienceKind::Global,
            (None, Scope::World(_)) => AudienceKind::World,
            (None, Scope::Group(_)) => AudienceKind::Group,
        }
    }
}

/// The kind of an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AudienceKind {
    /// Everybody.
    Global,
    /// The members of a world.
    World,
    /// Those who hold a role.
    Role,
    /// The members of a group.
    Group,
}

impl AudienceKind {
    /// Returns the word, as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::World => "world",
            Self::Role => "role",
            Self::Group => "group",
        }
    }
}

impl fmt::Display for AudienceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The announcement.
    pub id: AnnouncementId,
    /// Its place in the order in which announcements were made, of all scopes together; there may be holes.
    pub number: i64,
    /// Whom it is meant for.
    pub audience: Audience,
    /// What it is called.
    pub title: Title,
    /// What it says.
    pub body: AnnouncementText,
    /// The key under which it is made once in its scope.
    pub dedupe_key: Option<DedupeKey>,
    /// From when on it is visible.
    pub publish_at: Timestamp,
    /// From when on it is not any more.
    pub expires_at: Option<Timestamp>,
    /// Its state's number.
    pub revision: Revision,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When everybody in the audience had been notified.
    pub dispatched_at: Option<Timestamp>,
    /// When it was withdrawn: it is gone for everybody.
    pub withdrawn_at: Option<Timestamp>,
}

impl Announcement {
    /// Returns whether readers see it at `now`.
    pub fn is_visible(&self, now: Timestamp) -> bool {
        let is_over = self.expires_at.is_some_and(|end| end <= now);
        self.withdrawn_at.is_none() && self.publish_at <= now && !is_over
    }
}

/// What a caller says of an announcement to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncementDraft {
    /// Whom it is meant for.
    pub audience: Audience,
    /// What it is called.
    pub title: Title,
    /// What it says.
    pub body: AnnouncementText,
    /// From when on it is visible; at once if absent or past.
    pub publish_at: Option<Timestamp>,
    /// From when on it is not any more.
    pub expires_at: Option<Timestamp>,
    /// The key under which it is made once in its scope.
    pub dedupe_key: Option<DedupeKey>,
}

impl AnnouncementDraft {
    /// One that is visible at once and does not expire.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if the texts are no [`Title`] and [`AnnouncementText`].
    pub fn new(audience: Audience, title: &str, body: &str) -> Result<Self, Invalid> {
        let (title, body) = (Title::new(title)?, AnnouncementText::new(body)?);
        Ok(Self { audience, title, body, publish_at: None, expires_at: None, dedupe_key: None })
    }
}

/// An announcement to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnnouncement {
    /// The announcement.
    pub id: AnnouncementId,
    /// Whom it is meant for.
    pub audience: Audience,
    /// What it is called.
    pub title: Title,
    /// What it says.
    pub body: AnnouncementText,
    /// The key under which it is made once in its scope.
    pub dedupe_key: Option<DedupeKey>,
    /// From when on it is visible.
    pub publish_at: Timestamp,
    /// From when on it is not any more; behind `publish_at`.
    pub expires_at: Option<Timestamp>,
}

/// An announcement that was asked for, and whether it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The announcement.
    pub announcement: Announcement,
    /// False if it is the first one under its dedupe key.
    pub is_new: bool,
}

/// What is to change on an announcement; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnouncementAmendment {
    /// What it is called.
    pub title: Option<Title>,
    /// What it says.
    pub body: Option<AnnouncementText>,
    /// From when on it is visible; changes only before then.
    pub publish_at: Option<Timestamp>,
    /// From when on it is not any more; `Some(None)` is never.
    pub expires_at: Option<Option<Timestamp>>,
}

/// A change to an announcement in a state that the caller has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncementChange {
    /// The announcement.
    pub id: AnnouncementId,
    /// The state the caller has seen; none to change any (the operator's privilege).
    pub expected: Option<Revision>,
    /// What is to change.
    pub amendment: AnnouncementAmendment,
    /// Whether it is withdrawn with it.
    pub withdraw: bool,
}

/// Which announcements are listed, by where they are in their time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AnnouncementState {
    /// Visible now.
    #[default]
    Published,
    /// Visible later.
    Scheduled,
    /// Visible no more.
    Expired,
}

impl AnnouncementState {
    /// Returns the word, as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Scheduled => "scheduled",
            Self::Expired => "expired",
        }
    }
}

/// The text names no state of announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a state of announcements")]
pub struct ParseStateError;

impl FromStr for AnnouncementState {
    type Err = ParseStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Published, Self::Scheduled, Self::Expired];
        all.into_iter().find(|state| state.as_str() == text).ok_or(ParseStateError)
    }
}

/// How a list of announcements is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AnnouncementSort {
    /// Newest publication first.
    #[default]
    NewestFirst,
    /// Oldest publication first.
    OldestFirst,
}

/// Who reads, as far as it decides which announcements of a scope are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readers {
    /// Whoever sees the announcements for every role.
    Staff,
    /// Whoever holds these roles in the scope.
    Holding(Vec<Role>),
}

impl Readers {
    /// Returns whether an audience is one that they belong to or look after.
    pub fn see(&self, audience: Audience) -> bool {
        match (self, audience.held_role()) {
            (Self::Staff, _) | (_, None) => true,
            (Self::Holding(held), Some(role)) => held.contains(&role),
        }
    }
}

/// Which announcements to read; those that were withdrawn never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncementQuery {
    /// Where they belong.
    pub scope: Scope,
    /// Who reads.
    pub readers: Readers,
    /// Where they are in their time.
    pub state: AnnouncementState,
    /// At which instant.
    pub at: Timestamp,
    /// Only those with all of these words in title or body, whatever their case.
    pub text: Option<String>,
    /// The order, by the time of publication and then by id.
    pub sort: AnnouncementSort,
    /// Only those behind this position.
    pub after: Option<AnnouncementPosition>,
    /// How many.
    pub limit: Limit,
}

/// A part of a list of announcements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncementPage {
    /// The announcements, in the list's order.
    pub items: Vec<Announcement>,
    /// Where the list goes on, if it does.
    pub next: Option<AnnouncementPosition>,
}

/// A position in a list of announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncementPosition {
    /// Microseconds since 1970 of the publication.
    pub published: i64,
    /// The announcement.
    pub id: AnnouncementId,
    /// Whether the list is of titles like the text, since nothing has its words.
    pub by_likeness: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GroupId, WorldId};

    #[test]
    fn a_role_is_an_audience_where_it_is_bound() {
        let (world, group) =
            (Scope::World(WorldId::new(uuid::Uuid::max())), Scope::Group(GroupId::new(uuid::Uuid::max())));
        for (role, scope) in [(Role::Moderator, Scope::Global), (Role::WorldAdmin, world), (Role::GroupMod, group)] {
            let audience = Audience::role(role, scope).unwrap();
            assert_eq!(
                (audience.kind(), audience.scope(), audience.held_role()),
                (AudienceKind::Role, scope, Some(role))
            );
        }
        for (role, scope, member) in [
            (Role::WorldAdmin, Scope::Global, "/audience/worldId"),
            (Role::GroupMod, world, "/audience/groupId"),
            (Role::Moderator, world, "/audience/worldId"),
            (Role::Moderator, group, "/audience/groupId"),
        ] {
            assert_eq!(Audience::role(role, scope).unwrap_err().errors[0].pointer, member, "{role} in {scope}");
        }
    }

    #[test]
    fn readers_see_what_is_meant_for_them() {
        let moderators = Audience::role(Role::Moderator, Scope::Global).unwrap();

        assert!(Readers::Staff.see(moderators) && Readers::Holding(vec![Role::Moderator]).see(moderators));
        assert!(!Readers::Holding(vec![Role::Support]).see(moderators));
        assert!(Readers::Holding(Vec::new()).see(Audience::of(Scope::Global)));
    }
}
