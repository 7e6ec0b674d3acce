//! Short conversations over the socket, for documents and for whoever writes a client or a server.

use std::collections::BTreeMap;

use serde_json::Value;

/// A short conversation from `welcome` on.
///
/// ```
/// use weltenwind_core::wire::{Transcript, TranscriptLine};
///
/// for transcript in Transcript::all() {
///     assert!(matches!(&transcript.lines[0], TranscriptLine::Server(record) if record["t"] == "welcome"));
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// What it shows.
    pub title: String,
    /// What is said and what happens, in order.
    ///
    /// Of what the server says in a row, each room has its order, and what belongs to no room comes anywhere among it.
    pub lines: Vec<TranscriptLine>,
}

/// A line of a conversation. A text in a record may end in a placeholder: `channel:$channel`.
#[derive(Debug, Clone, PartialEq)]
pub enum TranscriptLine {
    /// The client says something.
    Client(Value),
    /// The server does.
    Server(Value),
    /// Something happens that is not said on this socket.
    Meanwhile(String),
}

impl Transcript {
    /// Returns all there are; every kind of record is in one of them.
    ///
    /// # Panics
    ///
    /// Never: the text is part of this crate, and is read by its tests.
    pub fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for line in include_str!("transcripts.txt").lines().filter(|line| !line.is_empty()) {
            let (mark, rest) = line.split_once(' ').expect("a mark and a text");
            let record = || serde_json::from_str(rest).expect("a record");
            let line = match mark {
                "#" => {
                    all.push(Self { title: rest.to_owned(), lines: Vec::new() });
                    continue;
                }
                ">" => TranscriptLine::Client(record()),
                "<" => TranscriptLine::Server(record()),
                _ => TranscriptLine::Meanwhile(rest.to_owned()),
            };
            all.last_mut().expect("a title first").lines.push(line);
        }
        all
    }
}

/// What the placeholders of a transcript stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TranscriptNames(BTreeMap<String, String>);

impl TranscriptNames {
    /// Says what a name stands for.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Returns what a name stands for, if that is known.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Puts what names stand for in their places; one that stands for nothing stays.
    #[must_use]
    pub fn fill(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => match text.split_once('$') {
                Some((before, name)) => self.get(name).map_or(text.clone(), |value| format!("{before}{value}")).into(),
                None => text.clone().into(),
            },
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| (name.clone(), self.fill(member)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    /// Holds a record against a line: the same members with the same values, where a name that stands for nothing yet stands
    /// for what it meets. If they differ, nothing is learned.
    pub fn meet(&mut self, template: &Value, record: &Value) -> bool {
        let mut learned = self.clone();
        let is_same = learned.learn(template, record);
        if is_same {
            *self = learned;
        }
        is_same
    }

    fn learn(&mut self, template: &Value, record: &Value) -> bool {
        match (template, record) {
            (Value::String(template), Value::String(text)) => {
                let Some((before, name)) = template.split_once('$') else { return template == text };
                let Some(value) = text.strip_prefix(before) else { return false };
                *self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned()) == value
            }
            (Value::Array(templates), Value::Array(items)) => {
                let mut pairs = templates.iter().zip(items);
                templates.len() == items.len() && pairs.all(|(template, item)| self.learn(template, item))
            }
            (Value::Object(templates), Value::Object(members)) => {
                let mut pairs = templates.iter().map(|(name, template)| (template, members.get(name)));
                templates.len() == members.len()
                    && pairs.all(|(template, member)| member.is_some_and(|member| self.learn(template, member)))
            }
            _ => template == record,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_stands_for_what_it_meets_first() {
        let mut names = TranscriptNames::default();
        let line = json!({ "room": "channel:$channel", "of": ["$lu", "$lu"], "n": 1 });

        assert!(!names.meet(&line, &json!({ "room": "channel:7", "of": ["a", "b"], "n": 1 })));
        assert_eq!(names, TranscriptNames::default());
        assert!(names.meet(&line, &json!({ "room": "channel:7", "of": ["a", "a"], "n": 1 })));
        assert!(!names.meet(&line, &json!({ "room": "channel:8", "of": ["a", "a"], "n": 1 })));
        assert!(!names.meet(&line, &json!({ "room": "channel:7", "of": ["a", "a"], "n": 1, "more": 1 })));
        assert_eq!(names.fill(&line), json!({ "room": "channel:7", "of": ["a", "a"], "n": 1 }));
    }
}
