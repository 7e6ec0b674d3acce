//! The suite of grants, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{
    Stores,
    access::{conformance::Ports, keys::ApiKeyStore},
};

fn ports(stores: &Stores) -> Ports {
    Ports { grants: Arc::clone(&stores.grants), accounts: Some(Arc::clone(&stores.accounts)) }
}

fn api_keys(stores: &Stores) -> Arc<dyn ApiKeyStore> {
    Arc::clone(&stores.api_keys)
}

mod sqlite {
    use super::{api_keys, fixture, ports};

    weltenwind_core::grant_store_conformance!(fixture::sqlite_with(ports));
    weltenwind_core::api_key_store_conformance!(fixture::sqlite_with(api_keys));
}

mod postgres {
    use super::{api_keys, fixture, ports};

    weltenwind_core::grant_store_conformance!(fixture::postgres_with(ports), ignore = "needs WW_TEST_POSTGRES_URL");
    weltenwind_core::api_key_store_conformance!(
        fixture::postgres_with(api_keys),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}
