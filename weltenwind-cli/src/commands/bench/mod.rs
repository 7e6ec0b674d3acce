//! `weltenwind bench`: how fast this machine and store are, measured the way the documents quote it.

mod access;
mod append;
mod feed;
mod history;
mod layers;
mod limits;
mod load;
mod nodes;
mod outbox;
mod realtime;
mod revoke;
mod sign_in;
mod socket;

use std::{fs, sync::Arc, time::Duration};

use clap::Subcommand;
use weltenwind_core::{
    SystemClock,
    limits::{Limits, LimitsConfig, Quota, Unit},
};
use weltenwind_storage::StorageConfig;

use crate::{config::Config, failure::Failure, logging, output::Output};

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Post messages from many posters at once, each answered after its commit; with group commit and without, in turn.
    ///
    /// Without --database it uses a SQLite file in the system's temporary folder, and throws it away.
    Append {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        args: append::AppendArgs,
    },
    /// Read pages of 50 at random places of a long channel over HTTP, and at both of its ends.
    ///
    /// Without --database it uses a SQLite file in the system's temporary folder, and throws it away. The log has its line for each
    /// request; send stderr to a file.
    History {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        args: history::HistoryArgs,
    },
    /// Post on two running nodes, and measure how long until listeners on both hear.
    ///
    /// Rooms are made in the store as the operator; all else goes through the nodes' API. Start the nodes with the same
    /// `public_url`, with room for the sockets and with quotas for programs: `--set
    /// realtime.max_connections_per_address=10000 --set limits.guest=1000000/s --set limits.chat=1000000/s
    /// --set limits.chat_room=1000000/s`.
    Nodes(nodes::NodesArgs),
    /// End sessions on two running nodes, and measure how long until their sockets are closed.
    ///
    /// Start the nodes with the same `public_url`, with room for the sockets and with quotas for programs: `--set
    /// realtime.max_connections_per_address=10000 --set limits.guest=1000000/s --set limits.write=1000000/s`.
    Revoke(revoke::RevokeArgs),
    /// Decide how often things may be done: in this process and, with --redis, for all nodes.
    Limits(limits::LimitsArgs),
    /// Ask a trivial read behind one layer of the HTTP host after the other, signed in, without a network.
    ///
    /// Log lines are written as `serve` writes them; send standard error where the server's would go.
    Layers(layers::LayersArgs),
    /// Decide whether somebody may do something: from memory, and from the store.
    ///
    /// What is remembered is worked out, and not kept in a store. Misses read a SQLite file in the system's temporary folder,
    /// which is thrown away, or --database.
    Access {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        args: access::AccessArgs,
    },
    /// Sign in with the smallest hash of a password, so that everything else is measured, and show tokens that are known.
    ///
    /// Without --database it uses a SQLite file in the system's temporary folder, and throws it away. In --database it leaves an
    /// account behind, whose sessions have ended.
    SignIn {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        args: sign_in::SignInArgs,
    },
    /// Write jobs, let a worker do them, and measure how soon an idle one picks a single job up; each job is done once, or the
    /// exit code is 6.
    ///
    /// Without --database it uses a SQLite file in the system's temporary folder, and throws it away.
    Outbox {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        args: outbox::OutboxArgs,
    },
    /// Be the other process of `bench outbox`; it ends with its standard input.
    #[command(hide = true)]
    OutboxWorker {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        args: outbox::OutboxWorkerArgs,
    },
    /// Announce something to a large world, read feeds meanwhile, and search in many announcements, all over HTTP; each member is
    /// told once, and a text is found by its words, or the exit code is 6.
    ///
    /// Without --database it uses a SQLite file in the system's temporary folder, and throws it away. In --database everything
    /// stays that is written: give it one to be thrown away. The server is started with quotas for programs.
    Feed {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        args: feed::FeedArgs,
    },
    /// Hold sockets in rooms, post, and measure what a delivery costs and how long it takes; each message is heard once and
    /// in order, or the exit code is 6.
    ///
    /// Without --database it uses a SQLite file in the system's temporary folder, and throws it away. Servers are started for
    /// each run with room for the sockets and quotas for programs. To give the clients a core of their own:
    /// `taskset -c 1 weltenwind bench realtime --server-core 0`.
    Realtime(Box<realtime::RealtimeArgs>),
    /// Be the least that a server can be; its address is said on standard output.
    #[command(hide = true)]
    Floor(realtime::FloorArgs),
    /// Be the clients of another bench; what they do comes on standard input.
    #[command(hide = true)]
    Load,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// A store to write to; channels that a bench made are closed afterwards, their messages stay.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

pub(crate) async fn run(command: BenchCommand, config: &Config, output: Output) -> Result<(), Failure> {
    match command {
        BenchCommand::Append { store, args } => {
            let scratch = Scratch::new(&store, config)?;
            append::run(&args, scratch.storage.clone(), output).await
        }
        BenchCommand::History { store, args } => {
            // A line for each request, as `serve` writes it.
            logging::start(&config.log)?;
            let scratch = Scratch::new(&store, config)?;
            history::run(&args, scratch.storage.clone(), output).await
        }
        BenchCommand::Access { store, args } => {
            let scratch = Scratch::new(&store, config)?;
            access::run(&args, &scratch.storage, output).await
        }
        BenchCommand::SignIn { store, args } => {
            let scratch = Scratch::new(&store, config)?;
            sign_in::run(&args, &scratch.storage, output).await
        }
        BenchCommand::Outbox { store, args } => {
            let scratch = Scratch::new(&store, config)?;
            outbox::run(&args, &scratch.storage, output).await
        }
        BenchCommand::OutboxWorker { store, args } => {
            let scratch = Scratch::new(&store, config)?;
            outbox::work(args, &scratch.storage).await
        }
        BenchCommand::Feed { store, args } => {
            let scratch = Scratch::new(&store, config)?;
            feed::run(&args, &scratch.storage, output).await
        }
        BenchCommand::Nodes(args) => nodes::run(&args, config.storage.clone(), output).await,
        BenchCommand::Revoke(args) => revoke::run(&args, output).await,
        BenchCommand::Limits(args) => limits::run(&args, &config.redis, output).await,
        BenchCommand::Layers(args) => {
            logging::start(&config.log)?;
            let scratch = Scratch::new(&StoreArgs { database: None }, config)?;
            layers::run(&args, scratch.storage.clone(), output)
        }
        BenchCommand::Realtime(args) => {
            let scratch = Scratch::new(&StoreArgs { database: args.database.clone() }, config)?;
            realtime::run(*args, scratch.storage.clone(), output).await
        }
        BenchCommand::Floor(args) => realtime::floor(&args),
        BenchCommand::Load => load::run().await,
    }
}

/// Programs that measure ask for more than people do.
const UNHURRIED: Quota = Quota::per(1_000_000, Unit::Second);

fn unhurried() -> Limits {
    Limits::in_process(Arc::new(SystemClock), LimitsConfig::uniform(UNHURRIED))
}

/// A store for a bench; a file of its own is gone with it.
struct Scratch {
    storage: StorageConfig,
    folder: Option<std::path::PathBuf>,
}

impl Scratch {
    fn new(args: &StoreArgs, config: &Config) -> Result<Self, Failure> {
        if let Some(url) = &args.database {
            return Ok(Self { storage: StorageConfig { url: url.clone(), ..config.storage.clone() }, folder: None });
        }
        let folder = std::env::temp_dir().join(format!("weltenwind-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::failed(format!("cannot make {}: {error}", folder.display())))?;
        let url = format!("sqlite://{}", folder.join("bench.db").display());
        Ok(Self { storage: StorageConfig { url, ..config.storage.clone() }, folder: Some(folder) })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            tracing::warn!(%error, folder = %folder.display(), "could not throw the bench's store away");
        }
    }
}

/// Returns how many microseconds this thread has been on a processor, as Linux counts them.
fn on_processor() -> Result<f64, Failure> {
    const FILE: &str = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(FILE).map_err(|error| Failure::failed(format!("{FILE}: {error}")))?;
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.map(|nanos| nanos / 1000.0).ok_or_else(|| Failure::failed(format!("{FILE} is not readable")))
}

/// How long each of many calls took.
#[derive(Debug)]
pub(crate) struct Waits(Vec<Duration>);

impl Waits {
    fn new(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        Self(waits)
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    /// The time in milliseconds within which so many of a hundred were done.
    fn at(&self, percent: usize) -> f64 {
        self.0.get(self.0.len() * percent / 100).map_or(0.0, |wait| wait.as_secs_f64() * 1000.0)
    }

    /// The time in milliseconds of the slowest.
    fn longest(&self) -> f64 {
        self.0.last().map_or(0.0, |wait| wait.as_secs_f64() * 1000.0)
    }
}
