//! The configured store and the services over it.

use weltenwind_core::{ServiceConfig, Services, Sources, accounts::AccountsConfig, chat::AppendConfig};
use weltenwind_storage::OpenError;

use crate::{
    config::Config,
    failure::{Exit, Failure},
};

/// Opens the store and wires the services, for the installation that is reached at `public_url`.
pub(crate) async fn services(config: &Config, public_url: &str) -> Result<Services, Failure> {
    let stores = weltenwind_storage::open(&config.storage).await.map_err(unopened)?;
    Ok(Services::start(stores, service_config(config, public_url), Sources::default()).await?)
}

fn service_config(config: &Config, public_url: &str) -> ServiceConfig {
    ServiceConfig {
        accounts: AccountsConfig { issuer: public_url.to_owned(), ..config.auth.accounts() },
        append: AppendConfig { lanes: config.chat.lanes, ..AppendConfig::default() },
        players_may_create_worlds: config.worlds.players_may_create,
    }
}

/// Says why a store cannot be opened, and what can be done about it.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn unopened(error: OpenError) -> Failure {
    let exit = match &error {
        OpenError::ServerUnreachable { .. } => Exit::TryLater,
        OpenError::SchemaNewer { .. } | OpenError::SchemaOutdated { .. } | OpenError::MigrationChanged { .. } => Exit::Conflict,
        OpenError::UnknownScheme { .. } | OpenError::UrlInvalid { .. } => Exit::Usage,
        OpenError::SignInRefused { .. } => Exit::NotAllowed,
        OpenError::DatabaseMissing { .. } => Exit::NotFound,
        _ => Exit::Failed,
    };
    Failure::new(exit, weltenwind_core::chain(&error)).hint(error.hint())
}
