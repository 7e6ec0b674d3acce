//! The suite of announcements, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, announcements::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports { announcements: Arc::clone(&stores.announcements) }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::announcement_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::announcement_store_conformance!(
        fixture::postgres_with(ports),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}
