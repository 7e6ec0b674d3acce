//! `weltenwind world`.

use clap::{Args, Subcommand};
use weltenwind_core::{
    Actor, Limit,
    wire::WorldBody,
    worlds::{Description, JoinPolicy, Slug, Visibility, WorldDraft, WorldQuery, WorldSort},
};

use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum WorldCommand {
    /// Make a world, with a general channel.
    Create(CreateArgs),
    /// List the worlds, oldest first.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name.
    name: String,
    /// Its short name in addresses; made from the name if absent.
    #[arg(long)]
    slug: Option<String>,
    /// What it says of itself.
    #[arg(long, default_value = "")]
    description: String,
    /// Who sees it: public, unlisted or private.
    #[arg(long, default_value = "public", value_parser = ["public", "unlisted", "private"])]
    visibility: String,
    /// How one becomes a member: open or invite.
    #[arg(long, default_value = "open", value_parser = ["open", "invite"])]
    join_policy: String,
    /// Make no general channel.
    #[arg(long)]
    no_channel: bool,
}

pub(crate) async fn run(command: WorldCommand, config: &Config, output: Output) -> Result<(), Failure> {
    match command {
        WorldCommand::Create(args) => create(args, config, output).await,
        WorldCommand::List => list(config, output).await,
    }
}

async fn create(args: CreateArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let draft = draft(&args)?;
    let services = store::services(config, &config.public_url()).await?;
    let world = services.worlds.create(&Actor::operator(), draft).await?;
    if !args.no_channel {
        crate::welcome::open_general(&services, world.id).await?;
    }
    services.health.close().await;
    let url = format!("{}/worlds/{}", config.public_url(), world.slug);
    output.value(&WorldBody::from(&world), |world| format!("{} is open at {url}", world.name))
}

fn draft(args: &CreateArgs) -> Result<WorldDraft, Failure> {
    let words = |_| Failure::usage("visibility is public, unlisted or private; join policy is open or invite");
    Ok(WorldDraft {
        slug: args.slug.as_deref().map(Slug::new).transpose()?,
        description: Description::new(&args.description)?,
        visibility: args.visibility.parse::<Visibility>().map_err(words)?,
        join_policy: args.join_policy.parse::<JoinPolicy>().map_err(words)?,
        ..WorldDraft::new(&args.name)?
    })
}

async fn list(config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    let mut worlds: Vec<WorldBody> = Vec::new();
    let mut query = WorldQuery { sort: WorldSort::OldestFirst, limit: Limit::MAX, ..WorldQuery::default() };
    loop {
        let page = services.worlds.list(&Actor::operator(), query.clone()).await?;
        worlds.extend(page.items.iter().map(WorldBody::from));
        match page.next(|world| world.id) {
            Some(after) => query.after = Some(after),
            None => break,
        }
    }
    services.health.close().await;
    output.list(&worlds, &["slug", "name", "visibility", "join policy", "id"], |world| {
        let (visibility, join_policy) = (world.visibility.to_string(), world.join_policy.to_string());
        vec![world.slug.clone(), world.name.clone(), visibility, join_policy, world.id.to_string()]
    })
}
