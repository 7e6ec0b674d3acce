//! How many sockets there may be, and how long anybody waits for them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timing::Pace;

/// How many sockets there may be, and how long anybody waits for them.
///
/// ```
/// use weltenwind_ws::RealtimeConfig;
///
/// let config = RealtimeConfig { max_rooms: 16, ..RealtimeConfig::default() };
/// assert_eq!(config.ping_every_seconds, 25);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RealtimeConfig {
    /// What this node calls itself in `welcome`; a name is drawn at start if it is empty.
    pub node: String,
    /// Seconds of silence after which a client is asked for a sign of life. Sessions and access to rooms are checked anew
    /// as often.
    pub ping_every_seconds: u64,
    /// Seconds that a client has for the sign of life.
    pub pong_grace_seconds: u64,
    /// Sockets that may be open on this node.
    pub max_connections: usize,
    /// Sockets that may be open from one address; of IPv6, from one /64 network.
    pub max_connections_per_address: usize,
    /// Rooms that one socket may join, its own `user:` room not counted.
    pub max_rooms: usize,
    /// Bytes that a frame from a client may have.
    pub frame_bytes: usize,
    /// Bytes that a client may send in a second, as an average; what comes faster is read later.
    pub bytes_per_second: u64,
    /// Bytes that a client may send at once.
    pub bytes_burst: u64,
    /// Bytes of answers that may wait for a slow reader before nothing more is done for it.
    pub send_buffer_bytes: usize,
    /// Bytes that the newest frames of all rooms of this node may take together, each room at least 16 KiB and at most
    /// 1 MiB of it. Whoever falls further behind is served from the store.
    pub rings_bytes: usize,
    /// Seconds that a client has to take something of what waits for it.
    pub write_timeout_seconds: u64,
    /// Seconds that a socket holds that was opened with a ticket, until it needs an access token.
    pub ticket_life_seconds: u64,
    /// Seconds that a drain waits for sockets to close before it cuts them.
    pub drain_seconds: u64,
    /// Reconnects per second that the other nodes take well: a drain spreads its clients accordingly.
    pub reconnects_per_second: u32,
}

impl Default for RealtimeConfig {
    fn default() -> Self {
        Self {
            node: String::new(),
            ping_every_seconds: 25,
            pong_grace_seconds: 10,
            max_connections: 10_000,
            max_connections_per_address: 200,
            max_rooms: 128,
            frame_bytes: 64 * 1024,
            bytes_per_second: 128 * 1024,
            bytes_burst: 1024 * 1024,
            send_buffer_bytes: 16 * 1024,
            rings_bytes: 256 * 1024 * 1024,
            write_timeout_seconds: 30,
            ticket_life_seconds: 300,
            drain_seconds: 10,
            reconnects_per_second: 500,
        }
    }
}

impl RealtimeConfig {
    pub(crate) fn pace(&self) -> Pace {
        Pace { every: self.ping_every(), grace: self.pong_grace() }
    }

    pub(crate) fn ping_every(&self) -> Duration {
        at_least_a_second(self.ping_every_seconds)
    }

    fn pong_grace(&self) -> Duration {
        at_least_a_second(self.pong_grace_seconds)
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        at_least_a_second(self.write_timeout_seconds)
    }

    pub(crate) fn ticket_life(&self) -> Duration {
        at_least_a_second(self.ticket_life_seconds)
    }

    pub(crate) fn drain(&self) -> Duration {
        at_least_a_second(self.drain_seconds)
    }

    pub(crate) fn send_buffer(&self) -> usize {
        self.send_buffer_bytes.max(SMALLEST_BUFFER)
    }

    /// Returns the time over which `clients` should come back.
    pub(crate) fn reconnect_window(&self, clients: usize) -> Duration {
        let clients = u64::try_from(clients).unwrap_or(u64::MAX);
        let millis = clients.saturating_mul(1000) / u64::from(self.reconnects_per_second.max(1));
        Duration::from_millis(millis).clamp(SHORTEST_WINDOW, LONGEST_WINDOW)
    }
}

/// With less, nothing would ever fit.
const SMALLEST_BUFFER: usize = 1024;
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_mins(2);

/// A pause of nothing would be a busy loop.
fn at_least_a_second(seconds: u64) -> Duration {
    Duration::from_secs(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_absent_ones_are_defaults() {
        let config: RealtimeConfig = serde_json::from_str(r#"{"max_rooms": 4}"#).unwrap();

        assert_eq!(config, RealtimeConfig { max_rooms: 4, ..RealtimeConfig::default() });
        assert!(serde_json::from_str::<RealtimeConfig>(r#"{"rooms": 4}"#).is_err());
    }

    #[test]
    fn a_drain_spreads_its_clients_over_the_time_that_others_need() {
        let config = RealtimeConfig { reconnects_per_second: 500, ..RealtimeConfig::default() };

        let windows = [0, 10_000, 1_000_000].map(|clients| config.reconnect_window(clients).as_secs());

        assert_eq!(windows, [1, 20, 120]);
    }
}
