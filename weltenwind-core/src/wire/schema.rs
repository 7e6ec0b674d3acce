//! Schemas of the values that are one string on the wire; everything else derives its own.

use std::borrow::Cow;

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

use super::time::WireTime;
use crate::{
    access::{Permission, Role},
    ids::{
        AccountId, AnnouncementId, ApiKeyId, ChannelId, DeviceId, GrantId, GroupId, MessageId, NotificationId,
        SessionId, WorldId,
    },
    room::Room,
    scope::Scope,
};

const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

macro_rules! texts {
    ($($name:ident: $description:literal, $example:literal, $refine:expr;)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let refine: fn(ObjectBuilder) -> ObjectBuilder = $refine;
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($description));
                refine(text).examples([json!($example)]).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+};
}

fn uuid(text: ObjectBuilder) -> ObjectBuilder {
    text.format(Some(SchemaFormat::Custom("uuid".to_owned())))
}

texts! {
    AccountId: "Identifies an account: a guest, a player, a moderator.", "01998b2e-7c00-7a11-8f3e-5d2a9c1b0e01", uuid;
    SessionId: "Identifies a sign-in that lasts.", "01998b2e-7c00-7a12-8f3e-5d2a9c1b0e02", uuid;
    DeviceId: "Identifies a device that an account signed in from.", "01998b2e-7c00-7a13-8f3e-5d2a9c1b0e03", uuid;
    GrantId: "Identifies a role bound to an account in a scope.", "01998b2e-7c00-7a14-8f3e-5d2a9c1b0e04", uuid;
    ApiKeyId: "Identifies the API key of a game server.", "01998b2e-7c00-7a19-8f3e-5d2a9c1b0e0b", uuid;
    WorldId: "Identifies a world.", "01998b2e-7c00-7a15-8f3e-5d2a9c1b0e05", uuid;
    GroupId: "Identifies a group inside a world.", "01998b2e-7c00-7a16-8f3e-5d2a9c1b0e06", uuid;
    ChannelId: "Identifies a chat channel.", "01998b2e-7c00-7a17-8f3e-5d2a9c1b0e07", uuid;
    MessageId: "Identifies a message.", "01998b2e-7c00-7a18-8f3e-5d2a9c1b0e08", uuid;
    AnnouncementId: "Identifies an announcement.", "01998b2e-7c00-7a1b-8f3e-5d2a9c1b0e0d", uuid;
    NotificationId: "Identifies something that an account is told; an announcement's id where it is one.", "01998b2e-7c00-7a1c-8f3e-5d2a9c1b0e0e", uuid;
    WireTime: "An instant in UTC, with `Z` and milliseconds.", "2026-01-01T12:00:00.000Z",
        |text| text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    Scope: "Where something holds: `global`, `world:<id>` or `group:<id>`.", "world:01998b2e-7c00-7a15-8f3e-5d2a9c1b0e05",
        |text| text.pattern(Some(format!("^(global|(world|group):{UUID})$")));
    Room: "What a socket joins: `global`, or `world:`, `group:`, `user:` or `channel:` with an id.",
        "channel:01998b2e-7c00-7a17-8f3e-5d2a9c1b0e07",
        |text| text.pattern(Some(format!("^(global|(world|group|user|channel):{UUID})$")));
    Permission: "Something that may be done, where a role or a key's list allows it.", "chat.post",
        |text| text.enum_values(Some(Permission::ALL.iter().map(|permission| permission.as_str())));
    Role: "A built-in role.", "world_member",
        |text| text.enum_values(Some(Role::ALL.iter().map(|role| role.as_str())));
}
