//! The suite of worlds, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, worlds::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports {
        worlds: Arc::clone(&stores.worlds),
        accounts: Arc::clone(&stores.accounts),
        grants: Arc::clone(&stores.grants),
    }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::world_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::world_store_conformance!(fixture::postgres_with(ports), ignore = "needs WW_TEST_POSTGRES_URL");
}
