//! What counts as breaking and what does not: a change for each rule, forth and back.

use serde_json::{Value, json};

use super::compare::breaks;

/// A document with one of everything.
fn document() -> Value {
    json!({
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Draft": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name"],
                    "properties": {
                        "name": { "type": "string", "minLength": 2, "maxLength": 64, "pattern": "^[a-z]+$" },
                        "kind": { "type": "string", "enum": ["open", "closed"], "default": "open" },
                        "days": { "type": ["integer", "null"], "minimum": 1, "maximum": 30 },
                        "tags": { "type": "array", "items": { "type": "string", "maxLength": 8 }, "maxItems": 5 },
                        "inner": { "oneOf": [{ "$ref": "#/components/schemas/Draft" }, { "type": "null" }] }
                    }
                },
                "Thing": {
                    "type": "object",
                    "required": ["id", "name"],
                    "properties": {
                        "id": { "type": "string", "format": "uuid" },
                        "name": { "type": "string", "maxLength": 64 },
                        "kind": { "type": "string", "enum": ["open", "closed"] },
                        "note": { "type": "string" },
                        "parent": { "$ref": "#/components/schemas/Thing" }
                    }
                }
            }
        },
        "paths": {
            "/things": {
                "get": {
                    "operationId": "listThings",
                    "security": [{}, { "bearer": [] }],
                    "parameters": [
                        { "name": "limit", "in": "query", "required": false, "schema": { "type": "integer", "maximum": 200, "default": 50 } }
                    ],
                    "responses": {
                        "200": {
                            "headers": { "ETag": { "schema": { "type": "string" } } },
                            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } }
                        },
                        "404": { "content": { "application/problem+json": { "schema": { "type": "object" } } } }
                    }
                },
                "post": {
                    "operationId": "makeThing",
                    "security": [{ "bearer": [] }],
                    "requestBody": {
                        "required": false,
                        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Draft" } } }
                    },
                    "responses": { "201": {} }
                }
            }
        }
    })
}

const GET: &str = "/paths/~1things/get";
const POST: &str = "/paths/~1things/post";
const SENT: &str = "/components/schemas/Draft/properties";
const ANSWERED: &str = "/components/schemas/Thing/properties";

/// A change at a place, and what it breaks forth and back; `""` is nothing.
struct Case {
    at: String,
    member: &'static str,
    /// Null takes the member away.
    to: Value,
    forth: &'static str,
    back: &'static str,
}

fn case(at: &str, member: &'static str, to: Value, forth: &'static str, back: &'static str) -> Case {
    Case { at: at.to_owned(), member, to, forth, back }
}

fn cases() -> Vec<Case> {
    [calls(), parameters(), bodies(), sent_members(), answers(), answered_members()].into_iter().flatten().collect()
}

fn calls() -> Vec<Case> {
    vec![
        case("/paths", "/more", json!({ "get": { "operationId": "more", "responses": {} } }), "", "GET /more: is gone"),
        case("/paths/~1things", "post", Value::Null, "POST /things: is gone", ""),
        case(GET, "operationId", json!("allThings"), "GET /things: has another name", "GET /things: has another name"),
        case(GET, "summary", json!("Lists things."), "", ""),
        case(GET, "security", json!([{ "bearer": [] }]), "can no longer be called as nobody", ""),
        case(POST, "security", json!([{ "bearer": [] }, { "cookie": [] }]), "", "can no longer be called as cookie"),
        case(POST, "security", json!([]), "", "asks for a sign-in"),
        case(
            "/components/securitySchemes/bearer",
            "scheme",
            json!("basic"),
            "sign-in bearer: is another one",
            "sign-in bearer",
        ),
    ]
}

fn parameters() -> Vec<Case> {
    let thing = json!({ "name": "q", "in": "query", "required": false, "schema": { "type": "string" } });
    let limit = json!({ "name": "limit", "in": "query", "required": false, "schema": { "type": "integer", "maximum": 200, "default": 50 } });
    let required = |parameter: &Value| {
        let mut parameter = parameter.clone();
        parameter["required"] = true.into();
        parameter
    };
    let mut elsewhere = limit.clone();
    elsewhere["in"] = "header".into();
    vec![
        case(GET, "parameters", json!([]), "query parameter limit: is gone", ""),
        case(GET, "parameters", json!([limit, thing]), "", "query parameter q: is gone"),
        case(
            GET,
            "parameters",
            json!([limit, required(&thing)]),
            "query parameter q: is new and required",
            "query parameter q: is gone",
        ),
        case(GET, "parameters", json!([required(&limit)]), "query parameter limit: is required now", ""),
        case(
            GET,
            "parameters",
            json!([elsewhere]),
            "query parameter limit: is gone",
            "header parameter limit: is gone",
        ),
        case(
            &format!("{GET}/parameters/0/schema"),
            "default",
            json!(20),
            "limit: means something else if absent",
            "if absent",
        ),
        case(&format!("{GET}/parameters/0/schema"), "maximum", json!(100), "limit: maximum is tighter", ""),
        case(
            &format!("{GET}/parameters/0/schema"),
            "type",
            json!("string"),
            "limit: no longer takes integer",
            "no longer takes string",
        ),
        case(&format!("{GET}/parameters/0/schema"), "type", json!("number"), "", "limit: no longer takes number"),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        case(POST, "requestBody", Value::Null, "body: is no longer taken", ""),
        case(&format!("{POST}/requestBody"), "required", json!(true), "body: is required now", ""),
        case(
            GET,
            "requestBody",
            json!({ "required": true, "content": {} }),
            "body: is new and required",
            "body: is no longer taken",
        ),
        case(&format!("{POST}/requestBody/content"), "application/json", Value::Null, "application/json is gone", ""),
    ]
}

fn sent_members() -> Vec<Case> {
    let sent = |name: &str| format!("{SENT}/{name}");
    vec![
        case(SENT, "colour", json!({ "type": "string" }), "", "body/colour: is gone"),
        case(SENT, "kind", Value::Null, "body/kind: is gone", ""),
        case("/components/schemas/Draft", "required", json!(["name", "kind"]), "body/kind: is required now", ""),
        case("/components/schemas/Draft", "additionalProperties", json!(true), "", "body: refuses other members now"),
        case(&sent("kind"), "enum", json!(["open"]), "body/kind: no longer takes \"closed\"", ""),
        case(&sent("kind"), "enum", Value::Null, "", "body/kind: is one of a list on one side alone"),
        case(&sent("kind"), "default", json!("closed"), "body/kind: means something else if absent", "if absent"),
        case(&sent("name"), "minLength", json!(3), "body/name: minLength is tighter", ""),
        case(&sent("name"), "maxLength", json!(32), "body/name: maxLength is tighter", ""),
        case(&sent("name"), "maxLength", Value::Null, "", "body/name: maxLength is tighter"),
        case(
            &sent("name"),
            "pattern",
            json!("^[a-y]+$"),
            "body/name: pattern is another one",
            "pattern is another one",
        ),
        case(&sent("name"), "pattern", Value::Null, "", "body/name: pattern is another one"),
        case(&sent("name"), "format", json!("email"), "body/name: format is another one", ""),
        case(&sent("days"), "type", json!("integer"), "body/days: no longer takes null", ""),
        case(&sent("days"), "minimum", json!(2), "body/days: minimum is tighter", ""),
        case(&sent("days"), "maximum", json!(29), "body/days: maximum is tighter", ""),
        case(&sent("tags"), "maxItems", json!(4), "body/tags: maxItems is tighter", ""),
        case(&sent("tags"), "uniqueItems", json!(true), "body/tags: items must be unique", ""),
        case(&sent("tags/items"), "maxLength", json!(7), "body/tags[]: maxLength is tighter", ""),
        case(
            &sent("inner"),
            "oneOf",
            json!([{ "$ref": "#/components/schemas/Draft" }]),
            "body/inner: no longer takes null",
            "",
        ),
    ]
}

fn answers() -> Vec<Case> {
    vec![
        case(&format!("{GET}/responses"), "404", Value::Null, "404: is gone", ""),
        case(&format!("{GET}/responses/200/headers"), "ETag", Value::Null, "200: header ETag: is gone", ""),
        case(
            &format!("{GET}/responses/200/headers"),
            "Link",
            json!({ "schema": { "type": "string" } }),
            "",
            "header Link: is gone",
        ),
        case(
            &format!("{GET}/responses/200/headers/ETag/schema"),
            "type",
            json!("integer"),
            "header ETag: may be integer now",
            "may be string now",
        ),
        case(
            &format!("{GET}/responses/200/content"),
            "application/json",
            Value::Null,
            "200: application/json is gone",
            "",
        ),
    ]
}

fn answered_members() -> Vec<Case> {
    let answered = |name: &str| format!("{ANSWERED}/{name}");
    vec![
        case(ANSWERED, "colour", json!({ "type": "string" }), "", "200/colour: is gone"),
        case(ANSWERED, "note", Value::Null, "200/note: is gone", ""),
        case(ANSWERED, "id", Value::Null, "200/id: is gone", ""),
        case("/components/schemas/Thing", "required", json!(["id"]), "200/name: is no longer always there", ""),
        case(&answered("kind"), "enum", json!(["open", "closed", "ajar"]), "", ""),
        case(&answered("kind"), "enum", Value::Null, "200/kind: is one of a list on one side alone", ""),
        case(&answered("name"), "type", json!(["string", "null"]), "200/name: may be null now", ""),
        case(&answered("name"), "maxLength", json!(128), "200/name: maxLength is wider", ""),
        case(&answered("id"), "format", Value::Null, "200/id: format is another one", ""),
        case(&answered("note"), "default", json!("none"), "", ""),
        case(
            &answered("parent"),
            "$ref",
            json!("#/components/schemas/Draft"),
            "200/parent/id: is gone",
            "200/parent/days: is gone",
        ),
    ]
}

fn changed(case: &Case) -> Value {
    let mut document = document();
    let place = document.pointer_mut(&case.at).unwrap_or_else(|| panic!("{} is a place", case.at));
    let place = place.as_object_mut().expect("a place has members");
    if case.to.is_null() {
        assert!(place.remove(case.member).is_some(), "{} {} was never there", case.at, case.member);
    } else {
        place.insert(case.member.to_owned(), case.to.clone());
    }
    document
}

#[test]
fn what_breaks_clients_is_told_and_nothing_else() {
    for case in cases() {
        let (before, after) = (document(), changed(&case));

        for (way, found, expected) in
            [("forth", breaks(&before, &after), case.forth), ("back", breaks(&after, &before), case.back)]
        {
            let at = format!("{} {} to {}, {way}: {found:#?}", case.at, case.member, case.to);
            if expected.is_empty() {
                assert!(found.is_empty(), "{at}");
            } else {
                assert!(found.iter().any(|one| one.contains(expected)), "{expected}\n{at}");
            }
        }
    }
}

#[test]
fn a_document_does_not_break_itself() {
    assert_eq!(breaks(&document(), &document()), Vec::<String>::new());
}
