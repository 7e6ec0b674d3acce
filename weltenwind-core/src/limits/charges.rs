//! What a request was charged, for the host that tells its caller.

use std::sync::{Arc, Mutex, PoisonError};

use super::{policy::Policy, quota::Verdict};

/// The latest verdict of each policy that a request was charged under; clones share it.
///
/// A host puts one into the [`Actor`](crate::Actor) it hands to a service, and reads it when the service has answered.
///
/// ```
/// use weltenwind_core::{Actor, SystemClock, limits::{Charges, Limits, LimitsConfig, Policy}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), weltenwind_core::limits::RateLimited> {
/// let limits = Limits::in_process(std::sync::Arc::new(SystemClock), LimitsConfig::default());
/// let charges = Charges::default();
/// let mira = Actor { charges: Some(charges.clone()), ..Actor::player("Mira") };
///
/// limits.charge(&mira, Policy::Chat).await?;
///
/// assert_eq!(charges.all()[0].1.remaining, 19);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Charges(Arc<Mutex<Vec<(Policy, Verdict)>>>);

impl Charges {
    /// Notes a verdict; an earlier one of the same policy is forgotten.
    pub fn note(&self, policy: Policy, verdict: Verdict) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.iter_mut().find(|(known, _)| *known == policy) {
            Some((_, known)) => *known = verdict,
            None => noted.push((policy, verdict)),
        }
    }

    /// Returns what was noted, in the order in which policies were first charged.
    pub fn all(&self) -> Vec<(Policy, Verdict)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
