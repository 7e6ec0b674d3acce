//! `weltenwind config`.

use clap::Subcommand;

use crate::{config::Layers, failure::Failure, output::Output};

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every value and where it came from; secrets are masked.
    Print,
    /// Read the configuration and say what is wrong with it.
    Check,
}

pub(crate) fn run(command: ConfigCommand, layers: &Layers, output: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Print => {
            let settings = layers.settings()?;
            output.list(&settings, &["key", "value", "from"], |setting| {
                vec![setting.key.clone(), setting.value.to_string(), setting.from.clone()]
            })
        }
        ConfigCommand::Check => {
            layers.load()?;
            output.value(&serde_json::json!({ "ok": true }), |_| "the configuration is sound".to_owned())
        }
    }
}
