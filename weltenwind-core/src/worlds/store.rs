//! The port that keeps worlds.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{
    error::WorldError,
    model::{NewWorld, World, WorldChange, WorldQuery},
    slug::Slug,
};
use crate::{error::StorageError, ids::WorldId, page::Page, step::Step};

/// Keeps every world, and every slug that one ever had.
///
/// Each method is one atomic step. A refusal has changed nothing; after [`Class::Unavailable`](crate::Class::Unavailable)
/// the step may have taken effect, and repeating it is safe.
#[async_trait]
pub trait WorldStore: Debug + Send + Sync + 'static {
    /// Makes a world at [`Revision::FIRST`](crate::Revision::FIRST), its slug and its owner's grant.
    ///
    /// # Errors
    ///
    /// [`WorldError::SlugTaken`] if any world has or had the slug. Two worlds that want one slug at once: one gets it.
    async fn create(&self, step: &Step, world: &NewWorld) -> Result<World, WorldError>;

    /// Reads a world, archived or not.
    async fn find(&self, id: WorldId) -> Result<Option<World>, StorageError>;

    /// Reads the world that has or had `slug`.
    async fn find_by_slug(&self, slug: &Slug) -> Result<Option<World>, StorageError>;

    /// Reads the worlds that `query` asks for.
    async fn page(&self, query: &WorldQuery) -> Result<Page<World>, StorageError>;

    /// Changes or archives a world and counts its revision up. A world may take one of its own former slugs again. What
    /// [`World::lost_by`] names is logged with it.
    ///
    /// # Errors
    ///
    /// [`WorldError::NotFound`]; [`WorldError::Stale`] with the present revision if it is not the expected one;
    /// [`WorldError::SlugTaken`].
    async fn amend(&self, step: &Step, change: &WorldChange) -> Result<World, WorldError>;

    /// Returns whether no world was ever made.
    async fn is_empty(&self) -> Result<bool, StorageError>;
}
