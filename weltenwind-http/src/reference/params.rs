//! Parameters that several calls take.

use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Required, Schema, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};
use weltenwind_core::{
    AccountId, AnnouncementId, ApiKeyId, ChannelId, DeviceId, GrantId, MessageId, NotificationId, SessionId,
};

macro_rules! parameters {
    ($($(#[$doc:meta])* $type:ident: $name:literal in $place:ident, $required:ident, $schema:expr, $description:literal;)+) => {$(
        $(#[$doc])*
        pub(crate) enum $type {}

        impl IntoParams for $type {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                let schema: RefOr<Schema> = $schema;
                let parameter = ParameterBuilder::new()
                    .name($name)
                    .parameter_in(ParameterIn::$place)
                    .required(Required::$required)
                    .schema(Some(schema))
                    .description(Some($description));
                vec![parameter.build()]
            }
        }
    )+};
}

parameters! {
    /// The world of a path.
    InWorld: "world" in Path, True, text().examples(["mistral"]).into(), "The world's id or slug. A former slug is answered 308.";
    /// The channel of a path.
    InChannel: "id" in Path, True, id::<ChannelId>(), "The channel.";
    /// The message of a path.
    OfMessage: "id" in Path, True, id::<MessageId>(), "The message.";
    /// The account of a path.
    OfAccount: "id" in Path, True, id::<AccountId>(), "The account.";
    /// The session of a path.
    OfSession: "id" in Path, True, id::<SessionId>(), "The session.";
    /// The device of a path.
    OfDevice: "id" in Path, True, id::<DeviceId>(), "The device.";
    /// The grant of a path.
    OfGrant: "id" in Path, True, id::<GrantId>(), "The grant.";
    /// The API key of a path.
    OfKey: "id" in Path, True, id::<ApiKeyId>(), "The API key.";
    /// The announcement of a path.
    OfAnnouncement: "id" in Path, True, id::<AnnouncementId>(), "The announcement.";
    /// The notification of a path.
    OfNotification: "id" in Path, True, id::<NotificationId>(), "The notification.";
    /// The dead job of a path.
    OfJob: "id" in Path, True, text().pattern(Some("^[1-9][0-9]{0,18}$")).examples(["4711"]).into(), "The job's number.";
    /// The member of a path.
    OfMember: "userId" in Path, True, id::<AccountId>(), "The member's account.";
    /// The state that a change is meant for.
    IfMatch: "If-Match" in Header, True, text().pattern(Some("^\"[0-9]+\"$")).examples(["\"7\""]).into(),
        "The strong ETag of the state that the caller has seen. 412 if it is stale, 428 if it is absent.";
    /// What only a browser's own scripts send.
    Csrf: "X-Weltenwind-Csrf" in Header, False, text().examples(["1"]).into(),
        "`1` is sent by pages, and anything else is as good as nothing: the refresh token travels in a cookie that no script can read, and not in the body. The header Origin must be that of an allowed page then.";
    /// Where a page comes from.
    Origin: "Origin" in Header, True, text().examples(["https://wind.example"]).into(),
        "The origin of the page; browsers send it by themselves. The ticket holds for it alone.";
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A schema of core, which answers name too.
fn id<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}
