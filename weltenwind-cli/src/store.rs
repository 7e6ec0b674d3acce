//! The configured store, the bus to other nodes, and the services over both.

use std::sync::Arc;

use weltenwind_core::{
    ServiceConfig, Services, Shared, Sources, accounts::AccountsConfig, chat::AppendConfig, notifications::Notices,
};
use weltenwind_storage::{
    MailConfigError, OpenError, RedisBus, RedisConfig, RedisConfigError, RedisPresenceStore, RedisRateLimiter,
    SmtpMailer,
};

use crate::{
    config::Config,
    failure::{Exit, Failure},
};

/// Opens the store and wires the services for a command, for the installation that is reached at `public_url`.
pub(crate) async fn services(config: &Config, public_url: &str) -> Result<Services, Failure> {
    let sources = Sources::default();
    services_on(Shared::nothing(Arc::clone(&sources.clock)), config, public_url, sources).await
}

/// The same for a node, which shares rooms and limits with the others.
pub(crate) async fn node(config: &Config, public_url: &str) -> Result<Services, Failure> {
    let sources = Sources::default();
    services_on(shared(&config.redis, &sources)?, config, public_url, sources).await
}

async fn services_on(shared: Shared, config: &Config, public_url: &str, sources: Sources) -> Result<Services, Failure> {
    let mailer = if config.mail.is_set() { Some(SmtpMailer::new(&config.mail).map_err(unsendable)?) } else { None };
    let stores = weltenwind_storage::open(&config.storage).await.map_err(unopened)?;
    let mut services = Services::start_shared(stores, shared, service_config(config, public_url), sources).await?;
    if let Some(mailer) = mailer {
        services.mail = services.mail.through(Arc::new(mailer));
    }
    Ok(services)
}

/// Says why mail cannot be sent as configured.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn unsendable(error: MailConfigError) -> Failure {
    let hint = match error {
        MailConfigError::UrlInvalid => {
            "mail.url is written smtps://user:password@host; special characters are percent-encoded"
        }
        MailConfigError::UrlTwice => "leave mail.url or mail.url_file empty",
        MailConfigError::PasswordInTheClear => {
            "write mail.url as smtp+starttls:// or smtps://; only a mail server on this machine is told a password without TLS"
        }
        MailConfigError::FileUnreadable { .. } | MailConfigError::AuthoritiesInvalid { .. } => {
            "`weltenwind config print` shows mail.url_file and mail.ca_file and where they come from"
        }
        _ => "mail.from is written `Weltenwind <wind@example.org>`",
    };
    Failure::usage(weltenwind_core::chain(&error)).hint(hint)
}

/// Begins to connect to Redis and does not wait for it: the store is the truth, a node serves without a bus, and counts calls
/// by itself meanwhile.
fn shared(config: &RedisConfig, sources: &Sources) -> Result<Shared, Failure> {
    if !config.is_set() {
        return Ok(Shared::nothing(Arc::clone(&sources.clock)));
    }
    let bus = Arc::new(RedisBus::connect(config).map_err(unusable)?);
    Ok(Shared {
        notices: Arc::clone(&bus) as Arc<dyn Notices>,
        bus,
        limiter: Arc::new(RedisRateLimiter::connect(config, Arc::clone(&sources.clock)).map_err(unusable)?),
        presence: Arc::new(RedisPresenceStore::connect(config).map_err(unusable)?),
    })
}

/// Says why Redis cannot be used as configured.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn unusable(error: RedisConfigError) -> Failure {
    let hint = match error {
        RedisConfigError::UrlInvalid { .. } => {
            "redis.url is written redis://user:password@host:6379; special characters are percent-encoded"
        }
        _ => "`weltenwind config print` shows redis.key_prefix and where it comes from",
    };
    Failure::usage(weltenwind_core::chain(&error)).hint(hint)
}

fn service_config(config: &Config, public_url: &str) -> ServiceConfig {
    ServiceConfig {
        accounts: AccountsConfig { issuer: public_url.to_owned(), ..config.auth.accounts() },
        append: AppendConfig { lanes: config.chat.lanes, ..AppendConfig::default() },
        players_may_create_worlds: config.worlds.players_may_create,
        require_two_factor_for_staff: config.auth.require_two_factor_for_staff,
        limits: config.limits.clone(),
        presence: config.presence,
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
