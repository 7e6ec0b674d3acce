//! Devices: what an account signed in from, and the way to be rid of one.

use std::{fmt::Debug, net::IpAddr, time::Duration};

use async_trait::async_trait;
use serde_json::json;

use super::{
    error::AccountError,
    model::{Account, TokenHash},
    service::{Accounts, Inner},
};
use crate::{
    actor::Actor,
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, DeviceId},
    limits::Policy,
    page::{Limit, Page},
    privacy::ErasureMarks,
    scope::Scope,
    security::{self, Event},
    step::{AuditDraft, Step},
    validation::{one_line, text},
};

text! {
    /// What an owner calls a device: 1 to 64 characters on one line.
    DeviceName, "/name", |text| one_line("name", text, 1, 64)
}

/// When and from where a device was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// In steps of five minutes: nobody is followed more closely than that.
    pub at: Timestamp,
    /// The keyed hash of the network it came from, if that is known: an IPv4 address, or the /64 around an IPv6 one.
    pub address: Option<TokenHash>,
}

impl Seen {
    /// The length of a step.
    pub const STEP: Duration = Duration::from_mins(5);

    /// Cuts an instant to the step it lies in.
    pub fn new(at: Timestamp, address: Option<TokenHash>) -> Self {
        let step = i64::try_from(Self::STEP.as_secs()).expect("five minutes fit");
        let second = at.as_second() - at.as_second().rem_euclid(step);
        Self { at: Timestamp::from_second(second).expect("the beginning of a step is in range"), address }
    }
}

/// A device that an account signed in from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub id: DeviceId,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: Option<DeviceName>,
    /// The keyed hash of the value by which it is known again.
    pub fingerprint: Option<TokenHash>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When and from where it was last seen.
    pub seen: Seen,
}

/// Which devices of an account to read, youngest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceQuery {
    /// Whose.
    pub account: AccountId,
    /// Only devices behind this one.
    pub after: Option<DeviceId>,
    /// How many.
    pub limit: Limit,
}

/// Keeps devices; they are made with the first session on them.
///
/// Each method is one atomic step, as in [`AccountStore`](super::AccountStore). A device that has ended is gone for all of
/// them.
#[async_trait]
pub trait DeviceStore: Debug + Send + Sync + 'static {
    /// Reads the devices that `query` asks for.
    async fn page(&self, query: &DeviceQuery) -> Result<Page<Device>, StorageError>;

    /// Finds the device of `account` with this fingerprint.
    async fn find_known(&self, account: AccountId, fingerprint: &TokenHash) -> Result<Option<DeviceId>, StorageError>;

    /// Gives a device of `account` another name.
    ///
    /// # Errors
    ///
    /// [`AccountError::DeviceNotFound`] if the account has no such device.
    async fn rename(
        &self,
        step: &Step,
        account: AccountId,
        device: DeviceId,
        name: &DeviceName,
    ) -> Result<Device, AccountError>;

    /// Ends a device of `account` and every session on it, and logs that as one loss. A sign-in with the same fingerprint
    /// makes another device from now on. Of a sign-in on the device at the same time, either the session ends too, or it is
    /// opened on another device.
    ///
    /// # Errors
    ///
    /// [`AccountError::DeviceNotFound`] if the account has no such device.
    async fn end(&self, step: &Step, account: AccountId, device: DeviceId) -> Result<(), AccountError>;
}

impl Accounts {
    /// Lists the actor's devices, youngest first.
    pub async fn devices(
        &self,
        actor: &Actor,
        after: Option<DeviceId>,
        limit: Limit,
    ) -> Result<Page<Device>, AccountError> {
        let account = actor.oneself()?.account;
        Ok(self.inner.devices.page(&DeviceQuery { account, after, limit }).await?)
    }

    /// Gives a device of the actor another name.
    ///
    /// # Errors
    ///
    /// [`AccountError::DeviceNotFound`].
    pub async fn rename_device(
        &self,
        actor: &Actor,
        device: DeviceId,
        name: &DeviceName,
    ) -> Result<Device, AccountError> {
        let account = actor.oneself()?.account;
        self.inner.limits.charge(actor, Policy::Write).await?;
        let audit = AuditDraft::new("device.rename", Scope::Global);
        let step = actor.step(self.inner.sources.clock.now(), audit);
        self.inner.devices.rename(&step, account, device, name).await
    }

    /// Ends a device of the actor with its sessions and their sockets, here at once and everywhere within a second.
    ///
    /// # Errors
    ///
    /// [`AccountError::DeviceNotFound`]; unavailable if this node cannot read what was lost.
    pub async fn end_device(&self, actor: &Actor, device: DeviceId) -> Result<(), AccountError> {
        let account = actor.oneself()?.account;
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Write).await?;
        inner.revocations.require_fresh().await?;
        let audit = AuditDraft::new("device.end", Scope::Global).with(json!({ "account": account }));
        inner.devices.end(&actor.step(inner.sources.clock.now(), audit), account, device).await?;
        security::note(Event::DeviceRevoked, actor, Some(account), "by-its-owner");
        inner.revocations.announce().await;
        Ok(())
    }
}

impl Accounts {
    /// Returns by what an account would be known again once it is erased. The hashes are keyed for good, as those of devices are.
    pub(crate) fn erasure_marks(&self, account: &Account) -> ErasureMarks {
        let hash = |purpose, text: &str| TokenHash::new(self.inner.ring.derive_lasting(purpose, text.as_bytes()));
        ErasureMarks {
            username: account.username.as_ref().map(|name| hash("erased username", name.as_str())),
            // Providers tell the part before the @ apart by case at most; people do not.
            email: account.email.as_ref().map(|email| hash("erased email", &email.as_str().to_lowercase())),
        }
    }
}

impl Inner {
    /// Says when and from where an actor is seen. The hash is keyed, so that who reads the store cannot try all addresses.
    pub(super) fn seen(&self, actor: &Actor, now: Timestamp) -> Seen {
        let network = actor.address.map(|address| match crate::actor::ClientAddress(address).network() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        });
        let address = network.map(|octets| TokenHash::new(self.ring.derive("device address", &octets)));
        Seen::new(now, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_seen_in_steps_of_five_minutes() {
        for (second, expected) in [(0, 0), (299, 0), (300, 300), (1_767_225_999, 1_767_225_900), (-1, -300)] {
            let at = Timestamp::from_second(second).unwrap() + Duration::from_millis(if second < 0 { 0 } else { 999 });

            assert_eq!(Seen::new(at, None).at, Timestamp::from_second(expected).unwrap(), "{second}");
        }
    }
}
