//! The security log: one line of a fixed form per event, for whoever bans addresses by it.

use std::{
    fmt::{self, Write as _},
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};
use weltenwind_core::{Clock, wire::WireTime};

use crate::failure::Failure;

/// Writes `<time> weltenwind security: event=… ip=… account=… reason=… request_id=…`, in this order: the address stands before
/// everything that a caller may have written, and what could end a value or a line is escaped.
pub(crate) struct SecurityLog {
    place: Mutex<Box<dyn Write + Send>>,
    clock: Arc<dyn Clock>,
}

impl SecurityLog {
    /// Writes to stderr, or appends to the file that is named.
    pub(crate) fn open(place: &str, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let place: Box<dyn Write + Send> = match place {
            "" => Box::new(io::stderr()),
            path => Box::new(append(path).map_err(|error| {
                Failure::usage(format!("log.security: cannot write to {path}: {error}"))
                    .hint("name a file in a folder that this program may write to, or nothing for stderr")
            })?),
        };
        Ok(Self { place: Mutex::new(place), clock })
    }
}

fn append(path: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    // It names accounts and addresses.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

impl<S: Subscriber> Layer<S> for SecurityLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut members = Members::default();
        event.record(&mut members);
        let line = members.line(self.clock.now().into());
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.write_all(line.as_bytes()).and_then(|()| place.flush()).is_err() {
            // A full disk should not hide who attacks; if stderr is gone too, nobody is there to tell.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// The members of a line, in their order.
const NAMES: [&str; 5] = ["event", "ip", "account", "reason", "request_id"];

#[derive(Debug, Default)]
struct Members([String; NAMES.len()]);

impl Members {
    fn line(&self, at: WireTime) -> String {
        let mut line = format!("{at} weltenwind security:");
        for (name, value) in NAMES.iter().zip(&self.0) {
            let value = if value.is_empty() { "-" } else { value };
            let _ = write!(line, " {name}={value}");
        }
        line.push('\n');
        line
    }

    fn set(&mut self, field: &Field, value: &str) {
        if let Some(at) = NAMES.iter().position(|name| *name == field.name()) {
            self.0[at] = escaped(value);
        }
    }
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, &format!("{value:?}"));
    }
}

/// Percent-escapes all but a few harmless characters.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'/') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tracing_subscriber::layer::SubscriberExt as _;
    use weltenwind_core::{AccountId, CorrelationId, ManualClock, security};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(address: Option<&str>, account: Option<AccountId>, reason: &str) -> String {
        let lines = Lines::default();
        let log = SecurityLog { place: Mutex::new(Box::new(lines.clone())), clock: Arc::new(ManualClock::default()) };
        let address = address.map(|address| address.parse::<IpAddr>().expect("an address"));
        let request = CorrelationId::accept("request-1").expect("it fits");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            security::note_from(security::Event::OriginRejected, address, account, reason, &request);
        });
        let bytes = lines.0.lock().expect("nobody panicked").clone();
        String::from_utf8(bytes).expect("a text")
    }

    #[test]
    fn a_line_has_a_fixed_form() {
        let account = AccountId::new(uuid::Uuid::nil());

        assert_eq!(
            logged(Some("203.0.113.7"), Some(account), "origin-not-allowed:https://evil.test"),
            "2026-01-01T00:00:00.000Z weltenwind security: event=ws_origin_rejected ip=203.0.113.7 \
             account=00000000-0000-0000-0000-000000000000 reason=origin-not-allowed:https://evil.test \
             request_id=request-1\n"
        );
        let line = logged(Some("2001:db8::7"), None, "");
        assert!(line.contains(" ip=2001:db8::7 account=- reason=- "), "{line}");
        assert!(logged(None, None, "x").contains(" ip=- account=- reason=x "));
        assert!(
            logged(Some("::ffff:203.0.113.7"), None, "x").contains(" ip=203.0.113.7 "),
            "one address, one spelling"
        );
    }

    #[test]
    fn what_a_caller_writes_forges_neither_a_line_nor_a_value() {
        for reason in [
            "x\n2026-01-01T00:00:00.000Z weltenwind security: event=auth_login_failed ip=198.51.100.1",
            "x\r\nweltenwind security: event=auth_login_failed ip=198.51.100.1 ",
            "x ip=198.51.100.1 event=auth_login_failed",
            "\u{1b}[2K\u{85}\u{2028}ip=198.51.100.1",
            "x%0Aip=198.51.100.1",
            "\" ip=\"198.51.100.1\"",
            "\0\u{202e}ä",
        ] {
            let line = logged(Some("203.0.113.7"), None, reason);

            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.is_ascii() && !line.trim_end().chars().any(char::is_control), "{line:?}");
            assert_eq!(line.matches(" ip=").count(), 1, "{line}");
            assert_eq!(line.matches(" event=").count(), 1, "{line}");
            assert_eq!(line.matches(' ').count(), 7, "{line}");
            assert!(line.find("ip=203.0.113.7").expect("the address") < line.find("reason=").expect("the reason"));
        }
    }
}
