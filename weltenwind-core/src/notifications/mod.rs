//! Notifications: what an account is told, and what it has made of that.
//!
//! Each has a natural key, under which an account is told once. Announcements to everybody are merged into an account's feed
//! when it is read, and cost nothing before; those to a world or a role are [spread](NotificationStore::spread) to whoever belongs
//! to them, in pages of one transaction each. A topic that an account has switched off is kept out of its feed, and comes back
//! with what was told meanwhile.
//!
//! A feed in the same state has the same [`FeedState`]: a reader that knows it is answered by one reading of keys. What was read
//! is said as far as it was seen ([`FeedMark`]), so that nothing counts as read that came a moment later.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod fan_out;
mod model;
mod notices;
mod service;
mod store;

pub(crate) use self::fan_out::{FanOut, fan_out};
pub use self::{
    error::NotificationError,
    model::{
        Feed, FeedMark, FeedPage, FeedPosition, FeedState, NewNotification, Notification, NotificationQuery,
        ParseMarkError, Spread, Told, Unread,
    },
    notices::{LocalNotices, Notice, Notices},
    service::{FeedSearch, Notifications},
    store::NotificationStore,
};
