//! `users/me/preferences`: language, looks, and when to be told of what.

use axum::body::Body;
use serde::Deserialize;
use utoipa::ToSchema;
use weltenwind_core::{
    accounts::{AccountError, LocaleTag, PreferencesAmendment, QuietHours, Theme, Topic},
    wire::PreferencesBody,
};

use crate::{
    answer::{self, Answer, With as _},
    context::Context,
    json::present,
    problem::{Stop, UnlessDenied as _},
    reference::IfMatch,
};

/// Answers what the own account prefers.
///
/// An account that has never said anything has the defaults.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/preferences",
    operation_id = "getPreferences",
    tag = "accounts",
    responses(
        (status = 200, description = "The preferences.", body = PreferencesBody),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn find(cx: Context) -> Answer {
    let preferences = cx.services.accounts.preferences(cx.actor()).await?;
    Ok(answer::ok(&PreferencesBody::from(&preferences)).tagged(preferences.revision))
}

/// What is to change; what is absent stays, and the locale and the quiet hours can be null.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent and null are two wishes")]
struct AmendPreferences {
    /// A language tag (BCP 47) of up to 35 characters; null leaves it to the device.
    #[schema(value_type = Option<String>, required = false, pattern = "^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$")]
    #[serde(default, deserialize_with = "present")]
    locale: Option<Option<String>>,
    /// How pages look.
    #[schema(value_type = Theme, required = false)]
    #[serde(default, deserialize_with = "present")]
    theme: Option<Theme>,
    /// Topics, and whether the account is told of them; those that are absent stay, and there are no others.
    #[schema(value_type = AmendTopics, required = false)]
    #[serde(default, deserialize_with = "present")]
    notifications: Option<AmendTopics>,
    /// When it is not told, every day; null is never.
    #[schema(value_type = Option<SetQuietHours>, required = false)]
    #[serde(default, deserialize_with = "present")]
    quiet_hours: Option<Option<SetQuietHours>>,
}

/// Topics, and whether the account is told of them; those that are absent stay, and there are no others.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AmendTopics {
    /// Announcements.
    #[schema(value_type = bool)]
    #[serde(deserialize_with = "present")]
    announcement: Option<bool>,
    /// Messages: replies and mentions.
    #[schema(value_type = bool)]
    #[serde(deserialize_with = "present")]
    chat: Option<bool>,
    /// Groups: applications and changes of membership.
    #[schema(value_type = bool)]
    #[serde(deserialize_with = "present")]
    group: Option<bool>,
    /// Invitations.
    #[schema(value_type = bool)]
    #[serde(deserialize_with = "present")]
    invite: Option<bool>,
    /// Reports and what became of them.
    #[schema(value_type = bool)]
    #[serde(deserialize_with = "present")]
    moderation: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetQuietHours {
    /// When they begin; they may go past midnight.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    start: String,
    /// When they are over; not the same as the start.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    end: String,
    /// A name of the IANA time zone database.
    time_zone: String,
}

impl AmendPreferences {
    fn amendment(self) -> Result<PreferencesAmendment, Stop> {
        let topics = self.notifications.unwrap_or_default();
        let wishes = [
            (Topic::Announcement, topics.announcement),
            (Topic::Chat, topics.chat),
            (Topic::Group, topics.group),
            (Topic::Invite, topics.invite),
            (Topic::Moderation, topics.moderation),
        ];
        let locale = self.locale.map(|locale| locale.as_deref().map(LocaleTag::new).transpose());
        let hours = |SetQuietHours { start, end, time_zone }| QuietHours::new(&start, &end, &time_zone);
        let quiet_hours = self.quiet_hours.map(|quiet| quiet.map(hours).transpose());
        Ok(PreferencesAmendment {
            locale: locale.transpose()?,
            theme: self.theme,
            notifications: wishes.into_iter().filter_map(|(topic, is_on)| Some((topic, is_on?))).collect(),
            quiet_hours: quiet_hours.transpose()?,
        })
    }
}

/// Changes what the own account prefers, in the state that If-Match names.
///
/// What is absent stays.
#[utoipa::path(
    patch,
    path = "/api/v1/users/me/preferences",
    operation_id = "amendPreferences",
    tag = "accounts",
    params(IfMatch),
    request_body(content = AmendPreferences, example = json!({
        "locale": "de-AT",
        "theme": "dark",
        "notifications": { "chat": false },
        "quietHours": { "start": "22:30", "end": "07:00", "timeZone": "Europe/Vienna" },
    })),
    responses(
        (status = 200, description = "The preferences as they are now.", body = PreferencesBody),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn amend(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    // Who must sign in hears that first, whatever state is named.
    cx.actor().oneself().map_err(AccountError::from)?;
    let amendment = cx.json(body).await.and_then(AmendPreferences::amendment);
    let wish = amendment.and_then(|amendment| Ok((cx.if_match()?, amendment)));
    let (expected, amendment) = wish.unless_denied(accounts.me(cx.actor())).await?;
    let preferences = accounts.amend_preferences(cx.actor(), Some(expected), amendment).await?;
    Ok(answer::ok(&PreferencesBody::from(&preferences)).tagged(preferences.revision))
}
