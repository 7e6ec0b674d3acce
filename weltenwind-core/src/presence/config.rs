//! How presence is told.

use serde::{Deserialize, Serialize};

/// How presence is told.
///
/// ```
/// use weltenwind_core::presence::PresenceConfig;
///
/// assert_eq!(PresenceConfig::default().max_members, 200);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PresenceConfig {
    /// Members that are listed in a room; of more, only the number is told.
    pub max_members: usize,
    /// Seconds for which somebody without a socket still counts as present: whoever comes back within them never left.
    pub leave_seconds: u64,
    /// Seconds for which somebody's writing is not told again in a room; with 0 each word of it is told.
    pub typing_seconds: u64,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self { max_members: 200, leave_seconds: 5, typing_seconds: 3 }
    }
}
