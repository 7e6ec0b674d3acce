//! What goes over the wire, shared by the hosts and the client: bodies of the HTTP API and records of the socket.
//!
//! Members are camelCase, times are RFC 3339 in UTC with milliseconds, ids are hyphenated UUIDs.

mod export;
mod feed;
mod http;
mod problem;
mod realtime;
pub mod refusal;
#[cfg(feature = "openapi")]
mod schema;
mod time;
#[cfg(any(test, feature = "conformance", feature = "openapi"))]
mod transcript;

#[cfg(any(test, feature = "conformance", feature = "openapi"))]
pub use self::transcript::{Transcript, TranscriptLine, TranscriptNames};
pub use self::{
    export::{
        ErasureBody, ExportBody, ExportedAudit, ExportedDevice, ExportedGrant, ExportedIdentity, ExportedMark,
        ExportedMessage, ExportedNotification, ExportedRemoval, ExportedRequest, ExportedSession,
    },
    feed::{AnnouncementBody, AudienceBody, FeedBody, NotificationBody, UnreadCountBody},
    http::{
        ApiKeyBody, ChannelBody, CheckBody, DeadJobBody, DeviceBody, EndedBody, GrantBody, HistoryBody, LimitBody,
        LimitsBody, ListBody, LiveJobBody, MemberBody, MessageAuthor, MessageBody, MishapBody, PreferencesBody,
        ProfileBody, QuietHoursBody, ReasonBody, ReplayedBody, SessionBody, SessionDevice, SessionEntryBody,
        TicketBody, TombstoneBody, TopicsBody, TwoFactorBody, TwoFactorConfirmedBody, UnreadBody, UserBody, WorldBody,
    },
    problem::{ProblemBody, ProblemError},
    realtime::{ClientRecord, LimitsRecord, MemberRecord, PresenceRecord, SUBPROTOCOL, ServerRecord, close},
    time::WireTime,
};
