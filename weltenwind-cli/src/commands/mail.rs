//! `weltenwind mail`.

use clap::{Args, Subcommand};
use serde_json::json;
use weltenwind_core::{
    Actor, DedupeKey, MailId,
    accounts::Email,
    mail::{Letter, MailDraft, MailIntent, MailLocale},
};

use crate::{
    config::Config,
    failure::{Exit, Failure},
    output::Output,
    store,
};

#[derive(Debug, Subcommand)]
pub(crate) enum MailCommand {
    /// Send a letter to see whether mail arrives.
    Test(TestArgs),
    /// Show what has become of a letter.
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Where to.
    to: Email,
    /// In which language: de or en.
    #[arg(long, default_value = "en", value_parser = ["de", "en"])]
    locale: String,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The letter.
    id: MailId,
}

pub(crate) async fn run(command: MailCommand, config: &Config, output: Output) -> Result<(), Failure> {
    match command {
        MailCommand::Test(args) => test(args, config, output).await,
        MailCommand::Show(args) => show(&args, config, output).await,
    }
}

async fn test(args: TestArgs, config: &Config, output: Output) -> Result<(), Failure> {
    if !config.mail.is_set() {
        return Err(Failure::usage("no mail server is configured").hint("set mail.url, and mail.from beside it"));
    }
    let services = store::services(config, &config.public_url()).await?;
    let dedupe_key = DedupeKey::new(&services.sources.ids.draw().to_string())?;
    let locale = MailLocale::of(Some(&args.locale));
    let draft = MailDraft { dedupe_key, account: None, to: args.to, locale, letter: Letter::Test };
    let queued = services.mail.send(&Actor::operator(), &services.outbox, draft).await?;
    services.health.close().await;
    tell(&queued.intent, output)
}

async fn show(args: &ShowArgs, config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    let intent = services.mail.find(args.id).await?;
    services.health.close().await;
    let intent = intent.ok_or_else(|| Failure::new(Exit::NotFound, "there is no such letter"))?;
    tell(&intent, output)
}

fn tell(intent: &MailIntent, output: Output) -> Result<(), Failure> {
    let MailIntent { id, to, state, attempts, error, .. } = intent;
    let shown = json!({ "id": id, "to": to.as_str(), "state": state.as_str(), "attempts": attempts, "error": error });
    output.value(&shown, |_| {
        let why = error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
        format!("{id} to {to} is {} after {attempts} attempts{why}", state.as_str())
    })
}
