//! Where a request stands in a trace (W3C Trace Context).

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName};
use weltenwind_core::RandomSource;

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// A step of a trace: that of the caller's system goes on, or a new one begins.
///
/// Nothing is answered of it: the recommendation puts `traceparent` into requests, and this server makes none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// The whole trace.
    pub(super) id: String,
    /// The caller's step; none where the trace begins.
    pub(super) parent: Option<String>,
    /// This step.
    pub(super) span: String,
}

impl Trace {
    /// Goes on with the trace of a request that names one; a header that cannot be read is as good as none (4.3).
    pub(super) fn of(headers: &HeaderMap, random: &dyn RandomSource) -> Self {
        let span = drawn(random, 8);
        let mut parents = headers.get_all(TRACE_PARENT).iter();
        let parent = parents.next().filter(|_| parents.next().is_none()).and_then(|parent| parent.to_str().ok());
        match parent.and_then(parse) {
            Some((id, parent)) => Self { id: id.to_owned(), parent: Some(parent.to_owned()), span },
            None => Self { id: drawn(random, 16), parent: None, span },
        }
    }
}

/// Draws so many bytes, in hexadecimal digits.
fn drawn(random: &dyn RandomSource, bytes: usize) -> String {
    let mut drawn = [0; 16];
    random.fill(&mut drawn[..bytes]);
    drawn[..bytes].iter().fold(String::with_capacity(2 * bytes), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads the trace and the caller's step (3.2.2).
fn parse(parent: &str) -> Option<(&str, &str)> {
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_something = |text: &str| text.bytes().any(|b| b != b'0');
    let fits = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none()) && is_hex(flags, 2);
    let named = is_hex(trace, 32) && is_something(trace) && is_hex(span, 16) && is_something(span);
    (fits && named).then_some((trace, span))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use weltenwind_core::SystemRandom;

    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn with(parents: &[String]) -> HeaderMap {
        parents.iter().map(|parent| (TRACE_PARENT, HeaderValue::from_str(parent).unwrap())).collect()
    }

    #[test]
    fn a_trace_goes_on_if_it_is_one_and_begins_anew_if_not() {
        for (parent, goes_on) in [
            (format!("00-{ID}-00f067aa0ba902b7-01"), true),
            (format!("00-{ID}-00f067aa0ba902b7-00"), true),
            (format!("01-{ID}-00f067aa0ba902b7-01-more"), true),
            (format!("00-{ID}-00f067aa0ba902b7-01-more"), false),
            (format!("ff-{ID}-00f067aa0ba902b7-01"), false),
            (format!("00-{ID}-0000000000000000-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()), false),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            (format!("00-{ID}-00f067aa0ba902b7"), false),
            (format!("00-{ID}-00f067aa0ba902b7-1"), false),
            ("noise".to_owned(), false),
            (String::new(), false),
        ] {
            let trace = Trace::of(&with(std::slice::from_ref(&parent)), &SystemRandom);
            assert_eq!(trace.id == ID, goes_on, "{parent}");
            assert_eq!(trace.parent.as_deref(), goes_on.then_some("00f067aa0ba902b7"), "{parent}");
            assert_eq!((trace.id.len(), trace.span.len()), (32, 16));
        }
    }

    #[test]
    fn every_request_is_a_step_of_its_own() {
        let parent = with(&[format!("00-{ID}-00f067aa0ba902b7-01")]);
        let (one, two) = (Trace::of(&parent, &SystemRandom), Trace::of(&parent, &SystemRandom));

        assert_eq!(one.id, two.id);
        assert_ne!(one.span, two.span);
        assert_ne!(one.span, "00f067aa0ba902b7");
    }

    #[test]
    fn two_parents_are_none() {
        let parent = format!("00-{ID}-00f067aa0ba902b7-01");

        assert_ne!(Trace::of(&with(&[parent.clone(), parent]), &SystemRandom).id, ID);
        assert_ne!(Trace::of(&HeaderMap::new(), &SystemRandom), Trace::of(&HeaderMap::new(), &SystemRandom));
    }
}
