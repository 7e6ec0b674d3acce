//! What happens goes to stderr: lines for people, or JSON for collectors.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::IsTerminal as _,
    panic::PanicHookInfo,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use weltenwind_core::{SystemClock, security};

use crate::{failure::Failure, security_log::SecurityLog};

/// How the log is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// `text` for people, `json` for collectors.
    pub(crate) format: LogFormat,
    /// Which events are written, as directives of `tracing_subscriber::EnvFilter`: `info`, `weltenwind=debug`.
    pub(crate) filter: String,
    /// The file that security events are appended to, one line of a fixed form each, whatever `filter` says. Empty writes these
    /// lines to stderr, unless the format there is `json`: then they are JSON too.
    pub(crate) security: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned(), security: String::new() }
    }
}

/// Starts the log; from here on, panics are lines of it too.
pub(crate) fn start(config: &LogConfig) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| Failure::usage(format!("log.filter cannot be read: {error}")))?;
    // A collector of JSON could not read a line of another form among its own.
    let has_lines_of_its_own = config.format == LogFormat::Text || !config.security.is_empty();
    let security = if has_lines_of_its_own {
        Some(SecurityLog::open(&config.security, Arc::new(SystemClock))?.with_filter(filter_fn(is_security)))
    } else {
        None
    };
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let filter = filter.and(filter_fn(move |event| !(has_lines_of_its_own && is_security(event))));
    let lines = match config.format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let started = tracing_subscriber::registry().with(lines).with(security).try_init();
    started.map_err(|error| Failure::failed(format!("cannot start the log: {error}")))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn is_security(event: &tracing::Metadata<'_>) -> bool {
    event.target() == security::TARGET
}

/// Writes a panic as one event: its words may be a caller's, and a line break in them must not begin a line of the log.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let words = panic.payload_as_str().unwrap_or("it said nothing");
    let at = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(words, at, backtrace, "a panic");
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What two formats make of a panic whose words are somebody's.
    fn logged(words: &'static str) -> [String; 2] {
        let (text, json) = (Lines::default(), Lines::default());
        let (to_text, to_json) = (text.clone(), json.clone());
        let panics = |subscriber: tracing::Dispatch| {
            tracing::dispatcher::with_default(&subscriber, || std::panic::catch_unwind(|| panic!("{words}")))
                .unwrap_err()
        };
        panics(tracing_subscriber::fmt().with_ansi(false).with_writer(move || to_text.clone()).into());
        panics(tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || to_json.clone()).into());
        [text, json].map(|lines| String::from_utf8(lines.0.lock().unwrap().clone()).unwrap())
    }

    #[test]
    fn a_panic_is_one_line_whatever_its_words_are() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));

        let [text, json] = logged("swordfish\n2026-11-23T00:00:00Z ERROR forged\u{1b}[31m");

        std::panic::set_hook(before);
        for log in [&text, &json] {
            // A backtrace, if one is wanted, is a part of the line too.
            assert_eq!(log.lines().count(), 1, "{log}");
            assert!(log.contains("swordfish") && log.contains("logging.rs") && !log.contains('\u{1b}'), "{log}");
        }
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }
}
