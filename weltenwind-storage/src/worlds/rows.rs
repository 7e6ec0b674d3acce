//! Worlds as rows.

use uuid::Uuid;
use weltenwind_core::{
    Revision, Timestamp, WorldId,
    access::{NewGrant, Role},
    worlds::{Description, NewWorld, Slug, World, WorldChange, WorldName},
};

use crate::{
    error::BrokenRow,
    rows::{Instant, RowName},
};

#[derive(Debug, sqlx::FromRow)]
pub(super) struct WorldRow {
    id: Uuid,
    slug: String,
    name: String,
    description: String,
    visibility: String,
    join_policy: String,
    revision: i64,
    created_at: Instant,
    updated_at: Instant,
    archived_at: Option<Instant>,
}

impl TryFrom<WorldRow> for World {
    type Error = BrokenRow;

    fn try_from(row: WorldRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("worlds", row.id);
        Ok(Self {
            id: WorldId::new(row.id),
            slug: Slug::from_stored(row.slug),
            name: WorldName::from_stored(row.name),
            description: Description::from_stored(row.description),
            visibility: name.parse("visibility", &row.visibility)?,
            join_policy: name.parse("join_policy", &row.join_policy)?,
            revision: Revision::new(row.revision),
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
            archived_at: row.archived_at.map(|at| at.0),
        })
    }
}

/// The grant that makes an account the owner of a new world.
pub(super) fn owner_grant(world: &NewWorld) -> Option<NewGrant> {
    let (account, id) = world.owner?;
    let scope = weltenwind_core::Scope::World(world.id);
    Some(NewGrant { id, account, role: Role::WorldOwner, scope, reason: None, expires_at: None })
}

/// The state of a world after a change.
pub(super) fn changed(world: World, change: &WorldChange, at: Timestamp) -> World {
    let amendment = change.amendment.clone();
    World {
        slug: amendment.slug.unwrap_or(world.slug),
        name: amendment.name.unwrap_or(world.name),
        description: amendment.description.unwrap_or(world.description),
        visibility: amendment.visibility.unwrap_or(world.visibility),
        join_policy: amendment.join_policy.unwrap_or(world.join_policy),
        revision: world.revision.next(),
        updated_at: at,
        // A world that is archived again keeps its first end.
        archived_at: world.archived_at.or(change.archive.then_some(at)),
        ..world
    }
}

/// A text as it is searched: in lower case, by Unicode's rules.
pub(super) fn folded(text: &str) -> String {
    text.to_lowercase()
}
