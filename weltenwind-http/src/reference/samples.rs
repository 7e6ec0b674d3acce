//! One answer of each kind, as examples.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weltenwind_core::{
    Scope,
    access::{Permission, Role},
    accounts::{AccountKind, LocaleTag, Preferences, QuietHours, Theme, Topic},
    announcements::Audience,
    outbox::{JobId, JobKind},
    wire::{
        AnnouncementBody, ApiKeyBody, AudienceBody, ChannelBody, CheckBody, DeadJobBody, DeviceBody, EndedBody,
        ExportBody, ExportedAudit, ExportedDevice, ExportedGrant, ExportedIdentity, ExportedMark, ExportedMessage,
        ExportedNotification, ExportedRequest, ExportedSession, FeedBody, GrantBody, HistoryBody, LimitBody,
        LimitsBody, ListBody, MemberBody, MishapBody, NotificationBody, PreferencesBody, ProfileBody, ReasonBody,
        ReplayedBody, SessionBody, SessionDevice, SessionEntryBody, TicketBody, TwoFactorBody, TwoFactorConfirmedBody,
        UnreadBody, UnreadCountBody, UserBody, WorldBody,
    },
    worlds::{JoinPolicy, Visibility},
};

use super::records::{ACCOUNT, CHANNEL, CURSOR, id, message, time};

const GRANT: &str = "01998b2e-7c00-7a14-8f3e-5d2a9c1b0e04";
const KEY: &str = "01998b2e-7c00-7a19-8f3e-5d2a9c1b0e0b";
const SESSION: &str = "01998b2e-7c00-7a12-8f3e-5d2a9c1b0e02";
const DEVICE: &str = "01998b2e-7c00-7a13-8f3e-5d2a9c1b0e03";
const ANNOUNCEMENT: &str = "01998b2e-7c00-7a1b-8f3e-5d2a9c1b0e0d";
const WORLD: &str = "01998b2e-7c00-7a15-8f3e-5d2a9c1b0e05";

/// Returns the example of an answer by the name that utoipa gives its schema.
pub(super) fn answer(schema: &str) -> Option<Value> {
    let Some(item) = schema.strip_prefix("ListBody_") else { return one(schema) };
    Some(value(&ListBody { items: vec![one(item)?], next_cursor: None }))
}

fn one(schema: &str) -> Option<Value> {
    let samples: [(_, fn() -> Value); 26] = [
        (AnnouncementBody::name(), || value(&announcement())),
        (ApiKeyBody::name(), || value(&api_key())),
        (ChannelBody::name(), || value(&channel())),
        (CheckBody::name(), || value(&check())),
        (GrantBody::name(), || value(&grant())),
        (HistoryBody::name(), || value(&history())),
        (LimitsBody::name(), || value(&LimitsBody { items: vec![limit()] })),
        (MemberBody::name(), || value(&member())),
        (weltenwind_core::wire::MessageBody::name(), || value(&message())),
        (PreferencesBody::name(), || value(&PreferencesBody::from(&preferences()))),
        (ProfileBody::name(), || value(&profile())),
        (DeadJobBody::name(), || value(&dead_job())),
        (ReplayedBody::name(), || value(&ReplayedBody { id: JobId::new(4712) })),
        (DeviceBody::name(), || value(&device())),
        (ExportBody::name(), || value(&export())),
        (EndedBody::name(), || value(&EndedBody { ended: 2 })),
        (SessionBody::name(), || value(&session())),
        (SessionEntryBody::name(), || value(&session_entry())),
        (TicketBody::name(), || value(&TicketBody { ticket: "wwt_4Jb8…".to_owned(), expires_in: 30 })),
        (TwoFactorBody::name(), || value(&two_factor())),
        (TwoFactorConfirmedBody::name(), || value(&two_factor_confirmed())),
        (FeedBody::name(), || value(&feed())),
        (UnreadCountBody::name(), || value(&UnreadCountBody { count: 99, capped: true })),
        (UnreadBody::name(), || value(&unread())),
        (UserBody::name(), || value(&user())),
        (WorldBody::name(), || value(&world())),
    ];
    samples.iter().find(|(name, _)| name == schema).map(|(_, make)| make())
}

fn value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("a body is plain data")
}

fn limit() -> LimitBody {
    LimitBody {
        policy: "chat".to_owned(),
        key: "account".to_owned(),
        quota: 20,
        window_seconds: 4,
        remaining: 19,
        reset_seconds: 1,
        retry_after: None,
    }
}

fn announcement() -> AnnouncementBody {
    AnnouncementBody {
        id: id(ANNOUNCEMENT),
        title: "The gates open at dusk".to_owned(),
        body: "Season 7 begins tonight.".to_owned(),
        audience: AudienceBody::from(Audience::of(Scope::World(id(WORLD)))),
        publish_at: time(0),
        expires_at: Some(time(86_400)),
        created_at: time(0),
        updated_at: time(0),
        dispatched_at: Some(time(3)),
    }
}

fn api_key() -> ApiKeyBody {
    ApiKeyBody {
        id: id(KEY),
        name: "arena server".to_owned(),
        scope: Scope::World(id(WORLD)),
        permissions: vec![Permission::ChatRead, Permission::ChatPost],
        created_by: Some(id(ACCOUNT)),
        created_at: time(0),
        expires_at: None,
        last_used_at: Some(time(300)),
        secret: None,
    }
}

fn dead_job() -> DeadJobBody {
    DeadJobBody {
        id: JobId::new(4711),
        kind: JobKind::named("announcement.fan-out"),
        payload: serde_json::json!({ "announcement": "01998b2e-7c00-7a20-8f3e-5d2a9c1b0e0c" }),
        order_key: None,
        dedupe_key: None,
        correlation_id: "01998b2e-7c00-7a21-8f3e-5d2a9c1b0e0d".to_owned(),
        created_at: time(0),
        died_at: time(300),
        failures: 12,
        crashes: 0,
        errors: vec![MishapBody { at: time(300), error: "the mail server is away".to_owned() }],
        replay_of: None,
    }
}

fn check() -> CheckBody {
    let granted = ReasonBody {
        reason: "granted".to_owned(),
        detail: format!("world_moderator in world:{WORLD} allows it"),
        grant_id: Some(id(GRANT)),
        role: Some(Role::WorldModerator),
        scope: Some(Scope::World(id(WORLD))),
        expires_at: None,
    };
    CheckBody { allowed: true, because: vec![granted] }
}

fn grant() -> GrantBody {
    GrantBody {
        id: id(GRANT),
        user_id: id(ACCOUNT),
        role: Role::WorldModerator,
        scope: Scope::World(id(WORLD)),
        granted_by: None,
        reason: Some("for the tournament".to_owned()),
        expires_at: None,
        created_at: time(0),
    }
}

fn channel() -> ChannelBody {
    ChannelBody {
        id: id(CHANNEL),
        scope: Scope::World(id(WORLD)),
        slug: "lobby".to_owned(),
        name: "Lobby".to_owned(),
        guests_may_post: true,
        slowmode_seconds: 5,
        retention_days: None,
        created_at: time(0),
    }
}

fn history() -> HistoryBody {
    HistoryBody { items: vec![message()], next_cursor: None, room_cursor: CURSOR.to_owned() }
}

fn member() -> MemberBody {
    MemberBody { id: id(ACCOUNT), display_name: "Mira".to_owned(), roles: vec![Role::WorldMember], since: time(0) }
}

fn profile() -> ProfileBody {
    ProfileBody { id: id(ACCOUNT), kind: AccountKind::Registered, display_name: "Mira".to_owned(), created_at: time(0) }
}

fn session() -> SessionBody {
    SessionBody {
        access_token: "eyJhbGciOiJFZERTQSJ9…".to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: 300,
        refresh_token: Some("wwr_9Qe1…".to_owned()),
        session_id: id(SESSION),
        user: user(),
        scope: Scope::Global,
    }
}

fn preferences() -> Preferences {
    Preferences {
        locale: LocaleTag::new("de-AT").ok(),
        theme: Theme::Dark,
        muted: [Topic::Chat].into(),
        quiet_hours: QuietHours::new("22:30", "07:00", "Europe/Vienna").ok(),
        ..Preferences::default()
    }
}

fn two_factor() -> TwoFactorBody {
    TwoFactorBody {
        secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned(),
        otpauth_uri: "otpauth://totp/wind.example:mira?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=wind.example"
            .to_owned(),
    }
}

fn two_factor_confirmed() -> TwoFactorConfirmedBody {
    TwoFactorConfirmedBody { recovery_codes: vec!["ge2t-qmrz-nfxw-4idb".to_owned()], session: session() }
}

fn session_entry() -> SessionEntryBody {
    SessionEntryBody {
        id: id(SESSION),
        user_id: id(ACCOUNT),
        device: SessionDevice { id: id(DEVICE), name: Some("Firefox on Linux".to_owned()), last_seen: time(0) },
        created_at: time(0),
        idle_expires_at: time(30 * 86_400),
        expires_at: time(180 * 86_400),
        current: true,
    }
}

fn device() -> DeviceBody {
    DeviceBody {
        id: id(DEVICE),
        name: Some("Firefox on Linux".to_owned()),
        fingerprint_hash: Some("5f0c2a9b".to_owned()),
        created_at: time(0),
        last_seen: time(0),
        ip_hash: Some("91d07b3e".to_owned()),
        current: true,
    }
}

fn export() -> ExportBody {
    let session = ExportedSession {
        id: id(SESSION),
        device_id: id(DEVICE),
        created_at: time(0),
        idle_expires_at: time(30 * 86_400),
        expires_at: time(180 * 86_400),
        ended_at: None,
    };
    let opened = ExportedAudit {
        at: time(0),
        action: "session.open".to_owned(),
        scope: Scope::Global,
        target: SESSION.to_owned(),
        by_oneself: false,
        correlation_id: "01998b2e-7c00-7a1a-8f3e-5d2a9c1b0e0c".to_owned(),
        reason: None,
    };
    let written = message();
    let said = ExportedMessage {
        id: written.id,
        channel_id: written.channel_id,
        seq: written.seq,
        display_name: written.author.display_name,
        body: written.body,
        client_id: None,
        reply_to: None,
        sent_at: written.sent_at,
        edited_at: None,
        removed: None,
    };
    ExportBody {
        version: ExportBody::VERSION,
        generated_at: time(300),
        account: user(),
        password_set_at: Some(time(0)),
        two_factor_since: Some(time(120)),
        preferences: PreferencesBody::from(&preferences()),
        identities: vec![ExportedIdentity {
            issuer: "https://game.example.org".to_owned(),
            subject: "player-4711".to_owned(),
            linked_at: time(0),
        }],
        sessions: vec![session],
        devices: vec![ExportedDevice { device: DeviceBody { current: false, ..device() }, ended_at: None }],
        grants: vec![ExportedGrant { grant: grant(), revoked_at: None }],
        read_marks: vec![ExportedMark { channel_id: id(CHANNEL), seq: 42 }],
        api_keys: vec![api_key()],
        requests: vec![ExportedRequest { since: time(60), status: Some(201) }],
        notifications: vec![ExportedNotification {
            id: id(ANNOUNCEMENT),
            topic: Topic::Announcement.as_str().to_owned(),
            title: None,
            body: None,
            created_at: time(0),
            read_at: Some(time(300)),
            dismissed_at: None,
        }],
        audit: vec![opened],
        messages: vec![said],
    }
}

fn notification() -> NotificationBody {
    NotificationBody {
        id: id(ANNOUNCEMENT),
        topic: Topic::Announcement.as_str().to_owned(),
        title: "The gates open at dusk".to_owned(),
        body: "Season 7 begins tonight.".to_owned(),
        created_at: time(0),
        expires_at: Some(time(86_400)),
        dispatched_at: None,
        read_at: Some(time(300)),
    }
}

fn feed() -> FeedBody {
    FeedBody { items: vec![notification()], next_cursor: None, up_to: "12.7.1767225600000000".to_owned() }
}

fn unread() -> UnreadBody {
    UnreadBody { channel_id: id(CHANNEL), read_seq: 40, last_seq: 42, unread: 2 }
}

fn user() -> UserBody {
    UserBody {
        id: id(ACCOUNT),
        kind: AccountKind::Registered,
        username: Some("mira".to_owned()),
        display_name: "Mira".to_owned(),
        email: None,
        created_at: time(0),
    }
}

fn world() -> WorldBody {
    WorldBody {
        id: id(WORLD),
        slug: "mistral".to_owned(),
        name: "Mistral".to_owned(),
        description: "Sails and salt.".to_owned(),
        visibility: Visibility::Public,
        join_policy: JoinPolicy::Open,
        created_at: time(0),
        updated_at: time(0),
        archived_at: None,
    }
}
