//! Problem bodies (RFC 9457): one shape for every answer that is not a success.

use serde::{Deserialize, Serialize};

use crate::{
    actor::CorrelationId,
    code::Code,
    error::{Class, Classify, whole_seconds},
};

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// `urn:weltenwind:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's fixed summary.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time.
    pub detail: String,
    /// `urn:weltenwind:request:<id>`.
    pub instance: String,
    /// The code in the catalogue.
    pub code: String,
    /// The request.
    pub correlation_id: String,
    /// Each member that breaks a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemError>,
    /// Seconds after which the same call may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The present ETag, where a stale one was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
}

/// A member that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProblemError {
    /// JSON Pointer to the member, or the name of a query parameter.
    pub pointer: String,
    /// The code of the rule.
    pub code: String,
    /// The rule in words.
    pub detail: String,
}

impl ProblemBody {
    /// Describes a refusal in the words of `detail`.
    pub fn new(code: Code, detail: impl Into<String>, request: &CorrelationId) -> Self {
        Self {
            kind: code.urn(),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            instance: format!("urn:weltenwind:request:{request}"),
            code: code.to_string(),
            correlation_id: request.to_string(),
            errors: Vec::new(),
            retry_after: None,
            current: None,
        }
    }

    /// Tells the same to another request.
    #[must_use]
    pub fn told_to(self, request: &CorrelationId) -> Self {
        let instance = format!("urn:weltenwind:request:{request}");
        Self { instance, correlation_id: request.to_string(), ..self }
    }

    /// Describes an error: a refusal in its own words, a failure of the server in neutral ones.
    pub fn of(error: &dyn Classify, request: &CorrelationId) -> Self {
        let code = error.code();
        let detail = match error.class() {
            Class::Internal => "The server failed; the correlation id names the failure in its log.".to_owned(),
            Class::Unavailable => "A part of the server is away; the same request may pass in a moment.".to_owned(),
            _ => sentence(&error.to_string()),
        };
        let errors = error.fields().iter().map(|field| ProblemError {
            pointer: field.pointer.clone(),
            code: field.code.to_string(),
            detail: field.detail.clone(),
        });
        Self {
            errors: errors.collect(),
            retry_after: error.retry_after().map(whole_seconds),
            current: error.current().map(|revision| format!("\"{revision}\"")),
            ..Self::new(code, detail, request)
        }
    }
}

/// Makes a sentence of an error's text, which has a small first letter and no full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    let mut sentence: String = first.chain(chars).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::StorageError, validation::Invalid, worlds::WorldError};

    #[test]
    fn a_refusal_speaks_in_its_own_words_and_names_the_member() {
        let request = CorrelationId::accept("request-1").unwrap();

        let problem =
            ProblemBody::of(&WorldError::Invalid(Invalid::at("/name", "name must have 2 to 64 characters")), &request);

        assert_eq!((problem.status, problem.code.as_str()), (422, "validation-failed"));
        assert_eq!(problem.detail, "Name must have 2 to 64 characters.");
        assert_eq!(problem.errors[0].pointer, "/name");
        assert_eq!(problem.instance, "urn:weltenwind:request:request-1");
    }

    #[test]
    fn a_failure_of_the_server_gives_nothing_away() {
        let request = CorrelationId::accept("request-1").unwrap();
        let failure = StorageError::permanent("read worlds", "no such table: worlds in /var/lib/world.db");

        let problem = ProblemBody::of(&failure, &request);

        assert_eq!(problem.status, 500);
        assert!(!problem.detail.contains("table") && !problem.detail.contains("worlds"));
    }
}
