//! `weltenwind session`.

use clap::{Args, Subcommand};
use serde::Serialize;
use weltenwind_core::{
    AccountId, Actor, Limit, Services, SessionId,
    wire::{EndedBody, SessionEntryBody},
};

use super::account;
use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions that hold, youngest first.
    List(ListArgs),
    /// End a session, or all of an account, with their sockets.
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only sessions of this account: its username or id.
    #[arg(long)]
    user: Option<String>,
    /// Sessions to list at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The session's id, as `session list` shows it.
    #[arg(required_unless_present = "user")]
    id: Option<SessionId>,
    /// Every session of this account: its username or id.
    #[arg(long, conflicts_with = "id")]
    user: Option<String>,
    /// Say what would be ended, and end nothing.
    #[arg(long)]
    dry_run: bool,
    /// End it without asking back.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(command: SessionCommand, config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    match command {
        SessionCommand::List(args) => list(args, &services, output).await?,
        SessionCommand::Revoke(args) => revoke(args, &services, output).await?,
    }
    services.health.close().await;
    Ok(())
}

/// A session with the name of whose it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    #[serde(flatten)]
    session: SessionEntryBody,
    /// The username, or a guest's name.
    user: String,
}

async fn list(args: ListArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let of = match args.user {
        Some(user) => Some(account(services, &user).await?),
        None => None,
    };
    let listed = held(services, of, args.limit as usize).await?;
    output.list(&listed, &["user", "device", "last seen", "since", "id"], |Listed { session, user }| {
        let SessionEntryBody { id, device, created_at, .. } = session;
        let name = device.name.clone().unwrap_or_default();
        vec![user.clone(), name, device.last_seen.to_string(), created_at.to_string(), id.to_string()]
    })
}

/// Reads so many sessions that hold.
pub(super) async fn held(services: &Services, of: Option<AccountId>, limit: usize) -> Result<Vec<Listed>, Failure> {
    let (mut listed, mut after) = (Vec::new(), None);
    while listed.len() < limit {
        let page = services.accounts.sessions(&Actor::operator(), of, after, Limit::MAX).await?;
        listed.extend(page.items.iter().map(|entry| {
            let username = entry.account.username.as_ref().map(ToString::to_string);
            let user = username.unwrap_or_else(|| entry.account.display_name.to_string());
            Listed { session: SessionEntryBody::of(entry, None), user }
        }));
        after = page.next(|entry| entry.session.id);
        if after.is_none() {
            break;
        }
    }
    listed.truncate(limit);
    Ok(listed)
}

async fn revoke(args: RevokeArgs, services: &Services, output: Output) -> Result<(), Failure> {
    if !args.yes && !args.dry_run {
        let failure = Failure::usage("whoever is signed out has to sign in again");
        return Err(failure.hint("say --yes to end it, or --dry-run to see what would be ended"));
    }
    let operator = Actor::operator();
    let ended = match (args.id, args.user) {
        (Some(id), _) => {
            services.accounts.find_session(&operator, id).await?;
            if !args.dry_run {
                services.accounts.end_session(&operator, id).await?;
            }
            1
        }
        (None, Some(user)) => {
            let of = account(services, &user).await?;
            if args.dry_run {
                held(services, Some(of), usize::MAX).await?.len() as u64
            } else {
                services.accounts.end_sessions_of(&operator, of).await?
            }
        }
        (None, None) => return Err(Failure::usage("name a session, or an account with --user")),
    };
    let verb = if args.dry_run { "would end" } else { "ended" };
    let sessions = if ended == 1 { "session" } else { "sessions" };
    output.value(&EndedBody { ended }, |EndedBody { ended }| format!("{verb} {ended} {sessions}"))
}
