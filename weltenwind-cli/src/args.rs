//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    admin::AdminCommand, announce::AnnounceCommand, bench::BenchCommand, config::ConfigCommand, grant::GrantCommand,
    key::KeyCommand, mail::MailCommand, outbox::OutboxCommand, session::SessionCommand, user::UserCommand,
    world::WorldCommand,
};

/// Gives game worlds a community: world pages, chat and more, from one binary.
///
/// Without a command it serves: on the embedded store if nothing else is configured.
#[derive(Debug, Parser)]
#[command(name = "weltenwind", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 not found, 4 conflict, 5 not allowed, \
                          6 findings, 75 try again later.";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Read this file instead of weltenwind.toml in the working directory.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set a configuration value, above file and environment: --set http.listen=0.0.0.0:8080.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print one JSON document on stdout instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What `serve` takes.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Listen on this address: http.listen.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Keep data here: storage.url.
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Leave an empty store empty: no welcome world.
    #[arg(long)]
    pub(crate) no_welcome: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve HTTP and WebSocket (the default).
    Serve(ServeArgs),
    /// Do jobs and nothing else, beside processes that serve.
    Worker,
    /// Bring the store's schema up to date.
    Migrate,
    /// Make admins.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// List, show, export and erase accounts, and help whoever has lost their second factor.
    #[command(subcommand)]
    User(UserCommand),
    /// List and end sessions.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Give, take and list roles.
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Make, list and delete the API keys of game servers, and replace the server's own keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make and list worlds.
    #[command(subcommand)]
    World(WorldCommand),
    /// Tell everybody, a world, or whoever holds a role, and take it back.
    #[command(subcommand)]
    Announce(AnnounceCommand),
    /// Send a test letter, and show what has become of one.
    #[command(subcommand)]
    Mail(MailCommand),
    /// List the jobs, say why one does not run, and do dead ones again.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Show and check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure how fast this machine and store are.
    #[command(subcommand)]
    Bench(BenchCommand),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
