//! What a first start puts into an empty store.

use weltenwind_core::{
    Actor, Scope, Services, WorldId,
    chat::{ChannelDraft, ChatError},
    worlds::{Description, Slug, WorldDraft},
};

use crate::failure::Failure;

/// Makes one public world with a general channel, unless there was ever a world.
pub(crate) async fn furnish(services: &Services) -> Result<(), Failure> {
    if !services.worlds.is_empty().await? {
        return Ok(());
    }
    let draft = WorldDraft {
        slug: Some(Slug::new("welcome")?),
        description: Description::new("The first world here. Say hello, then make your own.")?,
        ..WorldDraft::new("Welcome")?
    };
    let world = services.worlds.create(&Actor::operator(), draft).await?;
    open_general(services, world.id).await?;
    tracing::info!(world = %world.slug, "the store was empty: made a welcome world");
    Ok(())
}

/// Makes a world's general channel.
pub(crate) async fn open_general(services: &Services, world: WorldId) -> Result<(), ChatError> {
    let draft = ChannelDraft::new(Scope::World(world), "general", "General");
    services.chat.open_channel(&Actor::operator(), draft).await.map(|_| ())
}
