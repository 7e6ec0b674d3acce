//! What somebody prefers: language, looks, and when to be told of what.

use std::{collections::BTreeSet, fmt, fmt::Debug, str::FromStr};

use async_trait::async_trait;
use icu_locale_core::Locale;
use jiff::tz::TimeZoneDatabase;
use serde::{Deserialize, Serialize};

use super::{error::AccountError, service::Accounts};
use crate::{
    actor::Actor,
    error::StorageError,
    ids::AccountId,
    limits::Policy,
    page::Revision,
    scope::Scope,
    step::{AuditDraft, Step},
    validation::Invalid,
};

/// A language, and what else a locale says (BCP 47): `de`, `pt-BR`, `zh-Hant-TW`. At most 35 characters, in canonical case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocaleTag(String);

impl LocaleTag {
    /// Checks a tag and writes it in canonical case.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::at("/locale", "locale must be a language tag (BCP 47) like de, pt-BR or zh-Hant-TW");
        if text.len() > 35 || text.contains('_') {
            return Err(wrong());
        }
        Locale::try_from_str(text).map(|locale| Self(locale.to_string())).map_err(|_| wrong())
    }

    /// Takes a tag that was checked when it was stored.
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocaleTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is none of the words that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a word of preferences")]
pub struct ParsePreferenceError;

/// How pages look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the device does.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// Returns the word, as it is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl FromStr for Theme {
    type Err = ParsePreferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::System, Self::Light, Self::Dark];
        all.into_iter().find(|theme| theme.as_str() == text).ok_or(ParsePreferenceError)
    }
}

/// What a notification is about. Each can be switched off; a topic that is not in this list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Topic {
    /// Announcements.
    Announcement,
    /// Messages: replies and mentions.
    Chat,
    /// Groups: applications and changes of membership.
    Group,
    /// Invitations.
    Invite,
    /// Reports and what became of them.
    Moderation,
}

impl Topic {
    /// Every topic.
    pub const ALL: &[Self] = &[Self::Announcement, Self::Chat, Self::Group, Self::Invite, Self::Moderation];

    /// Returns the word, as it is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announcement => "announcement",
            Self::Chat => "chat",
            Self::Group => "group",
            Self::Invite => "invite",
            Self::Moderation => "moderation",
        }
    }
}

impl FromStr for Topic {
    type Err = ParsePreferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|topic| topic.as_str() == text).ok_or(ParsePreferenceError)
    }
}

/// A time of day, in whole minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Takes minutes since midnight.
    pub const fn from_minutes(minutes: u16) -> Option<Self> {
        if minutes < 24 * 60 { Some(Self(minutes)) } else { None }
    }

    /// Returns the minutes since midnight.
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl FromStr for TimeOfDay {
    type Err = ParsePreferenceError;

    /// Reads `HH:MM`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| {
            let is_two_digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u16>().ok().filter(|_| is_two_digits)
        };
        let (hours, minutes) = text.split_once(':').ok_or(ParsePreferenceError)?;
        match (part(hours), part(minutes)) {
            (Some(hours @ 0..24), Some(minutes @ 0..60)) => Ok(Self(hours * 60 + minutes)),
            _ => Err(ParsePreferenceError),
        }
    }
}

/// The hours of every day in which nobody wants to be woken. They may go past midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    /// When they begin.
    pub start: TimeOfDay,
    /// When they are over.
    pub end: TimeOfDay,
    /// Where: a name of the IANA time zone database, in its own case.
    pub time_zone: String,
}

impl QuietHours {
    /// Checks hours. Time zones are those of the database that is built in, the same on every node.
    pub fn new(start: &str, end: &str, time_zone: &str) -> Result<Self, Invalid> {
        let time = |member: &str, text: &str| {
            text.parse::<TimeOfDay>().map_err(|_| {
                Invalid::at(&format!("/quietHours/{member}"), format!("{member} must be a time of day like 22:30"))
            })
        };
        let (start, end) = (time("start", start)?, time("end", end)?);
        if start == end {
            return Err(Invalid::at("/quietHours/end", "end must not be the same as start"));
        }
        let zone = TimeZoneDatabase::bundled().get(time_zone).ok();
        let name = zone.as_ref().and_then(|zone| zone.iana_name());
        let name = name.ok_or_else(|| {
            Invalid::at("/quietHours/timeZone", "timeZone must be a name of the IANA database like Europe/Berlin")
        })?;
        Ok(Self { start, end, time_zone: name.to_owned() })
    }
}

/// What somebody prefers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// The language and what belongs to it; the device's own if absent.
    pub locale: Option<LocaleTag>,
    /// How pages look.
    pub theme: Theme,
    /// What the account is not told of.
    pub muted: BTreeSet<Topic>,
    /// When it is not told.
    pub quiet_hours: Option<QuietHours>,
    /// Their state's number.
    pub revision: Revision,
}

impl Default for Preferences {
    /// Those of an account that has never said any.
    fn default() -> Self {
        Self {
            locale: None,
            theme: Theme::System,
            muted: BTreeSet::new(),
            quiet_hours: None,
            revision: Revision::FIRST,
        }
    }
}

impl Preferences {
    /// Returns them with a change, as the next revision.
    #[must_use]
    pub fn amended(mut self, amendment: &PreferencesAmendment) -> Self {
        let PreferencesAmendment { locale, theme, notifications, quiet_hours } = amendment.clone();
        self.locale = locale.unwrap_or(self.locale);
        self.theme = theme.unwrap_or(self.theme);
        for (topic, is_on) in notifications {
            if is_on {
                self.muted.remove(&topic)
            } else {
                self.muted.insert(topic)
            };
        }
        self.quiet_hours = quiet_hours.unwrap_or(self.quiet_hours);
        self.revision = self.revision.next();
        self
    }
}

/// What is to change of somebody's preferences; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreferencesAmendment {
    /// The language.
    pub locale: Option<Option<LocaleTag>>,
    /// The looks.
    pub theme: Option<Theme>,
    /// Topics, and whether each is on.
    pub notifications: Vec<(Topic, bool)>,
    /// The quiet hours.
    pub quiet_hours: Option<Option<QuietHours>>,
}

/// A change of preferences to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferencesChange {
    /// Whose.
    pub account: AccountId,
    /// The revision that the caller has seen; any if absent.
    pub expected: Option<Revision>,
    /// What is to change.
    pub amendment: PreferencesAmendment,
}

/// Keeps preferences.
///
/// Each method is one atomic step, as in [`AccountStore`](super::AccountStore).
#[async_trait]
pub trait PreferenceStore: Debug + Send + Sync + 'static {
    /// Reads an account's preferences; those of one that has never said any are [`Preferences::default`].
    async fn find(&self, account: AccountId) -> Result<Preferences, StorageError>;

    /// Changes an account's preferences as [`Preferences::amended`] says. Of two changes of one revision at once, one passes.
    ///
    /// # Errors
    ///
    /// [`AccountError::NotFound`]; [`AccountError::Stale`] with the present revision if it is not the expected one.
    async fn amend(&self, step: &Step, change: &PreferencesChange) -> Result<Preferences, AccountError>;
}

impl Accounts {
    /// Reads the actor's own preferences.
    pub async fn preferences(&self, actor: &Actor) -> Result<Preferences, AccountError> {
        Ok(self.inner.preferences.find(actor.oneself()?.account).await?)
    }

    /// Changes the actor's own preferences, in the state that it has seen.
    ///
    /// # Errors
    ///
    /// [`AccountError::Stale`].
    pub async fn amend_preferences(
        &self,
        actor: &Actor,
        expected: Option<Revision>,
        amendment: PreferencesAmendment,
    ) -> Result<Preferences, AccountError> {
        let account = actor.oneself()?.account;
        self.inner.limits.charge(actor, Policy::Write).await?;
        let audit = AuditDraft::new("account.preferences", Scope::Global);
        let change = PreferencesChange { account, expected, amendment };
        self.inner.preferences.amend(&actor.step(self.inner.sources.clock.now(), audit), &change).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_a_language_tag_in_canonical_case() {
        for (text, canonical) in
            [("de", "de"), ("pt-br", "pt-BR"), ("ZH-hant-tw", "zh-Hant-TW"), ("de-DE-u-hc-h23", "de-DE-u-hc-h23")]
        {
            assert_eq!(LocaleTag::new(text).unwrap().as_str(), canonical, "{text}");
        }
        for text in ["", "d", "german!", "de_DE", "de-", "de-DE-DE", "en-a", &"de-".repeat(20)] {
            assert!(LocaleTag::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        for text in ["00:00", "07:05", "23:59"] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), text);
        }
        for text in ["", "24:00", "7:05", "07:60", "07:5", "0705", "07:05:00", "+7:05", "-1:00"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
        assert_eq!(TimeOfDay::from_minutes(1440), None);
    }

    #[test]
    fn quiet_hours_lie_in_a_time_zone_that_there_is() {
        let night = QuietHours::new("22:00", "07:00", "europe/berlin").unwrap();

        assert_eq!(night.time_zone, "Europe/Berlin");
        for (start, end, zone, pointer) in [
            ("22", "07:00", "Europe/Berlin", "/quietHours/start"),
            ("22:00", "7:00", "Europe/Berlin", "/quietHours/end"),
            ("22:00", "22:00", "Europe/Berlin", "/quietHours/end"),
            ("22:00", "07:00", "Europe/Atlantis", "/quietHours/timeZone"),
            ("22:00", "07:00", "../etc/passwd", "/quietHours/timeZone"),
        ] {
            assert_eq!(QuietHours::new(start, end, zone).unwrap_err().errors[0].pointer, pointer, "{zone}");
        }
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let night = QuietHours::new("22:00", "07:00", "UTC").unwrap();
        let first = PreferencesAmendment {
            theme: Some(Theme::Dark),
            notifications: vec![(Topic::Chat, false), (Topic::Group, false)],
            quiet_hours: Some(Some(night.clone())),
            ..PreferencesAmendment::default()
        };
        let next = PreferencesAmendment {
            locale: Some(Some(LocaleTag::new("de").unwrap())),
            notifications: vec![(Topic::Chat, true)],
            ..PreferencesAmendment::default()
        };

        let preferences = Preferences::default().amended(&first).amended(&next);

        assert_eq!((preferences.theme, preferences.quiet_hours), (Theme::Dark, Some(night)));
        assert_eq!(preferences.muted.into_iter().collect::<Vec<_>>(), [Topic::Group]);
        assert_eq!((preferences.locale.unwrap().as_str(), preferences.revision.get()), ("de", 3));
    }

    #[test]
    fn words_parse_back() {
        assert!(Topic::ALL.iter().all(|topic| topic.as_str().parse() == Ok(*topic)));
        assert!([Theme::System, Theme::Light, Theme::Dark].iter().all(|theme| theme.as_str().parse() == Ok(*theme)));
    }
}
