//! What each call costs and how it is repeated, declared in one place: a new call does not pass without a line here.

/// How a call that is sent twice has one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing.
    Read,
    /// It names the state that it is meant for; a second one is stale.
    IfMatch,
    /// The header `Idempotency-Key`.
    Key,
    /// Its answer carries a secret, which is not stored: the header has no effect.
    Secret,
    /// By its nature: the second one finds done what it asks for.
    Nature,
}

/// A call: its name, the policy of the limits that it is charged to, and how it is repeated.
pub(crate) type Row = (&'static str, &'static str, Repeat);

/// What a call is charged to that costs nothing.
pub(crate) const FREE: &str = "free";

pub(crate) const CALLS: &[Row] = &[
    ("amendAnnouncement", "notification", Repeat::IfMatch),
    ("amendChannel", "write", Repeat::IfMatch),
    ("amendMe", "write", Repeat::Nature),
    ("amendPreferences", "write", Repeat::IfMatch),
    ("amendWorld", "write", Repeat::IfMatch),
    ("archiveWorld", "write", Repeat::IfMatch),
    ("beginTwoFactor", "write", Repeat::Secret),
    ("bootstrap", "auth", Repeat::Secret),
    ("changePassword", "auth", Repeat::Secret),
    ("countUnreadNotifications", "read", Repeat::Read),
    ("checkAccess", "read", Repeat::Read),
    ("closeChannel", "write", Repeat::IfMatch),
    ("confirmTwoFactor", "two-factor", Repeat::Secret),
    ("createWorld", "write", Repeat::Key),
    ("deleteKey", "admin", Repeat::Nature),
    ("disableTwoFactor", "two-factor", Repeat::Secret),
    ("dismissNotification", "notification", Repeat::Nature),
    ("editMessage", "write", Repeat::Nature),
    ("endDevice", "write", Repeat::Nature),
    ("endOtherSessions", "write", Repeat::Key),
    ("endSession", "write", Repeat::Nature),
    ("eraseMe", "write", Repeat::Nature),
    ("exportMe", "read", Repeat::Read),
    ("getAnnouncement", "read", Repeat::Read),
    ("getAsyncapi", "read", Repeat::Read),
    ("getChannel", "read", Repeat::Read),
    ("getGrant", "read", Repeat::Read),
    ("getKey", "read", Repeat::Read),
    ("getMe", "read", Repeat::Read),
    ("getMessage", "read", Repeat::Read),
    ("getMyLimits", FREE, Repeat::Read),
    ("getOpenapi", "read", Repeat::Read),
    ("getPreferences", "read", Repeat::Read),
    ("getProfile", "read", Repeat::Read),
    ("getWorld", "read", Repeat::Read),
    ("giveRole", "admin", Repeat::Key),
    ("issueTicket", "write", Repeat::Secret),
    ("joinWorld", "write", Repeat::Nature),
    ("leaveWorld", "write", Repeat::Nature),
    ("listAnnouncements", "read", Repeat::Read),
    ("listChannels", "read", Repeat::Read),
    ("listDeadJobs", "read", Repeat::Read),
    ("listDevices", "read", Repeat::Read),
    ("listGrants", "read", Repeat::Read),
    ("listKeys", "read", Repeat::Read),
    ("listMembers", "read", Repeat::Read),
    ("listMessages", "read", Repeat::Read),
    ("listNotifications", "read", Repeat::Read),
    ("listSessions", "read", Repeat::Read),
    ("listUnread", "read", Repeat::Read),
    ("listWorldChannels", "read", Repeat::Read),
    ("listWorlds", "read", Repeat::Read),
    ("makeKey", "admin", Repeat::Secret),
    ("markRead", "write", Repeat::Nature),
    ("nameDevice", "write", Repeat::Nature),
    ("openChannel", "write", Repeat::Key),
    ("openGuest", "guest", Repeat::Secret),
    ("postMessage", "chat", Repeat::Key),
    ("publishAnnouncement", "notification", Repeat::Key),
    ("readAllNotifications", "notification", Repeat::Key),
    ("readNotification", "notification", Repeat::Key),
    ("refreshSession", "auth", Repeat::Secret),
    ("register", "auth", Repeat::Secret),
    ("removeMember", "write", Repeat::Nature),
    ("removeMessage", "write", Repeat::Nature),
    ("retryDeadJob", "admin", Repeat::Key),
    ("signIn", "auth", Repeat::Secret),
    ("signOut", "auth", Repeat::Secret),
    ("takeRole", "admin", Repeat::Nature),
    ("withdrawAnnouncement", "notification", Repeat::IfMatch),
    ("upgradeGuest", "auth", Repeat::Secret),
];
