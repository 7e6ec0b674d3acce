//! The OpenAPI document of `/api/v1`.

use serde::Serialize;
use serde_json::{Map, Value, json};
use weltenwind_core::wire::ProblemBody;

use super::{
    Calls,
    problems::{self, SHARED},
    samples, schemas, who,
};

/// In the order in which people read it.
#[derive(Serialize)]
pub(super) struct Document {
    openapi: &'static str,
    info: Value,
    servers: Value,
    tags: Value,
    paths: Value,
    components: Value,
}

/// Makes the document of calls.
pub(super) fn document(calls: Calls) -> Document {
    let keyed = calls.keyed().clone();
    let (paths, mut components) = calls.into_documentation();
    problem_schemas(&mut components.schemas);
    let mut document = json!({ "paths": paths, "components": components });
    for (path, item) in members(&mut document["paths"]) {
        for (method, operation) in members(item) {
            complete(path, method, method == "post" && keyed.contains(path), operation);
        }
    }
    let common = members(&mut document["components"]);
    common.insert("responses".to_owned(), SHARED.iter().map(problems::Shared::component).collect::<Map<_, _>>().into());
    common.insert("headers".to_owned(), headers());
    common.insert("securitySchemes".to_owned(), security_schemes());
    let examples = problems::examples(&document);
    members(&mut document["components"]).insert("examples".to_owned(), examples.into());
    schemas::tidy(&mut document);
    Document {
        openapi: "3.1.0",
        info: info(),
        servers: json!([{ "url": "/", "description": "This installation." }]),
        tags: tags(),
        paths: document["paths"].take(),
        components: document["components"].take(),
    }
}

fn problem_schemas(schemas: &mut std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Schema>>) {
    use utoipa::{PartialSchema as _, ToSchema as _};

    schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    let mut below = Vec::new();
    ProblemBody::schemas(&mut below);
    schemas.extend(below);
}

fn members(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("utoipa writes objects here")
}

/// What a call under an `Idempotency-Key` may be refused with besides its own codes and those that it shares with others.
const KEYED: [(&str, &str, &str); 3] = [
    ("400", "idempotency-key-invalid", "malformed-request"),
    ("409", "idempotency-in-progress", ""),
    ("422", "idempotency-key-reused", "validation-failed"),
];

/// Adds what holds for every call of a kind.
fn complete(path: &str, method: &str, is_keyed: bool, operation: &mut Value) {
    let has = |place: &str, name: &str| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.into_iter().any(|parameter| parameter["in"] == place && parameter["name"] == name)
    };
    let (is_read, is_list, changes_a_state) = (method == "get", has("query", "cursor"), has("header", "If-Match"));
    let has_body = operation.get("requestBody").is_some();
    // A body that may be absent is not null all the same.
    operation.pointer_mut("/requestBody/content/application~1json/schema").map(schemas::never_null);
    let knows_callers = operation["security"].as_array().into_iter().flatten().any(|way| way.get("bearer").is_some());
    // Whoever answers that a key is required requires one.
    let refusals = operation.pointer("/responses/400/description").and_then(Value::as_str).unwrap_or_default();
    let demands_key = refusals.contains("idempotency-key-required");
    for parameter in [is_read.then(if_none_match), is_keyed.then(|| idempotency_key(demands_key))].into_iter().flatten()
    {
        let parameters =
            operation.as_object_mut().expect("an operation").entry("parameters").or_insert_with(|| json!([]));
        parameters.as_array_mut().expect("a list").push(parameter);
    }
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    operation["x-permission"] = who::tag(&id);
    let responses = members(&mut operation["responses"]);
    if is_keyed {
        for (status, own, shared) in KEYED {
            let shared = if status != "422" || has_body { shared } else { "" };
            let known = responses.get(status).and_then(|response| response["description"].as_str()).unwrap_or(shared);
            let names: Vec<&str> = [known, own].into_iter().filter(|names| !names.is_empty()).collect();
            responses.insert(status.to_owned(), json!({ "description": names.join(", ") }));
        }
    }
    for (status, response) in responses.iter_mut() {
        if status.starts_with('2') {
            complete_success(&id, method, status, is_list, response);
            if is_keyed {
                response["headers"]["Idempotency-Replayed"] = header("Replayed");
            }
        } else {
            let names = response["description"].as_str().unwrap_or_default();
            *response = problems::response(&problems::codes(names, status));
        }
    }
    if is_read {
        responses.insert("304".to_owned(), not_modified());
    }
    if path.contains("{world}") {
        responses.insert("308".to_owned(), moved());
    }
    for shared in SHARED {
        let applies = match shared.status {
            "401" | "403" => knows_callers,
            "412" | "428" => changes_a_state,
            "408" | "413" | "415" | "422" => has_body,
            "429" => is_limited(&id),
            _ => true,
        };
        if applies {
            responses.entry(shared.status).or_insert_with(|| shared.reference());
        }
    }
}

/// Looking at one's limits is free; everything else is charged.
fn is_limited(id: &str) -> bool {
    id != "getMyLimits"
}

fn complete_success(id: &str, method: &str, status: &str, is_list: bool, response: &mut Value) {
    let body = response.pointer("/content/application~1json/schema/$ref").and_then(Value::as_str).unwrap_or_default();
    let body = body.rsplit('/').next().unwrap_or_default().to_owned();
    let is_resource = ["WorldBody", "ChannelBody", "UserBody", "AnnouncementBody"].contains(&body.as_str());
    let mut headers = json!({ "X-Request-Id": header("RequestId") });
    if is_limited(id) {
        problems::rate_limits(&mut headers);
    }
    if method == "get" || (is_resource && method != "put") {
        headers["ETag"] = header(if is_resource { "StrongTag" } else { "WeakTag" });
    }
    // A ticket has no address.
    if status == "201" && body != "TicketBody" {
        headers["Location"] = header("Location");
    }
    if is_list {
        headers["Link"] = header("Next");
    }
    if ["SessionBody", "TwoFactorConfirmedBody"].contains(&body.as_str()) || id == "signOut" {
        headers["Set-Cookie"] = header("RefreshCookie");
    }
    if let Some(example) = samples::answer(&body) {
        response["content"]["application/json"]["example"] = example;
    }
    response["headers"] = headers;
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn if_none_match() -> Value {
    json!({
        "name": "If-None-Match",
        "in": "header",
        "required": false,
        "description": "ETags that the caller has; if the present one is among them, the answer is 304 without a body.",
        "schema": { "type": "string" },
    })
}

fn idempotency_key(is_required: bool) -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": is_required,
        "description": "What the caller calls this request. For 24 hours a repeat under the same key has no second effect \
            and is answered as the first. Another body under it is refused.",
        "schema": { "type": "string", "pattern": "^[!-~]{16,128}$" },
        "example": "01998b2e-7c00-7a19-8f3e-5d2a9c1b0e0a",
    })
}

fn not_modified() -> Value {
    json!({
        "description": "The caller has the present state.",
        "headers": { "X-Request-Id": header("RequestId"), "ETag": header("Tag") },
    })
}

fn moved() -> Value {
    json!({
        "description": "The world has another slug now: repeat the call at `Location`.",
        "headers": { "X-Request-Id": header("RequestId"), "Location": header("Location") },
    })
}

fn headers() -> Value {
    let text = |description: &str, example: &str| json!({ "description": description, "schema": { "type": "string" }, "example": example });
    json!({
        "RequestId": text("Names the request in the server's log.", "01998b2e-7c00-7a19-8f3e-5d2a9c1b0e09"),
        "StrongTag": text("The resource's state; what If-Match takes.", "\"7\""),
        "WeakTag": text("The view's state, for If-None-Match.", "W/\"5f0c2a9be1d74c3c8e0f6a1b2d3c4e5f\""),
        "Tag": text("The present state.", "\"7\""),
        "Location": text("The path of what was made or moved.", "/api/v1/worlds/mistral"),
        "Next": text("Where the list goes on; absent at its end.", "</api/v1/worlds?cursor=eyJ2…>; rel=\"next\""),
        "RefreshCookie": text(
            "The refresh token, or its end, where `X-Weltenwind-Csrf` was sent.",
            "__Host-ww_refresh=wwr_9Qe1…; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure",
        ),
        "Replayed": {
            "description": "Stands only where this is the first answer again.",
            "schema": { "type": "string", "enum": ["true"] },
            "example": "true",
        },
        "Authenticate": text("How to sign in.", "Bearer"),
        "RateLimitPolicy": text(
            "The limits that the call was charged under: so many calls (`q`) in so many seconds (`w`).",
            "\"chat\";q=20;w=4",
        ),
        "RateLimit": text(
            "What is left of each (`r`), and after how many seconds all of it is there again (`t`).",
            "\"chat\";r=19;t=1",
        ),
        "RetryAfter": {
            "description": "Seconds after which the same call may pass.",
            "schema": { "type": "integer", "minimum": 1 },
            "example": 1,
        },
    })
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "The access token of a session, a JWT that lives for minutes and is replaced by `refreshSession`; \
                            or the API key of a game server, `wwk_…`, which may do what is on its list.",
        },
        "refreshCookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-ww_refresh",
            "description": "The refresh token of a page; `ww_refresh` on an installation without TLS. \
                            Goes with the header `X-Weltenwind-Csrf: 1` and an allowed Origin.",
        },
    })
}

fn info() -> Value {
    json!({
        "title": "Weltenwind",
        "summary": "A community for game worlds.",
        "description": "Accounts, worlds, channels, messages and announcements. Live messages come over the socket, which \
            `/api/v1/asyncapi.json` describes.\n\nMembers are camelCase, times RFC 3339 in UTC, ids UUIDs. Answers may gain \
            members within v1; bodies with unknown members are refused. Every refusal is a problem (RFC 9457) whose `code` \
            never changes its meaning. Lists go on at `nextCursor`. `x-permission` names who may make a call. What is below `/api/v1/users/me` answers at `/api/v1/me` too.",
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        "contact": { "name": "Weltenwind", "url": env!("CARGO_PKG_REPOSITORY") },
    })
}

fn tags() -> Value {
    let tags = [
        ("sign-in", "Opening, renewing and ending sessions."),
        ("accounts", "The own account, and what others see of one."),
        ("access", "Roles, what they allow, and the keys of game servers."),
        ("worlds", "Worlds, and who belongs to them."),
        ("channels", "Where messages are written: on the whole installation, in a world or in a group."),
        ("messages", "What is written, and what becomes of it."),
        ("announcements", "What whoever runs a place tells everybody, a world, or those who hold a role."),
        ("notifications", "What the own account is told, and what it has made of that."),
        ("realtime", "The way to the socket."),
        ("operations", "What admins see of work that is done behind requests."),
        ("documents", "This document and its sibling."),
    ];
    tags.map(|(name, description)| json!({ "name": name, "description": description })).as_slice().into()
}
