//! Parts of lists, and the number that tells one state of a resource from the next.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{code::Code, validation::FieldError};

/// How many items a caller asks for: 1 to 200, 50 by default.
///
/// ```
/// use weltenwind_core::Limit;
///
/// assert_eq!(Limit::default().get(), 50);
/// assert!(Limit::new(0).is_none() && Limit::new(201).is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    /// The largest page.
    pub const MAX: Self = Self(200);

    /// Accepts 1 to 200.
    pub const fn new(limit: u16) -> Option<Self> {
        if limit >= 1 && limit <= Self::MAX.0 { Some(Self(limit)) } else { None }
    }

    /// Returns the number.
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// Returns the number of rows to read so that one more than asked for shows whether the list goes on.
    pub const fn with_probe(self) -> i64 {
        self.0 as i64 + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Whether more follow behind the last item.
    pub more: bool,
}

impl<T> Page<T> {
    /// Makes a page from rows read with [`Limit::with_probe`]: the row too many is dropped and tells that more follow.
    pub fn from_probe(mut items: Vec<T>, limit: Limit) -> Self {
        let more = items.len() > limit.get();
        items.truncate(limit.get());
        Self { items, more }
    }

    /// Returns the position behind this page, if more follow.
    pub fn next<P>(&self, position: impl FnOnce(&T) -> P) -> Option<P> {
        if self.more { self.items.last().map(position) } else { None }
    }
}

/// Counts the states of one resource, from 1; the strong ETag of a resource is its revision in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(i64);

impl Revision {
    /// A resource that was just made.
    pub const FIRST: Self = Self(1);

    /// Wraps a number.
    pub const fn new(revision: i64) -> Self {
        Self(revision)
    }

    /// Returns the number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Returns the revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FieldError {
    /// A limit outside of 1 to 200.
    pub fn limit_out_of_range() -> Self {
        Self::new("limit", Code::Malformed, "limit must be a number from 1 to 200")
    }
}
