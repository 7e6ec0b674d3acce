//! The API breaks nobody who follows the last release: `docs/openapi.json` is held against that release's document.

#[path = "compatibility/cases.rs"]
mod cases;
#[path = "compatibility/compare.rs"]
mod compare;
#[path = "compatibility/schemas.rs"]
mod schemas;

use std::{fs, path::PathBuf};

use serde_json::Value;

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn read(path: &PathBuf) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The document of the newest release, and its version.
fn last_release() -> (String, Value) {
    let files = fs::read_dir(docs().join("releases")).expect("docs/releases is a folder");
    let versions = files.filter_map(|file| {
        let name = file.expect("a file").file_name().into_string().expect("a name of letters");
        let version = name.strip_prefix("openapi-")?.strip_suffix(".json")?.to_owned();
        let numbers: Vec<u64> = version.split('.').map(|part| part.parse().expect("a version of numbers")).collect();
        Some((numbers, version))
    });
    let (_, version) = versions.max().expect("a release has left its document");
    let document = read(&docs().join(format!("releases/openapi-{version}.json")));
    (version, document)
}

#[test]
fn nothing_breaks_who_follows_the_last_release() {
    let (version, released) = last_release();

    let breaks = compare::breaks(&released, &read(&docs().join("openapi.json")));

    assert!(
        breaks.is_empty(),
        "this breaks clients of {version}:\n  {}\nCONTRIBUTING.md says what to do about it.",
        breaks.join("\n  ")
    );
}

#[test]
fn the_last_release_s_document_is_that_of_its_version() {
    let (version, released) = last_release();

    assert_eq!(released["info"]["version"], *version);
}
