//! `weltenwind migrate`.

use crate::{config::Config, failure::Failure, output::Output, store::unopened};

pub(crate) async fn run(config: &Config, output: Output) -> Result<(), Failure> {
    let applied = weltenwind_storage::migrate(&config.storage).await.map_err(unopened)?.applied;
    output.value(&applied, |applied| {
        if applied.is_empty() {
            "the schema is up to date".to_owned()
        } else {
            applied.iter().map(|name| format!("applied {name}")).collect::<Vec<_>>().join("\n")
        }
    })
}
