//! The suites of accounts, sessions and keys, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, accounts::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports {
        accounts: Arc::clone(&stores.accounts),
        sessions: Arc::clone(&stores.sessions),
        devices: Arc::clone(&stores.devices),
        keys: Arc::clone(&stores.keys),
        factors: Arc::clone(&stores.factors),
        preferences: Arc::clone(&stores.preferences),
        grants: Arc::clone(&stores.grants),
    }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::account_store_conformance!(fixture::sqlite_with(ports));
    weltenwind_core::session_store_conformance!(fixture::sqlite_with(ports));
    weltenwind_core::device_store_conformance!(fixture::sqlite_with(ports));
    weltenwind_core::key_store_conformance!(fixture::sqlite_with(ports));
    weltenwind_core::preference_store_conformance!(fixture::sqlite_with(ports));
    weltenwind_core::second_factor_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::account_store_conformance!(fixture::postgres_with(ports), ignore = "needs WW_TEST_POSTGRES_URL");
    weltenwind_core::session_store_conformance!(fixture::postgres_with(ports), ignore = "needs WW_TEST_POSTGRES_URL");
    weltenwind_core::device_store_conformance!(fixture::postgres_with(ports), ignore = "needs WW_TEST_POSTGRES_URL");
    weltenwind_core::key_store_conformance!(fixture::postgres_with(ports), ignore = "needs WW_TEST_POSTGRES_URL");
    weltenwind_core::preference_store_conformance!(
        fixture::postgres_with(ports),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
    weltenwind_core::second_factor_store_conformance!(
        fixture::postgres_with(ports),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}
