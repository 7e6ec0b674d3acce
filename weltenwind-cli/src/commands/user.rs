//! `weltenwind user`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use weltenwind_core::{
    AccountId, Actor, Limit, Scope, Services,
    accounts::{AccountError, AccountQuery},
    privacy::{ErasurePlan, ErasureQuery},
    wire::{ErasureBody, GrantBody, UserBody},
};

use super::{account, session::held};
use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List the accounts, oldest first.
    List(ListArgs),
    /// Show an account, and how much is held on it.
    Show(ShowArgs),
    /// Write everything that is held on an account as one JSON document.
    Export(ExportArgs),
    /// Erase an account for good, with everything that belongs to it.
    Erase(EraseArgs),
    /// List the accounts that were erased, or erase them again after an older backup was restored.
    Erasures(ErasuresArgs),
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
pub(crate) struct ShowArgs {
    /// The account's username or id.
    user: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The account's username or id.
    user: String,
    /// The file to write; stdout if it is not named.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct EraseArgs {
    /// The account's username or id.
    user: String,
    /// Say what would go, and erase nothing.
    #[arg(long)]
    dry_run: bool,
    /// Erase it without asking back.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ErasuresArgs {
    /// Erase again whom this ledger names: what `user erasures --json` has written before.
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,
    /// Say who would be erased again, and erase nobody.
    #[arg(long, requires = "apply")]
    dry_run: bool,
    /// Erase them without asking back.
    #[arg(long, requires = "apply")]
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
        UserCommand::Show(args) => show(&args.user, &services, output).await?,
        UserCommand::Export(args) => export(args, &services).await?,
        UserCommand::Erase(args) => erase(args, &services, output).await?,
        UserCommand::Erasures(args) => erasures(args, &services, output).await?,
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

/// An account, and how much is held on it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    user: UserBody,
    /// Sessions, ended ones too.
    sessions: usize,
    /// Devices, signed out ones too.
    devices: usize,
    /// Roles that it holds.
    roles: Vec<GrantBody>,
    /// API keys that it made and that hold; they stay when it is erased.
    api_keys: usize,
    /// Messages that it wrote.
    messages: u64,
    /// The scopes whose last owner it is, and as which it cannot be erased.
    last_owner_of: Vec<Scope>,
}

impl From<&ErasurePlan> for Shown {
    fn from(plan: &ErasurePlan) -> Self {
        let ErasurePlan { holdings, messages, last_owner_of } = plan;
        let held = holdings.grants.iter().filter(|held| held.revoked_at.is_none());
        Self {
            user: UserBody::from(&holdings.account),
            sessions: holdings.sessions.len(),
            devices: holdings.devices.len(),
            roles: held.map(|held| GrantBody::from(&held.grant)).collect(),
            api_keys: holdings.keys.len(),
            messages: *messages,
            last_owner_of: last_owner_of.clone(),
        }
    }
}

impl Shown {
    fn lines(&self) -> String {
        let Self { user, sessions, devices, roles, api_keys, messages, last_owner_of } = self;
        let mut lines = vec![
            format!("id          {}", user.id),
            format!("kind        {}", user.kind.as_str()),
            format!("name        {}", user.display_name),
            format!("since       {}", user.created_at),
        ];
        lines.extend(user.username.iter().map(|username| format!("username    {username}")));
        lines.extend(user.email.iter().map(|email| format!("email       {email}")));
        lines.extend(roles.iter().map(|grant| format!("role        {} in {}", grant.role, grant.scope)));
        lines.push(format!("sessions    {sessions} on {devices} devices"));
        lines.push(format!("messages    {messages}"));
        lines.push(format!("API keys    {api_keys}"));
        lines.extend(last_owner_of.iter().map(|scope| format!("last owner  {scope}")));
        lines.join("\n")
    }
}

async fn show(user: &str, services: &Services, output: Output) -> Result<(), Failure> {
    let plan = services.privacy.plan(&Actor::operator(), account(services, user).await?).await?;
    output.value(&Shown::from(&plan), Shown::lines)
}

async fn export(args: ExportArgs, services: &Services) -> Result<(), Failure> {
    let of = account(services, &args.user).await?;
    let mut export = services.privacy.export_of(&Actor::operator(), of).await?;
    let unwritten = |error| Failure::failed(format!("cannot write the export: {error}"));
    let mut to: Box<dyn Write + Send> = match &args.out {
        Some(file) => Box::new(BufWriter::new(File::create(file).map_err(unwritten)?)),
        None => Box::new(std::io::stdout()),
    };
    while let Some(piece) = export.next().await? {
        to.write_all(&piece).map_err(unwritten)?;
    }
    to.write_all(b"\n").and_then(|()| to.flush()).map_err(unwritten)
}

async fn erase(args: EraseArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let operator = Actor::operator();
    let of = account(services, &args.user).await?;
    if args.dry_run {
        let plan = services.privacy.plan(&operator, of).await?;
        return output.value(&Shown::from(&plan), |shown| format!("would erase\n{}", shown.lines()));
    }
    if !args.yes {
        let failure = Failure::usage("an account that is erased does not come back");
        return Err(failure.hint("say --yes to erase it, or --dry-run to see what would go"));
    }
    let erased = services.privacy.erase(&operator, of).await?;
    output.value(&ErasureBody::from(&erased), |erased| format!("erased {}", erased.account_id))
}

/// What became of a ledger.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    /// Lines of the ledger.
    entries: usize,
    /// Accounts that were there again, and were erased.
    erased: usize,
}

async fn erasures(args: ErasuresArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let operator = Actor::operator();
    let Some(file) = &args.apply else {
        let mut query = ErasureQuery { limit: Limit::MAX, ..ErasureQuery::default() };
        let mut listed: Vec<ErasureBody> = Vec::new();
        loop {
            let page = services.privacy.erasures(&operator, &query).await?;
            listed.extend(page.items.iter().map(ErasureBody::from));
            query.after = page.next(|erasure| erasure.account);
            if query.after.is_none() {
                break;
            }
        }
        return output.list(&listed, &["account", "erased", "by"], |erasure| {
            let by = erasure.erased_by.map_or_else(|| "operator".to_owned(), |by| by.to_string());
            vec![erasure.account_id.to_string(), erasure.erased_at.to_string(), by]
        });
    };
    if !args.yes && !args.dry_run {
        let failure = Failure::usage("accounts that are erased do not come back");
        return Err(failure.hint("say --yes to erase them again, or --dry-run to see how many there are"));
    }
    let unread = |error: &dyn std::fmt::Display| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let text = std::fs::read(file).map_err(|error| unread(&error))?;
    let entries: Vec<ErasureBody> = serde_json::from_slice(&text)
        .map_err(|error| unread(&error).hint("it takes what `weltenwind user erasures --json` has written"))?;
    let mut applied = Applied { entries: entries.len(), erased: 0 };
    for entry in entries {
        applied.erased += usize::from(is_there(services, entry.account_id).await?);
        if !args.dry_run {
            services.privacy.erase_again(&operator, &entry.into()).await?;
        }
    }
    let verb = if args.dry_run { "would erase" } else { "erased" };
    output
        .value(&applied, |Applied { entries, erased }| format!("{verb} {erased} accounts again, of {entries} entries"))
}

async fn is_there(services: &Services, id: AccountId) -> Result<bool, Failure> {
    match services.accounts.find(id).await {
        Ok(_) => Ok(true),
        Err(AccountError::NotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
