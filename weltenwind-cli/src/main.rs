//! The `weltenwind` binary: serves a community for game worlds, and looks after it.

mod args;
mod commands;
mod config;
mod failure;
mod logging;
mod metrics;
mod output;
mod security_log;
mod serve;
mod store;
mod welcome;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Cli, failure::Failure};

/// A page of history is some hundred small pieces of memory: glibc's allocator takes a tenth of the server's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| Failure::failed("cannot choose a cryptography provider: one was chosen before"))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?
        .block_on(commands::run(cli))
}
