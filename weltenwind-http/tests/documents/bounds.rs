//! Documented bounds are two declarations of one rule: the server is asked whether it keeps exactly them.

use http::Method;
use serde_json::{Value, json};

use super::{
    calls::{demands_key, filled, openapi, operations, query_of},
    fixture::{Reply, Town, id},
};

/// A call with a body that its documentation gives as an example.
struct Call<'d> {
    method: Method,
    path: String,
    example: &'d Value,
    demands_key: bool,
}

impl Call<'_> {
    async fn with(&self, town: &Town, body: &Value) -> Reply {
        // A state that never was: whatever the body, nothing changes, and a broken rule is told first.
        let ask = town.server.ask(self.method.clone(), &self.path).with("if-match", "\"0\"").json(body.clone());
        let ask = ask.with_some("idempotency-key", self.demands_key.then(|| town.server.fresh_key()).as_deref());
        if self.path.contains("/auth/") { ask.await } else { ask.by(&town.owner).await }
    }

    /// Returns whether the server refuses a body because of one member.
    async fn refuses(&self, town: &Town, pointer: &str, value: Value) -> bool {
        let mut body = self.example.clone();
        set(&mut body, pointer, value);
        let reply = self.with(town, &body).await;
        if reply.status != 422 {
            return false;
        }
        let problem = reply.problem();
        problem["errors"].as_array().is_some_and(|errors| errors.iter().any(|error| error["pointer"] == *pointer))
    }
}

fn set(body: &mut Value, pointer: &str, value: Value) {
    let mut parts = pointer[1..].split('/').peekable();
    let mut at = body;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            at[part] = value;
            return;
        }
        if !at[part].is_object() {
            at[part] = json!({});
        }
        at = &mut at[part];
    }
}

/// A text of so many characters, of the kind that a schema asks for.
fn text(schema: &Value, length: usize) -> Value {
    if schema["format"] == "email" {
        return format!("{}@example.org", "a".repeat(length.saturating_sub("@example.org".len()))).into();
    }
    if schema["format"] == "password" {
        // One letter over and over is a password that everybody tries.
        return "a lantern on the pier, ".chars().cycle().take(length).collect::<String>().into();
    }
    "a".repeat(length).into()
}

/// Values that just fit a schema, and values that just do not.
fn edges(schema: &Value) -> (Vec<Value>, Vec<Value>) {
    let (mut fits, mut breaks) = (Vec::new(), Vec::new());
    let number = |name: &str| schema[name].as_i64();
    let length = |name: &str| schema[name].as_u64().map(|n| usize::try_from(n).expect("a length"));
    // `{2,31}` after one more character, or `{1,64}`.
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    let repeated = pattern.rsplit_once('{').and_then(|(head, tail)| {
        let (min, max) = tail.trim_end_matches('$').strip_suffix('}')?.split_once(',')?;
        let before = usize::from(head.matches('[').count() > 1);
        Some((min.parse::<usize>().ok()? + before, max.parse::<usize>().ok()? + before))
    });
    // Null says what absence says, where it is documented, and is refused elsewhere.
    let kinds = schema["type"].as_array().into_iter().flatten().chain(schema["oneOf"].as_array().into_iter().flatten());
    if kinds.into_iter().any(|kind| kind == "null" || kind["type"] == "null") {
        fits.push(Value::Null);
    } else if schema["type"].is_string() {
        breaks.push(Value::Null);
    }
    let min = length("minLength").or(repeated.map(|(min, _)| min));
    let max = length("maxLength").or(repeated.map(|(_, max)| max));
    fits.extend(min.into_iter().chain(max).map(|n| text(schema, n)));
    if schema["format"] == "email" {
        fits.retain(|text| text.as_str().is_some_and(|text| text.len() > "@example.org".len()));
    }
    breaks.extend(min.filter(|min| *min > 0).map(|n| text(schema, n - 1)));
    breaks.extend(max.map(|n| text(schema, n + 1)));
    fits.extend(number("minimum").into_iter().chain(number("maximum")).map(Value::from));
    breaks.extend(number("minimum").map(|n| Value::from(n - 1)));
    breaks.extend(number("maximum").map(|n| Value::from(n + 1)));
    if let Some(words) = schema["enum"].as_array() {
        fits.extend(words.clone());
        breaks.push("something else".into());
    }
    if !pattern.is_empty() {
        breaks.push("no such thing ä".into());
    }
    for choice in schema["anyOf"].as_array().into_iter().flatten() {
        let (more, less) = if choice["type"] == "null" { (vec![Value::Null], Vec::new()) } else { edges(choice) };
        fits.extend(more);
        breaks.extend(less.into_iter().filter(|value| !value.is_null()));
    }
    (fits, breaks)
}

/// Every member of a body with its schema, those of objects in it too.
fn members<'d>(document: &'d Value, schema: &'d Value, at: &str, found: &mut Vec<(String, &'d Value, bool)>) {
    let resolved = |value: &'d Value| {
        value["$ref"]
            .as_str()
            .map_or(value, |reference| document.pointer(&reference[1..]).expect("a reference leads somewhere"))
    };
    let schema = resolved(schema);
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let member = resolved(member);
        let is_required = schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name));
        found.push((format!("{at}/{name}"), member, is_required));
        members(document, member, &format!("{at}/{name}"), found);
    }
}

#[tokio::test]
async fn the_server_keeps_the_documented_bounds_and_takes_the_documented_examples() {
    let town = Town::start().await;
    let document = openapi(&town.server).await;
    let mut tried = 0;

    for (path, method, operation) in operations(&document) {
        let Some(body) = operation.pointer("/requestBody/content/application~1json") else { continue };
        // A message of its own for each call, since one of them removes it.
        let message = town.server.say(&town.owner, &town.lobby, "hi").await;
        let path = filled(&town, path, id(&message));
        let demands_key = demands_key(operation);
        let call =
            Call { method: method.to_uppercase().parse().unwrap(), path, example: &body["example"], demands_key };
        let at = format!("{method} {}", call.path);
        let mut found = Vec::new();
        members(&document, &body["schema"], "", &mut found);

        for (pointer, schema, is_required) in &found {
            let (fits, breaks) = edges(schema);
            for value in breaks {
                tried += 1;
                assert!(call.refuses(&town, pointer, value.clone()).await, "{at}: {pointer} is taken as {value}");
            }
            for value in fits {
                tried += 1;
                assert!(!call.refuses(&town, pointer, value.clone()).await, "{at}: {pointer} is refused as {value}");
            }
            if *is_required && pointer.matches('/').count() == 1 {
                let mut body = call.example.clone();
                body.as_object_mut().unwrap().remove(&pointer[1..]);
                assert_eq!(call.with(&town, &body).await.expect(422).flaw().1, *pointer, "{at}");
            }
        }
        assert!(call.refuses(&town, "/notDocumented", json!(1)).await, "{at} takes unknown members");
        let reply = call.with(&town, call.example).await;
        assert!(![400, 415, 422, 500].contains(&reply.status.as_u16()), "{at}: {} {:?}", reply.status, reply.body);
    }
    assert!(tried > 100, "only {tried} bounds were found");
}

#[tokio::test]
async fn the_server_keeps_the_documented_bounds_of_queries() {
    let town = Town::start().await;
    let document = openapi(&town.server).await;

    for (path, _, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query") {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let others = query_of(path).trim_start_matches('?').split('&');
            let others = others.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name));
            let required: String = others.flat_map(|pair| [pair, "&"]).collect();
            let path = filled(&town, path, "");
            let (fits, mut breaks) = edges(schema);
            // A query knows no null, only texts.
            breaks.retain(|value| !value.is_null());
            for (values, status) in [(fits, 200), (breaks, 400)] {
                for value in values {
                    let value = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                        .replace(' ', "%20")
                        .replace('ä', "%C3%A4");
                    town.server.get(format!("{path}?{required}{name}={value}")).by(&town.owner).await.expect(status);
                }
            }
        }
    }
}
