//! The calls of the OpenAPI document, to be asked of a running host.

use serde_json::Value;

use super::fixture::{Server, Town, id};

pub(crate) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

pub(crate) async fn openapi(server: &Server) -> Value {
    server.get("openapi.json").await.expect(200).json()
}

/// Every operation with its path and method.
pub(crate) fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = METHODS.into_iter().filter_map(move |method| Some((method, item.get(method)?)));
            methods.map(move |(method, operation)| (path.as_str(), method, operation))
        })
        .collect()
}

/// Whether a call is refused without an `Idempotency-Key`.
#[allow(dead_code, reason = "each test program uses a part of it")]
pub(crate) fn demands_key(operation: &Value) -> bool {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.into_iter().any(|one| one["name"] == "Idempotency-Key" && one["required"] == true)
}

/// The parameters without which a call cannot be made.
#[allow(dead_code, reason = "each test program uses a part of it")]
pub(crate) fn query_of(path: &str) -> &'static str {
    match path {
        "/api/v1/channels" => "?scope=global",
        "/api/v1/access/check" => "?permission=chat.post&scope=global",
        _ => "",
    }
}

/// A path with things that exist.
#[allow(dead_code, reason = "each test program uses a part of it")]
pub(crate) fn filled(town: &Town, path: &str, message: &str) -> String {
    let thing = match path {
        path if path.contains("/channels/") => id(&town.lobby),
        path if path.contains("/messages/") => message,
        path if path.contains("/grants/") => id(&town.grant),
        path if path.contains("/keys/") => id(&town.key),
        path if path.contains("/announcements/") => id(&town.news),
        path if path.contains("/notifications/") => id(&town.told),
        _ => &town.mira.id,
    };
    path.replace("{world}", "mistral").replace("{userId}", &town.mira.id).replace("{id}", thing)
}
