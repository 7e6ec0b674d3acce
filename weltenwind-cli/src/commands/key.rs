//! `weltenwind key`: the API keys of game servers, and the installation's own keys.

use clap::{Args, Subcommand};
use serde::Serialize;
use weltenwind_core::{
    Actor, ApiKeyId, Limit, Scope, Services, Timestamp,
    access::{
        Permission,
        keys::{ApiKeyDraft, ApiKeyName, ApiKeyQuery},
    },
    accounts::{KeyEntry, KeyPurpose, KeyState, Rotated, Urgency},
    wire::ApiKeyBody,
};

use crate::{
    config::Config,
    failure::{Exit, Failure},
    output::Output,
    store,
};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key for a game server or bot; its secret is shown once.
    Create(CreateArgs),
    /// List the keys, without their secrets.
    List(ListArgs),
    /// Delete a key: it holds no longer.
    Revoke(RevokeArgs),
    /// Replace the keys that sign access tokens and seal cursors; nobody is signed out.
    ///
    /// These are the installation's own keys, and not those of game servers. Running servers read the new ones by themselves
    /// and use them two minutes later; the old signing key holds until its tokens have run out.
    Rotate(RotateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The signing keys are in foreign hands: delete them at once. Every access token ends within seconds; whoever is signed
    /// in gets another one by its refresh token.
    #[arg(long)]
    compromised: bool,
    /// Show the keys that there are, and replace none.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What it is for, up to 32 characters; the name under which it writes.
    name: ApiKeyName,
    /// What it may do: `chat.read`, `chat.post`, …; several with commas between them.
    #[arg(long = "permission", value_name = "PERMISSION", required = true, value_delimiter = ',')]
    permissions: Vec<Permission>,
    /// What it reaches at most: `global`, `world:<id>` or `group:<id>`.
    #[arg(long, default_value = "global")]
    scope: Scope,
    /// When it ends by itself, as in 2027-01-31T18:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only keys of this scope: `global`, `world:<id>` or `group:<id>`.
    #[arg(long)]
    scope: Option<Scope>,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The key's id, as `key list` shows it.
    id: ApiKeyId,
    /// Say what would be deleted, and delete nothing.
    #[arg(long)]
    dry_run: bool,
    /// Delete it without asking back.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(command: KeyCommand, config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    match command {
        KeyCommand::Create(args) => create(args, &services, output).await?,
        KeyCommand::List(args) => list(&args, &services, output).await?,
        KeyCommand::Revoke(args) => revoke(&args, &services, output).await?,
        KeyCommand::Rotate(args) => rotate(&args, &services, output).await?,
    }
    services.health.close().await;
    Ok(())
}

async fn create(args: CreateArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let CreateArgs { name, permissions, scope, expires_at } = args;
    let draft = ApiKeyDraft { name, scope, permissions: permissions.into_iter().collect(), expires_at };
    let made = services.api_keys.make(&Actor::operator(), draft).await?;
    output.value(&ApiKeyBody::from(&made), |key| {
        let secret = key.secret.as_deref().unwrap_or_default();
        format!("{secret}\n\nThis is key {} for {}. It is not shown again.", key.id, key.name)
    })
}

async fn list(args: &ListArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let mut query = ApiKeyQuery { scope: args.scope, after: None, limit: Limit::MAX };
    let mut keys: Vec<ApiKeyBody> = Vec::new();
    loop {
        let page = services.api_keys.list(&Actor::operator(), &query).await?;
        keys.extend(page.items.iter().map(ApiKeyBody::from));
        query.after = page.next(|key| key.id);
        if query.after.is_none() {
            break;
        }
    }
    output.list(&keys, &["name", "scope", "permissions", "used", "expires", "id"], |key| {
        let permissions = key.permissions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let used = key.last_used_at.map(|at| at.to_string()).unwrap_or_default();
        let expires = key.expires_at.map(|end| end.to_string()).unwrap_or_default();
        vec![key.name.clone(), key.scope.to_string(), permissions, used, expires, key.id.to_string()]
    })
}

async fn revoke(args: &RevokeArgs, services: &Services, output: Output) -> Result<(), Failure> {
    if !args.yes && !args.dry_run {
        let failure = Failure::usage("a key that was deleted cannot be had back");
        return Err(failure.hint("say --yes to delete it, or --dry-run to see what would be deleted"));
    }
    let operator = Actor::operator();
    if args.dry_run {
        let key = services.api_keys.find(&operator, args.id).await?;
        return output.value(&ApiKeyBody::from(&key), |key| format!("would delete {} in {}", key.name, key.scope));
    }
    let key = services.api_keys.delete(&operator, args.id).await?;
    output.value(&ApiKeyBody::from(&key), |key| format!("deleted {} in {}", key.name, key.scope))
}

/// A key of the installation, without its secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerKey {
    purpose: &'static str,
    state: &'static str,
    created_at: Timestamp,
    id: String,
}

impl From<KeyEntry> for ServerKey {
    fn from(KeyEntry { id, purpose, state, created_at }: KeyEntry) -> Self {
        let purpose = match purpose {
            KeyPurpose::Signing => "signing",
            KeyPurpose::Root => "root",
        };
        let state = match state {
            KeyState::Announced => "announced",
            KeyState::Used => "used",
            KeyState::Former => "former",
        };
        Self { purpose, state, created_at, id }
    }
}

async fn rotate(args: &RotateArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let operator = Actor::operator();
    let keys = if args.dry_run {
        services.accounts.keys(&operator).await?
    } else {
        let urgency = if args.compromised { Urgency::Compromised } else { Urgency::Routine };
        match services.accounts.rotate_keys(&operator, urgency).await? {
            Rotated::Done(keys) => keys,
            Rotated::TooSoon(until) => {
                let failure = "tokens under the signing key before the last may still hold";
                return Err(Failure::new(Exit::Conflict, failure)
                    .hint(format!("come back at {until}; --compromised ends those tokens now, and signs nobody out")));
            }
        }
    };
    let keys: Vec<ServerKey> = keys.into_iter().map(ServerKey::from).collect();
    output.list(&keys, &["purpose", "state", "since", "id"], |key| {
        vec![key.purpose.to_owned(), key.state.to_owned(), key.created_at.to_string(), key.id.clone()]
    })
}
