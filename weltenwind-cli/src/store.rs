//! The configured store and the services over it.

use weltenwind_core::{ServiceConfig, Services, Sources, accounts::AccountsConfig, chat::AppendConfig};
use weltenwind_storage::OpenError;

use crate::{
    config::Config,
    failure::{Exit, Failure},
};

/// Opens the store and wires the services, for the installation that is reached at `public_url`.
pub(crate) async fn services(config: &Config, public_url: &str) -> Result<Services, Failure> {
    let stores = weltenwind_storage::open(&config.storage).await?;
    Ok(Services::start(stores, service_config(config, public_url), Sources::default()).await?)
}

fn service_config(config: &Config, public_url: &str) -> ServiceConfig {
    ServiceConfig {
        accounts: AccountsConfig { issuer: public_url.to_owned(), ..config.auth.accounts() },
        append: AppendConfig { lanes: config.chat.lanes, ..AppendConfig::default() },
        players_may_create_worlds: config.worlds.players_may_create,
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let exit = match &error {
            error if error.is_transient() => Exit::TryLater,
            OpenError::NewerSchema { .. } => Exit::Conflict,
            OpenError::UnknownScheme { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, weltenwind_core::chain(&error)).hint(error.hint())
    }
}
