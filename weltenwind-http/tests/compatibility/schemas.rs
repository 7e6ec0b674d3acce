//! What of a schema breaks a client.
//!
//! Both directions are one question: does everything that one side says fit what the other side was told? In a request the client
//! goes by the old document and the server by the new one; in an answer it is the other way round.

use serde_json::Value;

use super::compare::{members, resolved};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A client that follows the old document.
    Request,
    /// A server that follows the new one.
    Answer,
}

/// A schema of one type, with the document that it stands in.
#[derive(Debug, Clone, Copy)]
struct Choice<'d> {
    kind: &'d str,
    schema: &'d Value,
}

pub(crate) struct Schemas<'d> {
    old: &'d Value,
    new: &'d Value,
    direction: Direction,
    pub(crate) found: Vec<String>,
    /// Schemas that are being compared further up: one may hold itself.
    open: Vec<(*const Value, *const Value)>,
}

impl<'d> Schemas<'d> {
    pub(crate) fn new(old: &'d Value, new: &'d Value, direction: Direction) -> Self {
        Self { old, new, direction, found: Vec::new(), open: Vec::new() }
    }

    /// Notes what of `new` breaks a client of `old`.
    pub(crate) fn compare(&mut self, at: &str, old: &Value, new: &Value) {
        self.choices(at, old, new);
        // What an absent member means is part of what a client says by leaving it out.
        if self.direction == Direction::Request && old["default"] != new["default"] {
            self.say(at, "means something else if absent");
        }
    }

    fn say(&mut self, at: &str, what: &str) {
        self.found.push(format!("{at}: {what}"));
    }

    fn choices(&mut self, at: &str, old: &Value, new: &Value) {
        let (old_choices, new_choices) = (choices(self.old, old), choices(self.new, new));
        let (said, told) = match self.direction {
            Direction::Request => (&old_choices, &new_choices),
            Direction::Answer => (&new_choices, &old_choices),
        };
        for one in said {
            let fitting: Vec<&Choice<'_>> = told.iter().filter(|other| fits(one.kind, other.kind)).collect();
            // Of several choices, one that fits in all respects is enough; otherwise the first tells what is wrong.
            let mut first = None;
            let is_fine = fitting.iter().any(|other| {
                let wrong = self.tried(at, one, other);
                let is_fine = wrong.is_empty();
                first.get_or_insert(wrong);
                is_fine
            });
            match (is_fine, first, self.direction) {
                (true, ..) => {}
                (false, Some(wrong), _) => self.found.extend(wrong),
                (false, None, Direction::Request) => self.say(at, &format!("no longer takes {}", one.kind)),
                (false, None, Direction::Answer) => self.say(at, &format!("may be {} now", one.kind)),
            }
        }
    }

    /// Returns what is wrong about one choice taken for another.
    fn tried(&mut self, at: &str, said: &Choice<'_>, told: &Choice<'_>) -> Vec<String> {
        let pair: (*const Value, *const Value) = (said.schema, told.schema);
        if self.open.contains(&pair) {
            return Vec::new();
        }
        self.open.push(pair);
        let kept = std::mem::take(&mut self.found);
        let (old, new) = match self.direction {
            Direction::Request => (said.schema, told.schema),
            Direction::Answer => (told.schema, said.schema),
        };
        self.values(at, said.schema, told.schema);
        self.properties(at, old, new);
        if said.kind == "array" && told.kind == "array" {
            self.compare(&format!("{at}[]"), &old["items"], &new["items"]);
        }
        self.open.pop();
        std::mem::replace(&mut self.found, kept)
    }

    /// Every value that is said is one that was told of.
    fn values(&mut self, at: &str, said: &Value, told: &Value) {
        match (said["enum"].as_array(), told["enum"].as_array()) {
            // The words of an answer are open: whoever follows the API takes one it does not know for unknown.
            (Some(_), Some(_)) if self.direction == Direction::Answer => {}
            (Some(said), Some(told)) => {
                for word in said.iter().filter(|word| !told.contains(word)) {
                    self.say(at, &format!("no longer takes {word}"));
                }
            }
            (None, Some(_)) => self.say(at, "is one of a list on one side alone"),
            (_, None) => {}
        }
        for name in ["pattern", "format", "const", "multipleOf"] {
            if !told[name].is_null() && said[name] != told[name] {
                self.say(at, &format!("{name} is another one"));
            }
        }
        for (name, is_lower) in [
            ("minimum", true),
            ("exclusiveMinimum", true),
            ("minLength", true),
            ("minItems", true),
            ("maximum", false),
            ("exclusiveMaximum", false),
            ("maxLength", false),
            ("maxItems", false),
        ] {
            let Some(told) = told[name].as_f64() else { continue };
            let is_within = said[name].as_f64().is_some_and(|said| if is_lower { said >= told } else { said <= told });
            if !is_within {
                let what = if self.direction == Direction::Request { "is tighter" } else { "is wider" };
                self.say(at, &format!("{name} {what}"));
            }
        }
        if told["uniqueItems"] == true && said["uniqueItems"] != true {
            self.say(at, "items must be unique on one side alone");
        }
    }

    /// Members that are counted on are there, and those that are sent are taken.
    fn properties(&mut self, at: &str, old: &Value, new: &Value) {
        for (name, member) in members(&old["properties"]) {
            let at = format!("{at}/{name}");
            match new["properties"].get(name) {
                Some(other) => self.compare(&at, member, other),
                None => self.say(&at, "is gone"),
            }
        }
        let requires =
            |schema: &Value, name: &Value| schema["required"].as_array().is_some_and(|all| all.contains(name));
        let is_request = self.direction == Direction::Request;
        let (said, told) = if is_request { (old, new) } else { (new, old) };
        let broken = if is_request { "is required now" } else { "is no longer always there" };
        for name in told["required"].as_array().into_iter().flatten().filter(|name| !requires(said, name)) {
            // A member that is gone was told above.
            if is_request || new["properties"].get(name.as_str().unwrap_or_default()).is_some() {
                self.say(&format!("{at}/{}", name.as_str().unwrap_or_default()), broken);
            }
        }
        let is_closed = |schema: &Value| schema["additionalProperties"] == Value::Bool(false);
        if is_request && is_closed(new) && !is_closed(old) && old["type"] == "object" {
            self.say(at, "refuses other members now");
        }
    }
}

/// A schema as a list of schemas of one type each.
fn choices<'d>(document: &'d Value, schema: &'d Value) -> Vec<Choice<'d>> {
    let schema = resolved(document, schema);
    for name in ["oneOf", "anyOf"] {
        if let Some(list) = schema[name].as_array() {
            return list.iter().flat_map(|one| choices(document, one)).collect();
        }
    }
    match &schema["type"] {
        Value::String(kind) => vec![Choice { kind, schema }],
        Value::Array(kinds) => kinds.iter().filter_map(|kind| Some(Choice { kind: kind.as_str()?, schema })).collect(),
        _ if schema["properties"].is_object() => vec![Choice { kind: "object", schema }],
        _ => vec![Choice { kind: "anything", schema }],
    }
}

/// Returns whether values of one type are of the other.
fn fits(said: &str, told: &str) -> bool {
    said == told || told == "anything" || (said == "integer" && told == "number")
}
