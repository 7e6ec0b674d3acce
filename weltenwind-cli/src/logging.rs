//! What happens goes to stderr: lines for people, or JSON for collectors.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::IsTerminal as _,
    panic::PanicHookInfo,
};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// How the log is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// `text` for people, `json` for collectors.
    pub(crate) format: LogFormat,
    /// Which events are written, as directives of `tracing_subscriber::EnvFilter`: `info`, `weltenwind=debug`.
    pub(crate) filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// Starts the log; from here on, panics are lines of it too.
pub(crate) fn start(config: &LogConfig) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| Failure::usage(format!("log.filter cannot be read: {error}")))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::failed(format!("cannot start the log: {error}")))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
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
