//! The suite of grants, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, access::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports { grants: Arc::clone(&stores.grants), accounts: Some(Arc::clone(&stores.accounts)) }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::grant_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::grant_store_conformance!(fixture::postgres_with(ports), ignore = "needs WW_TEST_POSTGRES_URL");
}
