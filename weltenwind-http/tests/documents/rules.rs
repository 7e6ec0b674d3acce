//! What we ask of our own document, whatever a linter thinks.

use std::collections::HashSet;

use serde_json::Value;
use weltenwind_core::Code;

use super::{
    calls::{openapi, operations},
    fixture::Server,
    table::{CALLS, FREE, Repeat},
};

/// The policies of the contract.
const POLICIES: [&str; 11] =
    ["auth", "two-factor", "guest", "read", "write", "chat", "invite", "notification", "telemetry", "report", "admin"];

/// Whether the catalogue has a code: rules about it hold from then on, and need no other switch.
fn is_known(code: &str) -> bool {
    Code::ALL.iter().any(|known| known.as_str() == code)
}

fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect("the reference leads somewhere"),
        None => value,
    }
}

fn has_parameter(document: &Value, operation: &Value, place: &str, name: &str) -> bool {
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|value| resolved(document, value));
    parameters.into_iter().any(|parameter| parameter["in"] == place && parameter["name"] == name)
}

/// Calls `see` with every value of a document and where it stands.
fn walk(value: &Value, at: &str, see: &mut impl FnMut(&str, &Value)) {
    see(at, value);
    match value {
        Value::Object(members) => members.iter().for_each(|(name, below)| walk(below, &format!("{at}/{name}"), see)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, below)| walk(below, &format!("{at}/{n}"), see)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_component_is_used() {
    let server = Server::start().await;

    for name in ["openapi.json", "asyncapi.json"] {
        let document = server.get(name).await.json();
        let mut used = HashSet::new();
        walk(&document, "", &mut |at, value| {
            if let Some(reference) = value["$ref"].as_str() {
                assert!(document.pointer(&reference[1..]).is_some(), "{name}: {reference} at {at}");
                used.insert(reference.to_owned());
            }
            assert!(value.get("nullable").is_none(), "{name}: 3.1 has no nullable: {at}");
        });
        for kind in ["schemas", "responses", "headers", "examples", "messages"] {
            for component in
                document["components"][kind].as_object().into_iter().flatten().map(|(component, _)| component)
            {
                assert!(used.contains(&format!("#/components/{kind}/{component}")), "{name}: {component} is unused");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_has_a_name_a_sentence_a_tag_and_its_way_to_sign_in() {
    let document = openapi(&Server::start().await).await;
    let tags: HashSet<_> = document["tags"].as_array().unwrap().iter().filter_map(|tag| tag["name"].as_str()).collect();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let mut names = HashSet::new();

    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        let name = operation["operationId"].as_str().unwrap_or_default();
        assert!(names.insert(name), "{at}: {name} is taken");
        let is_camel_case =
            name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(char::is_alphanumeric);
        assert!(is_camel_case, "{at}: {name}");
        let summary = operation["summary"].as_str().unwrap_or_default();
        assert!(summary.ends_with('.') && !summary.contains('\n'), "{at}: {summary:?}");
        assert!(operation["description"].as_str().is_some_and(|text| text.ends_with('.')), "{at} needs a description");
        let tagged: Vec<_> = operation["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(matches!(tagged.as_slice(), [tag] if tags.contains(tag)), "{at}: {tagged:?}");
        let ways = operation["security"].as_array().unwrap_or_else(|| panic!("{at} does not say who may call it"));
        assert!(!ways.is_empty(), "{at}");
        for scheme in ways.iter().flat_map(|way| way.as_object().unwrap().keys()) {
            assert!(schemes.contains_key(scheme), "{at}: {scheme}");
        }
        let placeholders = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        for placeholder in placeholders {
            assert!(has_parameter(&document, operation, "path", placeholder), "{at}: {placeholder}");
        }
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem_and_every_success_says_what_it_is() {
    let document = openapi(&Server::start().await).await;

    for (path, method, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.contains_key("default"), "{method} {path}");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
        for (status, response) in responses {
            let (at, response) = (format!("{method} {path}: {status}"), resolved(&document, response));
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{at}");
            let content = response["content"].as_object();
            let media: Vec<_> = content.into_iter().flatten().map(|(media, _)| media.as_str()).collect();
            let expected: &[&str] = match status.as_str() {
                "204" | "304" | "308" => &[],
                "200" | "201" => &["application/json"],
                _ => &["application/problem+json"],
            };
            assert_eq!(media, expected, "{at}");
        }
    }
}

#[tokio::test]
async fn lists_reads_and_changes_keep_their_conventions() {
    let document = openapi(&Server::start().await).await;

    for (path, method, operation) in operations(&document) {
        let (at, responses) = (format!("{method} {path}"), operation["responses"].as_object().unwrap());
        let schema = responses.get("200").map(|answer| &answer["content"]["application/json"]["schema"]);
        let is_list = schema.is_some_and(|schema| !resolved(&document, schema)["properties"]["nextCursor"].is_null());
        // What is unread is one answer, however much it is.
        if is_list && !path.ends_with("/unread") {
            assert!(has_parameter(&document, operation, "query", "cursor"), "{at}");
            assert!(has_parameter(&document, operation, "query", "limit"), "{at}");
            assert!(!responses["200"]["headers"]["Link"].is_null(), "{at}");
        }
        if method == "get" {
            assert!(has_parameter(&document, operation, "header", "If-None-Match"), "{at}");
            assert!(responses.contains_key("304") && !responses["200"]["headers"]["ETag"].is_null(), "{at}");
        }
        let is_guarded = [
            "/api/v1/worlds/{world}",
            "/api/v1/channels/{id}",
            "/api/v1/users/me/preferences",
            "/api/v1/announcements/{id}",
        ]
        .contains(&path);
        let names_a_state = has_parameter(&document, operation, "header", "If-Match");
        assert_eq!(names_a_state, is_guarded && ["patch", "delete"].contains(&method), "{at}");
        assert_eq!(names_a_state, responses.contains_key("412") && responses.contains_key("428"), "{at}");
        if let Some(body) = operation.get("requestBody") {
            assert!(!body["content"]["application/json"]["example"].is_null(), "{at} has no example");
        }
    }
}

#[tokio::test]
async fn every_call_is_declared_with_its_limit_and_its_way_to_be_repeated() {
    let document = openapi(&Server::start().await).await;
    let operations = operations(&document);
    let name = |operation: &Value| operation["operationId"].as_str().unwrap_or_default().to_owned();

    let declared: HashSet<String> = CALLS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(declared.len(), CALLS.len(), "a call is declared twice");
    assert_eq!(declared, operations.iter().map(|(.., operation)| name(operation)).collect());
    for (path, method, operation) in operations {
        let at = format!("{method} {path}");
        let (_, policy, repeat) = *CALLS.iter().find(|(known, ..)| *known == name(operation)).unwrap();
        assert!(policy == FREE || POLICIES.contains(&policy), "{at}: {policy}");
        assert_eq!(repeat == Repeat::Read, method == "get", "{at}");
        let header = |name: &str| has_parameter(&document, operation, "header", name);
        assert_eq!(header("If-Match"), repeat == Repeat::IfMatch, "{at}");
        if is_known("idempotency-key-reused") || is_known("idempotency-in-progress") {
            assert_eq!(header("Idempotency-Key"), repeat == Repeat::Key, "{at}");
        }
        if policy == FREE {
            assert!(operation["responses"].get("429").is_none(), "{at} is never refused for its number");
        } else if is_known("rate-limited") {
            let refusal = resolved(&document, &operation["responses"]["429"]);
            let example = refusal.pointer("/content/application~1problem+json/examples/rate-limited");
            assert!(example.is_some(), "{at} does not say that it is limited");
            for header in ["Retry-After", "RateLimit", "RateLimit-Policy"] {
                assert!(refusal["headers"].get(header).is_some(), "{at}: 429 without {header}");
            }
        }
    }
}

#[tokio::test]
async fn requests_are_closed_and_answers_are_open() {
    let document = openapi(&Server::start().await).await;
    let mut seen = HashSet::new();

    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        let body = operation.pointer("/requestBody/content/application~1json/schema");
        let answers = operation["responses"].as_object().unwrap().values();
        let answers = answers.filter_map(|answer| answer.pointer("/content/application~1json/schema"));
        for (schema, is_request) in
            body.map(|body| (body, true)).into_iter().chain(answers.map(|schema| (schema, false)))
        {
            let mut todo = vec![schema];
            while let Some(schema) = todo.pop() {
                let schema = resolved(&document, schema);
                let below = ["oneOf", "anyOf"].into_iter().filter_map(|name| schema[name].as_array()).flatten();
                todo.extend(below);
                let Some(properties) = schema["properties"].as_object() else { continue };
                let is_closed = schema["additionalProperties"] == Value::Bool(false);
                assert_eq!(is_closed, is_request, "{at}: {schema}");
                todo.extend(properties.values().flat_map(|member| [member, &member["items"]]));
                seen.insert(is_request);
            }
        }
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn every_answer_with_members_has_an_example() {
    let document = openapi(&Server::start().await).await;

    for (path, method, operation) in operations(&document) {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let Some(content) = answer.pointer("/content/application~1json") else { continue };
            let schema = resolved(&document, &content["schema"]);
            let Some(properties) = schema["properties"].as_object() else { continue };
            let example = content["example"].as_object().unwrap_or_else(|| panic!("{method} {path}: {status}"));
            assert!(example.keys().all(|member| properties.contains_key(member)), "{method} {path}: {example:?}");
            for member in schema["required"].as_array().into_iter().flatten() {
                assert!(example.contains_key(member.as_str().unwrap()), "{method} {path}: {member}");
            }
        }
    }
}

#[tokio::test]
async fn the_document_says_under_which_version_and_licence_it_stands() {
    let document = openapi(&Server::start().await).await;

    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["license"]["identifier"], "MIT OR Apache-2.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn every_call_says_how_its_limits_are_told() {
    let document = openapi(&Server::start().await).await;

    for (path, method, operation) in operations(&document) {
        let is_limited = path != "/api/v1/users/me/limits";
        let refusal = operation["responses"].get("429").map(|response| resolved(&document, response));
        assert_eq!(refusal.is_some(), is_limited, "{method} {path}");
        if let Some(refusal) = refusal {
            assert!(!refusal["headers"]["Retry-After"].is_null(), "{method} {path}");
            let examples = &refusal["content"]["application/problem+json"]["examples"];
            assert!(!examples["rate-limited"].is_null(), "{method} {path}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let told = is_limited && (status.starts_with('2') || status == "429");
            let headers = &resolved(&document, response)["headers"];
            for name in ["RateLimit-Policy", "RateLimit"] {
                assert_eq!(!headers[name].is_null(), told, "{method} {path} {status}: {name}");
            }
        }
    }
}
