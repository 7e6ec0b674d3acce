//! `weltenwind announce`.

use clap::{Args, Subcommand};
use weltenwind_core::{
    Actor, AnnouncementId, DedupeKey, Limit, Scope, Services, Timestamp, WorldId,
    access::Role,
    announcements::{
        AnnouncementAmendment, AnnouncementDraft, AnnouncementSearch, AnnouncementState, AnnouncementText, Audience,
        Title,
    },
    wire::AnnouncementBody,
    worlds::WorldRef,
};

use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum AnnounceCommand {
    /// List announcements, newest first: those of the whole installation, or of a world.
    List(ListArgs),
    /// Tell everybody something, or the members of a world, or whoever holds a role.
    Publish(PublishArgs),
    /// Change what an announcement says, or when it begins and ends.
    Amend(AmendArgs),
    /// Take an announcement back: it is gone for everybody.
    Withdraw(WithdrawArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The world, by slug or id, whose announcements to list.
    #[arg(long)]
    world: Option<WorldRef>,
    /// Only those with all of these words.
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Those that are visible now, or will be, or were: published, scheduled or expired.
    #[arg(long, default_value = "published", value_parser = ["published", "scheduled", "expired"])]
    state: String,
    /// Announcements to list at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// What it is called: up to 120 characters.
    title: String,
    /// What it says: up to 4000 characters.
    body: String,
    /// Tell the members of this world, by slug or id.
    #[arg(long)]
    world: Option<WorldRef>,
    /// Tell only those who hold this role there.
    #[arg(long)]
    role: Option<Role>,
    /// When it becomes visible, as 2026-12-24T18:00:00Z; at once if absent.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// When it ends.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// A name under which it is published once: a repeat shows the first one.
    #[arg(long, value_name = "KEY")]
    dedupe_key: Option<DedupeKey>,
    /// Say what would be published, and publish nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AmendArgs {
    /// The announcement.
    id: AnnouncementId,
    /// What it is called from now on.
    #[arg(long)]
    title: Option<String>,
    /// What it says from now on.
    #[arg(long)]
    body: Option<String>,
    /// When it becomes visible instead; only as long as it is not.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// When it ends instead.
    #[arg(long, value_name = "TIME", conflicts_with = "forever")]
    until: Option<Timestamp>,
    /// It does not end.
    #[arg(long)]
    forever: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// The announcement.
    id: AnnouncementId,
    /// Say which one would be withdrawn, and withdraw none.
    #[arg(long)]
    dry_run: bool,
    /// Withdraw it without asking back.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(command: AnnounceCommand, config: &Config, output: Output) -> Result<(), Failure> {
    match command {
        AnnounceCommand::List(args) => list(args, config, output).await,
        AnnounceCommand::Publish(args) => publish(args, config, output).await,
        AnnounceCommand::Amend(args) => amend(args, config, output).await,
        AnnounceCommand::Withdraw(args) => withdraw(args, config, output).await,
    }
}

async fn list(args: ListArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    let scope = world(&services, args.world.as_ref()).await?.map_or(Scope::Global, Scope::World);
    let state = args.state.parse::<AnnouncementState>().map_err(|error| Failure::usage(error.to_string()))?;
    let mut search =
        AnnouncementSearch { state, text: args.search, limit: Limit::MAX, ..AnnouncementSearch::of(scope) };
    let mut announcements: Vec<AnnouncementBody> = Vec::new();
    loop {
        let page = services.announcements.list(&Actor::operator(), search.clone()).await?;
        announcements.extend(page.items.iter().map(AnnouncementBody::from));
        search.after = page.next;
        if search.after.is_none() || announcements.len() >= args.limit as usize {
            break;
        }
    }
    announcements.truncate(args.limit as usize);
    services.health.close().await;
    output.list(&announcements, &["title", "audience", "from", "until", "id"], |announcement| {
        let until = announcement.expires_at.map_or_else(|| "–".to_owned(), |end| end.to_string());
        let from = announcement.publish_at.to_string();
        vec![announcement.title.clone(), audience(announcement), from, until, announcement.id.to_string()]
    })
}

/// Names an audience in a word or two.
fn audience(announcement: &AnnouncementBody) -> String {
    match announcement.audience.role {
        Some(role) => role.to_string(),
        None => announcement.audience.kind.to_string(),
    }
}

async fn publish(args: PublishArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let (title, body) = (Title::new(&args.title)?, AnnouncementText::new(&args.body)?);
    let services = store::services(config, &config.public_url()).await?;
    let scope = world(&services, args.world.as_ref()).await?.map_or(Scope::Global, Scope::World);
    let audience = match args.role {
        Some(role) => Audience::role(role, scope)?,
        None => Audience::of(scope),
    };
    if args.dry_run {
        services.health.close().await;
        let whom = args.role.map_or_else(|| format!("everybody in {scope}"), |role| format!("every {role} in {scope}"));
        return output.value(&serde_json::json!({ "title": title.as_str(), "audience": whom }), |_| {
            format!("would tell {whom}: {title}")
        });
    }
    let draft = AnnouncementDraft {
        audience,
        title,
        body,
        publish_at: args.at,
        expires_at: args.until,
        dedupe_key: args.dedupe_key,
    };
    let published = services.announcements.publish(&Actor::operator(), draft).await?;
    services.health.close().await;
    output.value(&AnnouncementBody::from(&published.announcement), |announcement| {
        let verb = if published.is_new { "published" } else { "published before" };
        format!("{verb}: {} ({}), visible from {}", announcement.title, announcement.id, announcement.publish_at)
    })
}

async fn amend(args: AmendArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let amendment = AnnouncementAmendment {
        title: args.title.as_deref().map(Title::new).transpose()?,
        body: args.body.as_deref().map(AnnouncementText::new).transpose()?,
        publish_at: args.at,
        expires_at: if args.forever { Some(None) } else { args.until.map(Some) },
    };
    if amendment == AnnouncementAmendment::default() {
        return Err(Failure::usage("nothing is to be changed").hint("say what: --title, --body, --at, --until, …"));
    }
    let services = store::services(config, &config.public_url()).await?;
    let operator = Actor::operator();
    let before = services.announcements.find(&operator, args.id).await?;
    let announcement = services.announcements.amend(&operator, args.id, Some(before.revision), amendment).await?;
    services.health.close().await;
    output.value(&AnnouncementBody::from(&announcement), |announcement| format!("changed: {}", announcement.title))
}

async fn withdraw(args: WithdrawArgs, config: &Config, output: Output) -> Result<(), Failure> {
    if !args.yes && !args.dry_run {
        let failure = Failure::usage("an announcement that is withdrawn is gone for everybody");
        return Err(failure.hint("say --yes to withdraw it, or --dry-run to see which one it is"));
    }
    let services = store::services(config, &config.public_url()).await?;
    let operator = Actor::operator();
    let before = services.announcements.find(&operator, args.id).await?;
    let (announcement, verb) = if args.dry_run {
        (before, "would withdraw")
    } else {
        (services.announcements.withdraw(&operator, args.id, Some(before.revision)).await?, "withdrawn")
    };
    services.health.close().await;
    output.value(&AnnouncementBody::from(&announcement), |announcement| format!("{verb}: {}", announcement.title))
}

async fn world(services: &Services, reference: Option<&WorldRef>) -> Result<Option<WorldId>, Failure> {
    match reference {
        Some(reference) => Ok(Some(services.worlds.resolve(&Actor::operator(), reference).await?.world.id)),
        None => Ok(None),
    }
}
