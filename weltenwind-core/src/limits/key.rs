//! What is counted together.

use std::{fmt, net::IpAddr};

use super::{
    policy::{KeyKind, Policy},
    quota::Quota,
};
use crate::{
    actor::ClientAddress,
    ids::{AccountId, DeviceId},
    room::Room,
};

/// Who or what calls are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKey {
    /// An account.
    Account(AccountId),
    /// A device.
    Device(DeviceId),
    /// What counts as one address; made by [`LimitKey::of_address`].
    Address(IpAddr),
    /// An account and what counts as one address; made by [`LimitKey::of_account_at`].
    AccountAddress(AccountId, IpAddr),
    /// A room.
    Room(Room),
    /// An account that issues something to others.
    Issuer(AccountId),
}

impl LimitKey {
    /// The key of a caller's address: IPv4 whole, IPv6 by its /64, since whoever holds one address there usually holds all.
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(ClientAddress(address).network())
    }

    /// The key of an account and a caller's address together, of which the latter counts as in [`LimitKey::of_address`].
    pub fn of_account_at(account: AccountId, address: IpAddr) -> Self {
        Self::AccountAddress(account, ClientAddress(address).network())
    }

    /// Returns what kind of key it is.
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Account(_) => KeyKind::Account,
            Self::Device(_) => KeyKind::Device,
            Self::Address(_) => KeyKind::Address,
            Self::AccountAddress(..) => KeyKind::AccountAddress,
            Self::Room(_) => KeyKind::Room,
            Self::Issuer(_) => KeyKind::Issuer,
        }
    }
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Account(id) | Self::Issuer(id) => write!(f, "{kind}:{id}"),
            Self::Device(id) => write!(f, "{kind}:{id}"),
            Self::Address(address) => write!(f, "{kind}:{address}"),
            Self::AccountAddress(id, address) => write!(f, "{kind}:{id}@{address}"),
            Self::Room(room) => write!(f, "{kind}:{room}"),
        }
    }
}

/// One count: a policy and who it is about. `Display` names it, the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The policy.
    pub policy: Policy,
    /// Who it is about.
    pub key: LimitKey,
    /// How much is allowed.
    pub quota: Quota,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.policy, self.key)
    }
}
