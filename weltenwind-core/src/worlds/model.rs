//! What a world is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::slug::Slug;
use crate::{
    clock::Timestamp,
    ids::{AccountId, GrantId, WorldId},
    page::{Limit, Revision},
    revocations::Loss,
    scope::Scope,
    validation::{Invalid, one_line, paragraphs, text},
};

text! {
    /// A world's name: 2 to 64 characters on one line.
    WorldName, "/name", |text| one_line("name", text, 2, 64)
}

text! {
    /// What a world says of itself: up to 2000 characters, line breaks allowed.
    Description, "/description", |text| paragraphs("description", text, 0, 2000)
}

/// Who sees a world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Everybody, and it is listed.
    #[default]
    Public,
    /// Everybody who knows its address.
    Unlisted,
    /// Its members.
    Private,
}

/// How one becomes a member of a world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum JoinPolicy {
    /// By joining.
    #[default]
    Open,
    /// By being invited.
    Invite,
}

/// The text names no visibility or join policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of the known words")]
pub struct ParsePolicyError;

macro_rules! words {
    ($name:ident: $($variant:ident = $text:literal),+) => {
        impl $name {
            /// Returns the word, as it is stored and sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ParsePolicyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(ParsePolicyError),
                }
            }
        }
    };
}

words!(Visibility: Public = "public", Unlisted = "unlisted", Private = "private");
words!(JoinPolicy: Open = "open", Invite = "invite");

/// A world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The world.
    pub id: WorldId,
    /// Its present slug.
    pub slug: Slug,
    /// Its name.
    pub name: WorldName,
    /// What it says of itself.
    pub description: Description,
    /// Who sees it.
    pub visibility: Visibility,
    /// How one becomes a member.
    pub join_policy: JoinPolicy,
    /// Its state's number.
    pub revision: Revision,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was archived: it stays readable for staff and is gone for everybody else.
    pub archived_at: Option<Timestamp>,
}

impl World {
    /// Returns what is lost when the world changes to `next`: it is open to fewer, or to nobody any more.
    pub fn lost_by(&self, next: &Self) -> Option<Loss> {
        let is_closed = self.visibility != Visibility::Private && next.visibility == Visibility::Private;
        let is_lost = self.archived_at.is_none() && (is_closed || next.archived_at.is_some());
        is_lost.then_some(Loss::in_place(Scope::World(self.id)))
    }
}

#[cfg(any(test, feature = "conformance"))]
impl World {
    /// A public world for tests, as it is right after it was made; `n` tells worlds apart.
    pub fn sample(n: u32) -> Self {
        let created_at = Timestamp::from_second(1_767_225_600).expect("the year 2026 is in range");
        Self {
            id: WorldId::new(uuid::Uuid::from_u128(0x0a01_0000_0000_7000_8000_0000_0000_0000 + u128::from(n))),
            slug: Slug::new(&format!("world-{n}")).expect("a slug"),
            name: WorldName::new(&format!("World {n}")).expect("a name"),
            description: Description::new("").expect("a description"),
            visibility: Visibility::Public,
            join_policy: JoinPolicy::Open,
            revision: Revision::FIRST,
            created_at,
            updated_at: created_at,
            archived_at: None,
        }
    }
}

/// What a caller says of a world to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldDraft {
    /// Its name.
    pub name: WorldName,
    /// Its slug; made from the name if absent.
    pub slug: Option<Slug>,
    /// What it says of itself.
    pub description: Description,
    /// Who sees it.
    pub visibility: Visibility,
    /// How one becomes a member.
    pub join_policy: JoinPolicy,
}

impl WorldDraft {
    /// A public world that everybody may join.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if the name is no [`WorldName`].
    pub fn new(name: &str) -> Result<Self, Invalid> {
        Ok(Self {
            name: WorldName::new(name)?,
            slug: None,
            description: Description::new("")?,
            visibility: Visibility::default(),
            join_policy: JoinPolicy::default(),
        })
    }
}

/// A world to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorld {
    /// The world.
    pub id: WorldId,
    /// Its slug.
    pub slug: Slug,
    /// Its name.
    pub name: WorldName,
    /// What it says of itself.
    pub description: Description,
    /// Who sees it.
    pub visibility: Visibility,
    /// How one becomes a member.
    pub join_policy: JoinPolicy,
    /// Who becomes its `world_owner`, and the grant's id; none when the operator makes it.
    pub owner: Option<(AccountId, GrantId)>,
}

/// What is to change on a world; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorldAmendment {
    /// A new name.
    pub name: Option<WorldName>,
    /// A new slug; the old one keeps leading here.
    pub slug: Option<Slug>,
    /// A new description.
    pub description: Option<Description>,
    /// A new visibility.
    pub visibility: Option<Visibility>,
    /// A new join policy.
    pub join_policy: Option<JoinPolicy>,
}

/// A change to a world in a state that the caller has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldChange {
    /// The world.
    pub id: WorldId,
    /// The state the caller has seen; none to change any (the operator's privilege).
    pub expected: Option<Revision>,
    /// What is to change.
    pub amendment: WorldAmendment,
    /// Whether the world is archived with it.
    pub archive: bool,
}

/// A world by id or by slug, as in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorldRef {
    /// By id.
    Id(WorldId),
    /// By a present or former slug.
    Slug(Slug),
}

impl FromStr for WorldRef {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => Slug::new(text).map(Self::Slug),
        }
    }
}

/// How a list of worlds is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WorldSort {
    /// Newest first.
    #[default]
    NewestFirst,
    /// Oldest first.
    OldestFirst,
}

/// Which worlds to read; archived ones never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorldQuery {
    /// Only worlds whose name contains this, whatever its case.
    pub text: Option<String>,
    /// The order, by the time of making and then by id.
    pub sort: WorldSort,
    /// Only worlds behind this position.
    pub after: Option<WorldPosition>,
    /// How many.
    pub limit: Limit,
    /// Whose private worlds are listed beside the public ones; unlisted worlds are listed for their members too.
    pub member: Option<AccountId>,
    /// Expired grants do not count at this instant.
    pub at: Timestamp,
    /// Whether every world is listed: staff's view.
    pub everything: bool,
    /// Only this world: what a narrowed token reaches.
    pub within: Option<WorldId>,
}

/// A position in a list of worlds. Ids are drawn in order of time, so the id alone is a total order.
pub type WorldPosition = WorldId;
