//! How many sockets are open, in all and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weltenwind_core::ClientAddress;

/// Counts the open sockets.
#[derive(Debug)]
pub(crate) struct Limits {
    total: usize,
    per_network: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// A socket's place among the open ones, free again once dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    network: Option<IpAddr>,
}

impl Limits {
    pub(crate) fn new(total: usize, per_network: usize) -> Arc<Self> {
        Arc::new(Self { total, per_network, open: Mutex::default() })
    }

    /// Takes a place, or none if there are too many. Without a known address only the total counts.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Permit> {
        let network = address.map(|address| ClientAddress(address).network());
        let mut open = self.lock();
        if open.total >= self.total {
            return None;
        }
        if let Some(network) = network {
            let here = open.by_network.entry(network).or_default();
            if *here >= self.per_network {
                return None;
            }
            *here += 1;
        }
        open.total += 1;
        Some(Permit { limits: Arc::clone(self), network })
    }

    /// Returns how many sockets are open.
    pub(crate) fn open(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        open.total -= 1;
        if let Some(network) = self.network
            && let Some(here) = open.by_network.get_mut(&network)
        {
            *here -= 1;
            if *here == 0 {
                open.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_free_again_once_its_socket_is_gone() {
        let limits = Limits::new(2, 2);
        let first = limits.admit(None);
        let _second = limits.admit(None).unwrap();
        assert!(limits.admit(None).is_none());

        drop(first);

        assert!(limits.admit(None).is_some());
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let limits = Limits::new(10, 1);
        let _held = limits.admit(Some(address("192.0.2.1"))).unwrap();

        assert!(limits.admit(Some(address("192.0.2.1"))).is_none());
        assert!(limits.admit(Some(address("::ffff:192.0.2.1"))).is_none(), "it is the same address");
        assert!(limits.admit(Some(address("192.0.2.2"))).is_some());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let limits = Limits::new(10, 1);
        let held = limits.admit(Some(address("2001:db8:0:1::1")));

        assert!(limits.admit(Some(address("2001:db8:0:1:ffff::2"))).is_none());
        assert!(limits.admit(Some(address("2001:db8:0:2::1"))).is_some());
        drop(held);
        assert!(limits.lock().by_network.is_empty(), "nothing is kept of addresses without sockets");
    }
}
