//! What is held on an account, and what is left of one that is erased.

use crate::{
    access::{Grant, keys::ApiKey},
    accounts::{Account, Device, Preferences, Session, TokenHash, Topic},
    announcements::{AnnouncementText, Title},
    chat::Seq,
    clock::Timestamp,
    ids::{AccountId, ChannelId, NotificationId},
    page::Limit,
    scope::Scope,
};

/// The name under which messages of erased accounts stand.
pub const ERASED_NAME: &str = "Deleted account";

/// Everything that is held on an account, but for what it has written and what the audit log says of it, which are read page
/// by page. Secrets and their hashes are no part of it.
///
/// A domain that holds something on accounts adds it here, in the adapters' `sections`, and in
/// [`ExportBody`](crate::wire::ExportBody).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// The account.
    pub account: Account,
    /// When its password was set; none if it has no password.
    pub password_set_at: Option<Timestamp>,
    /// Since when it has a second factor; none if it has none.
    pub second_factor_since: Option<Timestamp>,
    /// What it likes; as it is by default if it has said nothing.
    pub preferences: Preferences,
    /// By whom else it is known, in order of the issuers' names.
    pub identities: Vec<HeldIdentity>,
    /// Its sessions, ended ones too, oldest first.
    pub sessions: Vec<Session>,
    /// Its devices, ended ones too, oldest first.
    pub devices: Vec<HeldDevice>,
    /// The roles that were given to it, taken ones too, oldest first.
    pub grants: Vec<HeldGrant>,
    /// How far it has read, in order of the channels' ids.
    pub read_marks: Vec<ReadMark>,
    /// The API keys that it made and that hold, oldest first.
    pub keys: Vec<ApiKey>,
    /// Its requests under an `Idempotency-Key` that are still kept, oldest first.
    pub requests: Vec<HeldRequest>,
    /// What it was told of its own, and what it has made of that, oldest first.
    pub notifications: Vec<HeldNotification>,
}

/// Something that an account was told, dismissed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldNotification {
    /// The notification.
    pub id: NotificationId,
    /// What it is about.
    pub topic: Topic,
    /// What it is called; none if it is an announcement, which has the title itself.
    pub title: Option<Title>,
    /// What it says; none if it is an announcement.
    pub body: Option<AnnouncementText>,
    /// When it was told.
    pub created_at: Timestamp,
    /// When it was read.
    pub read_at: Option<Timestamp>,
    /// When it was dismissed.
    pub dismissed_at: Option<Timestamp>,
}

/// An identity of somebody else's that signs in to the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldIdentity {
    /// Who vouches.
    pub issuer: String,
    /// For whom.
    pub subject: String,
    /// Since when.
    pub linked_at: Timestamp,
}

/// A device, ended or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDevice {
    /// The device.
    pub device: Device,
    /// When it was signed out.
    pub ended_at: Option<Timestamp>,
}

/// A role, taken or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldGrant {
    /// The grant.
    pub grant: Grant,
    /// When it was taken.
    pub revoked_at: Option<Timestamp>,
}

/// How far a channel was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadMark {
    /// The channel.
    pub channel: ChannelId,
    /// The last message that was read.
    pub seq: Seq,
}

/// A request whose answer is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldRequest {
    /// When it was first made.
    pub since: Timestamp,
    /// What was answered; none while it runs.
    pub status: Option<u16>,
}

/// Which rows of the audit log to read, oldest first: what the account did, and what was done to one of `targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// The account.
    pub account: AccountId,
    /// The account, its sessions, devices and grants, as the log names them.
    pub targets: Vec<String>,
    /// Only rows behind this one.
    pub after: i64,
    /// How many.
    pub limit: u32,
}

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who; none for the operator and for sign-ins.
    pub actor: Option<AccountId>,
    /// For which request.
    pub correlation_id: String,
    /// `resource.verb`.
    pub action: String,
    /// Where.
    pub scope: Scope,
    /// What was made or changed.
    pub target: String,
    /// Why.
    pub reason: Option<String>,
}

/// By what an erased account would be known again: keyed hashes, which say nothing without the installation's root key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasureMarks {
    /// Of its username.
    pub username: Option<TokenHash>,
    /// Of its address for mail.
    pub email: Option<TokenHash>,
}

/// What becomes of a scope that would be left without an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastOwner {
    /// The account is not erased.
    Stays,
    /// It is: it was decided before that it shall be.
    Goes,
}

/// An account to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewErasure {
    /// The account.
    pub account: AccountId,
    /// By what it would be known again; its devices' fingerprints are added by the store.
    pub marks: ErasureMarks,
    /// What becomes of a scope that would be left without an owner.
    pub last_owner: LastOwner,
    /// When it was erased first: the step's instant, or that of the ledger which is applied again.
    pub erased_at: Timestamp,
    /// Who wanted it: the account itself, or none for the operator.
    pub erased_by: Option<AccountId>,
}

/// An account that is erased, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The account.
    pub account: AccountId,
    /// When.
    pub erased_at: Timestamp,
    /// Who wanted it: the account itself, or none for the operator.
    pub erased_by: Option<AccountId>,
    /// Since when its messages are being renamed; none once all are.
    pub unsettled_since: Option<Timestamp>,
}

/// Which erasures to read, in order of the accounts' ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasureQuery {
    /// Only erasures behind this account's.
    pub after: Option<AccountId>,
    /// How many.
    pub limit: Limit,
}

/// What an erasure would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasurePlan {
    /// What goes.
    pub holdings: Holdings,
    /// Messages that would stand under [`ERASED_NAME`].
    pub messages: u64,
    /// The scopes that would be left without an owner: as long as there are some, the account is not erased.
    pub last_owner_of: Vec<Scope>,
}
