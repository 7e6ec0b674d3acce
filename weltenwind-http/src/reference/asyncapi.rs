//! The `AsyncAPI` document of `/realtime/v1`, made of the records that go over it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use weltenwind_core::{
    Code,
    wire::{ClientRecord, SUBPROTOCOL, ServerRecord, close},
};

use super::{records, schemas};

/// In the order in which people read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    asyncapi: &'static str,
    info: Value,
    default_content_type: &'static str,
    servers: Value,
    channels: Value,
    operations: Value,
    components: Value,
}

/// What the server answers to each record of a client.
const REPLIES: [(&str, &[&str]); 5] = [
    ("join", &["joined", "err"]),
    ("leave", &["left", "err"]),
    ("pub", &["ok", "err"]),
    ("refresh", &["ok", "err"]),
    ("pong", &[]),
];

/// Why there is no socket: a problem (RFC 9457) before the upgrade.
const REFUSALS: &[Code] = &[
    Code::Malformed,
    Code::Unauthenticated,
    Code::TokenInvalid,
    Code::TokenExpired,
    Code::SessionEnded,
    Code::TicketInvalid,
    Code::OriginNotAllowed,
    Code::MethodNotAllowed,
    Code::UpgradeRequired,
    Code::TooManyConnections,
    Code::Unavailable,
    Code::Internal,
];

/// What `err` and `left` tell.
const TOLD: &[Code] = &[
    Code::RecordUnreadable,
    Code::ValidationFailed,
    Code::CursorInvalid,
    Code::ReplyNotFound,
    Code::Unauthenticated,
    Code::TokenInvalid,
    Code::TokenExpired,
    Code::SessionEnded,
    Code::PermissionDenied,
    Code::GuestsMayNotPost,
    Code::RoomNotFound,
    Code::ChannelNotFound,
    Code::ClientIdReused,
    Code::AlreadyJoined,
    Code::NotJoined,
    Code::SlowMode,
    Code::TooManyRooms,
    Code::Overloaded,
    Code::Unavailable,
    Code::Internal,
];

/// What the server says by itself.
const NEWS: [&str; 11] =
    ["welcome", "joined", "msg", "update", "live", "gap", "left", "err", "refresh-needed", "ping", "bye"];

/// Makes the document.
pub(super) fn document() -> Document {
    let mut messages = messages::<ClientRecord>(&records::of_client(), true);
    let spoken: Vec<String> = messages.keys().cloned().collect();
    messages.extend(self::messages::<ServerRecord>(&records::of_server(), false));
    let mut document = json!({ "components": { "messages": messages, "schemas": shared_schemas() } });
    schemas::tidy(&mut document);
    describe_references(&mut document);
    let components = document["components"].take();
    let references: Map<String, Value> = messages
        .keys()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    let mut components = components;
    components["securitySchemes"] = security_schemes();
    Document {
        asyncapi: "3.0.0",
        info: info(),
        default_content_type: "application/json",
        servers: json!({ "installation": {
            "host": "{host}",
            "protocol": "wss",
            "description": "This installation; `ws` without TLS.",
            "variables": { "host": { "default": "wind.example", "description": "Where people reach it." } },
            "security": [{ "$ref": "#/components/securitySchemes/bearer" }, { "$ref": "#/components/securitySchemes/ticket" }],
        } }),
        channels: json!({ "socket": {
            "address": "/realtime/v1",
            "title": "The socket",
            "description": channel_description(),
            "messages": references,
            "bindings": { "ws": {
                "method": "GET",
                "headers": {
                    "type": "object",
                    "required": ["Sec-WebSocket-Protocol"],
                    "properties": { "Sec-WebSocket-Protocol": {
                        "type": "string",
                        "description": format!("`{SUBPROTOCOL}`, and `ticket.<value>` where a ticket signs in."),
                    } },
                },
                "bindingVersion": "0.1.0",
            } },
        } }),
        operations: operations(&spoken),
        components,
    }
}

/// One message for each kind of record, with its schema and an example.
fn messages<R: ToSchema + Serialize>(samples: &[R], is_strict: bool) -> BTreeMap<String, Value> {
    let schema = serde_json::to_value(R::schema()).expect("a schema is plain data");
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let samples: Vec<Value> =
        samples.iter().map(|sample| serde_json::to_value(sample).expect("a record is plain data")).collect();
    let message = |mut payload: Value| {
        camel_case(&mut payload);
        if is_strict {
            payload["additionalProperties"] = false.into();
        }
        let name = payload["properties"]["t"]["enum"][0].as_str().unwrap_or_default().to_owned();
        let summary = payload.as_object_mut().and_then(|members| members.remove("description")).unwrap_or_default();
        let examples: Vec<Value> =
            samples.iter().filter(|sample| sample["t"] == *name).map(|sample| json!({ "payload": sample })).collect();
        (
            name.clone(),
            json!({ "name": name, "title": name, "summary": summary, "payload": payload, "examples": examples }),
        )
    };
    variants.into_iter().map(message).collect()
}

/// `AsyncAPI` 3 takes what stands beside a `$ref` for absent, so a described reference becomes one of a list.
fn describe_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.len() > 1
                && let Some(reference) = members.remove("$ref")
            {
                members.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
            members.values_mut().for_each(describe_references);
        }
        Value::Array(items) => items.iter_mut().for_each(describe_references),
        _ => {}
    }
}

/// Names members as they are on the wire: utoipa knows nothing of serde's `rename_all_fields`.
fn camel_case(payload: &mut Value) {
    fn camel(name: &str) -> String {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| format!("{name}{}{}", word[..1].to_ascii_uppercase(), &word[1..]))
    }

    if let Some(Value::Object(properties)) = payload.get_mut("properties") {
        *properties = std::mem::take(properties).into_iter().map(|(name, schema)| (camel(&name), schema)).collect();
    }
    for name in payload["required"].as_array_mut().into_iter().flatten() {
        *name = camel(name.as_str().unwrap_or_default()).into();
    }
}

fn shared_schemas() -> Map<String, Value> {
    let mut schemas = Vec::new();
    ClientRecord::schemas(&mut schemas);
    ServerRecord::schemas(&mut schemas);
    let plain = |schema| serde_json::to_value(schema).expect("a schema is plain data");
    schemas.into_iter().map(|(name, schema)| (name, plain(schema))).collect()
}

fn operations(spoken: &[String]) -> Value {
    let channel = json!({ "$ref": "#/channels/socket" });
    let refer = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({ "$ref": format!("#/channels/socket/messages/{name}") })).collect()
    };
    let mut operations = Map::new();
    for name in spoken {
        let replies = REPLIES.iter().find(|(known, _)| known == name).map(|(_, replies)| *replies);
        let replies = replies.expect("every record of a client is in the table of replies");
        let mut operation = json!({ "action": "receive", "channel": channel, "messages": refer(&[name]) });
        operation["title"] = format!("A client says `{name}`").into();
        operation["summary"] = match replies {
            [] => "Not answered.".into(),
            _ => "Answered in the order of the requests; the `id` comes back.".into(),
        };
        let replies_told: Vec<String> = replies.iter().map(|reply| format!("`{reply}`")).collect();
        operation["description"] = match replies_told.as_slice() {
            [] => "A sign of life, as any other record is.".into(),
            told => format!("Answered by {}.", told.join(" or ")).into(),
        };
        if !replies.is_empty() {
            operation["reply"] = json!({ "channel": channel, "messages": refer(replies) });
        }
        operations.insert(name.clone(), operation);
    }
    operations.insert(
        "tell".to_owned(),
        json!({
            "action": "send",
            "channel": channel,
            "title": "The server says something by itself",
            "summary": "What happens in joined rooms, and what concerns the connection.",
            "description": "No answer is expected, except to `ping`: any record will do.",
            "messages": refer(&NEWS),
        }),
    );
    operations.into()
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token in the header `Authorization`; `Origin` may be absent, a wrong one is refused.",
        },
        "ticket": {
            "type": "httpApiKey",
            "in": "header",
            "name": "Sec-WebSocket-Protocol",
            "description": "A ticket of `POST /api/v1/realtime/tickets` as a second subprotocol, `ticket.<value>`: once, within \
                            half a minute, and from the origin that it was issued to.",
        },
    })
}

fn info() -> Value {
    json!({
        "title": "Weltenwind, live",
        "version": env!("CARGO_PKG_VERSION"),
        "description": format!(
            "Rooms, live messages and replay over one WebSocket, subprotocol `{SUBPROTOCOL}`. Sign-in, history and everything \
             else is the HTTP API's, which `/api/v1/openapi.json` describes; a message has the same shape in both.\n\nWhoever \
             is refused before the upgrade gets a problem (RFC 9457), with the codes of the HTTP API."
        ),
        "license": { "name": env!("CARGO_PKG_LICENSE"), "url": concat!(env!("CARGO_PKG_REPOSITORY"), "#licence") },
        "contact": { "name": "Weltenwind", "url": env!("CARGO_PKG_REPOSITORY") },
        "tags": [{ "name": "realtime", "description": "The socket." }],
    })
}

fn channel_description() -> String {
    let codes = [
        (close::DRAIN, "the server drains", "come back within the span of `bye`, with cursors"),
        (close::SLOW, "the client does not read", "come back, with cursors"),
        (close::NO_PONG, "no sign of life after a ping", "come back, with cursors"),
        (
            close::OVERLOADED,
            "the server is overloaded, or its store is away",
            "come back within the span of `bye`, with cursors",
        ),
        (close::EXPIRED, "the access token has expired", "come back with a newer one"),
        (close::DEVICE_REVOKED, "the device was signed out", "stay away until somebody signs in"),
        (close::SESSION_ENDED, "the session has ended", "stay away until somebody signs in"),
        (close::PROTOCOL_VIOLATION, "frames or records that break the protocol", "stay away"),
    ];
    let codes: Vec<String> = codes.iter().map(|(code, why, then)| format!("| {code} | {why} | {then} |")).collect();
    format!(
        "A frame is text and holds records, one per line, in both directions. A record is a flat JSON object with its type in \
         `t`; the `id` of a request is a number of the client's choice. Unknown types and members are refused with `err`; the \
         twentieth unreadable record within a minute ends the socket. Clients ignore what they do not know.\n\n\
         **Rooms.** `channel:<id>` carries a channel's messages in one order, the same for everybody, each once; `cursor` is \
         the position after a record, and a `since` for the next join, here or on another node. `global`, `world:<id>` and \
         one's own `user:<id>`, which is joined by itself, carry nothing yet; `group:<id>` does not exist yet.\n\n\
         **Replay.** `join` is answered `joined`, then `gap` if something was missed and is not replayed, then what changed \
         since the position, each message in its newest state, then `live`. A loss is never silent.\n\n\
         **Life.** A client that is silent for as long as `welcome` says is asked with `ping`; any record will do as an \
         answer. `refresh-needed` comes when the access token has lived for most of its time.\n\n\
         **Close codes.** `bye` precedes a planned close.\n\n| code | why | what to do |\n| --- | --- | --- |\n{}\n\n\
         **Refusals before the upgrade.** A problem, with one of these codes.\n\n{}\n\n\
         **Codes of `err` and `left`.** Of the same catalogue.\n\n{}",
        codes.join("\n"),
        table(REFUSALS, true),
        table(TOLD, false)
    )
}

/// Codes as a table.
fn table(codes: &[Code], with_status: bool) -> String {
    let (head, rule) = if with_status {
        ("| status | code | what |", "| --- | --- | --- |")
    } else {
        ("| code | what |", "| --- | --- |")
    };
    let row = |code: &Code| {
        let status = if with_status { format!("| {} ", code.status()) } else { String::new() };
        format!("{status}| `{code}` | {} |", code.title())
    };
    let rows: Vec<String> = codes.iter().map(row).collect();
    format!("{head}\n{rule}\n{}", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds examples against schemas: the names of members, which of them must be there, and the way back.
    fn agree<R: ToSchema + Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(samples: &[R]) {
        for (name, message) in messages::<R>(samples, false) {
            let [example] = message["examples"].as_array().unwrap().as_slice() else {
                panic!("{name} needs one example")
            };
            let (payload, members) = (&message["payload"], example["payload"].as_object().unwrap());
            for member in members.keys() {
                assert!(payload["properties"].get(member).is_some(), "{name}: {member} has no schema");
            }
            for required in payload["required"].as_array().unwrap() {
                assert!(members.contains_key(required.as_str().unwrap()), "{name}: {required} is not always there");
            }
            assert!(payload["properties"].as_object().unwrap().keys().all(|name| !name.contains('_')), "{payload}");
        }
        for sample in samples {
            let back: R = serde_json::from_value(serde_json::to_value(sample).unwrap()).unwrap();
            assert_eq!(back, *sample);
        }
    }

    #[test]
    fn every_record_has_an_example_that_fits_its_schema_and_reads_back() {
        agree(&records::of_client());
        agree(&records::of_server());
        assert_eq!(messages::<ClientRecord>(&records::of_client(), true).len(), records::of_client().len());
        assert_eq!(messages::<ServerRecord>(&records::of_server(), false).len(), records::of_server().len());
    }

    #[test]
    fn what_the_server_says_is_news_or_a_reply() {
        let told: Vec<&str> = REPLIES.iter().flat_map(|(_, replies)| *replies).chain(&NEWS).copied().collect();

        for name in messages::<ServerRecord>(&[], false).keys() {
            assert!(told.contains(&name.as_str()), "{name}");
        }
    }
}
