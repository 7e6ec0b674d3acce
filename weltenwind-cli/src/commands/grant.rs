//! `weltenwind grant`.

use clap::{Args, Subcommand};
use weltenwind_core::{
    Actor, GrantId, Limit, Scope, Services, Timestamp,
    access::{GrantDraft, GrantQuery, Role},
    wire::GrantBody,
};

use super::account;
use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    /// List who holds which role where.
    List(ListArgs),
    /// Give a role.
    Add(AddArgs),
    /// Take a role.
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only roles of this account: its username or id.
    #[arg(long)]
    user: Option<String>,
    /// Only roles in this scope: `global`, `world:<id>` or `group:<id>`.
    #[arg(long)]
    scope: Option<Scope>,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Who gets the role: a username or id.
    user: String,
    /// The role: owner, admin, moderator, `world_admin`, …
    role: Role,
    /// Where it holds: `global`, `world:<id>` or `group:<id>`.
    #[arg(long, default_value = "global")]
    scope: Scope,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// When it ends by itself, as in 2027-01-31T18:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The grant's id, as `grant list` shows it.
    id: GrantId,
    /// Say what would be taken, and take nothing.
    #[arg(long)]
    dry_run: bool,
    /// Take it without asking back.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(command: GrantCommand, config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    match command {
        GrantCommand::List(args) => list(args, &services, output).await?,
        GrantCommand::Add(args) => add(args, &services, output).await?,
        GrantCommand::Remove(args) => remove(args, &services, output).await?,
    }
    services.health.close().await;
    Ok(())
}

async fn list(args: ListArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let account = match args.user {
        Some(user) => Some(account(services, &user).await?),
        None => None,
    };
    let mut query = GrantQuery { account, scope: args.scope, after: None, limit: Limit::MAX };
    let mut grants: Vec<GrantBody> = Vec::new();
    loop {
        let page = services.grants.list(&Actor::operator(), &query).await?;
        grants.extend(page.items.iter().map(GrantBody::from));
        query.after = page.next(|grant| grant.id);
        if query.after.is_none() {
            break;
        }
    }
    output.list(&grants, &["role", "scope", "user", "expires", "id"], |grant| {
        let expires = grant.expires_at.map(|end| end.to_string()).unwrap_or_default();
        vec![grant.role.to_string(), grant.scope.to_string(), grant.user_id.to_string(), expires, grant.id.to_string()]
    })
}

async fn add(args: AddArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let AddArgs { user, role, scope, reason, expires_at } = args;
    let account = account(services, &user).await?;
    let draft = GrantDraft { account, role, scope, reason, expires_at };
    let grant = services.grants.give(&Actor::operator(), draft).await?;
    output.value(&GrantBody::from(&grant), |grant| {
        format!("{user} is {} in {} (grant {})", grant.role, grant.scope, grant.id)
    })
}

async fn remove(args: RemoveArgs, services: &Services, output: Output) -> Result<(), Failure> {
    if !args.yes && !args.dry_run {
        let failure = Failure::usage("taking a role cannot be undone by itself");
        return Err(failure.hint("say --yes to take it, or --dry-run to see what would be taken"));
    }
    let operator = Actor::operator();
    if args.dry_run {
        let grant = services.grants.find(&operator, args.id).await?;
        return output.value(&GrantBody::from(&grant), |grant| {
            format!("would take {} in {} from {}", grant.role, grant.scope, grant.user_id)
        });
    }
    let grant = services.grants.take(&operator, args.id).await?;
    output.value(&GrantBody::from(&grant), |grant| {
        format!("took {} in {} from {}", grant.role, grant.scope, grant.user_id)
    })
}
