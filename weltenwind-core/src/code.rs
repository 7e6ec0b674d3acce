//! The one catalogue of codes: what HTTP, WebSocket, the command line, the docs and translations name a failure.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::Class;

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $class:ident $(($status:literal))?, $title:literal;)+) => {
        /// A reason for a refusal or a failure. Codes are public API and are never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)+
        }

        impl Code {
            /// Every code of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the code as it stands in a problem, an `err` record and the docs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns what a caller can do about it.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }

            /// Returns the short, fixed summary.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            const fn own_status(self) -> Option<u16> {
                match self { $(Self::$name => catalogue!(@status $($status)?),)+ }
            }
        }
    };
    (@status) => { None };
    (@status $status:literal) => { Some($status) };
}

catalogue! {
    /// The request cannot be parsed.
    Malformed = "malformed-request", Malformed, "The request cannot be parsed";
    /// A cursor that was not issued here, or not for this list.
    CursorInvalid = "cursor-invalid", Malformed, "The cursor does not belong to this list";
    /// A record on the socket that cannot be read.
    RecordUnreadable = "record-unreadable", Malformed, "The record cannot be read";
    /// An `Idempotency-Key` that is none.
    IdempotencyKeyInvalid = "idempotency-key-invalid", Malformed, "The Idempotency-Key has not the form of one";
    /// The body breaks rules.
    ValidationFailed = "validation-failed", Invalid, "The request breaks a rule";
    /// The message that is replied to is not in this channel.
    ReplyNotFound = "reply-not-found", Invalid, "The message replied to is not in this channel";
    /// The `Idempotency-Key` stands for another request.
    IdempotencyKeyReused = "idempotency-key-reused", Invalid, "The Idempotency-Key was used for another request";

    /// Nobody is signed in.
    Unauthenticated = "unauthenticated", Unauthenticated, "Sign-in is required";
    /// A username or password that is wrong.
    InvalidCredentials = "invalid-credentials", Unauthenticated, "The username or the password is wrong";
    /// An access token that does not hold.
    TokenInvalid = "token-invalid", Unauthenticated, "The access token does not hold";
    /// An access token whose time is over.
    TokenExpired = "token-expired", Unauthenticated, "The access token has expired";
    /// The session has ended.
    SessionEnded = "session-ended", Unauthenticated, "The session has ended";
    /// A refresh token that does not hold.
    RefreshTokenInvalid = "refresh-token-invalid", Unauthenticated, "The refresh token does not hold";
    /// A refresh token that was used before; its session has ended.
    RefreshTokenReused = "refresh-token-reused", Unauthenticated, "The refresh token was used before; the session has ended";
    /// A ticket that does not hold.
    TicketInvalid = "ticket-invalid", Unauthenticated, "The ticket does not hold";
    /// A bootstrap token that was never issued.
    BootstrapTokenInvalid = "bootstrap-token-invalid", Unauthenticated, "The bootstrap token does not hold";

    /// A permission is missing.
    PermissionDenied = "permission-denied", Forbidden, "A permission is missing";
    /// Guests may not post in this channel.
    GuestsMayNotPost = "guests-may-not-post", Forbidden, "Guests may not post in this channel";
    /// The world can be joined by invitation only.
    InviteRequired = "invite-required", Forbidden, "This world is joined by invitation";
    /// A message may be edited for a quarter of an hour.
    EditWindowPassed = "edit-window-passed", Forbidden, "The time for edits has passed";
    /// The browser's origin is not on the list.
    OriginNotAllowed = "origin-not-allowed", Forbidden, "The origin is not allowed";
    /// A cookie route was called without the header that only own scripts can send.
    CsrfHeaderRequired = "csrf-header-required", Forbidden, "The header X-Weltenwind-Csrf is required";

    /// Nothing stands at this path.
    NotFound = "not-found", NotFound, "Nothing is found here";
    /// The account does not exist.
    AccountNotFound = "account-not-found", NotFound, "The account does not exist";
    /// The world does not exist, or not for who asks.
    WorldNotFound = "world-not-found", NotFound, "The world does not exist";
    /// The channel does not exist, or not for who asks.
    ChannelNotFound = "channel-not-found", NotFound, "The channel does not exist";
    /// The message does not exist, or not for who asks.
    MessageNotFound = "message-not-found", NotFound, "The message does not exist";
    /// The grant does not exist.
    GrantNotFound = "grant-not-found", NotFound, "The grant does not exist";
    /// The account is not a member.
    MemberNotFound = "member-not-found", NotFound, "The account is not a member";
    /// The room does not exist, or not for who asks.
    RoomNotFound = "room-not-found", NotFound, "The room does not exist";

    /// Another world has, or had, this slug.
    SlugTaken = "slug-taken", Conflict, "The slug is taken";
    /// Another account has this username.
    UsernameTaken = "username-taken", Conflict, "The username is taken";
    /// The author used this client id for another message.
    ClientIdReused = "client-id-reused", Conflict, "The client id was used for another message";
    /// The first request under this `Idempotency-Key` is running.
    IdempotencyInProgress = "idempotency-in-progress", Conflict, "The first request under this Idempotency-Key is running";
    /// The message was removed and cannot be edited.
    MessageRemoved = "message-removed", Conflict, "The message was removed";
    /// A scope must keep an owner.
    LastOwner = "last-owner", Conflict, "The last owner stays";
    /// The connection joined this room before.
    AlreadyJoined = "already-joined", Conflict, "The room is joined already";
    /// The connection did not join this room.
    NotJoined = "not-joined", Conflict, "The room is not joined";

    /// A cursor that lies too far back, or in another life of the channel.
    ReplayWindowExceeded = "replay-window-exceeded", Gone, "The position is outside of the replay window";
    /// A bootstrap token that was used, or is older than a quarter of an hour.
    BootstrapTokenSpent = "bootstrap-token-spent", Gone, "The bootstrap token is spent";

    /// The channel asks for a pause between two messages.
    SlowMode = "slow-mode", Throttled, "The channel is in slow mode";
    /// Too many sockets.
    TooManyConnections = "too-many-connections", Throttled, "Too many connections are open";
    /// Too many rooms on one socket.
    TooManyRooms = "too-many-rooms", Throttled, "Too many rooms are joined";

    /// The path does not know this method.
    MethodNotAllowed = "method-not-allowed", Invalid(405), "The method is not allowed here";
    /// No representation fits the Accept header.
    NotAcceptable = "not-acceptable", Invalid(406), "No acceptable representation exists";
    /// The body did not arrive in time.
    BodyTooSlow = "body-too-slow", Malformed(408), "The body took too long to arrive";
    /// The revision in If-Match is stale.
    PreconditionFailed = "precondition-failed", Conflict(412), "The resource has changed";
    /// The body is larger than allowed.
    PayloadTooLarge = "payload-too-large", Invalid(413), "The body is too large";
    /// The body's media type is not JSON.
    UnsupportedMediaType = "unsupported-media-type", Invalid(415), "The media type is not supported";
    /// A WebSocket upgrade is expected.
    UpgradeRequired = "upgrade-required", Invalid(426), "A WebSocket upgrade is required";
    /// If-Match is required.
    PreconditionRequired = "precondition-required", Invalid(428), "If-Match is required";
    /// The head of the request is larger than allowed.
    HeadersTooLarge = "headers-too-large", Invalid(431), "The headers are too large";

    /// The request took too long.
    TimedOut = "timed-out", Unavailable, "The request took too long";
    /// More work is queued than can be done in time.
    Overloaded = "overloaded", Unavailable, "The server is overloaded";
    /// A part of the system is away.
    Unavailable = "unavailable", Unavailable, "The service is unavailable";
    /// A defect.
    Internal = "internal", Internal, "An internal error occurred";
}

impl Code {
    /// Returns the HTTP status: the class's, or the code's own where only a host can refuse.
    pub const fn status(self) -> u16 {
        if let Some(status) = self.own_status() {
            return status;
        }
        match self.class() {
            Class::Malformed => 400,
            Class::Unauthenticated => 401,
            Class::Forbidden => 403,
            Class::NotFound => 404,
            Class::Conflict => 409,
            Class::Gone => 410,
            Class::Invalid => 422,
            Class::Throttled => 429,
            Class::Internal => 500,
            Class::Unavailable => 503,
        }
    }

    /// Returns the code's URN, the `type` of a problem.
    pub fn urn(self) -> String {
        format!("urn:weltenwind:problem:{self}")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_in_kebab_case() {
        let texts: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();

        assert_eq!(texts.len(), Code::ALL.len());
        assert!(texts.iter().all(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }

    #[test]
    fn every_code_answers_an_error_status() {
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }
}
