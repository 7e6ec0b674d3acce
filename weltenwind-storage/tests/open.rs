//! Opening a store, and what is said when that fails.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::path::Path;

use weltenwind_core::chain;
use weltenwind_storage::{OpenError, StorageConfig, open};

use self::fixture::{postgres, sqlite_place};

async fn refusal(url: impl Into<String>) -> OpenError {
    let config = StorageConfig { url: url.into(), acquire_timeout_seconds: 2, ..StorageConfig::default() };
    let error = open(&config).await.expect_err("the store cannot be opened");
    for text in [error.to_string(), error.hint().to_owned()] {
        assert!(!text.is_empty() && !text.contains('\n') && !text.ends_with('.'), "{text:?}");
    }
    error
}

#[tokio::test]
async fn an_unknown_scheme_is_told() {
    for url in ["mysql://localhost/weltenwind", "weltenwind.db", ""] {
        let error = refusal(url).await;
        assert!(matches!(error, OpenError::UnknownScheme { .. }), "{url:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_told_without_its_password() {
    let urls = [
        "postgres://mira:secret@db:port/weltenwind",
        "sqlite://weltenwind.db?mode=odd",
        "sqlite::memory:",
        "sqlite://",
    ];
    for url in urls {
        let error = refusal(url).await;
        assert!(matches!(error, OpenError::UrlInvalid { .. }), "{url}: {error:?}");
        assert!(!chain(&error).contains("secret"));
    }
}

#[tokio::test]
async fn a_file_in_a_folder_that_does_not_exist_is_told() {
    let folder = tempfile::tempdir().unwrap();

    let error = refusal(url_of(&folder.path().join("missing/weltenwind.db"))).await;

    assert!(matches!(error, OpenError::FileUnusable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_folder_instead_of_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();

    let error = refusal(url_of(folder.path())).await;

    assert!(matches!(error, OpenError::FileUnusable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "This is not a database.\n".repeat(100);
    std::fs::write(&path, &text).unwrap();

    let error = refusal(url_of(&path)).await;

    assert!(matches!(&error, OpenError::FileCorrupt { path: told, .. } if *told == path), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_damaged_database_is_told() {
    let (config, _place) = sqlite_place();
    open(&config).await.unwrap().health.close().await;
    let path = config.url.trim_start_matches("sqlite://");
    let mut bytes = std::fs::read(path).unwrap();
    // The first page keeps its header, so it still looks like a database.
    bytes[100..].fill(0xff);
    std::fs::write(path, bytes).unwrap();

    let error = refusal(&config.url).await;

    assert!(matches!(error, OpenError::FileCorrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_that_another_program_locks_is_told() {
    use sqlx::{Connection as _, Executor as _, SqliteConnection};

    let (config, _place) = sqlite_place();
    let mut other = SqliteConnection::connect(&format!("{}?mode=rwc", config.url)).await.unwrap();
    other.execute("BEGIN EXCLUSIVE; CREATE TABLE notes (text TEXT)").await.unwrap();

    let error = open(&StorageConfig { busy_timeout_ms: 50, ..config }).await.expect_err("the file is locked");

    assert!(matches!(error, OpenError::FileUnusable { .. }), "{error:?}");
    assert!(chain(&error).contains("locked"), "{}", chain(&error));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_the_password() {
    let error = refusal("postgres://mira:secret@127.0.0.1:1/weltenwind").await;

    assert!(matches!(error, OpenError::ServerUnreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("mira:[redacted]@127.0.0.1:1"), "{error}");
    assert!(!chain(&error).contains("secret"));
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_missing_database_is_told() {
    let fixture = postgres().await;

    let error = refusal(format!("{}_missing", fixture.config.url)).await;

    assert!(matches!(error, OpenError::DatabaseMissing { .. }), "{error:?}");
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn an_unknown_user_is_told() {
    let fixture = postgres().await;
    let (_, place) = fixture.config.url.split_once('@').unwrap();

    let error = refusal(format!("postgres://nobody-here:secret@{place}")).await;

    assert!(matches!(error, OpenError::SignInRefused { .. }), "{error:?}");
    assert!(!chain(&error).contains("secret"));
}

#[tokio::test]
async fn a_store_of_sqlite_is_healthy_until_it_is_closed() {
    a_store_is_healthy_until_it_is_closed(&fixture::sqlite().await).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_store_of_postgres_is_healthy_until_it_is_closed() {
    a_store_is_healthy_until_it_is_closed(&postgres().await).await;
}

async fn a_store_is_healthy_until_it_is_closed(fixture: &fixture::Fixture) {
    let health = &fixture.stores.health;
    health.check().await.unwrap();

    health.close().await;
    health.close().await;

    assert!(health.check().await.unwrap_err().is_transient());
    assert!(fixture.stores.worlds.is_empty().await.unwrap_err().is_transient());
}

#[tokio::test]
async fn an_older_schema_of_sqlite_is_not_healthy_and_a_newer_one_is() {
    an_older_schema_is_not_healthy(&fixture::sqlite().await).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn an_older_schema_of_postgres_is_not_healthy_and_a_newer_one_is() {
    an_older_schema_is_not_healthy(&postgres().await).await;
}

async fn an_older_schema_is_not_healthy(fixture: &fixture::Fixture) {
    fixture
        .execute(
            "UPDATE _sqlx_migrations SET version = 999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
        )
        .await;
    fixture.stores.health.check().await.expect("nodes of the release before serve on while the store is migrated");

    fixture.execute("DELETE FROM _sqlx_migrations WHERE version > 2").await;
    let error = fixture.stores.health.check().await.unwrap_err();

    assert!(chain(&error).contains("0003_worlds_access"), "{}", chain(&error));
}

fn url_of(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}
