//! Codes with which the socket refuses. The documents show these lists, and the tests of the socket fail on a code that is in
//! neither.

use crate::code::Code;

/// Why there is no socket: a problem (RFC 9457) before the upgrade.
pub const OF_HANDSHAKES: &[Code] = &[
    Code::Malformed,
    Code::Unauthenticated,
    Code::TokenInvalid,
    Code::TokenExpired,
    Code::SessionEnded,
    Code::DeviceRevoked,
    Code::ApiKeyInvalid,
    Code::TicketInvalid,
    Code::OriginNotAllowed,
    Code::MethodNotAllowed,
    Code::UpgradeRequired,
    Code::TooManyConnections,
    Code::Unavailable,
    Code::Internal,
];

/// What `err` and `left` tell.
pub const OF_RECORDS: &[Code] = &[
    Code::RecordUnreadable,
    Code::ValidationFailed,
    Code::CursorInvalid,
    Code::ReplyNotFound,
    Code::Unauthenticated,
    Code::TokenInvalid,
    Code::TokenExpired,
    Code::ApiKeyInvalid,
    Code::PermissionDenied,
    Code::GuestsMayNotPost,
    Code::RoomNotFound,
    Code::ChannelNotFound,
    Code::WorldNotFound,
    Code::ClientIdReused,
    Code::AlreadyJoined,
    Code::NotJoined,
    Code::SlowMode,
    Code::RateLimited,
    Code::TooManyRooms,
    Code::Overloaded,
    Code::TimedOut,
    Code::Unavailable,
    Code::Internal,
];
