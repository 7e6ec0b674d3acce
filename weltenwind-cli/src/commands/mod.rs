//! One file a command group; here they are told apart.

pub(crate) mod admin;
pub(crate) mod announce;
pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod grant;
pub(crate) mod key;
pub(crate) mod mail;
mod migrate;
pub(crate) mod outbox;
pub(crate) mod session;
pub(crate) mod user;
pub(crate) mod world;

use weltenwind_core::{
    AccountId, Services,
    accounts::{AccountError, Username},
};

use crate::{
    args::{Cli, Command},
    config::Layers,
    failure::{Exit, Failure},
    output::Output,
    serve, worker,
};

pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let output = Output::new(cli.global.json);
    let layers = Layers::new(&cli.global);
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(layers.with_serve_args(&args).load()?, args.no_welcome).await,
        Command::Worker => worker::run(layers.load()?).await,
        Command::Migrate => migrate::run(&layers.load()?, output).await,
        Command::Admin(command) => admin::run(command, &layers.load()?, output).await,
        Command::User(command) => user::run(command, &layers.load()?, output).await,
        Command::Session(command) => session::run(command, &layers.load()?, output).await,
        Command::Grant(command) => grant::run(command, &layers.load()?, output).await,
        Command::Key(command) => key::run(command, &layers.load()?, output).await,
        Command::Outbox(command) => outbox::run(command, &layers.load()?, output).await,
        Command::World(command) => world::run(command, &layers.load()?, output).await,
        Command::Mail(command) => mail::run(command, &layers.load()?, output).await,
        Command::Announce(command) => announce::run(command, &layers.load()?, output).await,
        Command::Bench(command) => bench::run(command, &layers.load()?, output).await,
        Command::Config(command) => config::run(command, &layers, output),
    }
}

/// Finds an account by id or username.
async fn account(services: &Services, user: &str) -> Result<AccountId, Failure> {
    if let Ok(id) = user.parse() {
        return Ok(services.accounts.find(id).await?.id);
    }
    let username = Username::new(user)?;
    match services.accounts.find_by_username(&username).await {
        Ok(account) => Ok(account.id),
        Err(AccountError::NotFound) => {
            let missing = Failure::new(Exit::NotFound, format!("nobody is called {username}"));
            Err(missing.hint("`weltenwind user list` shows who there is"))
        }
        Err(error) => Err(error.into()),
    }
}
