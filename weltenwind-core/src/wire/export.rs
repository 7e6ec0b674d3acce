//! What is held on an account, as one document.

use serde::{Deserialize, Serialize};

use super::{
    http::{ApiKeyBody, DeviceBody, GrantBody, PreferencesBody, UserBody},
    time::WireTime,
};
use crate::{
    accounts::Session,
    chat::{Message, RemovalMode},
    clock::Timestamp,
    ids::{AccountId, ChannelId, DeviceId, MessageId, NotificationId, SessionId},
    privacy::{
        AuditEntry, Erasure, HeldDevice, HeldGrant, HeldIdentity, HeldNotification, HeldRequest, Holdings, ReadMark,
    },
    scope::Scope,
};

/// Everything that is held on an account, but for secrets and their hashes.
///
/// The form has a version: members are added under the same one, and taken or changed under the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportBody {
    /// The version of the form: 1.
    pub version: u32,
    /// When it was written.
    pub generated_at: WireTime,
    /// The account.
    pub account: UserBody,
    /// When its password was set; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_set_at: Option<WireTime>,
    /// Since when it has a second factor; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub two_factor_since: Option<WireTime>,
    /// What it likes.
    pub preferences: PreferencesBody,
    /// By whom else it is known, in order of the issuers' names.
    pub identities: Vec<ExportedIdentity>,
    /// Its sessions, ended ones too, oldest first.
    pub sessions: Vec<ExportedSession>,
    /// Its devices, signed out ones too, oldest first.
    pub devices: Vec<ExportedDevice>,
    /// The roles that were given to it, taken ones too, oldest first. Being a member is holding one in a world.
    pub grants: Vec<ExportedGrant>,
    /// How far it has read.
    pub read_marks: Vec<ExportedMark>,
    /// The API keys that it made and that hold, oldest first.
    pub api_keys: Vec<ApiKeyBody>,
    /// Its requests under an `Idempotency-Key` whose answers are still kept, oldest first.
    pub requests: Vec<ExportedRequest>,
    /// What it was told of its own, and what it has made of that, oldest first.
    pub notifications: Vec<ExportedNotification>,
    /// What the audit log says of it, oldest first: what it did, and what was done to it, its sessions, devices and roles.
    pub audit: Vec<ExportedAudit>,
    /// What it wrote, channel by channel, oldest first.
    pub messages: Vec<ExportedMessage>,
}

impl ExportBody {
    /// The version of the form.
    pub const VERSION: u32 = 1;

    /// Shows what is held, but for the two lists that are read page by page: they are empty, and come last.
    pub(crate) fn of(holdings: &Holdings, at: Timestamp) -> Self {
        let Holdings { account, password_set_at, second_factor_since, preferences, identities, .. } = holdings;
        let Holdings { sessions, devices, grants, read_marks, keys, requests, notifications, .. } = holdings;
        Self {
            version: Self::VERSION,
            generated_at: at.into(),
            account: UserBody::from(account),
            password_set_at: password_set_at.map(WireTime),
            two_factor_since: second_factor_since.map(WireTime),
            preferences: PreferencesBody::from(preferences),
            identities: identities.iter().map(ExportedIdentity::from).collect(),
            sessions: sessions.iter().map(ExportedSession::from).collect(),
            devices: devices.iter().map(ExportedDevice::from).collect(),
            grants: grants.iter().map(ExportedGrant::from).collect(),
            read_marks: read_marks.iter().map(ExportedMark::from).collect(),
            api_keys: keys.iter().map(ApiKeyBody::from).collect(),
            requests: requests.iter().map(ExportedRequest::from).collect(),
            notifications: notifications.iter().map(ExportedNotification::from).collect(),
            audit: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Returns the same as if it had been written at the beginning of time.
    pub(crate) fn without_time(&self) -> Self {
        Self { generated_at: Timestamp::UNIX_EPOCH.into(), ..self.clone() }
    }
}

/// An account that was erased, as a line of the ledger that a restored backup is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErasureBody {
    /// The account.
    pub account_id: AccountId,
    /// When.
    pub erased_at: WireTime,
    /// Who wanted it: the account itself; null for the operator.
    pub erased_by: Option<AccountId>,
    /// Since when its messages are being renamed; absent once all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled_since: Option<WireTime>,
}

impl From<&Erasure> for ErasureBody {
    fn from(erasure: &Erasure) -> Self {
        Self {
            account_id: erasure.account,
            erased_at: erasure.erased_at.into(),
            erased_by: erasure.erased_by,
            unsettled_since: erasure.unsettled_since.map(WireTime),
        }
    }
}

impl From<ErasureBody> for Erasure {
    fn from(body: ErasureBody) -> Self {
        Self {
            account: body.account_id,
            erased_at: body.erased_at.0,
            erased_by: body.erased_by,
            unsettled_since: body.unsettled_since.map(|WireTime(at)| at),
        }
    }
}

/// An identity of somebody else's that signs in to the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedIdentity {
    /// Who vouches.
    pub issuer: String,
    /// For whom.
    pub subject: String,
    /// Since when.
    pub linked_at: WireTime,
}

impl From<&HeldIdentity> for ExportedIdentity {
    fn from(held: &HeldIdentity) -> Self {
        let HeldIdentity { issuer, subject, linked_at } = held.clone();
        Self { issuer, subject, linked_at: linked_at.into() }
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedSession {
    /// The session.
    pub id: SessionId,
    /// The device it was opened on.
    pub device_id: DeviceId,
    /// When it was opened.
    pub created_at: WireTime,
    /// When it ends if it is not refreshed.
    pub idle_expires_at: WireTime,
    /// When it ends in any case.
    pub expires_at: WireTime,
    /// When it was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<WireTime>,
}

impl From<&Session> for ExportedSession {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id,
            device_id: session.device,
            created_at: session.created_at.into(),
            idle_expires_at: session.idle_expires_at.into(),
            expires_at: session.expires_at.into(),
            ended_at: session.ended_at.map(WireTime),
        }
    }
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedDevice {
    /// The device; none is told apart as the one that asks.
    #[serde(flatten)]
    pub device: DeviceBody,
    /// When it was signed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<WireTime>,
}

impl From<&HeldDevice> for ExportedDevice {
    fn from(held: &HeldDevice) -> Self {
        Self { device: DeviceBody::of(&held.device, None), ended_at: held.ended_at.map(WireTime) }
    }
}

/// A role that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedGrant {
    /// The grant.
    #[serde(flatten)]
    pub grant: GrantBody,
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<WireTime>,
}

impl From<&HeldGrant> for ExportedGrant {
    fn from(held: &HeldGrant) -> Self {
        Self { grant: GrantBody::from(&held.grant), revoked_at: held.revoked_at.map(WireTime) }
    }
}

/// How far a channel was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedMark {
    /// The channel.
    pub channel_id: ChannelId,
    /// The last message that was read.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub seq: i64,
}

impl From<&ReadMark> for ExportedMark {
    fn from(mark: &ReadMark) -> Self {
        Self { channel_id: mark.channel, seq: mark.seq.get() }
    }
}

/// A request whose answer is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedRequest {
    /// When it was first made.
    pub since: WireTime,
    /// The status that was answered; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl From<&HeldRequest> for ExportedRequest {
    fn from(request: &HeldRequest) -> Self {
        Self { since: request.since.into(), status: request.status }
    }
}

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedAudit {
    /// When.
    pub at: WireTime,
    /// What was done, `resource.verb`.
    pub action: String,
    /// Where.
    pub scope: Scope,
    /// What was made or changed.
    pub target: String,
    /// Whether the account did it; else it was somebody whom this does not name.
    pub by_oneself: bool,
    /// The request.
    pub correlation_id: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ExportedAudit {
    pub(crate) fn of(entry: &AuditEntry, account: AccountId) -> Self {
        Self {
            at: entry.at.into(),
            action: entry.action.clone(),
            scope: entry.scope,
            target: entry.target.clone(),
            by_oneself: entry.actor == Some(account),
            correlation_id: entry.correlation_id.clone(),
            reason: entry.reason.clone(),
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedMessage {
    /// The message.
    pub id: MessageId,
    /// The channel.
    pub channel_id: ChannelId,
    /// Its place there.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub seq: i64,
    /// The name that it stands under.
    pub display_name: String,
    /// What it says, also if it was masked; null if it was purged.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub body: Option<String>,
    /// The author's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// When it was sent.
    pub sent_at: WireTime,
    /// When it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<WireTime>,
    /// How it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<ExportedRemoval>,
}

/// How a message was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedRemoval {
    /// What became of its text.
    pub mode: RemovalMode,
    /// Why.
    pub reason: String,
    /// When.
    pub at: WireTime,
}

impl From<&Message> for ExportedMessage {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id,
            channel_id: message.channel,
            seq: message.seq.get(),
            display_name: message.author.display_name.to_string(),
            body: message.body.as_ref().map(|body| body.as_str().to_owned()),
            client_id: message.client_id.as_ref().map(ToString::to_string),
            reply_to: message.reply_to,
            sent_at: message.sent_at.into(),
            edited_at: message.edited_at.map(WireTime),
            removed: message.tombstone.as_ref().map(|tombstone| ExportedRemoval {
                mode: tombstone.mode,
                reason: tombstone.reason.clone(),
                at: tombstone.deleted_at.into(),
            }),
        }
    }
}

/// Something that the account was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportedNotification {
    /// The notification; an announcement's id if its topic is that.
    pub id: NotificationId,
    /// What it is about.
    pub topic: String,
    /// What it is called; absent where an announcement says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it says; absent where an announcement says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// When it was told.
    pub created_at: WireTime,
    /// When it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<WireTime>,
    /// When it was dismissed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dismissed_at: Option<WireTime>,
}

impl From<&HeldNotification> for ExportedNotification {
    fn from(held: &HeldNotification) -> Self {
        Self {
            id: held.id,
            topic: held.topic.as_str().to_owned(),
            title: held.title.as_ref().map(ToString::to_string),
            body: held.body.as_ref().map(ToString::to_string),
            created_at: held.created_at.into(),
            read_at: held.read_at.map(WireTime),
            dismissed_at: held.dismissed_at.map(WireTime),
        }
    }
}
