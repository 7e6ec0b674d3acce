//! What every [`NotificationStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`notification_store_conformance!`](crate::notification_store_conformance) makes a test of each.

mod reading;
mod spreading;
mod telling;

use std::sync::Arc;

pub use self::{reading::*, spreading::*, telling::*};
use super::{
    model::{FeedMark, FeedState, NewNotification, NotificationQuery, Told},
    store::NotificationStore,
};
use crate::{
    access::{GrantStore, NewGrant, Role},
    accounts::{
        AccountStore, PreferenceStore, PreferencesAmendment, PreferencesChange, Topic,
        conformance::{account, at, id, open_guest, step},
    },
    announcements::{
        AnnouncementAmendment, AnnouncementChange, AnnouncementStore, AnnouncementText, Audience, NewAnnouncement,
        Title,
    },
    clock::Timestamp,
    dedupe::DedupeKey,
    ids::{AccountId, AnnouncementId, GrantId, NotificationId, WorldId},
    page::Limit,
    scope::Scope,
};

/// The port under test, and its neighbours on the same store.
#[derive(Debug, Clone)]
pub struct Ports {
    /// What accounts are told.
    pub notifications: Arc<dyn NotificationStore>,
    /// Announcements, which feeds show.
    pub announcements: Arc<dyn AnnouncementStore>,
    /// Accounts that are told.
    pub accounts: Arc<dyn AccountStore>,
    /// What they hide.
    pub preferences: Arc<dyn PreferenceStore>,
    /// Who belongs to an audience.
    pub grants: Arc<dyn GrantStore>,
}

/// Makes a test of every case of [`conformance`](crate::notifications::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::notification_store_conformance!(my_fixture());
/// }
/// mod remote {
///     weltenwind_core::notification_store_conformance!(my_server(), ignore = "needs a server");
/// }
/// ```
#[macro_export]
macro_rules! notification_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::notification_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_notification_reads_back_as_it_was_told
            an_account_is_told_once_under_one_key
            one_key_at_once_tells_an_account_once
            whoever_is_not_there_is_not_told
            a_feed_goes_on_behind_a_position
            a_feed_shows_one_topic_if_asked
            a_topic_that_is_off_is_hidden_until_it_is_on_again
            what_has_expired_is_not_shown
            announcements_to_everybody_are_in_every_feed_since_it_was_there
            an_announcement_that_was_withdrawn_is_in_no_feed
            a_notification_is_marked_as_read
            an_announcement_to_everybody_is_read_by_each_account_for_itself
            what_is_not_shown_is_neither_read_nor_dismissed
            what_was_seen_is_read_and_nothing_that_came_later
            an_older_mark_takes_nothing_back
            what_was_dismissed_does_not_come_back
            unread_notifications_are_counted_up_to_a_cap
            a_feeds_state_changes_with_what_it_shows_and_only_then
            a_notification_is_handed_over_once
            a_notification_is_handed_over_to_all_who_may
            of_two_that_hand_a_notification_over_at_once_one_may
            the_members_of_a_world_are_told
            those_who_hold_a_role_are_told
            whoever_joins_after_the_publication_is_not_told
            a_large_audience_is_told_page_by_page
            pages_at_once_tell_everybody_once
            an_announcement_is_spread_in_its_time_and_not_when_it_is_gone
            an_announcement_to_everybody_is_dispatched_without_a_row
            what_was_kept_long_enough_is_deleted
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::notification_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::notifications::conformance::$case(&ports).await;
        }
    };
}

const fn notification_id(n: u32) -> NotificationId {
    NotificationId::new(id(n))
}

const fn world(n: u32) -> Scope {
    Scope::World(WorldId::new(id(n)))
}

/// News `n` for account `a`, told after `n` seconds under a key of its own.
fn news(a: u32, n: u32) -> NewNotification {
    NewNotification {
        id: notification_id(n),
        account: account(a),
        topic: Topic::Invite,
        dedupe_key: DedupeKey::new(&format!("news-{n}")).expect("a key"),
        title: Title::new(&format!("News {n}")).expect("a title"),
        body: AnnouncementText::new("You are invited.").expect("a text"),
        at: at(n.into()),
        expires_at: None,
    }
}

/// Announcement `n`, published after `n` seconds.
fn announcement(n: u32, audience: Audience) -> NewAnnouncement {
    NewAnnouncement {
        id: AnnouncementId::new(id(n)),
        audience,
        title: Title::new(&format!("Announcement {n}")).expect("a title"),
        body: AnnouncementText::new("The gates are open.").expect("a text"),
        dedupe_key: None,
        publish_at: at(n.into()),
        expires_at: None,
    }
}

/// What account `a`'s feed shows after an hour.
fn feed(a: u32) -> NotificationQuery {
    NotificationQuery {
        account: account(a),
        unread: false,
        topic: None,
        at: at(3600),
        since: at(-3600),
        after: None,
        limit: Limit::MAX,
    }
}

fn unread(a: u32) -> NotificationQuery {
    NotificationQuery { unread: true, ..feed(a) }
}

impl Ports {
    async fn guest(&self, n: u32) -> AccountId {
        open_guest(&*self.accounts, n).await.account.id
    }

    async fn tell(&self, news: &[NewNotification]) -> Vec<Told> {
        self.notifications.tell(news).await.expect("the store works")
    }

    async fn announce(&self, n: u32, audience: Audience) {
        let new = announcement(n, audience);
        self.announcements.publish(&step(0), &new).await.expect("the store works");
    }

    async fn withdraw(&self, n: u32) {
        let (id, amendment) = (AnnouncementId::new(id(n)), AnnouncementAmendment::default());
        let change = AnnouncementChange { id, expected: None, amendment, withdraw: true };
        self.announcements.amend(&step(0), &change).await.expect("it exists");
    }

    /// The numbers, as they were given to the fixtures, of what a query finds.
    async fn shown(&self, query: &NotificationQuery) -> Vec<u32> {
        let page = self.notifications.page(query).await.expect("the store works");
        let known = |shown: NotificationId| (0..10_000).find(|n| notification_id(*n) == shown);
        page.items.iter().map(|shown| known(shown.id).expect("one of the fixtures")).collect()
    }

    async fn state(&self, a: u32, at: Timestamp) -> FeedState {
        self.notifications.state(account(a), at, super::conformance::at(-3600)).await.expect("the store works")
    }

    /// To which of these accounts `n` may be handed over, in their order.
    async fn dispatch(&self, accounts: &[u32], n: u32, seconds: i64) -> Vec<AccountId> {
        let accounts: Vec<AccountId> = accounts.iter().map(|a| account(*a)).collect();
        let may = self.notifications.dispatch(&accounts, notification_id(n), at(seconds)).await;
        let mut may = may.expect("the store works");
        may.sort_unstable();
        may
    }

    /// Switches topics on and off for account `a`.
    async fn switch(&self, a: u32, topics: &[(Topic, bool)]) {
        let amendment = PreferencesAmendment { notifications: topics.to_vec(), ..PreferencesAmendment::default() };
        let change = PreferencesChange { account: account(a), expected: None, amendment };
        self.preferences.amend(&step(0), &change).await.expect("the account is there");
    }

    /// How far account `a` sees its feed at an instant.
    async fn mark(&self, a: u32, at: Timestamp) -> FeedMark {
        let state = self.state(a, at).await;
        FeedMark { version: state.version, epoch: state.epoch, at: at.as_microsecond() }
    }

    async fn join(&self, a: u32, grant: u32, role: Role, scope: Scope, seconds: i64) {
        let (id, account) = (GrantId::new(id(grant)), account(a));
        let grant = NewGrant { id, account, role, scope, reason: None, expires_at: None };
        self.grants.grant(&step(seconds), &grant).await.expect("the account is there");
    }
}
