//! The suite of mail, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, mail::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports { mail: Arc::clone(&stores.mail) }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::mail_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::mail_store_conformance!(fixture::postgres_with(ports), ignore = "needs WW_TEST_POSTGRES_URL");
}
