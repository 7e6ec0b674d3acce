//! Checks on the workspace itself: which crate knows which, that core does no I/O, under which licences the
//! dependencies stand, and that every published crate says what it is.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::SplitWhitespace;

use cargo_metadata::{CargoOpt, Dependency, DependencyKind, Metadata, MetadataCommand, Package};

/// Which crates of the workspace each crate depends on: these, all of them and no other.
///
/// A row may stand here before its crate does.
const ARROWS: &[(&str, &[&str])] = &[
    ("weltenwind-core", &[]),
    ("weltenwind-storage", &["weltenwind-core"]),
    ("weltenwind-http", &["weltenwind-core"]),
    ("weltenwind-ws", &["weltenwind-core"]),
    ("weltenwind-client", &["weltenwind-core"]),
    ("weltenwind-cli", &["weltenwind-core", "weltenwind-http", "weltenwind-storage", "weltenwind-ws"]),
];

/// Shows how the crates are put together, so it may depend on any of them.
const EXAMPLES: &str = "weltenwind-examples";

const CRATES_WITH_IO: &[&str] = &["axum", "hyper", "redis", "reqwest", "sqlx", "tokio-tungstenite"];

const TOKIO_FEATURES_WITH_IO: &[&str] = &["fs", "full", "net", "process"];

/// The licences whose terms a binary under `MIT OR Apache-2.0` can keep, as far as some dependency leaves no other choice.
const LICENCES: &[&str] =
    &["0BSD", "Apache-2.0", "BSD-3-Clause", "BSL-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "Unicode-3.0", "Zlib"];

#[test]
fn crates_depend_only_along_the_arrows() {
    let metadata = members_only();
    let members = metadata.workspace_packages();
    let names: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();

    for package in members.iter().filter(|package| package.name.as_str() != EXAMPLES) {
        let Some((_, expected)) = ARROWS.iter().find(|(name, _)| *name == package.name.as_str()) else {
            panic!("{} has no row in ARROWS: decide which crates it may know", package.name);
        };
        let actual: BTreeSet<&str> =
            shipped(package).map(|dependency| dependency.name.as_str()).filter(|name| names.contains(name)).collect();

        assert_eq!(
            actual,
            expected.iter().copied().collect(),
            "{} departs from its arrows (right); only the binary and the examples put crates together",
            package.name
        );
    }
}

#[test]
fn core_does_no_io() {
    let metadata = members_only();
    let core = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name.as_str() == "weltenwind-core")
        .expect("the workspace has a crate weltenwind-core");

    for dependency in shipped(core) {
        assert!(
            !CRATES_WITH_IO.contains(&dependency.name.as_str()),
            "weltenwind-core depends on {}; what does I/O is an adapter behind a port, in another crate",
            dependency.name
        );
        if dependency.name == "tokio" {
            for feature in &dependency.features {
                assert!(
                    !TOKIO_FEATURES_WITH_IO.contains(&feature.as_str()),
                    "weltenwind-core turns on tokio's `{feature}`; what does I/O is an adapter behind a port, in another crate"
                );
            }
        }
    }
}

#[test]
fn every_dependency_stands_under_an_accepted_licence() {
    let metadata = command().features(CargoOpt::AllFeatures).exec().expect("cargo resolves the workspace");

    let refused: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(is_accepted))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();

    assert!(
        refused.is_empty(),
        "licences that LICENCES cannot satisfy (read the terms before adding one):\n{}",
        refused.join("\n")
    );
}

#[test]
fn a_licence_expression_is_accepted_only_if_a_choice_of_accepted_licences_satisfies_it() {
    let accepted = [
        "MIT",
        "MIT OR GPL-3.0-only",
        "GPL-3.0-only/MIT",
        "GPL-3.0-only / MIT",
        "MIT AND ISC",
        "ISC AND (GPL-3.0-only OR MIT)",
        "GPL-3.0-only AND MIT OR ISC",
        "Apache-2.0 WITH LLVM-exception OR MIT",
    ];
    let refused = [
        "",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "MIT AND (GPL-3.0-only OR LGPL-3.0-only)",
        "(MIT OR ISC) AND GPL-3.0-only",
        "MIT WITH some-exception",
        "(MIT",
        "MIT)",
        "MIT AND",
        "MIT ISC",
    ];

    for expression in accepted {
        assert!(is_accepted(expression), "{expression:?} should be accepted");
    }
    for expression in refused {
        assert!(!is_accepted(expression), "{expression:?} should be refused");
    }
}

#[test]
fn every_published_crate_says_what_it_is() {
    let metadata = members_only();

    let mut missing = Vec::new();
    for package in metadata.workspace_packages() {
        let published = package.publish.as_ref().is_none_or(|registries| !registries.is_empty());
        let readme_exists = package.readme().is_some_and(|path| path.is_file());
        let keys = [
            ("description", package.description.is_some()),
            ("license", package.license.is_some()),
            ("repository", package.repository.is_some()),
            ("readme", readme_exists),
            ("keywords", !package.keywords.is_empty()),
            ("categories", !package.categories.is_empty()),
        ];
        missing.extend(
            keys.iter()
                .filter(|(_, present)| published && !present)
                .map(|(key, _)| format!("{}: {key}", package.manifest_path)),
        );
    }

    assert!(missing.is_empty(), "crates.io shows these, and they are missing:\n{}", missing.join("\n"));
}

fn command() -> MetadataCommand {
    let mut command = MetadataCommand::new();
    command.manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).other_options(["--locked".to_owned()]);
    command
}

/// Reads the members' manifests and nothing else, so it needs neither network nor registry.
fn members_only() -> Metadata {
    command().no_deps().exec().expect("cargo reads the manifests of the workspace")
}

/// The dependencies that reach whoever uses the package; tests may use what they like.
fn shipped(package: &Package) -> impl Iterator<Item = &Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development)
}

/// Says whether [`LICENCES`] alone can satisfy an SPDX expression, or one with the slash that was `OR` before SPDX.
fn is_accepted(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any_accepted(&mut words) && words.next().is_none()
}

fn any_accepted(words: &mut Peekable<SplitWhitespace<'_>>) -> bool {
    let mut accepted = all_accepted(words);
    while words.next_if_eq(&"OR").is_some() {
        // The right side is read in any case; `||` would leave its words behind.
        accepted |= all_accepted(words);
    }
    accepted
}

fn all_accepted(words: &mut Peekable<SplitWhitespace<'_>>) -> bool {
    let mut accepted = one_accepted(words);
    while words.next_if_eq(&"AND").is_some() {
        accepted &= one_accepted(words);
    }
    accepted
}

fn one_accepted(words: &mut Peekable<SplitWhitespace<'_>>) -> bool {
    let Some(first) = words.next() else { return false };
    if first == "(" {
        let accepted = any_accepted(words);
        return words.next() == Some(")") && accepted;
    }
    if words.next_if_eq(&"WITH").is_some() {
        let exception = words.next().unwrap_or_default();
        return LICENCES.contains(&format!("{first} WITH {exception}").as_str());
    }
    LICENCES.contains(&first)
}
