//! What is held on an account: handed out to whose it is, and erased for good.
//!
//! An export is one JSON document of everything that the stores hold on an account, but for secrets and their hashes. It is
//! written piece by piece, so that a long history does not sit in memory.
//!
//! An erasure takes the account with all that belongs to it in one step, ends its sockets everywhere within a second, and
//! notes in a ledger that it has happened. What it has written stays where others have answered it, under
//! [`ERASED_NAME`]; that is done in slices behind the step, and whoever starts next goes on with it. The ledger is applied again to
//! a backup that was restored.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod export;
mod model;
mod service;
mod store;

pub use self::{
    error::PrivacyError,
    export::Export,
    model::{
        AuditEntry, AuditQuery, ERASED_NAME, Erasure, ErasureMarks, ErasurePlan, ErasureQuery, HeldDevice, HeldGrant,
        HeldIdentity, HeldNotification, HeldRequest, Holdings, LastOwner, NewErasure, ReadMark,
    },
    service::{Privacy, PrivacyParts},
    store::PrivacyStore,
};
