//! Query strings, read as strictly as bodies.

use std::collections::BTreeMap;

use axum::extract::Query;
use http::Uri;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};
use utoipa::IntoParams;
use weltenwind_core::{Code, FieldError, Limit};

use crate::{
    json::Node,
    problem::{Refusal, Stop},
};

/// Reads a query; an unknown parameter, one that stands twice and one that does not fit are named.
pub(crate) fn read<Q: DeserializeOwned>(uri: &Uri) -> Result<Q, Stop> {
    let refuse = |name: &str, detail: String| {
        let field = FieldError::new(name, Code::Malformed, detail.clone());
        Stop::from(Refusal::malformed(detail).naming([field]))
    };
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) = pairs.map_err(|_| Stop::from(Refusal::malformed("the query cannot be read")))?;
    let mut parameters = BTreeMap::new();
    for (name, value) in pairs {
        if parameters.insert(name.clone(), Node::Text(value)).is_some() {
            return Err(refuse(&name, format!("{name} stands twice")));
        }
    }
    Node::Members(parameters).read().map_err(|error| refuse(error.pointer.trim_start_matches('/'), error.detail))
}

/// The parameters of a list without filters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Where the list goes on: `nextCursor` of the part before.
    pub(crate) cursor: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    pub(crate) limit: LimitParam,
}

/// How many items are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LimitParam(pub(crate) Limit);

impl<'de> Deserialize<'de> for LimitParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let limit = text.parse().ok().and_then(Limit::new);
        limit.map(Self).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"a number from 1 to 200"))
    }
}

/// What a name is searched for: up to 64 characters on one line.
#[derive(Debug)]
pub(crate) struct SearchText(pub(crate) String);

impl<'de> Deserialize<'de> for SearchText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() <= 64 && !text.chars().any(char::is_control) {
            return Ok(Self(text));
        }
        let unexpected = de::Unexpected::Str(&text);
        Err(de::Error::invalid_value(unexpected, &"a text of up to 64 characters without control characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Nothing;

    #[test]
    fn a_query_is_read_or_refused_as_a_whole() {
        let paging = |query: &str| read::<Paging>(&format!("/list{query}").parse().unwrap());

        assert_eq!(paging("").unwrap().limit.0, Limit::default());
        assert_eq!(paging("?limit=200").unwrap().limit.0, Limit::MAX);
        assert_eq!(paging("?cursor=a%2Bb").unwrap().cursor.as_deref(), Some("a+b"));
        for bad in ["?limit=0", "?limit=201", "?limit=", "?limit=-1", "?limit=1e1", "?page=2", "?limit=1&limit=1"] {
            assert!(paging(bad).is_err(), "{bad}");
        }
        assert!(read::<Nothing>(&"/list?x".parse().unwrap()).is_err());
    }
}
