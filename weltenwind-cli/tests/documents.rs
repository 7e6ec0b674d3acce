//! The documents say what is: every code, every configuration key, every metric, and every test that a promise names.

mod fixture;

use std::{collections::BTreeSet, fs, path::Path};

use fixture::Store;
use serde_json::Value;
use weltenwind_core::Code;

fn read(path: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in a workspace");
    fs::read_to_string(workspace.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_code_stands_in_the_http_reference() {
    let reference = read("docs/http.md");
    let (_, table) = reference.split_once("## All codes").expect("the section of the codes");

    let expected: BTreeSet<String> =
        Code::ALL.iter().map(|code| format!("| `{code}` | {} | {} |", code.status(), code.title())).collect();
    let written: BTreeSet<String> = table.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();

    let difference: Vec<_> = expected.symmetric_difference(&written).collect();
    assert!(difference.is_empty(), "rows that stand on one side alone: {difference:#?}");
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    for row in reference.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 4) {
        let codes = row.rsplit(" | ").next().expect("a last cell");
        let invented: Vec<_> = quoted(codes).filter(|code| !known.contains(code)).collect();
        assert!(invented.is_empty(), "{invented:?} in {row}");
    }
}

#[test]
fn every_code_is_used_and_told_by_a_call_or_a_record() {
    let sources: String = ["core", "storage", "http", "ws", "cli"].iter().map(|name| sources(name)).collect();
    let openapi: Value = serde_json::from_str(&read("docs/openapi.json")).expect("a document");
    let asyncapi = read("docs/asyncapi.json");

    for code in Code::ALL {
        let is_used = sources
            .match_indices(&format!("Code::{code:?}"))
            .any(|(at, found)| !sources[at + found.len()..].starts_with(|next: char| next.is_alphanumeric()));
        assert!(is_used, "nothing answers {code}: take it out of the catalogue");
        let reference = format!("#/components/examples/{code}");
        let places = [&openapi["paths"], &openapi["components"]["responses"]];
        let is_told = places.iter().any(|place| place.to_string().contains(&format!("\"{reference}\"")))
            || asyncapi.contains(&format!("`{code}`"));
        assert!(is_told, "{code}");
    }
}

/// The sources of a crate without its tests, and without the catalogue itself.
fn sources(name: &str) -> String {
    let mut text = String::new();
    let mut todo = vec![format!("weltenwind-{name}/src")];
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in a workspace");
    while let Some(folder) = todo.pop() {
        for file in fs::read_dir(workspace.join(&folder)).expect("a folder") {
            let file = file.expect("a file");
            let path = format!("{folder}/{}", file.file_name().to_string_lossy());
            if file.path().is_dir() {
                todo.push(path);
                continue;
            }
            let is_source = file.path().extension().is_some_and(|ending| ending == "rs");
            // The documents name every code, and tests may name what nothing answers.
            let names_all = ["/code.rs", "/reference/", "/wire/refusal.rs", "conformance", "/tests.rs"]
                .iter()
                .any(|part| path.contains(part));
            if is_source && !names_all {
                let source = read(&path);
                text.push_str(source.split("#[cfg(test)]").next().expect("what stands before"));
            }
        }
    }
    text
}

#[test]
fn every_key_stands_in_the_operators_reference_with_its_default() {
    let store = Store::sqlite();
    let reference = read("docs/operating.md");
    let printed = store.run(&["config", "print", "--json"]);
    let settings: Value = serde_json::from_slice(&printed.stdout).expect("the configuration is JSON");

    let mut keys = BTreeSet::new();
    for setting in settings.as_array().expect("a list") {
        let key = setting["key"].as_str().expect("a key");
        let row = format!("| `{key}` | `");
        let row = reference.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{key} is missing"));
        // What the fixture sets has no default to be seen.
        if setting["from"] == "default" {
            assert!(row.starts_with(&format!("| `{key}` | `{}` |", setting["value"])), "{row}\nis not {setting}");
        }
        keys.insert(key.to_owned());
    }
    let (_, table) = reference.split_once("| key | default |").expect("the table of the keys");
    let table = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    let written: BTreeSet<String> = table.filter_map(|row| Some(quoted(row).next()?.to_owned())).collect();
    assert_eq!(written, keys);
}

#[tokio::test]
async fn every_metric_stands_in_the_operators_reference() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    server.general().await;
    let reference = read("docs/operating.md");
    let metrics = reqwest::get(format!("{}/metrics", server.operations)).await.expect("an answer");
    let metrics = metrics.text().await.expect("a text");

    let names: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();

    assert!(names.len() > 10, "{metrics}");
    for name in names {
        assert!(reference.contains(&format!("| `{name}` |")), "{name} is missing");
    }
}

/// Also those that nothing was counted in yet, which a server does not show.
#[test]
fn every_metric_that_a_crate_registers_stands_in_the_references() {
    let (reference, of_sockets) = (read("docs/operating.md"), read("weltenwind-ws/README.md"));
    let mut names = 0;

    for crate_name in ["http", "ws", "cli"] {
        let source = read(&format!("weltenwind-{crate_name}/src/metrics.rs"));
        let source = source.split("#[cfg(test)]").next().expect("what stands before");
        let names_in_source = source.split('"').filter(|text| text.starts_with("weltenwind_") && !text.contains('{'));
        for name in names_in_source {
            assert!(reference.contains(&format!("| `{name}` |")), "docs/operating.md lacks {name}");
            let is_there = [format!("`{name}`"), format!("`{name}{{")].iter().any(|text| of_sockets.contains(text));
            assert!(crate_name != "ws" || is_there, "weltenwind-ws/README.md lacks {name}");
            names += 1;
        }
    }

    assert!(names > 25, "{names}");
    for name in quoted(&of_sockets).filter(|text| text.starts_with("weltenwind_ws_")) {
        let name = name.split('{').next().expect("a name");
        assert!(reference.contains(&format!("| `{name}` |")), "there is no {name}");
    }
}

#[test]
fn every_file_that_the_documents_name_exists() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in a workspace");
    let places = ["weltenwind-", "migrations/", "scripts/", "docs/", "examples/", "benches/"];
    let documents =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "PROMISES.md", "docs/realtime.md", "docs/http.md"];
    let documents = documents.into_iter().chain(["docs/operating.md", "docs/security.md", "docs/benchmarks.md"]);
    let mut named = 0;

    for document in documents {
        let text = read(document);
        for path in text.lines().flat_map(quoted).filter_map(|text| text.split(' ').next()) {
            let is_pattern = path.contains(['*', '<', '{', '…', '$']);
            if path.contains('/') && !is_pattern && places.iter().any(|place| path.starts_with(place)) {
                assert!(workspace.join(path).exists(), "{document}: there is no {path}");
                named += 1;
            }
        }
    }

    assert!(named > 100, "{named}");
}

#[test]
fn every_test_that_a_promise_names_exists() {
    assert!(tests_named_in(&read("PROMISES.md")) > 50);
}

#[test]
fn every_test_that_the_security_reference_names_exists() {
    let reference = read("docs/security.md");
    let (_, chapters) = reference.split_once("## V1 ").expect("the first chapter");
    let (chapters, _) = chapters.split_once("## Exceptions").expect("the exceptions");

    // What is met by design is shown by no test.
    let shown: Vec<&str> = chapters.lines().filter(|row| !row.ends_with("| – |")).collect();

    assert!(tests_named_in(&shown.join("\n").replace("| shown by |", "| proof |")) > 50);
}

/// Counts the tests that stand in the last cell of each row, behind their files; each exists.
fn tests_named_in(promises: &str) -> usize {
    let mut named = 0;
    for row in promises.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let Some((_, proof)) = row.trim_end_matches(" |").rsplit_once(" | ") else { continue };
        let mut file = None;
        for name in quoted(proof) {
            if Path::new(name).extension().is_some() {
                file = Some((name, read(name)));
                continue;
            }
            let (path, source) = file.as_ref().unwrap_or_else(|| panic!("{name} has no file: {row}"));
            assert!(is_test(source, name) || is_case(path, source, name), "{path} has no test {name}");
            named += 1;
        }
        assert!(file.is_some() || proof == "proof", "a promise without proof: {row}");
    }
    named
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A function under an attribute that makes it a test.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    let is_marked = |at: usize| {
        let mut above = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    (0..lines.len()).any(|at| lines[at].contains(&function) && is_marked(at))
}

/// A case of a conformance suite, which the suite's macro lists too.
fn is_case(path: &str, source: &str, name: &str) -> bool {
    let Some((suite, _)) = path.split_once("/conformance") else { return false };
    let list = Path::new(suite).join("conformance/mod.rs");
    let list = read(list.to_str().expect("a path of letters"));
    source.contains(&format!("fn {name}(")) && list.lines().any(|line| line.trim() == name)
}
