//! `weltenwind user`.

use clap::{Args, Subcommand};
use serde::Serialize;
use weltenwind_core::{
    AccountId, Actor, Limit, Services,
    accounts::{AccountError, AccountQuery},
    wire::UserBody,
};

use super::{account, session::held};
use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List the accounts, oldest first.
    List(ListArgs),
    /// Help whoever has lost their second factor.
    #[command(subcommand)]
    TwoFactor(TwoFactorCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TwoFactorCommand {
    /// Take the second factor of an account away, and end all of its sessions.
    Disable(DisableArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DisableArgs {
    /// The account: its username or id.
    user: String,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking back.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only accounts whose username contains this.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Accounts to list at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(crate) async fn run(command: UserCommand, config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    match command {
        UserCommand::List(args) => list(args, &services, output).await?,
        UserCommand::TwoFactor(TwoFactorCommand::Disable(args)) => disable(args, &services, output).await?,
    }
    services.health.close().await;
    Ok(())
}

async fn list(args: ListArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let mut query = AccountQuery { text: args.search, limit: Limit::MAX, ..AccountQuery::default() };
    let mut users: Vec<UserBody> = Vec::new();
    while users.len() < args.limit as usize {
        let page = services.accounts.list(&Actor::operator(), &query).await?;
        users.extend(page.items.iter().map(UserBody::from));
        query.after = page.next(|account| account.id);
        if query.after.is_none() {
            break;
        }
    }
    users.truncate(args.limit as usize);
    output.list(&users, &["username", "name", "kind", "since", "id"], |user| {
        let (kind, since) = (user.kind.as_str().to_owned(), user.created_at.to_string());
        vec![user.username.clone().unwrap_or_default(), user.display_name.clone(), kind, since, user.id.to_string()]
    })
}

/// What was taken from whom.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Disabled {
    user_id: AccountId,
    /// Sessions that held before.
    sessions_ended: u64,
}

async fn disable(args: DisableArgs, services: &Services, output: Output) -> Result<(), Failure> {
    if !args.yes && !args.dry_run {
        let failure = Failure::usage("the password alone signs in from then on, and every session ends");
        return Err(failure.hint("make sure who asks; then say --yes, or --dry-run to see what would be done"));
    }
    let operator = Actor::operator();
    let user_id = account(services, &args.user).await?;
    let sessions_ended = if !args.dry_run {
        services.accounts.remove_two_factor(&operator, user_id).await?
    } else if services.accounts.has_two_factor(&operator, user_id).await? {
        held(services, Some(user_id), usize::MAX).await?.len() as u64
    } else {
        return Err(AccountError::TwoFactorNotEnabled.into());
    };
    let verb = if args.dry_run { "would take" } else { "took" };
    output.value(&Disabled { user_id, sessions_ended }, |Disabled { sessions_ended, .. }| {
        let sessions = if *sessions_ended == 1 { "session" } else { "sessions" };
        format!("{verb} the second factor of {} away, with {sessions_ended} {sessions}", args.user)
    })
}
