//! The `AsyncAPI` document of `/realtime/v1`, made of the records that go over it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use weltenwind_core::{
    Code,
    wire::{ClientRecord, SUBPROTOCOL, ServerRecord, Transcript, TranscriptLine, close, refusal},
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
const REPLIES: [(&str, &[&str]); 8] = [
    ("join", &["joined", "err"]),
    ("leave", &["left", "err"]),
    ("pub", &["ok", "err"]),
    ("presence", &["ok", "err"]),
    ("typing", &["ok", "err"]),
    ("foreground", &["ok", "err"]),
    ("refresh", &["ok", "err"]),
    ("pong", &[]),
];

/// What the server says by itself.
const NEWS: [&str; 14] = [
    "welcome",
    "joined",
    "msg",
    "update",
    "live",
    "gap",
    "told-presence",
    "told-typing",
    "notice",
    "left",
    "err",
    "refresh-needed",
    "ping",
    "bye",
];

/// Makes the document.
pub(super) fn document() -> Document {
    let transcripts = records::transcripts();
    let mut messages = of_client(&transcripts);
    let spoken: Vec<String> = messages.keys().cloned().collect();
    messages.extend(of_server(&transcripts));
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
            "x-transcripts": transcripts.iter().map(conversation).collect::<Vec<_>>(),
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

/// The messages of a client.
fn of_client(transcripts: &[Transcript]) -> BTreeMap<String, Value> {
    let samples = lines(transcripts).filter_map(|(title, line)| match line {
        TranscriptLine::Client(record) => Some((title, record)),
        _ => None,
    });
    messages::<ClientRecord>(&samples.collect::<Vec<_>>(), true)
}

/// The messages of the server, those that are called as one of a client's is under another name.
fn of_server(transcripts: &[Transcript]) -> BTreeMap<String, Value> {
    let samples = lines(transcripts).filter_map(|(title, line)| match line {
        TranscriptLine::Server(record) => Some((title, record)),
        _ => None,
    });
    let messages = messages::<ServerRecord>(&samples.collect::<Vec<_>>(), false);
    let named = |(name, message): (String, Value)| {
        let is_spoken = REPLIES.iter().any(|(spoken, _)| *spoken == name);
        (if is_spoken { format!("told-{name}") } else { name }, message)
    };
    messages.into_iter().map(named).collect()
}

/// Each line with the title above it.
fn lines(transcripts: &[Transcript]) -> impl Iterator<Item = (&str, &TranscriptLine)> {
    transcripts.iter().flat_map(|transcript| transcript.lines.iter().map(move |line| (transcript.title.as_str(), line)))
}

/// A conversation as the document shows it.
fn conversation(transcript: &Transcript) -> Value {
    let line = |line: &TranscriptLine| match line {
        TranscriptLine::Client(record) => json!({ "client": record }),
        TranscriptLine::Server(record) => json!({ "server": record }),
        TranscriptLine::Meanwhile(what) => json!({ "meanwhile": what }),
    };
    json!({ "title": transcript.title, "lines": transcript.lines.iter().map(line).collect::<Vec<_>>() })
}

/// One message for each kind of record, with its schema and an example of each form that it has.
fn messages<R: ToSchema>(samples: &[(&str, &Value)], is_strict: bool) -> BTreeMap<String, Value> {
    let schema = serde_json::to_value(R::schema()).expect("a schema is plain data");
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let message = |mut payload: Value| {
        camel_case(&mut payload);
        if is_strict {
            payload["additionalProperties"] = false.into();
        }
        let name = payload["properties"]["t"]["enum"][0].as_str().unwrap_or_default().to_owned();
        let summary = payload.as_object_mut().and_then(|members| members.remove("description")).unwrap_or_default();
        let mut examples: Vec<Value> = Vec::new();
        for (title, sample) in samples.iter().filter(|(_, sample)| sample["t"] == *name) {
            let is_known = |example: &Value| members_of(&example["payload"]).eq(members_of(sample));
            if !examples.iter().any(is_known) {
                examples.push(json!({ "summary": title, "payload": sample }));
            }
        }
        (
            name.clone(),
            json!({ "name": name, "title": name, "summary": summary, "payload": payload, "examples": examples }),
        )
    };
    variants.into_iter().map(message).collect()
}

fn members_of(record: &Value) -> impl Iterator<Item = &String> {
    record.as_object().into_iter().flat_map(Map::keys)
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
        (
            close::SCOPE_CHANGED,
            "the account has no more right to the scope that the access token is narrowed to",
            "come back with another token, if there is one",
        ),
        (close::DEVICE_REVOKED, "the device was signed out", "stay away until somebody signs in"),
        (
            close::SESSION_ENDED,
            "the session has ended, the account is no more, or the API key was deleted",
            "stay away until somebody signs in",
        ),
        (close::BANNED, "the account is banned from everything", "stay away"),
        (close::PROTOCOL_VIOLATION, "frames or records that break the protocol", "stay away"),
    ];
    let codes: Vec<String> = codes.iter().map(|(code, why, then)| format!("| {code} | {why} | {then} |")).collect();
    format!(
        "A frame is text and holds records, one per line, in both directions. A record is a flat JSON object with its type in \
         `t`; the `id` of a request is a number of the client's choice. Unknown types and members are refused with `err`; the \
         twentieth unreadable record within a minute ends the socket. Clients ignore what they do not know.\n\n\
         **Rooms.** `channel:<id>` carries a channel's messages in one order, the same for everybody, each once; `cursor` is \
         the position after a record, and a `since` for the next join, here or on another node. `global` and `world:<id>` tell \
         who is in them. One's own `user:<id>`, which is joined by itself, carries `notice`; `group:<id>` does not exist \
         yet.\n\n\
         **Presence.** `joined` has everybody who is in the room, by account, and a `version`; each `presence` has one more. \
         What is not above the known one is known already. Who was too slow for some changes is told everybody anew: with \
         `whole`, `join` takes the place of all that was known, and versions count on from there. Where there are more members \
         than are listed, only `count` is told. Whoever comes back within five seconds never left.\n\n\
         **Replay.** `join` is answered `joined`, then `gap` if something was missed and is not replayed, then what changed \
         since the position, each message in its newest state, then `live`. A loss is never silent.\n\n\
         **Life.** A client that is silent for as long as `welcome` says is asked with `ping`; any record will do as an \
         answer. `refresh-needed` comes when the access token has lived for most of its time.\n\n\
         **Close codes.** `bye` precedes a planned close.\n\n| code | why | what to do |\n| --- | --- | --- |\n{}\n\n\
         **Refusals before the upgrade.** A problem, with one of these codes.\n\n{}\n\n\
         **Codes of `err` and `left`.** Of the same catalogue.\n\n{}",
        codes.join("\n"),
        table(refusal::OF_HANDSHAKES, true),
        table(refusal::OF_RECORDS, false)
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

    /// Holds examples against schemas: the names of members, and which of them must be there.
    fn agree(messages: &BTreeMap<String, Value>) {
        for (name, message) in messages {
            let examples = message["examples"].as_array().unwrap();
            assert!(!examples.is_empty(), "{name} is in no transcript");
            let payload = &message["payload"];
            for members in examples.iter().map(|example| example["payload"].as_object().unwrap()) {
                for member in members.keys() {
                    assert!(payload["properties"].get(member).is_some(), "{name}: {member} has no schema");
                }
                for required in payload["required"].as_array().unwrap() {
                    assert!(members.contains_key(required.as_str().unwrap()), "{name}: {required} is not always there");
                }
            }
            assert!(payload["properties"].as_object().unwrap().keys().all(|name| !name.contains('_')), "{payload}");
        }
    }

    #[test]
    fn every_kind_of_record_is_in_a_transcript_and_fits_its_schema() {
        let transcripts = records::transcripts();

        agree(&of_client(&transcripts));
        agree(&of_server(&transcripts));
    }

    #[test]
    fn every_record_of_a_transcript_reads_as_one_and_is_written_as_it_stands() {
        for (title, line) in lines(&records::transcripts()) {
            let (record, again) = match line {
                TranscriptLine::Client(record) => {
                    let read: ClientRecord = serde_json::from_value(record.clone()).unwrap();
                    (record, serde_json::to_value(read).unwrap())
                }
                TranscriptLine::Server(record) => {
                    let read: ServerRecord = serde_json::from_value(record.clone()).unwrap();
                    (record, serde_json::to_value(read).unwrap())
                }
                TranscriptLine::Meanwhile(_) => continue,
            };
            assert_eq!(*record, again, "{title}");
        }
    }

    #[test]
    fn what_the_server_says_is_news_or_a_reply() {
        let told: Vec<&str> = REPLIES.iter().flat_map(|(_, replies)| *replies).chain(&NEWS).copied().collect();

        for name in of_server(&[]).keys() {
            assert!(told.contains(&name.as_str()), "{name}");
        }
    }
}
