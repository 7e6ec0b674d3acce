//! The migrations of both databases against each other, and how a store is brought up to them.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::collections::BTreeMap;

use sqlx::{Connection as _, PgConnection, SqliteConnection};
use uuid::Uuid;
use weltenwind_core::{
    MessageId, Step, Timestamp,
    chat::{NewChannel, NewMessage},
};
use weltenwind_storage::{Migrated, OpenError, StorageConfig, migrate, open};

use self::fixture::{Fixture, empty_postgres, postgres, sqlite, sqlite_place};

/// The names of the migrations in a folder, without their ending.
fn names(database: &str) -> Vec<String> {
    let folder = format!("{}/migrations/{database}", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|file| file.strip_suffix(".sql").unwrap_or_else(|| panic!("{file} is no migration")).to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn both_folders_carry_the_same_names_numbered_without_a_hole() {
    let names = (names("postgres"), names("sqlite"));

    assert_eq!(names.0, names.1);
    for (n, name) in (1..).zip(names.0) {
        assert!(name.starts_with(&format!("{n:04}_")), "{name} should have number {n:04}");
    }
}

#[test]
fn every_migration_says_why() {
    for database in ["postgres", "sqlite"] {
        for name in names(database) {
            let path = format!("{}/migrations/{database}/{name}.sql", env!("CARGO_MANIFEST_DIR"));
            assert!(std::fs::read_to_string(&path).unwrap().starts_with("-- "), "{path} opens without a comment");
        }
    }
}

#[tokio::test]
async fn a_sqlite_file_gets_every_migration_once() {
    let (config, _place) = sqlite_place();

    every_migration_is_applied_once(&config, &names("sqlite")).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_postgres_database_gets_every_migration_once() {
    let (config, _place) = empty_postgres().await;

    every_migration_is_applied_once(&config, &names("postgres")).await;
}

async fn every_migration_is_applied_once(config: &StorageConfig, names: &[String]) {
    assert_eq!(migrate(config).await.unwrap().applied, names);
    assert_eq!(migrate(config).await.unwrap(), Migrated::default());
    open(config).await.unwrap().health.close().await;
}

#[tokio::test]
async fn two_programs_that_start_at_once_on_one_file_migrate_it_once() {
    let (config, _place) = sqlite_place();

    two_programs_migrate_once(&config).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn two_programs_that_start_at_once_on_one_server_migrate_it_once() {
    let (config, _place) = empty_postgres().await;

    two_programs_migrate_once(&config).await;
}

async fn two_programs_migrate_once(config: &StorageConfig) {
    let (one, two, three) = tokio::join!(migrate(config), migrate(config), migrate(config));

    let mut applied = [one.unwrap(), two.unwrap(), three.unwrap()].map(|migrated| migrated.applied);
    applied.sort();
    assert_eq!(applied, [vec![], vec![], names("sqlite")]);
}

#[tokio::test]
async fn a_newer_schema_of_sqlite_is_refused() {
    a_newer_schema_is_refused(&sqlite().await).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_newer_schema_of_postgres_is_refused() {
    a_newer_schema_is_refused(&postgres().await).await;
}

async fn a_newer_schema_is_refused(fixture: &Fixture) {
    fixture
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            SELECT 999, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    let known = i64::try_from(names("sqlite").len()).unwrap();

    for migrate_on_start in [true, false] {
        let error = open(&StorageConfig { migrate_on_start, ..fixture.config.clone() }).await.unwrap_err();
        assert!(matches!(error, OpenError::SchemaNewer { found: 999, known: k } if k == known), "{error:?}");
    }
    let error = migrate(&fixture.config).await.unwrap_err();
    assert!(matches!(error, OpenError::SchemaNewer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_sqlite_file_without_schema_is_refused_if_the_start_may_not_migrate() {
    let (config, _place) = sqlite_place();

    a_missing_schema_is_refused(&config).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_postgres_database_without_schema_is_refused_if_the_start_may_not_migrate() {
    let (config, _place) = empty_postgres().await;

    a_missing_schema_is_refused(&config).await;
}

async fn a_missing_schema_is_refused(config: &StorageConfig) {
    let cautious = StorageConfig { migrate_on_start: false, ..config.clone() };

    let error = open(&cautious).await.unwrap_err();
    assert!(matches!(&error, OpenError::SchemaOutdated { missing } if *missing == names("sqlite")), "{error:?}");

    migrate(&cautious).await.unwrap();
    open(&cautious).await.unwrap().health.close().await;
}

#[tokio::test]
async fn an_older_schema_of_sqlite_is_refused_if_the_start_may_not_migrate() {
    an_older_schema_is_refused(&sqlite().await).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn an_older_schema_of_postgres_is_refused_if_the_start_may_not_migrate() {
    an_older_schema_is_refused(&postgres().await).await;
}

async fn an_older_schema_is_refused(fixture: &Fixture) {
    fixture.execute("DELETE FROM _sqlx_migrations WHERE version > 2").await;
    let cautious = StorageConfig { migrate_on_start: false, ..fixture.config.clone() };

    let error = open(&cautious).await.unwrap_err();

    assert!(matches!(&error, OpenError::SchemaOutdated { missing } if *missing == names("sqlite")[2..]), "{error:?}");
}

#[tokio::test]
async fn a_migration_that_was_another_in_sqlite_is_refused() {
    a_migration_that_was_another_is_refused(&sqlite().await).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_migration_that_was_another_in_postgres_is_refused() {
    a_migration_that_was_another_is_refused(&postgres().await).await;
}

async fn a_migration_that_was_another_is_refused(fixture: &Fixture) {
    fixture
        .execute(
            "UPDATE _sqlx_migrations SET checksum = (SELECT checksum FROM _sqlx_migrations WHERE version = 1)
            WHERE version = 2",
        )
        .await;

    let error = open(&fixture.config).await.unwrap_err();

    assert!(matches!(error, OpenError::MigrationChanged { name: "0002_accounts" }), "{error:?}");
}

#[tokio::test]
async fn a_failed_migration_of_sqlite_is_named_and_changes_nothing() {
    let (config, _place) = sqlite_place();
    let mut connection = SqliteConnection::connect(&format!("{}?mode=rwc", config.url)).await.unwrap();
    sqlx::query("CREATE TABLE grants (mine TEXT)").execute(&mut connection).await.unwrap();

    let error = open(&config).await.unwrap_err();

    assert!(matches!(error, OpenError::MigrationFailed { name: "0003_worlds_access", .. }), "{error:?}");
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(tables, ["grants"]);
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_failed_migration_of_postgres_is_named_and_can_be_tried_again() {
    let (config, _place) = empty_postgres().await;
    let mut connection = PgConnection::connect(&config.url).await.unwrap();
    sqlx::query("CREATE TABLE grants (mine TEXT)").execute(&mut connection).await.unwrap();

    let error = open(&config).await.unwrap_err();
    assert!(matches!(error, OpenError::MigrationFailed { name: "0003_worlds_access", .. }), "{error:?}");

    sqlx::query("DROP TABLE grants").execute(&mut connection).await.unwrap();
    assert_eq!(migrate(&config).await.unwrap().applied, names("postgres")[2..]);
}

#[tokio::test]
async fn what_was_deleted_before_it_was_noted_is_a_gap_to_whoever_is_behind_in_sqlite() {
    what_was_deleted_before_it_was_noted_is_a_gap(&sqlite().await, &["DROP TRIGGER chat_messages_note_purged"]).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn what_was_deleted_before_it_was_noted_is_a_gap_to_whoever_is_behind_in_postgres() {
    let undo = ["DROP TRIGGER chat_messages_note_purged ON chat_messages", "DROP FUNCTION chat_note_purged"];
    what_was_deleted_before_it_was_noted_is_a_gap(&postgres().await, &undo).await;
}

async fn what_was_deleted_before_it_was_noted_is_a_gap(fixture: &Fixture, undo: &[&'static str]) {
    let chat = &fixture.stores.chat;
    let posts = ["one", "two", "three"].map(NewMessage::sample);
    let deleted = [Some(1), Some(0), Some(3), None];
    for (n, deleted) in (1..).zip(deleted) {
        let channel = NewChannel::sample(n);
        chat.create_channel(&Step::sample(Timestamp::UNIX_EPOCH), &channel).await.unwrap();
        if let Some(deleted) = deleted {
            let posts = posts.clone().map(|post| {
                let id = MessageId::new(Uuid::from_u128(post.id.uuid().as_u128() ^ u128::from(n)));
                NewMessage { id, channel: channel.id, ..post }
            });
            chat.append(&posts).await.unwrap();
            assert_eq!(chat.purge(channel.id, Timestamp::MAX, deleted).await.unwrap(), u64::from(deleted));
        }
    }
    for statement in undo {
        fixture.execute(statement).await;
    }
    fixture.execute("ALTER TABLE chat_channels DROP COLUMN purged_change").await;
    fixture.execute("DELETE FROM _sqlx_migrations WHERE version = 15").await;

    assert_eq!(migrate(&fixture.config).await.unwrap().applied, ["0015_chat_purged"]);

    let mut purged = Vec::new();
    for n in 1..=4 {
        purged.push(chat.head(NewChannel::sample(n).id).await.unwrap().unwrap().purged.get());
    }
    assert_eq!(purged, [3, 0, 3, 0], "what may have been missed, nothing, what may have been missed, and no message");
}

/// A column as both databases can describe it: what SQLite would call its type, and whether it may be absent.
type Columns = BTreeMap<(String, String), (String, bool)>;

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn both_databases_end_in_the_same_tables_and_columns() {
    let (sqlite, postgres) = (sqlite().await, postgres().await);

    let (sqlite, postgres) = (columns_of_sqlite(&sqlite).await, columns_of_postgres(&postgres).await);

    assert!(sqlite.contains_key(&("worlds".to_owned(), "slug".to_owned())), "the comparison sees the tables");
    let apart = |one: &Columns, other: &Columns| {
        one.iter()
            .filter(|(name, column)| other.get(name) != Some(column))
            .map(|c| format!("{c:?}"))
            .collect::<Vec<_>>()
    };
    let (only_sqlite, only_postgres) = (apart(&sqlite, &postgres), apart(&postgres, &sqlite));
    assert!(
        only_sqlite.is_empty() && only_postgres.is_empty(),
        "sqlite: {only_sqlite:#?}\npostgres: {only_postgres:#?}"
    );
}

async fn columns_of_sqlite(fixture: &Fixture) -> Columns {
    let mut connection = SqliteConnection::connect(&fixture.config.url).await.unwrap();
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        r#"SELECT t.name, c.name, c.type, c."notnull" = 0
        FROM pragma_table_list t JOIN pragma_table_info(t.name) c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.name <> '_sqlx_migrations'"#,
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    rows.into_iter().map(|(table, column, kind, nullable)| ((table, column), (kind, nullable))).collect()
}

async fn columns_of_postgres(fixture: &Fixture) -> Columns {
    let mut connection = PgConnection::connect(&fixture.config.url).await.unwrap();
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT, is_nullable = 'YES'
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let in_sqlite = |kind: &str| match kind {
        "uuid" | "bytea" => "BLOB",
        "text" | "jsonb" => "TEXT",
        "smallint" | "integer" | "bigint" | "boolean" | "timestamp with time zone" => "INTEGER",
        "double precision" => "REAL",
        other => panic!("how SQLite stores {other} is not decided"),
    };
    rows.into_iter()
        .map(|(table, column, kind, nullable)| ((table, column), (in_sqlite(&kind).to_owned(), nullable)))
        .collect()
}
