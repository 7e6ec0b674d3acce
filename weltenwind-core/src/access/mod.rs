//! Who may do what, where.
//!
//! A permission is `resource.action`; a role is a fixed set of permissions; a grant binds a role to an account in a scope
//! and flows down from there: `global ⊃ world ⊃ group`. What no grant allows is denied. In a public or unlisted world every
//! signed-in account is a `world_guest` without a grant, and everybody may read.
//!
//! ```
//! use std::sync::Arc;
//! use weltenwind_core::{Actor, SystemClock, access::{AccessControlService, MemoryGrantStore, Permission, Place, RoleAccess}};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), weltenwind_core::StorageError> {
//! let access = RoleAccess::new(Arc::new(MemoryGrantStore::default()), Arc::new(SystemClock));
//! let decision = access.decide(&Actor::player("Mira"), Permission::WorldCreate, &Place::global()).await?;
//! assert!(!decision.allowed);
//! # Ok(())
//! # }
//! ```

mod cache;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod grants;
pub mod keys;
mod memory;
mod model;
mod permission;
mod place;
mod role;
mod sanction;
mod service;
mod standing;
mod store;

pub(crate) use self::standing::Standing;
pub use self::{
    error::{AccessError, Denied, WhyDenied},
    grants::{GrantDraft, Grants},
    memory::MemoryGrantStore,
    model::{
        Because, Decision, Explanation, Grant, GrantQuery, Member, MemberPosition, MemberQuery, NewGrant, Pass, Reason,
    },
    permission::{ParsePermissionError, Permission, PermissionSet},
    place::{OpenPlaces, Place, Places},
    role::{ParseRoleError, Role},
    sanction::{Sanction, SanctionKind, Sanctions},
    service::{AccessControlService, RoleAccess},
    store::GrantStore,
};
