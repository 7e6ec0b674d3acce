//! Where a question about a right is asked.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{
    error::StorageError,
    ids::{GroupId, WorldId},
    scope::Scope,
    worlds::{Visibility, World},
};

/// A scope with its ancestors and what makes it open to everybody, as the stored rows say; never built from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    world: Option<(WorldId, Visibility)>,
    group: Option<GroupId>,
}

impl Place {
    /// The whole installation.
    pub const fn global() -> Self {
        Self { world: None, group: None }
    }

    /// A world.
    pub const fn world(world: &World) -> Self {
        Self { world: Some((world.id, world.visibility)), group: None }
    }

    /// A world that an embedding program knows without storing it.
    pub const fn open_world(id: WorldId) -> Self {
        Self { world: Some((id, Visibility::Public)), group: None }
    }

    /// A group inside a world.
    pub const fn group(id: GroupId, world: &World) -> Self {
        Self { world: Some((world.id, world.visibility)), group: Some(id) }
    }

    /// Returns the innermost scope.
    pub const fn scope(&self) -> Scope {
        match (self.group, self.world) {
            (Some(group), _) => Scope::Group(group),
            (None, Some((world, _))) => Scope::World(world),
            (None, None) => Scope::Global,
        }
    }

    /// Returns this place's scope and those that it lies in, from the inside out.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        let group = self.group.map(Scope::Group);
        group.into_iter().chain(self.world.map(|(world, _)| Scope::World(world))).chain([Scope::Global])
    }

    /// Returns whether `scope` is this place or one that it lies in.
    pub fn lies_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::Global => true,
            Scope::World(id) => self.world.is_some_and(|(world, _)| world == id),
            Scope::Group(id) => self.group == Some(id),
        }
    }

    /// Returns whether everybody may look and every account may take part: public and unlisted worlds, and the
    /// global scope; a group is as open as its members make it.
    pub const fn is_open(&self) -> bool {
        match (self.group, self.world) {
            (Some(_), _) => false,
            (None, Some((_, visibility))) => matches!(visibility, Visibility::Public | Visibility::Unlisted),
            (None, None) => true,
        }
    }
}

/// Finds the place of a scope, as the stored rows say.
#[async_trait]
pub trait Places: Debug + Send + Sync + 'static {
    /// Answers the place of `scope`, or none if it does not exist or was archived.
    async fn place(&self, scope: Scope) -> Result<Option<Place>, StorageError>;
}

/// Every scope exists and is open: for programs that embed chat without worlds.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenPlaces;

#[async_trait]
impl Places for OpenPlaces {
    async fn place(&self, scope: Scope) -> Result<Option<Place>, StorageError> {
        Ok(match scope {
            Scope::Global => Some(Place::global()),
            Scope::World(id) => Some(Place::open_world(id)),
            Scope::Group(_) => None,
        })
    }
}
