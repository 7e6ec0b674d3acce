//! The source of randomness for secrets.

use std::fmt::Debug;

use rand::Rng as _;

/// Fills buffers with bytes that nobody can predict.
pub trait RandomSource: Debug + Send + Sync + 'static {
    /// Fills `buffer` entirely.
    fn fill(&self, buffer: &mut [u8]);
}

/// The operating system's generator, by way of a thread-local one that it seeds.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        rand::rng().fill_bytes(buffer);
    }
}
