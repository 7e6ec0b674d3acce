//! Bodies of the HTTP API.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::time::WireTime;
use crate::{
    access::{
        Because, Explanation, Grant, Member, Permission, Reason, Role,
        keys::{ApiKey, MadeKey},
    },
    accounts::{
        Account, AccountKind, Device, Preferences, QuietHours, SessionEntry, SessionGrant, Theme, TokenHash, Topic,
        TwoFactorEnrolment,
    },
    chat::{Channel, Message, Unread},
    error::seconds_up,
    ids::{AccountId, ApiKeyId, ChannelId, DeviceId, GrantId, MessageId, SessionId, WorkerId, WorldId},
    limits::LimitState,
    outbox::{DeadJob, JobId, JobKind, JobState, LiveJob, Mishap},
    scope::Scope,
    worlds::{JoinPolicy, Visibility, World},
};

/// A list, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ListBody<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to ask for next; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next_cursor: Option<String>,
}

/// A part of a channel's history, or what changed in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HistoryBody {
    /// The messages.
    pub items: Vec<MessageBody>,
    /// What to ask for next; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next_cursor: Option<String>,
    /// The position that the page is complete to: a `since` for this call and for a join.
    pub room_cursor: String,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SessionBody {
    /// The token for requests.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds that the access token lives.
    pub expires_in: u64,
    /// The token for the next access token; absent where a cookie carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The session.
    pub session_id: SessionId,
    /// The account.
    pub user: UserBody,
    /// What the access token may reach at most.
    pub scope: Scope,
}

impl From<SessionGrant> for SessionBody {
    fn from(grant: SessionGrant) -> Self {
        Self {
            access_token: grant.access_token.expose().clone(),
            token_type: "Bearer".to_owned(),
            expires_in: grant.expires_in.as_secs(),
            refresh_token: Some(grant.refresh_token.expose().clone()),
            session_id: grant.session,
            user: UserBody::from(&grant.account),
            scope: grant.scope,
        }
    }
}

/// One's own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserBody {
    /// The account.
    pub id: AccountId,
    /// Guest or registered.
    pub kind: AccountKind,
    /// The name to sign in with; guests have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The name that others see.
    pub display_name: String,
    /// Where mail reaches its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When it was made.
    pub created_at: WireTime,
}

impl From<&Account> for UserBody {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id,
            kind: account.kind,
            username: account.username.as_ref().map(ToString::to_string),
            display_name: account.display_name.to_string(),
            email: account.email.as_ref().map(ToString::to_string),
            created_at: account.created_at.into(),
        }
    }
}

/// What everybody sees of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProfileBody {
    /// The account.
    pub id: AccountId,
    /// Guest or registered.
    pub kind: AccountKind,
    /// The name that others see.
    pub display_name: String,
    /// When it was made.
    pub created_at: WireTime,
}

impl From<&Account> for ProfileBody {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id,
            kind: account.kind,
            display_name: account.display_name.to_string(),
            created_at: account.created_at.into(),
        }
    }
}

/// A session of one's own, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SessionEntryBody {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: AccountId,
    /// Where it was opened.
    pub device: SessionDevice,
    /// When it was opened.
    pub created_at: WireTime,
    /// When it ends if it is not refreshed.
    pub idle_expires_at: WireTime,
    /// When it ends in any case.
    pub expires_at: WireTime,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// The device of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SessionDevice {
    /// The device.
    pub id: DeviceId,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was last seen, in steps of five minutes.
    pub last_seen: WireTime,
}

impl SessionEntryBody {
    /// Shows a session to whom `own` is the one that asks.
    pub fn of(entry: &SessionEntry, own: Option<SessionId>) -> Self {
        let SessionEntry { account, session, device } = entry;
        Self {
            id: session.id,
            user_id: account.id,
            device: SessionDevice {
                id: device.id,
                name: device.name.as_ref().map(ToString::to_string),
                last_seen: device.seen.at.into(),
            },
            created_at: session.created_at.into(),
            idle_expires_at: session.idle_expires_at.into(),
            expires_at: session.expires_at.into(),
            current: own == Some(session.id),
        }
    }
}

/// How many sessions were ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EndedBody {
    /// Sessions that held before.
    pub ended: u64,
}

/// A device of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceBody {
    /// The device.
    pub id: DeviceId,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The beginning of the keyed hash of its fingerprint, by which two devices can be told apart; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint_hash: Option<String>,
    /// When it was first seen.
    pub created_at: WireTime,
    /// When it was last seen, in steps of five minutes.
    pub last_seen: WireTime,
    /// The beginning of the keyed hash of the network that it was last seen in: an IPv4 address, or the /64 around an IPv6 one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_hash: Option<String>,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl DeviceBody {
    /// Shows a device to whom `own` is the one that asks.
    pub fn of(device: &Device, own: Option<DeviceId>) -> Self {
        Self {
            id: device.id,
            name: device.name.as_ref().map(ToString::to_string),
            fingerprint_hash: device.fingerprint.as_ref().map(TokenHash::beginning),
            created_at: device.created_at.into(),
            last_seen: device.seen.at.into(),
            ip_hash: device.seen.address.as_ref().map(TokenHash::beginning),
            current: own == Some(device.id),
        }
    }
}

/// What an authenticator is to know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TwoFactorBody {
    /// The secret in base32, to be typed.
    pub secret: String,
    /// The same as an `otpauth:` address, to be shown as a picture.
    pub otpauth_uri: String,
}

impl From<&TwoFactorEnrolment> for TwoFactorBody {
    fn from(enrolment: &TwoFactorEnrolment) -> Self {
        Self { secret: enrolment.secret.expose().clone(), otpauth_uri: enrolment.otpauth_uri.expose().clone() }
    }
}

impl fmt::Debug for TwoFactorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoFactorBody").finish_non_exhaustive()
    }
}

/// What is left when a second factor was enabled.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TwoFactorConfirmedBody {
    /// Ten codes, each of which stands in for the authenticator once. They are told this once.
    pub recovery_codes: Vec<String>,
    /// The session that takes the place of all others.
    pub session: SessionBody,
}

impl fmt::Debug for TwoFactorConfirmedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoFactorConfirmedBody").finish_non_exhaustive()
    }
}

/// What somebody prefers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PreferencesBody {
    /// A language tag (BCP 47); null leaves it to the device.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub locale: Option<String>,
    /// How pages look.
    pub theme: Theme,
    /// Topics, and whether the account is told of them.
    pub notifications: TopicsBody,
    /// When it is not told, every day; null is never.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub quiet_hours: Option<QuietHoursBody>,
}

/// Topics, and whether an account is told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a topic of its own, by its name")]
pub struct TopicsBody {
    /// Announcements.
    pub announcement: bool,
    /// Messages: replies and mentions.
    pub chat: bool,
    /// Groups: applications and changes of membership.
    pub group: bool,
    /// Invitations.
    pub invite: bool,
    /// Reports and what became of them.
    pub moderation: bool,
}

/// The hours of every day in which an account is not told of anything. They may go past midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct QuietHoursBody {
    /// When they begin: `HH:MM`.
    pub start: String,
    /// When they are over: `HH:MM`.
    pub end: String,
    /// A name of the IANA time zone database.
    pub time_zone: String,
}

impl From<&QuietHours> for QuietHoursBody {
    fn from(quiet: &QuietHours) -> Self {
        Self { start: quiet.start.to_string(), end: quiet.end.to_string(), time_zone: quiet.time_zone.clone() }
    }
}

impl From<&Preferences> for PreferencesBody {
    fn from(preferences: &Preferences) -> Self {
        let is_on = |topic| !preferences.muted.contains(&topic);
        Self {
            locale: preferences.locale.as_ref().map(ToString::to_string),
            theme: preferences.theme,
            notifications: TopicsBody {
                announcement: is_on(Topic::Announcement),
                chat: is_on(Topic::Chat),
                group: is_on(Topic::Group),
                invite: is_on(Topic::Invite),
                moderation: is_on(Topic::Moderation),
            },
            quiet_hours: preferences.quiet_hours.as_ref().map(QuietHoursBody::from),
        }
    }
}

/// A ticket for one socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TicketBody {
    /// The ticket.
    pub ticket: String,
    /// Seconds that it holds.
    pub expires_in: u64,
}

/// A world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct WorldBody {
    /// The world.
    pub id: WorldId,
    /// Its present slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// Who sees it.
    pub visibility: Visibility,
    /// How one becomes a member.
    pub join_policy: JoinPolicy,
    /// When it was made.
    pub created_at: WireTime,
    /// When it last changed.
    pub updated_at: WireTime,
    /// When it was archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<WireTime>,
}

impl From<&World> for WorldBody {
    fn from(world: &World) -> Self {
        Self {
            id: world.id,
            slug: world.slug.to_string(),
            name: world.name.to_string(),
            description: world.description.to_string(),
            visibility: world.visibility,
            join_policy: world.join_policy,
            created_at: world.created_at.into(),
            updated_at: world.updated_at.into(),
            archived_at: world.archived_at.map(WireTime),
        }
    }
}

/// A member of a world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MemberBody {
    /// The account.
    pub id: AccountId,
    /// The name that others see.
    pub display_name: String,
    /// The roles, highest rank first.
    pub roles: Vec<Role>,
    /// When the first of them was given.
    pub since: WireTime,
}

impl From<&Member> for MemberBody {
    fn from(member: &Member) -> Self {
        Self {
            id: member.account,
            display_name: member.display_name.to_string(),
            roles: member.roles.clone(),
            since: member.since.into(),
        }
    }
}

/// A role bound to an account in a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GrantBody {
    /// The grant.
    pub id: GrantId,
    /// Who holds the role.
    pub user_id: AccountId,
    /// The role.
    pub role: Role,
    /// Where it holds.
    pub scope: Scope,
    /// The account or API key that gave it; null for the operator.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub granted_by: Option<AccountId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WireTime>,
    /// When it was given.
    pub created_at: WireTime,
}

impl From<&Grant> for GrantBody {
    fn from(grant: &Grant) -> Self {
        Self {
            id: grant.id,
            user_id: grant.account,
            role: grant.role,
            scope: grant.scope,
            granted_by: grant.granted_by,
            reason: grant.reason.clone(),
            expires_at: grant.expires_at.map(WireTime),
            created_at: grant.created_at.into(),
        }
    }
}

/// An answer about a right, with everything that it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckBody {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why, or why not: each reason alone would have led to the answer.
    pub because: Vec<ReasonBody>,
}

/// A part of what an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReasonBody {
    /// For programs: `granted`, `open-to-everybody`, `open-to-accounts` or `listed` where it may be done; else `no-grant`,
    /// `not-listed`, `not-legal-here`, `outside-of-token` or `sanctioned`. There may be more one day.
    pub reason: String,
    /// For people.
    pub detail: String,
    /// The grant that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<GrantId>,
    /// Its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Where the role is held, the sanction stands, or the token ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// When the grant ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WireTime>,
}

impl From<&Explanation> for CheckBody {
    fn from(explanation: &Explanation) -> Self {
        Self { allowed: explanation.allowed, because: explanation.because.iter().map(ReasonBody::from).collect() }
    }
}

impl From<&Reason> for ReasonBody {
    fn from(reason: &Reason) -> Self {
        let (role, scope) = match &reason.because {
            Because::Granted(role, scope) => (Some(*role), Some(*scope)),
            Because::OutsideOfToken(scope) | Because::Sanctioned(_, scope) => (None, Some(*scope)),
            _ => (None, None),
        };
        Self {
            reason: reason.because.as_str().to_owned(),
            detail: reason.because.to_string(),
            grant_id: reason.grant.as_ref().map(|grant| grant.id),
            role,
            scope,
            expires_at: reason.grant.as_ref().and_then(|grant| grant.expires_at).map(WireTime),
        }
    }
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyBody {
    /// The key.
    pub id: ApiKeyId,
    /// What it is for; the name under which it writes.
    pub name: String,
    /// What it reaches at most.
    pub scope: Scope,
    /// What it may do there.
    pub permissions: Vec<Permission>,
    /// The account or API key that made it; null for the operator.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub created_by: Option<AccountId>,
    /// When it was made.
    pub created_at: WireTime,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WireTime>,
    /// When it was last used, in steps of five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<WireTime>,
    /// What its bearer shows; told once, where the key is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl From<&ApiKey> for ApiKeyBody {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name.to_string(),
            scope: key.scope,
            permissions: key.permissions.iter().collect(),
            created_by: key.created_by,
            created_at: key.created_at.into(),
            expires_at: key.expires_at.map(WireTime),
            last_used_at: key.last_used_at.map(WireTime),
            secret: None,
        }
    }
}

/// An attempt of a job that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MishapBody {
    /// When.
    pub at: WireTime,
    /// Why; 2 KiB at most.
    pub error: String,
}

impl From<&Mishap> for MishapBody {
    fn from(mishap: &Mishap) -> Self {
        Self { at: mishap.at.into(), error: mishap.error.clone() }
    }
}

/// A job that is not tried again until it is replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeadJobBody {
    /// The job's number.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[1-9][0-9]{0,18}$"))]
    pub id: JobId,
    /// What was to be done.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub kind: JobKind,
    /// With what.
    pub payload: Value,
    /// Jobs of one kind and this key run one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_key: Option<String>,
    /// Of jobs of one kind and this key one waits at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    /// The request that it follows from.
    pub correlation_id: String,
    /// When it was written.
    pub created_at: WireTime,
    /// When it was given up.
    pub died_at: WireTime,
    /// How often it failed.
    pub failures: u32,
    /// How often it was taken from a worker that was gone, or took too long.
    pub crashes: u32,
    /// Why, oldest first: the last eight.
    pub errors: Vec<MishapBody>,
    /// The dead job that this one replayed.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^[1-9][0-9]{0,18}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<JobId>,
}

impl From<&DeadJob> for DeadJobBody {
    fn from(dead: &DeadJob) -> Self {
        Self {
            id: dead.id,
            kind: dead.kind.clone(),
            payload: dead.payload.clone(),
            order_key: dead.order_key.clone(),
            dedupe_key: dead.dedupe_key.clone(),
            correlation_id: dead.correlation_id.to_string(),
            created_at: dead.created_at.into(),
            died_at: dead.died_at.into(),
            failures: dead.failures,
            crashes: dead.crashes,
            errors: dead.errors.iter().map(MishapBody::from).collect(),
            replay_of: dead.replay_of,
        }
    }
}

/// A job that waits or runs, as the command line shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveJobBody {
    /// The job's number.
    pub id: JobId,
    /// What is to be done.
    pub kind: JobKind,
    /// With what.
    pub payload: Value,
    /// Jobs of one kind and this key run one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_key: Option<String>,
    /// Of jobs of one kind and this key one waits at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    /// The request that it follows from.
    pub correlation_id: String,
    /// When it was written.
    pub created_at: WireTime,
    /// When it may run.
    pub run_at: WireTime,
    /// The worker that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Until when it has it, unless it tells of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<WireTime>,
    /// How often it failed.
    pub failures: u32,
    /// How often it was taken from a worker.
    pub crashes: u32,
    /// Why, oldest first.
    pub errors: Vec<MishapBody>,
    /// The dead job that this one replays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<JobId>,
}

impl From<&LiveJob> for LiveJobBody {
    fn from(job: &LiveJob) -> Self {
        let (worker, lease_until) = match job.state {
            JobState::Waiting => (None, None),
            JobState::Leased { worker, until, .. } => (Some(worker), Some(until.into())),
        };
        Self {
            id: job.id,
            kind: job.kind.clone(),
            payload: job.payload.clone(),
            order_key: job.order_key.clone(),
            dedupe_key: job.dedupe_key.clone(),
            correlation_id: job.correlation_id.to_string(),
            created_at: job.created_at.into(),
            run_at: job.run_at.into(),
            worker,
            lease_until,
            failures: job.failures,
            crashes: job.crashes,
            errors: job.errors.iter().map(MishapBody::from).collect(),
            replay_of: job.replay_of,
        }
    }
}

/// The job that does again what a dead one was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReplayedBody {
    /// Its number.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[1-9][0-9]{0,18}$"))]
    pub id: JobId,
}

impl From<&MadeKey> for ApiKeyBody {
    fn from(made: &MadeKey) -> Self {
        Self { secret: Some(made.secret.expose().clone()), ..Self::from(&made.key) }
    }
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChannelBody {
    /// The channel.
    pub id: ChannelId,
    /// Where it belongs.
    pub scope: Scope,
    /// Its short name.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Whether accounts of kind guest may post.
    pub guests_may_post: bool,
    /// The pause between two messages of one author, in seconds; 0 is none.
    pub slowmode_seconds: u32,
    /// After how many days messages are deleted; null keeps them.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub retention_days: Option<u32>,
    /// When it was made.
    pub created_at: WireTime,
}

impl From<&Channel> for ChannelBody {
    fn from(channel: &Channel) -> Self {
        Self {
            id: channel.id,
            scope: channel.scope,
            slug: channel.slug.to_string(),
            name: channel.name.to_string(),
            guests_may_post: channel.guests_may_post,
            slowmode_seconds: channel.slowmode_seconds,
            retention_days: channel.retention_days,
            created_at: channel.created_at.into(),
        }
    }
}

/// A message, as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MessageBody {
    /// The message.
    pub id: MessageId,
    /// The channel.
    pub channel_id: ChannelId,
    /// Its number in the channel: 1, 2, 3 … without holes.
    pub seq: i64,
    /// Who wrote it.
    pub author: MessageAuthor,
    /// What it says; null once it was removed.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub body: Option<String>,
    /// What its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The message it replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// When it was written.
    pub sent_at: WireTime,
    /// When it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<WireTime>,
    /// What moderation says of it.
    pub flags: Vec<String>,
    /// Set once it was removed; its place stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone: Option<TombstoneBody>,
}

/// Who wrote a message, under the name that was borne then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MessageAuthor {
    /// The account.
    pub id: AccountId,
    /// The name at the time of writing.
    pub display_name: String,
}

/// What remains of a removed message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TombstoneBody {
    /// Who removed it; null for the operator.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub deleted_by: Option<AccountId>,
    /// Why.
    pub reason: String,
    /// When.
    pub deleted_at: WireTime,
}

impl From<&Message> for MessageBody {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id,
            channel_id: message.channel,
            seq: message.seq.get(),
            author: MessageAuthor { id: message.author.id, display_name: message.author.display_name.to_string() },
            body: message.text().map(str::to_owned),
            client_id: message.client_id.as_ref().filter(|id| id.is_the_authors()).map(ToString::to_string),
            reply_to: message.reply_to,
            sent_at: message.sent_at.into(),
            edited_at: message.edited_at.map(WireTime),
            flags: Vec::new(),
            tombstone: message.tombstone.as_ref().map(|tombstone| TombstoneBody {
                deleted_by: tombstone.deleted_by,
                reason: tombstone.reason.clone(),
                deleted_at: tombstone.deleted_at.into(),
            }),
        }
    }
}

/// How far one has read a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UnreadBody {
    /// The channel.
    pub channel_id: ChannelId,
    /// The last message that was read.
    pub read_seq: i64,
    /// The last message there is.
    pub last_seq: i64,
    /// How many messages lie between them.
    pub unread: i64,
}

impl From<&Unread> for UnreadBody {
    fn from(unread: &Unread) -> Self {
        let (read_seq, last_seq) = (unread.read.get(), unread.last.get());
        Self { channel_id: unread.channel, read_seq, last_seq, unread: last_seq - read_seq }
    }
}

/// How the caller stands with every limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitsBody {
    /// One for each policy.
    pub items: Vec<LimitBody>,
}

/// How the caller stands with a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LimitBody {
    /// What is limited: `auth`, `guest`, `read`, `write`, `chat`, `invite`, `notification`, `telemetry`, `report` or `admin`.
    pub policy: String,
    /// By whom calls are counted: `account`, `device`, `address` or `issuer`.
    pub key: String,
    /// Calls that may come at once.
    pub quota: u32,
    /// Seconds after which an empty quota is whole again.
    pub window_seconds: u64,
    /// Calls that are left.
    pub remaining: u32,
    /// Seconds after which the quota is whole again.
    pub reset_seconds: u64,
    /// Seconds after which the next call may pass, if none may now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl LimitBody {
    /// Returns a time in whole seconds, rounded up.
    pub const fn seconds(time: Duration) -> u64 {
        seconds_up(time)
    }
}

impl From<&LimitState> for LimitBody {
    fn from(state: &LimitState) -> Self {
        let verdict = state.verdict;
        Self {
            policy: state.policy.to_string(),
            key: state.key.to_string(),
            quota: verdict.quota.limit(),
            window_seconds: seconds_up(verdict.quota.window()),
            remaining: verdict.remaining,
            reset_seconds: seconds_up(verdict.reset_after),
            retry_after: verdict.retry_after.map(seconds_up),
        }
    }
}
