//! The second factor: a code that an authenticator shows, beside the password.
//!
//! The codes are those of RFC 6238: SHA-1, six digits, 30 seconds. One that is a step early or late passes too; each passes
//! once. Whoever loses the authenticator has ten recovery codes, and after those the operator.

mod code;
mod seal;
mod service;
mod store;

pub use self::{
    seal::SealedSecret,
    service::{RecoveryCodes, TwoFactorEnrolment},
    store::{Confirmation, Proof, Removal, SecondFactor, SecondFactorStore},
};
