//! Who may make which call, in one table: the document tells it, and a test asks every call as everybody.

use serde_json::{Value, json};
use weltenwind_core::access::Permission::{
    self, AccessManage, AnnouncementPublish, ChatManage, ChatModerate, ChatPost, ChatRead, OutboxManage, WorldCreate,
    WorldManage, WorldRead,
};

/// What one must be, or hold in the scope of what the call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody, signed in or not.
    Anyone,
    /// Every account, about itself.
    Oneself,
    /// Whoever is signed in, an API key too.
    SignedIn,
    /// Whoever holds a permission. In an open place everybody holds those to read, and every account those of a guest.
    Holder(Permission),
    /// Whoever has written the message, as long as they may write.
    Author,
    /// The author, or whoever holds a permission.
    AuthorOr(Permission),
}

use Who::{Anyone, Author, AuthorOr, Holder, Oneself, SignedIn};

/// One line a call, by its name.
const TABLE: &[(&str, Who)] = &[
    ("openGuest", Anyone),
    ("register", Anyone),
    ("signIn", Anyone),
    ("bootstrap", Anyone),
    ("refreshSession", Anyone),
    ("signOut", Oneself),
    ("issueTicket", Oneself),
    ("getMe", Oneself),
    ("amendMe", Oneself),
    ("eraseMe", Oneself),
    ("exportMe", Oneself),
    ("listUnread", Oneself),
    ("listSessions", Oneself),
    ("endSession", Oneself),
    ("endOtherSessions", Oneself),
    ("listDevices", Oneself),
    ("nameDevice", Oneself),
    ("endDevice", Oneself),
    ("changePassword", Oneself),
    ("upgradeGuest", Oneself),
    ("beginTwoFactor", Oneself),
    ("confirmTwoFactor", Oneself),
    ("disableTwoFactor", Oneself),
    ("getPreferences", Oneself),
    ("amendPreferences", Oneself),
    ("getMyLimits", Anyone),
    ("getProfile", Anyone),
    ("listGrants", Holder(AccessManage)),
    ("giveRole", Holder(AccessManage)),
    ("getGrant", Holder(AccessManage)),
    ("takeRole", Holder(AccessManage)),
    ("checkAccess", SignedIn),
    ("listKeys", Holder(AccessManage)),
    ("makeKey", Holder(AccessManage)),
    ("getKey", Holder(AccessManage)),
    ("deleteKey", Holder(AccessManage)),
    ("listWorlds", Anyone),
    ("createWorld", Holder(WorldCreate)),
    ("getWorld", Holder(WorldRead)),
    ("amendWorld", Holder(WorldManage)),
    ("archiveWorld", Holder(WorldManage)),
    ("listMembers", Holder(WorldRead)),
    ("joinWorld", Oneself),
    ("leaveWorld", Oneself),
    ("removeMember", Holder(WorldManage)),
    ("listWorldChannels", Holder(ChatRead)),
    ("listChannels", Holder(ChatRead)),
    ("openChannel", Holder(ChatManage)),
    ("getChannel", Holder(ChatRead)),
    ("amendChannel", Holder(ChatManage)),
    ("closeChannel", Holder(ChatManage)),
    ("listMessages", Holder(ChatRead)),
    ("postMessage", Holder(ChatPost)),
    ("markRead", Oneself),
    ("getMessage", Holder(ChatRead)),
    ("editMessage", Author),
    ("removeMessage", AuthorOr(ChatModerate)),
    ("listAnnouncements", Holder(WorldRead)),
    ("publishAnnouncement", Holder(AnnouncementPublish)),
    ("getAnnouncement", Holder(WorldRead)),
    ("amendAnnouncement", Holder(AnnouncementPublish)),
    ("withdrawAnnouncement", Holder(AnnouncementPublish)),
    ("listNotifications", Oneself),
    ("countUnreadNotifications", Oneself),
    ("readNotification", Oneself),
    ("readAllNotifications", Oneself),
    ("dismissNotification", Oneself),
    ("listDeadJobs", Holder(OutboxManage)),
    ("retryDeadJob", Holder(OutboxManage)),
    ("getOpenapi", Anyone),
    ("getAsyncapi", Anyone),
];

/// Returns what the document says of a call under `x-permission`: any one of these is enough.
///
/// # Panics
///
/// If the call has no line in the table.
pub(super) fn tag(call: &str) -> Value {
    let who = TABLE.iter().find(|(name, _)| *name == call).map(|(_, who)| *who);
    let who = who.unwrap_or_else(|| panic!("{call} does not say who may make it"));
    match who {
        Anyone => json!(["anyone"]),
        Oneself => json!(["self"]),
        SignedIn => json!(["signed-in"]),
        Holder(permission) => json!([permission]),
        Author => json!(["author"]),
        AuthorOr(permission) => json!(["author", permission]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_about_a_call_that_there_is() {
        let document = super::super::openapi_document().to_string();

        for (name, _) in TABLE {
            assert_eq!(document.matches(&format!("\"operationId\":\"{name}\"")).count(), 1, "{name}");
            assert_eq!(TABLE.iter().filter(|(other, _)| other == name).count(), 1, "{name} has two lines");
        }
    }
}
