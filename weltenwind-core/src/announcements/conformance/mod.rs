//! What every [`AnnouncementStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`announcement_store_conformance!`](crate::announcement_store_conformance) makes a test of each.

mod changing;
mod listing;
mod making;

use std::sync::Arc;

pub use self::{changing::*, listing::*, making::*};
use super::{
    error::AnnouncementError,
    model::{
        Announcement, AnnouncementAmendment, AnnouncementChange, AnnouncementPage, AnnouncementQuery, AnnouncementSort,
        AnnouncementState, AnnouncementText, Audience, NewAnnouncement, Readers, Title,
    },
    store::AnnouncementStore,
};
use crate::{
    accounts::conformance::{at, id, step, step_with_key},
    dedupe::DedupeKey,
    ids::{AnnouncementId, WorldId},
    page::{Limit, Revision},
    scope::Scope,
};

/// The port under test.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Announcements.
    pub announcements: Arc<dyn AnnouncementStore>,
}

/// Makes a test of every case of [`conformance`](crate::announcements::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::announcement_store_conformance!(my_fixture());
/// }
/// mod remote {
///     weltenwind_core::announcement_store_conformance!(my_server(), ignore = "needs a server");
/// }
/// ```
#[macro_export]
macro_rules! announcement_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::announcement_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            an_announcement_reads_back_as_it_was_made
            numbers_grow_in_the_order_of_making
            an_announcement_that_does_not_exist_is_told
            a_repeated_dedupe_key_answers_the_first_announcement
            a_dedupe_key_is_a_scopes_own
            one_dedupe_key_at_once_makes_one_announcement
            announcements_at_once_are_all_made_under_numbers_of_their_own
            a_repeated_effect_key_makes_one_announcement
            one_effect_key_at_once_makes_one_announcement
            an_announcement_changes_as_it_is_told
            a_stale_announcement_is_not_changed
            what_is_published_is_not_published_at_another_time
            an_announcement_does_not_expire_before_it_is_published
            an_announcement_that_was_withdrawn_does_not_change
            two_announcement_changes_of_one_revision_at_once_let_one_pass
            a_repeated_effect_key_changes_an_announcement_once
            what_was_withdrawn_long_ago_is_deleted
            announcements_are_listed_newest_first
            announcements_are_listed_oldest_first
            a_list_of_announcements_goes_on_behind_a_position
            announcements_published_at_one_instant_are_all_listed
            an_announcement_is_listed_where_it_belongs
            an_announcement_for_a_role_is_listed_for_those_who_hold_it
            an_announcement_is_listed_in_its_time
            an_announcement_that_was_withdrawn_is_not_listed
            a_search_finds_what_has_all_of_its_words
            a_search_finds_what_an_announcement_says_now
            a_search_without_words_finds_nothing
            a_search_takes_every_character_as_a_character
            a_search_goes_on_behind_a_position
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::announcement_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::announcements::conformance::$case(&ports).await;
        }
    };
}

pub(crate) const fn announcement_id(n: u32) -> AnnouncementId {
    AnnouncementId::new(id(n))
}

const fn world(n: u32) -> Scope {
    Scope::World(WorldId::new(id(n)))
}

/// Announcement `n`: "News n" to everybody, visible after `n` seconds for good.
pub(crate) fn new(n: u32) -> NewAnnouncement {
    NewAnnouncement {
        id: announcement_id(n),
        audience: Audience::of(Scope::Global),
        title: Title::new(&format!("News {n}")).expect("a title"),
        body: AnnouncementText::new("The gates are open.").expect("a text"),
        dedupe_key: None,
        publish_at: at(n.into()),
        expires_at: None,
    }
}

fn saying(n: u32, title: &str, body: &str) -> NewAnnouncement {
    let (title, body) = (Title::new(title).expect("a title"), AnnouncementText::new(body).expect("a text"));
    NewAnnouncement { title, body, ..new(n) }
}

fn under(n: u32, key: &str) -> NewAnnouncement {
    NewAnnouncement { dedupe_key: Some(DedupeKey::new(key).expect("a key")), ..new(n) }
}

/// A change of announcement `n`'s title in any state.
fn to_title(n: u32, title: &str) -> AnnouncementChange {
    let amendment =
        AnnouncementAmendment { title: Some(Title::new(title).expect("a title")), ..AnnouncementAmendment::default() };
    AnnouncementChange { id: announcement_id(n), expected: None, amendment, withdraw: false }
}

fn withdrawal(n: u32) -> AnnouncementChange {
    let amendment = AnnouncementAmendment::default();
    AnnouncementChange { id: announcement_id(n), expected: None, amendment, withdraw: true }
}

/// What staff sees of the global scope after an hour.
fn everything() -> AnnouncementQuery {
    AnnouncementQuery {
        scope: Scope::Global,
        readers: Readers::Staff,
        state: AnnouncementState::Published,
        at: at(3600),
        text: None,
        sort: AnnouncementSort::NewestFirst,
        after: None,
        limit: Limit::MAX,
    }
}

fn search(text: &str) -> AnnouncementQuery {
    AnnouncementQuery { text: Some(text.to_owned()), ..everything() }
}

impl Ports {
    async fn make(&self, new: &NewAnnouncement) -> Announcement {
        self.announcements.publish(&step(0), new).await.expect("the store works").announcement
    }

    async fn change(&self, seconds: i64, change: &AnnouncementChange) -> Result<Announcement, AnnouncementError> {
        self.announcements.amend(&step(seconds), change).await
    }

    async fn find(&self, n: u32) -> Option<Announcement> {
        self.announcements.find(announcement_id(n)).await.expect("the store works")
    }

    async fn page(&self, query: &AnnouncementQuery) -> AnnouncementPage {
        self.announcements.page(query).await.expect("the store works")
    }

    /// The numbers, as they were given to the fixtures, of what a query finds.
    async fn listed(&self, query: &AnnouncementQuery) -> Vec<u32> {
        numbers(&self.page(query).await)
    }
}

fn numbers(page: &AnnouncementPage) -> Vec<u32> {
    let known = |announcement: &Announcement| (0..1000).find(|n| announcement_id(*n) == announcement.id);
    page.items.iter().map(|announcement| known(announcement).expect("one of the fixtures")).collect()
}

fn is_stale(result: &Result<Announcement, AnnouncementError>, present: Revision) -> bool {
    matches!(result, Err(AnnouncementError::Stale(revision)) if *revision == present)
}
