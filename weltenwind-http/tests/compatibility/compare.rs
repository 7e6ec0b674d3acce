//! What of one document breaks a client of another, call by call.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schemas::{Direction, Schemas};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Says what breaks clients of `old` once the server follows `new`; nothing, if all is well.
pub(crate) fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut breaks = Breaks { old, new, found: Vec::new() };
    breaks.schemes();
    for (path, item) in members(&old["paths"]) {
        for method in METHODS.into_iter().filter(|method| item.get(method).is_some()) {
            let at = format!("{} {path}", method.to_uppercase());
            match new["paths"].get(path).and_then(|item| item.get(method)) {
                Some(now) => breaks.operation(&at, &item[method], now),
                None => breaks.found.push(format!("{at}: is gone")),
            }
        }
    }
    breaks.found
}

pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

pub(crate) fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => value,
    }
}

struct Breaks<'d> {
    old: &'d Value,
    new: &'d Value,
    found: Vec<String>,
}

impl<'d> Breaks<'d> {
    fn say(&mut self, at: &str, what: &str) {
        self.found.push(format!("{at}: {what}"));
    }

    /// A way to sign in goes on as it was.
    fn schemes(&mut self) {
        let now = &self.new["components"]["securitySchemes"];
        for (name, scheme) in members(&self.old["components"]["securitySchemes"]) {
            let differs = ["type", "scheme", "in", "name"].iter().any(|member| scheme[*member] != now[name][*member]);
            if differs {
                self.found.push(format!("sign-in {name}: is another one"));
            }
        }
    }

    fn operation(&mut self, at: &str, old: &'d Value, new: &'d Value) {
        if old["operationId"] != new["operationId"] {
            self.say(at, "has another name");
        }
        self.security(at, old, new);
        self.parameters(at, old, new);
        self.body(at, old, new);
        self.responses(at, old, new);
    }

    /// Whoever may call, may still call in the same way.
    fn security(&mut self, at: &str, old: &Value, new: &Value) {
        let ways = |document: &Value, operation: &Value| -> BTreeSet<BTreeSet<String>> {
            let ways = operation.get("security").unwrap_or(&document["security"]);
            let ways = ways.as_array().into_iter().flatten();
            ways.map(|way| members(way).map(|(scheme, _)| scheme.clone()).collect()).collect()
        };
        let (before, now) = (ways(self.old, old), ways(self.new, new));
        // No way at all is the way of everybody.
        if now.is_empty() || now.contains(&BTreeSet::new()) {
            return;
        }
        if before.is_empty() {
            self.say(at, "asks for a sign-in");
        }
        for way in before.difference(&now) {
            let way = if way.is_empty() { "nobody" } else { way.iter().next().map_or("", String::as_str) };
            self.say(at, &format!("can no longer be called as {way}"));
        }
    }

    fn parameters(&mut self, at: &str, old: &'d Value, new: &'d Value) {
        let list = |document: &'d Value, operation: &'d Value| -> Vec<&'d Value> {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            parameters.map(|parameter| resolved(document, parameter)).collect()
        };
        let (before, now) = (list(self.old, old), list(self.new, new));
        let same = |one: &Value, other: &Value| one["in"] == other["in"] && one["name"] == other["name"];
        let name = |one: &Value| format!("{at}: {} parameter {}", text(&one["in"]), text(&one["name"]));
        for one in &before {
            let Some(other) = now.iter().find(|other| same(one, other)) else {
                self.found.push(format!("{}: is gone", name(one)));
                continue;
            };
            if one["required"] != true && other["required"] == true {
                self.found.push(format!("{}: is required now", name(one)));
            }
            self.schema(&name(one), Direction::Request, &one["schema"], &other["schema"]);
        }
        for other in now.iter().filter(|other| other["required"] == true && !before.iter().any(|one| same(one, other)))
        {
            self.found.push(format!("{}: is new and required", name(other)));
        }
    }

    fn body(&mut self, at: &str, old: &'d Value, new: &'d Value) {
        let at = format!("{at}: body");
        match (old.get("requestBody"), new.get("requestBody")) {
            (None, Some(now)) if resolved(self.new, now)["required"] == true => self.say(&at, "is new and required"),
            (Some(_), None) => self.say(&at, "is no longer taken"),
            (Some(before), Some(now)) => {
                let (before, now) = (resolved(self.old, before), resolved(self.new, now));
                if before["required"] != true && now["required"] == true {
                    self.say(&at, "is required now");
                }
                self.content(&at, Direction::Request, &before["content"], &now["content"]);
            }
            _ => {}
        }
    }

    fn responses(&mut self, at: &str, old: &'d Value, new: &'d Value) {
        for (status, before) in members(&old["responses"]) {
            let at = format!("{at}: {status}");
            let Some(now) = new["responses"].get(status) else {
                self.say(&at, "is gone");
                continue;
            };
            let (before, now) = (resolved(self.old, before), resolved(self.new, now));
            for (name, header) in members(&before["headers"]) {
                let at = format!("{at}: header {name}");
                match now["headers"].get(name) {
                    Some(other) => {
                        let (header, other) = (resolved(self.old, header), resolved(self.new, other));
                        self.schema(&at, Direction::Answer, &header["schema"], &other["schema"]);
                    }
                    None => self.say(&at, "is gone"),
                }
            }
            self.content(&at, Direction::Answer, &before["content"], &now["content"]);
        }
    }

    fn content(&mut self, at: &str, direction: Direction, old: &'d Value, new: &'d Value) {
        for (media, before) in members(old) {
            match new.get(media) {
                Some(now) => self.schema(at, direction, &before["schema"], &now["schema"]),
                None => self.say(at, &format!("{media} is gone")),
            }
        }
    }

    fn schema(&mut self, at: &str, direction: Direction, old: &Value, new: &Value) {
        let mut schemas = Schemas::new(self.old, self.new, direction);
        schemas.compare(at, old, new);
        self.found.append(&mut schemas.found);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
