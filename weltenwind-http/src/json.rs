//! JSON, read strictly: no member twice, no deep nesting, no unknown member, and a pointer to whatever does not fit.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{MapDeserializer, SeqDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_path_to_error::Segment;
use weltenwind_core::{Code, FieldError};

/// No body of the API nests deeper than three levels.
const MAX_DEPTH: usize = 16;

/// A JSON value in which no member stands twice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Self>),
    Members(BTreeMap<String, Self>),
}

impl Node {
    /// Reads a text; the error says where it stops being JSON.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut text = serde_json::Deserializer::from_slice(bytes);
        let node = Nested(MAX_DEPTH).deserialize(&mut text)?;
        text.end()?;
        Ok(node)
    }

    /// Returns a member's text, whatever else is wrong with the value.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Members(members) => match members.get(name) {
                Some(Self::Text(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns a member, whatever else is wrong with the value.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Members(members) => members.get(name),
            _ => None,
        }
    }

    /// Makes a `T` of it, or says which member does not fit.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, FieldError> {
        serde_path_to_error::deserialize(self).map_err(|error| {
            let mut pointer = String::new();
            for segment in error.path() {
                match segment {
                    Segment::Map { key } => push(&mut pointer, key),
                    Segment::Seq { index } => push(&mut pointer, &index.to_string()),
                    Segment::Enum { .. } | Segment::Unknown => {}
                }
            }
            error.into_inner().at(pointer)
        })
    }
}

/// Adds a member to a JSON Pointer (RFC 6901).
fn push(pointer: &mut String, name: &str) {
    pointer.push('/');
    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
}

/// Reads a member that may be absent but not null: for changes, where null is a value of its own.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads a node that may hold so many levels.
struct Nested(usize);

impl Nested {
    fn inner<E: de::Error>(&self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("it is nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        serde_json::Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element_seed(self.inner()?)? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let node = map.next_value_seed(self.inner()?)?;
            if members.insert(name, node).is_some() {
                return Err(de::Error::custom("a member stands twice"));
            }
        }
        Ok(Node::Members(members))
    }
}

/// Why a node is not what was asked for.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// A member that nothing reads; its name is the last step of the path.
    Unknown,
    /// A member that is absent.
    Missing(&'static str),
    /// A value of the wrong type or range, and what it must be.
    Mistyped(String),
    /// A value that its own type refuses, in the type's words.
    Refused(String),
}

impl Flaw {
    fn at(self, mut pointer: String) -> FieldError {
        let name = |pointer: &str| match pointer.rsplit('/').next() {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => "the body".to_owned(),
        };
        let detail = match self {
            Self::Unknown => format!("{} is not known here", name(&pointer)),
            Self::Missing(member) => {
                push(&mut pointer, member);
                format!("{member} is required")
            }
            Self::Mistyped(expected) => format!("{} must be {expected}", name(&pointer)),
            Self::Refused(reason) => format!("{} is {reason}", name(&pointer)),
        };
        FieldError::new(pointer, Code::ValidationFailed, detail)
    }

    fn must_be(expected: &dyn de::Expected) -> Self {
        Self::Mistyped(match expected.to_string().as_str() {
            "u32" => "a whole number from 0 to 4294967295".to_owned(),
            "i64" => "a whole number".to_owned(),
            other => other.to_owned(),
        })
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Flaw {}

// The values themselves are not repeated: one of them may be a password.
impl de::Error for Flaw {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Refused(reason.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::must_be(expected)
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::must_be(expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Mistyped(format!("one of {}", expected.join(", ")))
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::Unknown
    }

    fn missing_field(member: &'static str) -> Self {
        Self::Missing(member)
    }
}

impl IntoDeserializer<'_, Flaw> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node {
    type Error = Flaw;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), ..) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (.., value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Self::Text(text) => visitor.visit_string(text),
            Self::List(list) => visitor.visit_seq(SeqDeserializer::new(list.into_iter())),
            Self::Members(members) => visitor.visit_map(MapDeserializer::new(members.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        match self {
            Self::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    /// Takes an object alone; a derived reader would take a list of its members too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        match self {
            Self::Members(_) => self.deserialize_any(visitor),
            _ => Err(Flaw::Mistyped("an object".to_owned())),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        match self {
            Self::Text(text) => visitor.visit_enum(StringDeserializer::new(text)),
            _ => Err(Flaw::Mistyped("a string".to_owned())),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(clippy::option_option, reason = "absent and null are two wishes")]
    struct Wish {
        name: String,
        device: Option<Device>,
        #[serde(default, deserialize_with = "present")]
        kept_days: Option<Option<u32>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Device {
        name: Option<String>,
    }

    fn flaw(json: &str) -> (String, String) {
        let error = Node::parse(json.as_bytes()).unwrap().read::<Wish>().unwrap_err();
        (error.pointer, error.detail)
    }

    #[test]
    fn what_fits_is_read() {
        let wish: Wish = Node::parse(br#"{"name": "Mira", "device": null, "keptDays": null}"#).unwrap().read().unwrap();

        assert_eq!(wish, Wish { name: "Mira".to_owned(), device: None, kept_days: Some(None) });
    }

    #[test]
    fn what_does_not_fit_is_pointed_at() {
        for (json, pointer, detail) in [
            (r"{}", "/name", "name is required"),
            (r#"{"name": 7}"#, "/name", "name must be a string"),
            (r#"{"name": "Mira", "nam/e": 1}"#, "/nam~1e", "nam~1e is not known here"),
            (r#"{"name": "Mira", "device": {"name": "x", "os": "y"}}"#, "/device/os", "os is not known here"),
            (r#"{"name": "Mira", "device": ["x"]}"#, "/device", "device must be an object"),
            (
                r#"{"name": "Mira", "keptDays": -1}"#,
                "/keptDays",
                "keptDays must be a whole number from 0 to 4294967295",
            ),
            (
                r#"{"name": "Mira", "keptDays": 7.0}"#,
                "/keptDays",
                "keptDays must be a whole number from 0 to 4294967295",
            ),
            (r#"["Mira"]"#, "", "the body must be an object"),
        ] {
            assert_eq!(flaw(json), (pointer.to_owned(), detail.to_owned()), "{json}");
        }
    }

    #[test]
    fn a_text_that_two_readers_might_read_differently_is_no_json() {
        let deep = format!("{}{}", "[".repeat(17), "]".repeat(17));
        for json in
            [r#"{"a": 1, "a": 2}"#, r#"{"a": "\ud800"}"#, "{\"a\": \"\u{7}\"}", "{} {}", "1e999", "", deep.as_str()]
        {
            assert!(Node::parse(json.as_bytes()).is_err(), "{json}");
        }
        assert!(Node::parse(b"\"\xff\"").is_err());
    }
}
