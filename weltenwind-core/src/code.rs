//! The one catalogue of codes: what HTTP, WebSocket, the command line, the docs and translations name a failure.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::Class;

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $class:ident $(($status:literal))?, $title:literal $(, $advice:literal)?;)+) => {
        /// A reason for a refusal or a failure. Codes are public API and are never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
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

            /// Returns what it means, in a sentence or two.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            const fn own_advice(self) -> Option<&'static str> {
                match self { $(Self::$name => catalogue!(@advice $($advice)?),)+ }
            }

            const fn own_status(self) -> Option<u16> {
                match self { $(Self::$name => catalogue!(@status $($status)?),)+ }
            }
        }
    };
    (@advice) => { None };
    (@advice $advice:literal) => { Some($advice) };
    (@status) => { None };
    (@status $status:literal) => { Some($status) };
}

catalogue! {
    /// The request cannot be parsed.
    Malformed = "malformed-request", Malformed, "The request cannot be parsed",
        "Compare the request with the reference: JSON in UTF-8, no member twice, no parameter that the call does not know.";
    /// A cursor that was not issued here, or not for this list.
    CursorInvalid = "cursor-invalid", Malformed, "The cursor does not belong to this list",
        "Begin the list anew without a cursor, and send `nextCursor` back as it came, with the same filters.";
    /// A record on the socket that cannot be read.
    RecordUnreadable = "record-unreadable", Malformed, "The record cannot be read",
        "Send one flat JSON object a line, of the types that the reference names. The twentieth within a minute ends the socket.";
    /// An `Idempotency-Key` that is none.
    IdempotencyKeyInvalid = "idempotency-key-invalid", Malformed, "The Idempotency-Key has not the form of one",
        "Send one `Idempotency-Key` of 16 to 128 visible ASCII characters, a random UUID for example.";
    /// A call that must be repeatable came without an `Idempotency-Key`.
    IdempotencyKeyRequired = "idempotency-key-required", Malformed, "An Idempotency-Key is required",
        "Draw a key for the request, a random UUID for example, and send it as `Idempotency-Key`; repeats send the same one.";
    /// The body breaks rules.
    ValidationFailed = "validation-failed", Invalid, "The request breaks a rule",
        "Correct each member that `errors` points at, and send the request again.";
    /// The message that is replied to is not in this channel.
    ReplyNotFound = "reply-not-found", Invalid, "The message replied to is not in this channel",
        "Reply to a message of the same channel, or leave `replyTo` out.";
    /// The `Idempotency-Key` stands for another request.
    IdempotencyKeyReused = "idempotency-key-reused", Invalid, "The Idempotency-Key was used for another request",
        "Draw a new key for each request, and send the same one only to repeat the same request.";

    /// Nobody is signed in.
    Unauthenticated = "unauthenticated", Unauthenticated, "Sign-in is required";
    /// A username or password that is wrong.
    InvalidCredentials = "invalid-credentials", Unauthenticated, "The username or the password is wrong",
        "Type both again. Which of them is wrong is not told.";
    /// The password is right; the account asks for a code beside it.
    TwoFactorRequired = "two-factor-required", Unauthenticated, "A code is required beside the password",
        "Send the same sign-in with `totp`: the code that the authenticator shows, or a recovery code.";
    /// A code of the second factor that is wrong, or was used before.
    TwoFactorCodeInvalid = "two-factor-code-invalid", Unauthenticated, "The code is wrong, or was used before",
        "Wait for the next code, or use a recovery code. Each passes once, and the clocks must agree within half a minute.";
    /// An access token that does not hold.
    TokenInvalid = "token-invalid", Unauthenticated, "The access token does not hold",
        "Trade the refresh token for a new access token, or sign in again.";
    /// An access token whose time is over.
    TokenExpired = "token-expired", Unauthenticated, "The access token has expired",
        "Trade the refresh token for a new access token; sessions last much longer than access tokens.";
    /// The session has ended.
    SessionEnded = "session-ended", Unauthenticated, "The session has ended",
        "Sign in again. The session was ended here, or from another device.";
    /// The device that the session was opened on was signed out.
    DeviceRevoked = "device-revoked", Unauthenticated, "The device was signed out",
        "Sign in again, if the device is yours: its owner has ended every session on it.";
    /// An API key that was never made, was deleted, or has expired.
    ApiKeyInvalid = "api-key-invalid", Unauthenticated, "The API key does not hold",
        "Compare the key with the one that was shown when it was made, or have a new one made: `weltenwind key create`.";
    /// A refresh token that does not hold.
    RefreshTokenInvalid = "refresh-token-invalid", Unauthenticated, "The refresh token does not hold",
        "Sign in again.";
    /// A refresh token that was used before; its session has ended.
    RefreshTokenReused = "refresh-token-reused", Unauthenticated, "The refresh token was used before; the session has ended",
        "Sign in again, and let one part of the program alone refresh: two that use one token look like a thief.";
    /// A ticket that does not hold.
    TicketInvalid = "ticket-invalid", Unauthenticated, "The ticket does not hold",
        "Ask for a new ticket and open the socket at once, from the page that asked.";
    /// A bootstrap token that was never issued.
    BootstrapTokenInvalid = "bootstrap-token-invalid", Unauthenticated, "The bootstrap token does not hold",
        "Copy the whole link that `weltenwind admin bootstrap` printed.";

    /// A permission is missing.
    PermissionDenied = "permission-denied", Forbidden, "A permission is missing",
        "Ask somebody who manages the place for a role that has the permission.";
    /// Only accounts may do this; the caller is an API key.
    AccountRequired = "account-required", Forbidden, "An account is required",
        "Call it with the access token of an account: it is about the account that asks, and an API key is none.";
    /// What needs a role of the staff is done with a second factor here, and the account has none.
    TwoFactorEnrolmentRequired = "two-factor-enrolment-required", Forbidden, "A second factor must be enabled first",
        "Enable a second factor for the account, and send the same request with the new session.";
    /// Only registered accounts may do this; the caller is a guest.
    RegistrationRequired = "registration-required", Forbidden, "A registered account is required",
        "Register the account first; it stays the same account.";
    /// Guests may not post in this channel.
    GuestsMayNotPost = "guests-may-not-post", Forbidden, "Guests may not post in this channel",
        "Register an account, or write in a channel that is open to guests.";
    /// The world can be joined by invitation only.
    InviteRequired = "invite-required", Forbidden, "This world is joined by invitation",
        "Ask a member of the world for an invitation.";
    /// A message may be edited for a quarter of an hour.
    EditWindowPassed = "edit-window-passed", Forbidden, "The time for edits has passed",
        "Write a new message; a message can be edited for 15 minutes.";
    /// The browser's origin is not on the list.
    OriginNotAllowed = "origin-not-allowed", Forbidden, "The origin is not allowed",
        "Open the page at the address that the installation names as its own; operators add others to `http.allowed_origins`.";
    /// A cookie route was called without the header that only own scripts can send.
    CsrfHeaderRequired = "csrf-header-required", Forbidden, "The header X-Weltenwind-Csrf is required",
        "Send `X-Weltenwind-Csrf: 1` with every call that uses the cookie.";
    /// What is asked cannot be undone, and the session is older than 15 minutes.
    RecentSignInRequired = "recent-sign-in-required", Forbidden, "A recent sign-in is required",
        "Sign in with the password, and send the request with the new access token.";

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
    /// The group does not exist, or not for who asks.
    GroupNotFound = "group-not-found", NotFound, "The group does not exist";
    /// The announcement does not exist, or not for who asks.
    AnnouncementNotFound = "announcement-not-found", NotFound, "The announcement does not exist";
    /// The account was told no such thing, or has dismissed it.
    NotificationNotFound = "notification-not-found", NotFound, "The notification does not exist";
    /// The grant does not exist.
    GrantNotFound = "grant-not-found", NotFound, "The grant does not exist";
    /// The API key does not exist.
    ApiKeyNotFound = "api-key-not-found", NotFound, "The API key does not exist";
    /// The account is not a member.
    MemberNotFound = "member-not-found", NotFound, "The account is not a member";
    /// The room does not exist, or not for who asks.
    RoomNotFound = "room-not-found", NotFound, "The room does not exist";
    /// The session does not exist, or has ended.
    SessionNotFound = "session-not-found", NotFound, "The session does not exist",
        "List your sessions: it has ended, or is not yours.";
    /// The device does not exist, or was signed out.
    DeviceNotFound = "device-not-found", NotFound, "The device does not exist",
        "List your devices: it was signed out, or is not yours.";
    /// The job does not exist, or is not dead.
    JobNotFound = "job-not-found", NotFound, "The job does not exist",
        "List the dead jobs: it was replayed, is done, or was given up more than 30 days ago.";

    /// Another world has, or had, this slug, or another channel of the scope has it.
    SlugTaken = "slug-taken", Conflict, "The slug is taken",
        "Choose another slug. One that a world has borne is never given to another world.";
    /// Another account has this username.
    UsernameTaken = "username-taken", Conflict, "The username is taken",
        "Choose another username, or sign in if the account is yours.";
    /// The account is no guest's.
    AlreadyRegistered = "already-registered", Conflict, "The account is registered already",
        "Nothing: the account has a username and a password. Sign in with them.";
    /// The account has a second factor.
    TwoFactorEnabled = "two-factor-enabled", Conflict, "The second factor is enabled already",
        "Nothing, or disable it with one of its codes and begin anew.";
    /// The account has no second factor, or has not begun to enable one.
    TwoFactorNotEnabled = "two-factor-not-enabled", Conflict, "No second factor is enabled or begun",
        "Begin to enable one, and show its first code.";
    /// The author used this client id for another message.
    ClientIdReused = "client-id-reused", Conflict, "The client id was used for another message",
        "Use a new `clientId` for each message, and the same one only to repeat a message that may be lost.";
    /// The first request under this `Idempotency-Key` is running.
    IdempotencyInProgress = "idempotency-in-progress", Conflict, "The first request under this Idempotency-Key is running",
        "Repeat the request under the same key after `retryAfter` seconds: it is answered as the first one was.";
    /// The message was removed and cannot be edited.
    MessageRemoved = "message-removed", Conflict, "The message was removed",
        "Nothing: a removed message keeps its place and no text.";
    /// The time of an announcement's publication has passed.
    AnnouncementPublished = "announcement-published", Conflict, "The announcement is published already",
        "Leave `publishAt` out, or withdraw the announcement and publish another.";
    /// A scope must keep an owner.
    LastOwner = "last-owner", Conflict, "The last owner stays",
        "Make another account owner first.";
    /// The connection joined this room before.
    AlreadyJoined = "already-joined", Conflict, "The room is joined already",
        "Nothing: what happens in the room arrives already.";
    /// The connection did not join this room.
    NotJoined = "not-joined", Conflict, "The room is not joined",
        "Join the room first.";

    /// A cursor that lies too far back, or in another life of the channel.
    ReplayWindowExceeded = "replay-window-exceeded", Gone, "The position is outside of the replay window",
        "Read the history anew, and follow from its `roomCursor`.";
    /// A bootstrap token that was used, or is older than a quarter of an hour.
    BootstrapTokenSpent = "bootstrap-token-spent", Gone, "The bootstrap token is spent",
        "Run `weltenwind admin bootstrap` for a new link. It holds for 15 minutes, once.";

    /// A quota is used up.
    RateLimited = "rate-limited", Throttled, "Too many calls";
    /// The channel asks for a pause between two messages.
    SlowMode = "slow-mode", Throttled, "The channel is in slow mode";
    /// Too many sockets.
    TooManyConnections = "too-many-connections", Throttled, "Too many connections are open",
        "Close sockets that are not needed; one carries many rooms.";
    /// Too many rooms on one socket.
    TooManyRooms = "too-many-rooms", Throttled, "Too many rooms are joined",
        "Leave a room, then join the next.";

    /// The path does not know this method.
    MethodNotAllowed = "method-not-allowed", Invalid(405), "The method is not allowed here",
        "Use one of the methods that the header `Allow` names.";
    /// No representation fits the Accept header.
    NotAcceptable = "not-acceptable", Invalid(406), "No acceptable representation exists",
        "Accept `application/json`.";
    /// The body did not arrive in time.
    BodyTooSlow = "body-too-slow", Malformed(408), "The body took too long to arrive",
        "Send the same request again over a better line, or less at once. Nothing was done.";
    /// The revision in If-Match is stale.
    PreconditionFailed = "precondition-failed", Conflict(412), "The resource has changed",
        "Read the resource again, decide again, and send its new ETag; `current` is the present one.";
    /// The body is larger than allowed.
    PayloadTooLarge = "payload-too-large", Invalid(413), "The body is too large",
        "Send less at once.";
    /// The body's media type is not JSON.
    UnsupportedMediaType = "unsupported-media-type", Invalid(415), "The media type is not supported",
        "Send `Content-Type: application/json`, in UTF-8 and without a content encoding.";
    /// A WebSocket upgrade is expected.
    UpgradeRequired = "upgrade-required", Invalid(426), "A WebSocket upgrade is required",
        "Open the address as a WebSocket of version 13 over HTTP/1.1.";
    /// If-Match is required.
    PreconditionRequired = "precondition-required", Invalid(428), "If-Match is required",
        "Read the resource, and send its ETag as `If-Match`.";
    /// The head of the request is larger than allowed.
    HeadersTooLarge = "headers-too-large", Invalid(431), "The headers are too large",
        "Send fewer or shorter headers; cookies of other sites on the same host count too.";

    /// The request took too long.
    TimedOut = "timed-out", Unavailable, "The request took too long",
        "Send the same request again. What it asked for may have taken effect.";
    /// More work is queued than can be done in time.
    Overloaded = "overloaded", Unavailable, "The server is overloaded",
        "Wait a little longer with every attempt.";
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

    /// Returns what to do about it: the code's own advice, or that of its class.
    pub const fn advice(self) -> &'static str {
        if let Some(advice) = self.own_advice() {
            return advice;
        }
        match self.class() {
            Class::Malformed => "Compare the request with the reference and write it anew; the same one never passes.",
            Class::Invalid => "Correct what `errors` and `detail` name, and send the request again.",
            Class::Unauthenticated => "Sign in, and send the request with the new access token.",
            Class::Forbidden => "Ask somebody who may give the permission; the same request does not pass before.",
            Class::NotFound => "Check the address. What one may not see is not told from what does not exist.",
            Class::Conflict => "Read the present state, and decide again.",
            Class::Gone => "Begin anew; what is spent does not come back.",
            Class::Throttled => "Wait for the seconds that `retryAfter` names, then send the same request again.",
            Class::Unavailable => {
                "Send the same request again in a moment; repeating it is safe where the reference says so."
            }
            Class::Internal => "Quote the correlation id to the operator, whose log names the failure.",
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
    fn every_code_says_what_it_means_and_what_to_do() {
        for code in Code::ALL {
            for text in [code.meaning(), code.advice()] {
                assert!(text.starts_with(|c: char| c.is_uppercase()) && text.ends_with('.'), "{code}: {text:?}");
            }
            assert!(!code.title().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn every_code_answers_an_error_status() {
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }
}
