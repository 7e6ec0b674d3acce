//! Why a call comes too soon.

use std::time::Duration;

use super::policy::Policy;
use crate::{
    code::Code,
    error::{Classify, whole_seconds},
};

/// A quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit `{policy}` is reached; the next call may be made in {} s", whole_seconds(*.retry_after))]
pub struct RateLimited {
    /// The policy.
    pub policy: Policy,
    /// After which time the next call may pass.
    pub retry_after: Duration,
}

impl Classify for RateLimited {
    fn code(&self) -> Code {
        Code::RateLimited
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(self.retry_after)
    }
}
