//! What a notification is, and in which state a feed is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    accounts::Topic,
    announcements::{AnnouncementText, Title},
    clock::Timestamp,
    dedupe::DedupeKey,
    ids::{AccountId, NotificationId},
    page::Limit,
};

/// Something that an account was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The notification; where its topic is an announcement, the announcement's id.
    pub id: NotificationId,
    /// What it is about.
    pub topic: Topic,
    /// What it is called.
    pub title: Title,
    /// What it says.
    pub body: AnnouncementText,
    /// When it was told: for an announcement, when that was published.
    pub created_at: Timestamp,
    /// From when on it is gone.
    pub expires_at: Option<Timestamp>,
    /// When it was first handed over without being asked for.
    pub dispatched_at: Option<Timestamp>,
    /// When it was read.
    pub read_at: Option<Timestamp>,
}

/// Something to tell an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// The notification.
    pub id: NotificationId,
    /// Whom to tell.
    pub account: AccountId,
    /// What it is about.
    pub topic: Topic,
    /// The key under which the account is told once.
    pub dedupe_key: DedupeKey,
    /// What it is called.
    pub title: Title,
    /// What it says.
    pub body: AnnouncementText,
    /// When.
    pub at: Timestamp,
    /// From when on it is gone.
    pub expires_at: Option<Timestamp>,
}

/// What became of something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The account is told.
    New,
    /// It was told before, under this key.
    Known,
    /// There is no such account.
    Nobody,
}

/// In which state a feed is: two that are equal show the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedState {
    /// Counts what was told to the account, and what it has made of that.
    pub version: i64,
    /// Counts what became of announcements.
    pub epoch: i64,
    /// When an announcement last became visible, in microseconds since 1970.
    pub began: i64,
    /// When an announcement, or something that was told, last came to its end.
    pub ended: i64,
    /// The revision of the account's preferences, which say what is hidden.
    pub preferences: i64,
    /// From when on things are shown.
    pub since: i64,
}

impl FeedState {
    /// Returns its parts, to be hashed.
    pub fn bytes(&self) -> Vec<u8> {
        let parts = [self.version, self.epoch, self.began, self.ended, self.preferences, self.since];
        parts.iter().flat_map(|part| part.to_be_bytes()).collect()
    }
}

/// How far a feed was seen. It says nothing that is worth keeping secret, and is written as three numbers.
///
/// ```
/// use weltenwind_core::notifications::FeedMark;
///
/// let mark: FeedMark = "12.7.1767225600000000".parse()?;
/// assert_eq!((mark.version, mark.epoch), (12, 7));
/// assert_eq!(mark.to_string(), "12.7.1767225600000000");
/// # Ok::<(), weltenwind_core::notifications::ParseMarkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedMark {
    /// The version of the feed.
    pub version: i64,
    /// The version of the announcements.
    pub epoch: i64,
    /// When, in microseconds since 1970.
    pub at: i64,
}

impl fmt::Display for FeedMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.version, self.epoch, self.at)
    }
}

/// The text is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mark of a feed: three numbers with a dot between them are expected")]
pub struct ParseMarkError;

impl FromStr for FeedMark {
    type Err = ParseMarkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.').map(|part| {
            let number = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok()).flatten();
            number.ok_or(ParseMarkError)
        });
        let mut next = || parts.next().ok_or(ParseMarkError)?;
        let mark = Self { version: next()?, epoch: next()?, at: next()? };
        // What no clock has shown yet was not seen.
        let is_instant = Timestamp::from_microsecond(mark.at).is_ok();
        if is_instant && parts.next().is_none() { Ok(mark) } else { Err(ParseMarkError) }
    }
}

/// Which notifications to read, newest first; dismissed ones, and those of a topic that is switched off, never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationQuery {
    /// Whose.
    pub account: AccountId,
    /// Only those that are not read.
    pub unread: bool,
    /// Only those about this.
    pub topic: Option<Topic>,
    /// At which instant: what has expired then, and what is published later, is left out.
    pub at: Timestamp,
    /// Only those from then on.
    pub since: Timestamp,
    /// Only those behind this position.
    pub after: Option<FeedPosition>,
    /// How many.
    pub limit: Limit,
}

/// A part of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// The notifications, newest first.
    pub items: Vec<Notification>,
    /// Where the feed goes on, if it does.
    pub next: Option<FeedPosition>,
}

/// A position in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPosition {
    /// Microseconds since 1970 of the notification.
    pub at: i64,
    /// The notification.
    pub id: NotificationId,
}

/// A part of a feed, and how far it was seen with that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The part.
    pub page: FeedPage,
    /// The state in which the feed was read.
    pub state: FeedState,
    /// What to say to mark all of it as read, and nothing that came later.
    pub mark: FeedMark,
}

/// How many notifications are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// So many, or more if it is capped.
    pub count: u32,
    /// Whether there are more.
    pub is_capped: bool,
}

/// What one page of a spreading has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// So many accounts were told, and more may be left.
    More(u64),
    /// So many accounts were told, and everybody has been.
    Done(u64),
    /// The announcement is not there any more.
    Gone,
    /// It is not published before this instant.
    NotBefore(Timestamp),
}
