//! The suite of exports and erasures on both databases, and what is left of an account in their tables.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

mod sqlite {
    use super::fixture;

    weltenwind_core::privacy_store_conformance!(fixture::sqlite_with(Clone::clone));
}

mod postgres {
    use super::fixture;

    weltenwind_core::privacy_store_conformance!(
        fixture::postgres_with(Clone::clone),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}
