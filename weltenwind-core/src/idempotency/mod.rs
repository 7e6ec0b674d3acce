//! Requests that are repeated under a key of the caller's own, and have one effect and one answer.
//!
//! A caller that gets no answer sends the same request again under the same key. The first to come claims the key, runs, and
//! leaves its answer; whoever repeats gets that answer for a day. The claim also gives the request an
//! [`EffectKey`](crate::EffectKey), which the step records in the transaction of its effect: a crash between effect and
//! answer neither doubles the one nor changes the other.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod model;
mod service;
mod store;

pub use self::{
    error::IdempotencyError,
    model::{
        Admission, Claim, Claimed, IdempotencyKey, KEPT, KeyedRequest, LEASE, MAX_ANSWER, NewClaim, RecordKey, Release,
        StoredAnswer,
    },
    service::Idempotency,
    store::IdempotencyStore,
};
