//! The suite of requests under a key, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, idempotency::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports {
        idempotency: Arc::clone(&stores.idempotency),
        accounts: Arc::clone(&stores.accounts),
        chat: Arc::clone(&stores.chat),
    }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::idempotency_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::idempotency_store_conformance!(
        fixture::postgres_with(ports),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}
