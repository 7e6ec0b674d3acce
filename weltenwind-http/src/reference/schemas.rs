//! Schemas of both documents, as clients should see them.

use serde_json::{Map, Value, json};

const PREFIX: &str = "#/components/schemas/";
const LIST: &str = "ListBody_";

/// Gives schemas the names of what they describe, and says where an optional member may be null: in what a client sends.
pub(super) fn tidy(document: &mut Value) {
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        for (name, schema) in schemas.iter_mut() {
            // The item of a list has a name too, which utoipa does not use there.
            if let Some(item) = name.strip_prefix(LIST) {
                schema["properties"]["items"]["items"] = json!({ "$ref": format!("{PREFIX}{item}") });
            }
        }
        *schemas = std::mem::take(schemas).into_iter().map(|(name, schema)| (title(&name), schema)).collect();
    }
    walk(document);
}

/// `WorldBody` is a Rust name; `World` is what the body is.
fn title(name: &str) -> String {
    if let Some(item) = name.strip_prefix(LIST) {
        return format!("{}List", title(item));
    }
    let name = name.strip_prefix("Wire").unwrap_or(name);
    name.strip_suffix("Body").or_else(|| name.strip_suffix("Record")).unwrap_or(name).to_owned()
}

fn walk(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(PREFIX)
            {
                *reference = format!("{PREFIX}{}", title(name));
            }
            without_null(members);
            // What a client sends as an example is no schema.
            members
                .iter_mut()
                .filter(|(name, _)| *name != "example" && *name != "examples")
                .for_each(|(_, value)| walk(value));
        }
        Value::Array(items) => items.iter_mut().for_each(walk),
        _ => {}
    }
}

/// An optional member of an answer is left out, so only a required one is ever null there. In a request null says the same as
/// leaving a member out, unless its type says otherwise: many clients write it so by themselves. A parameter is never null.
fn without_null(members: &mut Map<String, Value>) {
    let is_request = members.get("additionalProperties") == Some(&Value::Bool(false));
    let required: Vec<String> = match members.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        for (_, schema) in properties.iter_mut().filter(|(name, _)| !required.contains(name)) {
            if is_request { no_null_default(schema) } else { never_null(schema) }
        }
        properties.values_mut().for_each(describe);
    }
    if members.contains_key("in")
        && let Some(schema) = members.get_mut("schema")
    {
        never_null(schema);
    }
}

/// What a member is, is said of the member, and not of one of its choices.
fn describe(schema: &mut Value) {
    let Some(Value::Array(choices)) = schema.get_mut("oneOf") else { return };
    let mut said = Map::new();
    for choice in choices.iter_mut().filter(|choice| choice.get("$ref").is_some()).filter_map(Value::as_object_mut) {
        for name in ["description", "default"] {
            said.extend(choice.remove(name).map(|value| (name.to_owned(), value)));
        }
    }
    schema.as_object_mut().expect("it has a member").extend(said);
}

fn no_null_default(schema: &mut Value) {
    if let Some(members) = schema.as_object_mut() {
        members.retain(|name, value| !(name == "default" && value.is_null()));
    }
}

/// Takes null away from what a schema allows.
pub(super) fn never_null(schema: &mut Value) {
    no_null_default(schema);
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            members["type"] = only.clone();
        }
    }
    // `oneOf` is what an optional reference becomes; null as a value of its own stands in an `anyOf`.
    if let Some(Value::Array(choices)) = members.get_mut("oneOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            members.remove("oneOf");
            members.extend(only);
        }
    }
}
