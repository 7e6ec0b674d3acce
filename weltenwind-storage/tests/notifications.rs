//! The suite of notifications, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, notifications::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports {
        notifications: Arc::clone(&stores.notifications),
        announcements: Arc::clone(&stores.announcements),
        accounts: Arc::clone(&stores.accounts),
        preferences: Arc::clone(&stores.preferences),
        grants: Arc::clone(&stores.grants),
    }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::notification_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::notification_store_conformance!(
        fixture::postgres_with(ports),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}
