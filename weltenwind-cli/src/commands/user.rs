//! `weltenwind user`.

use clap::{Args, Subcommand};
use weltenwind_core::{Actor, Limit, accounts::AccountQuery, wire::UserBody};

use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List the accounts, oldest first.
    List(ListArgs),
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
    let UserCommand::List(args) = command;
    let services = store::services(config, &config.public_url()).await?;
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
    services.health.close().await;
    output.list(&users, &["username", "name", "kind", "since", "id"], |user| {
        let (kind, since) = (user.kind.as_str().to_owned(), user.created_at.to_string());
        vec![user.username.clone().unwrap_or_default(), user.display_name.clone(), kind, since, user.id.to_string()]
    })
}
