//! The configured store, the bus to other nodes, and the services over both.

use std::sync::Arc;

use weltenwind_core::{
    ServiceConfig, Services, Sources,
    accounts::AccountsConfig,
    bus::{Bus, LocalBus},
    chat::AppendConfig,
};
use weltenwind_storage::{OpenError, RedisBus, RedisConfig, RedisConfigError};

use crate::{
    config::Config,
    failure::{Exit, Failure},
};

/// Opens the store and wires the services for a command, for the installation that is reached at `public_url`.
pub(crate) async fn services(config: &Config, public_url: &str) -> Result<Services, Failure> {
    services_on(Arc::new(LocalBus::default()), config, public_url).await
}

/// The same for a node, which shares rooms with the others.
pub(crate) async fn node(config: &Config, public_url: &str) -> Result<Services, Failure> {
    services_on(bus(&config.redis)?, config, public_url).await
}

async fn services_on(bus: Arc<dyn Bus>, config: &Config, public_url: &str) -> Result<Services, Failure> {
    let stores = weltenwind_storage::open(&config.storage).await.map_err(unopened)?;
    Ok(Services::start_with_bus(stores, bus, service_config(config, public_url), Sources::default()).await?)
}

/// Begins to connect to Redis and does not wait for it: the store is the truth, and a node serves without a bus.
fn bus(config: &RedisConfig) -> Result<Arc<dyn Bus>, Failure> {
    if !config.is_set() {
        return Ok(Arc::new(LocalBus::default()));
    }
    let bus = RedisBus::connect(config).map_err(|error| {
        let hint = match error {
            RedisConfigError::UrlInvalid { .. } => {
                "redis.url is written redis://user:password@host:6379; special characters are percent-encoded"
            }
            _ => "`weltenwind config print` shows redis.key_prefix and where it comes from",
        };
        Failure::usage(weltenwind_core::chain(&error)).hint(hint)
    })?;
    Ok(Arc::new(bus))
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
        OpenError::SchemaNewer { .. } | OpenError::SchemaOutdated { .. } | OpenError::MigrationChanged { .. } => {
            Exit::Conflict
        }
        OpenError::UnknownScheme { .. } | OpenError::UrlInvalid { .. } => Exit::Usage,
        OpenError::SignInRefused { .. } => Exit::NotAllowed,
        OpenError::DatabaseMissing { .. } => Exit::NotFound,
        _ => Exit::Failed,
    };
    Failure::new(exit, weltenwind_core::chain(&error)).hint(error.hint())
}
