//! Announcements: what whoever runs a place has to say.
//!
//! An announcement belongs to a [`Scope`](crate::Scope) and is meant for everybody there, or for those who hold a role in it. It
//! is visible from its time of publication until it expires or is withdrawn; nothing needs to happen for that at either time.
//!
//! ```
//! use weltenwind_core::{Scope, access::Role, announcements::Audience};
//!
//! let staff = Audience::role(Role::Moderator, Scope::Global)?;
//! assert_eq!(staff.kind().as_str(), "role");
//! assert!(Audience::role(Role::WorldMember, Scope::Global).is_err());
//! # Ok::<(), weltenwind_core::Invalid>(())
//! ```

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod model;
mod service;
mod store;

pub use self::{
    error::AnnouncementError,
    model::{
        Announcement, AnnouncementAmendment, AnnouncementChange, AnnouncementDraft, AnnouncementPage,
        AnnouncementPosition, AnnouncementQuery, AnnouncementSort, AnnouncementState, AnnouncementText, Audience,
        AudienceKind, NewAnnouncement, Published, Readers, Title,
    },
    service::{AnnouncementSearch, Announcements},
    store::AnnouncementStore,
};
