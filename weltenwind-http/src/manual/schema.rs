//! Schemas in words: what a member is, and the members of an object.

use serde_json::Value;

use super::{
    html::{escape, table},
    markdown::inline,
};

/// Returns the name of what a reference leads to.
pub(super) fn target(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.rsplit('/').next()
}

/// Follows a reference, if it is one.
pub(super) fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    value["$ref"].as_str().and_then(|reference| document.pointer(&reference[1..])).unwrap_or(value)
}

/// Says in words what a schema allows; named schemas are links.
pub(super) fn kind(schema: &Value) -> String {
    if let Some(name) = target(schema) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[choice].as_array() {
            return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(literal).collect();
        return values.join(" or ");
    }
    let kinds = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return "any JSON".to_owned(),
    };
    let kinds: Vec<String> = kinds
        .into_iter()
        .map(|kind| if kind == "array" { format!("list of {}", self::kind(&schema["items"])) } else { escape(kind) })
        .collect();
    let bounds = bounds(schema);
    if bounds.is_empty() { kinds.join(" or ") } else { format!("{}, {bounds}", kinds.join(" or ")) }
}

fn literal(value: &Value) -> String {
    format!("<code>{}</code>", escape(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}

/// Says what limits a value.
fn bounds(schema: &Value) -> String {
    let mut bounds = Vec::new();
    let range = |low: &Value, high: &Value| match (low.is_null(), high.is_null()) {
        (false, false) => Some(format!("{low} to {high}")),
        (false, true) => Some(format!("at least {low}")),
        (true, false) => Some(format!("at most {high}")),
        (true, true) => None,
    };
    if let Some(format) = schema["format"].as_str().filter(|format| !format.starts_with("int")) {
        bounds.push(escape(format));
    }
    bounds.extend(range(&schema["minimum"], &schema["maximum"]));
    bounds.extend(range(&schema["minLength"], &schema["maxLength"]).map(|range| format!("{range} characters")));
    bounds.extend(schema["pattern"].as_str().map(|pattern| format!("<code>{}</code>", escape(pattern))));
    bounds.join(", ")
}

/// A table of an object's members; empty for everything else.
pub(super) fn members(label: &str, schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object() else { return String::new() };
    let is_required =
        |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name));
    let row = |(name, member): (&String, &Value)| {
        row(name, is_required(name), member, &member["description"], &member["default"])
    };
    let rows: String = properties.iter().map(row).collect();
    table(label, &["member", "what", "meaning"], &rows)
}

/// A row that says what a member or a parameter is.
pub(super) fn row(name: &str, is_required: bool, schema: &Value, description: &Value, default: &Value) -> String {
    let optional = if is_required { "" } else { " <small>optional</small>" };
    let default = if default.is_null() { String::new() } else { format!("; {} if absent", literal(default)) };
    format!(
        "<tr><th scope=\"row\"><code>{}</code>{optional}</th><td>{}{default}</td><td>{}</td></tr>",
        escape(name),
        kind(schema),
        inline(description.as_str().unwrap_or_default()),
    )
}

/// The named schemas of a document, to which types are links.
pub(super) fn all(document: &Value) -> String {
    let schemas = document["components"]["schemas"].as_object();
    let section = |(name, schema): (&String, &Value)| {
        let policy = match (schema["properties"].is_object(), schema["additionalProperties"] == Value::Bool(false)) {
            (true, true) => "<p><small>Other members are refused.</small></p>\n",
            (true, false) => "<p><small>May gain members; ignore those you do not know.</small></p>\n",
            (false, _) => "",
        };
        let scalar =
            if schema["properties"].is_object() { String::new() } else { format!("<p>{}</p>\n", kind(schema)) };
        let name = escape(name);
        format!(
            "<article id=\"schema-{name}\" data-words=\"{name}\"><h3>{name}</h3>\n<p>{}</p>\n{scalar}{}{policy}</article>\n",
            inline(schema["description"].as_str().unwrap_or_default()),
            members(&name, schema),
        )
    };
    schemas.into_iter().flatten().map(section).collect()
}
