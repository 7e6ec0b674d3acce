//! `weltenwind world`.

use std::str::FromStr;

use clap::{Args, Subcommand};
use weltenwind_core::{
    Actor, Limit,
    wire::{MemberBody, WorldBody},
    worlds::{Description, Slug, World, WorldAmendment, WorldDraft, WorldName, WorldQuery, WorldRef, WorldSort},
};

use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum WorldCommand {
    /// Make a world, with a general channel.
    Create(CreateArgs),
    /// List the worlds, oldest first.
    List,
    /// Change a world: its name, where it stands, what it says, who sees it, how one joins.
    Amend(AmendArgs),
    /// Close a world for good; its address leads nowhere else, ever.
    Archive(ArchiveArgs),
    /// List a world's members, in order of their accounts.
    Members(MembersArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AmendArgs {
    /// The world: its slug, a former one, or its id.
    world: WorldRef,
    /// Its new name.
    #[arg(long)]
    name: Option<String>,
    /// Its new short name in addresses; the old one keeps leading here.
    #[arg(long)]
    slug: Option<String>,
    /// What it says of itself from now on.
    #[arg(long)]
    description: Option<String>,
    /// Who sees it: public, unlisted or private.
    #[arg(long, value_parser = ["public", "unlisted", "private"])]
    visibility: Option<String>,
    /// How one becomes a member: open or invite.
    #[arg(long, value_parser = ["open", "invite"])]
    join_policy: Option<String>,
    /// Say what would be changed, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ArchiveArgs {
    /// The world: its slug, a former one, or its id.
    world: WorldRef,
    /// Say which world would be closed, and close none.
    #[arg(long)]
    dry_run: bool,
    /// Close it without asking back.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MembersArgs {
    /// The world: its slug, a former one, or its id.
    world: WorldRef,
    /// Members to list at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
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
        WorldCommand::Amend(args) => amend(args, config, output).await,
        WorldCommand::Archive(args) => archive(args, config, output).await,
        WorldCommand::Members(args) => members(args, config, output).await,
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
    Ok(WorldDraft {
        slug: args.slug.as_deref().map(Slug::new).transpose()?,
        description: Description::new(&args.description)?,
        visibility: word(&args.visibility)?,
        join_policy: word(&args.join_policy)?,
        ..WorldDraft::new(&args.name)?
    })
}

/// Reads one of the words that the arguments allow.
fn word<T: FromStr>(text: &str) -> Result<T, Failure> {
    let words = |_| Failure::usage("visibility is public, unlisted or private; join policy is open or invite");
    text.parse().map_err(words)
}

async fn amend(args: AmendArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let amendment = WorldAmendment {
        name: args.name.as_deref().map(WorldName::new).transpose()?,
        slug: args.slug.as_deref().map(Slug::new).transpose()?,
        description: args.description.as_deref().map(Description::new).transpose()?,
        visibility: args.visibility.as_deref().map(word).transpose()?,
        join_policy: args.join_policy.as_deref().map(word).transpose()?,
    };
    if amendment == WorldAmendment::default() {
        return Err(Failure::usage("nothing is to be changed").hint("say what: --name, --slug, --description, …"));
    }
    let services = store::services(config, &config.public_url()).await?;
    let operator = Actor::operator();
    let before = services.worlds.resolve(&operator, &args.world).await?.world;
    let (world, verb) = if args.dry_run {
        let WorldAmendment { name, slug, description, visibility, join_policy } = amendment;
        let world = World {
            name: name.unwrap_or_else(|| before.name.clone()),
            slug: slug.unwrap_or_else(|| before.slug.clone()),
            description: description.unwrap_or_else(|| before.description.clone()),
            visibility: visibility.unwrap_or(before.visibility),
            join_policy: join_policy.unwrap_or(before.join_policy),
            ..before.clone()
        };
        (world, "would be")
    } else {
        let seen = WorldRef::Id(before.id);
        (services.worlds.amend(&operator, &seen, Some(before.revision), amendment).await?, "is")
    };
    services.health.close().await;
    let url = format!("{}/worlds/{}", config.public_url(), world.slug);
    output.value(&WorldBody::from(&world), |world| {
        format!("{} {verb} {} and joined by {}, at {url}", world.name, world.visibility, world.join_policy)
    })
}

async fn archive(args: ArchiveArgs, config: &Config, output: Output) -> Result<(), Failure> {
    if !args.yes && !args.dry_run {
        let failure = Failure::usage("a world that is closed does not open again");
        return Err(failure.hint("say --yes to close it, or --dry-run to see which one it is"));
    }
    let services = store::services(config, &config.public_url()).await?;
    let operator = Actor::operator();
    let before = services.worlds.resolve(&operator, &args.world).await?.world;
    let (world, verb) = if args.dry_run {
        (before, "would close")
    } else {
        let seen = WorldRef::Id(before.id);
        (services.worlds.archive(&operator, &seen, Some(before.revision)).await?, "closed")
    };
    services.health.close().await;
    output.value(&WorldBody::from(&world), |world| format!("{verb} {} ({})", world.name, world.slug))
}

async fn members(args: MembersArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    let (mut members, mut after): (Vec<MemberBody>, _) = (Vec::new(), None);
    loop {
        let page = services.worlds.members(&Actor::operator(), &args.world, after, Limit::MAX).await?;
        members.extend(page.items.iter().map(MemberBody::from));
        after = page.next(|member| member.account);
        if after.is_none() || members.len() >= args.limit as usize {
            break;
        }
    }
    members.truncate(args.limit as usize);
    services.health.close().await;
    output.list(&members, &["name", "roles", "since", "id"], |member| {
        let roles = member.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        vec![member.display_name.clone(), roles, member.since.to_string(), member.id.to_string()]
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
