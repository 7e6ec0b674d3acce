//! The suite of the log of losses, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, revocations::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports {
        revocations: Arc::clone(&stores.revocations),
        accounts: Arc::clone(&stores.accounts),
        sessions: Arc::clone(&stores.sessions),
        devices: Arc::clone(&stores.devices),
        grants: Arc::clone(&stores.grants),
        api_keys: Arc::clone(&stores.api_keys),
        worlds: Arc::clone(&stores.worlds),
    }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::revocation_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::revocation_store_conformance!(
        fixture::postgres_with(ports),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}
