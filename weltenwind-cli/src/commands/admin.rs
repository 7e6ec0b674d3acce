//! `weltenwind admin`.

use clap::Subcommand;
use serde::Serialize;
use weltenwind_core::{Actor, wire::WireTime};

use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Print a link that makes one global owner, once, within 15 minutes.
    ///
    /// Whoever can run this holds the store, and with it everything in it: there is no default account, and a lost one is
    /// replaced this way.
    Bootstrap,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BootstrapLink {
    url: String,
    token: String,
    expires_at: WireTime,
}

pub(crate) async fn run(command: AdminCommand, config: &Config, output: Output) -> Result<(), Failure> {
    match command {
        AdminCommand::Bootstrap => bootstrap(config, output).await,
    }
}

async fn bootstrap(config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    let ticket = services.accounts.issue_bootstrap(&Actor::operator()).await?;
    let token = ticket.token.expose().clone();
    let link = BootstrapLink {
        // A fragment is not sent to any server, so the token stands in no log.
        url: format!("{}/#bootstrap={token}", config.public_url()),
        token,
        expires_at: ticket.expires_at.into(),
    };
    services.health.close().await;
    output.value(&link, |link| format!("Open this within 15 minutes to become the owner:\n{}", link.url))
}
