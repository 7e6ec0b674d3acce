//! What every [`AccountStore`], [`SessionStore`], [`DeviceStore`], [`KeyStore`], [`SecondFactorStore`] and [`PreferenceStore`]
//! must do: plain functions, each named as the sentence it proves.
//!
//! [`account_store_conformance!`](crate::account_store_conformance),
//! [`session_store_conformance!`](crate::session_store_conformance),
//! [`device_store_conformance!`](crate::device_store_conformance), [`key_store_conformance!`](crate::key_store_conformance),
//! [`second_factor_store_conformance!`](crate::second_factor_store_conformance) and
//! [`preference_store_conformance!`](crate::preference_store_conformance) make a test of each.

mod accounts;
mod credentials;
mod devices;
mod identities;
mod keys;
mod preferences;
mod sessions;
mod two_factor;

use std::sync::Arc;

use uuid::Uuid;

pub use self::{
    accounts::*, credentials::*, devices::*, identities::*, keys::*, preferences::*, sessions::*, two_factor::*,
};
use super::{
    devices::{DeviceStore, Seen},
    keys::KeyStore,
    model::{
        Bootstrap, DisplayName, Email, NewBootstrapToken, NewDevice, NewGuest, NewSession, Registration, SignedIn,
        TokenHash, Username,
    },
    password::PasswordRecord,
    preferences::PreferenceStore,
    store::{AccountStore, SessionStore},
    two_factor::SecondFactorStore,
};
use crate::{
    access::GrantStore,
    clock::Timestamp,
    ids::{AccountId, DeviceId, GrantId, SessionId},
    step::{EffectKey, Step},
};

/// The ports under test, on one store, and the one that shows an owner's grant.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Keys.
    pub keys: Arc<dyn KeyStore>,
    /// Second factors.
    pub factors: Arc<dyn SecondFactorStore>,
    /// Preferences.
    pub preferences: Arc<dyn PreferenceStore>,
    /// Grants.
    pub grants: Arc<dyn GrantStore>,
}

/// Makes a test of every case on an [`AccountStore`].
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::account_store_conformance!(my_fixture());
/// }
/// mod remote {
///     weltenwind_core::account_store_conformance!(my_server(), ignore = "needs a server");
/// }
/// ```
#[macro_export]
macro_rules! account_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::account_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_new_guest_is_signed_in
            what_is_finer_than_a_microsecond_is_cut_off
            an_unknown_account_is_told
            a_registered_account_is_signed_in_and_has_credentials
            a_taken_username_is_not_registered_again
            two_registrations_under_one_username_at_once_make_one_account
            a_repeated_effect_key_registers_once
            an_unknown_username_has_no_credentials
            accounts_are_listed_page_by_page
            accounts_are_searched_by_username
            guests_may_bear_the_same_name
            a_bootstrap_token_makes_an_owner_who_is_signed_in
            an_unknown_bootstrap_token_is_invalid
            a_bootstrap_token_is_spent_once
            a_bootstrap_token_is_spent_when_its_end_is_reached
            a_taken_username_leaves_the_bootstrap_token_unspent
            every_bootstrap_token_makes_one_more_owner
            a_bootstrap_token_that_is_issued_again_stays_spent
            two_bootstraps_with_one_token_at_once_make_one_owner
            two_bootstraps_to_one_username_at_once_make_one_owner
            a_new_name_counts_the_revision_up
            an_unknown_account_is_not_renamed
            two_renamings_at_once_both_count
            a_repeated_effect_key_opens_one_guest
            a_repeated_effect_key_spends_one_bootstrap_token
            a_repeated_effect_key_renames_once
            a_repeated_effect_key_issues_one_bootstrap_token
            a_refused_bootstrap_leaves_its_effect_key_free
            one_effect_key_at_once_opens_one_guest
            another_password_ends_every_session_but_opens_one
            two_passwords_set_at_once_let_one_pass
            a_session_that_has_ended_is_not_replaced
            a_repeated_effect_key_changes_a_password_once
            a_guest_is_upgraded_in_place
            a_registered_account_is_not_upgraded
            a_taken_username_leaves_the_guest_as_it_was
            fifty_upgrades_at_once_let_one_pass
            two_upgrades_to_one_username_at_once_let_one_pass
            a_guest_has_no_password
            an_identity_leads_to_one_account_for_good
            an_issuer_and_a_subject_together_are_an_identity
            first_sign_ins_of_one_identity_at_once_make_one_account
            a_repeated_effect_key_signs_an_identity_in_once
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::account_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::accounts::conformance::$case(&ports).await;
        }
    };
}

/// Makes a test of every case on a [`SessionStore`]; the fixture is that of
/// [`account_store_conformance!`](crate::account_store_conformance).
#[macro_export]
macro_rules! session_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::account_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_session_is_opened_on_the_known_device
            a_session_of_an_unknown_account_is_refused
            a_repeated_effect_key_opens_one_session
            a_session_is_found_with_its_account
            a_session_shows_its_accounts_present_name
            a_session_begins_with_an_unused_refresh_token
            a_rotation_replaces_the_refresh_token
            rotations_follow_one_another
            only_the_present_generation_is_replaced
            a_session_that_has_ended_is_not_rotated
            a_session_that_has_expired_is_not_rotated
            two_rotations_of_one_generation_at_once_replace_it_once
            a_session_keeps_its_first_end
            an_unknown_session_is_ended_without_harm
            a_session_that_ends_while_it_is_rotated_has_ended
            a_repeated_effect_key_rotates_once
            a_rotation_that_did_nothing_leaves_its_effect_key_free
            a_repeated_effect_key_ends_once
            a_ticket_is_spent_once
            a_ticket_is_answered_as_it_was_saved
            a_ticket_that_ended_is_forgotten_when_another_is_saved
            one_ticket_spent_twice_at_once_is_given_once
            many_tickets_saved_at_once_are_all_kept
            sessions_that_hold_are_listed_page_by_page
        }
    };
}

/// Makes a test of every case on a [`DeviceStore`]; the fixture is that of
/// [`account_store_conformance!`](crate::account_store_conformance).
#[macro_export]
macro_rules! device_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::account_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_device_is_listed_as_it_was_seen
            a_device_is_seen_again
            devices_are_listed_page_by_page
            a_device_is_renamed_by_its_owner_alone
            a_device_is_known_to_its_account_by_its_fingerprint_until_it_ends
            an_ended_device_takes_its_sessions_along
            an_ended_device_is_not_known_again
            a_device_is_ended_by_its_owner_alone
            a_repeated_effect_key_ends_a_device_once
            everything_at_once_ends_in_order
        }
    };
}

/// Makes a test of every case on a [`KeyStore`]; the fixture is that of
/// [`account_store_conformance!`](crate::account_store_conformance).
#[macro_export]
macro_rules! key_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::account_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            an_installation_without_keys_adopts_fresh_ones
            an_installation_with_keys_keeps_them
            signing_keys_are_answered_youngest_first
            two_nodes_that_start_at_once_get_the_same_keys
            a_further_root_key_is_answered_before_the_older_ones
            a_root_key_is_added_once
            root_keys_that_are_added_at_once_are_all_kept
            a_rotation_adds_both_keys_and_drops_what_it_names
            a_rotation_that_follows_another_key_changes_nothing
            a_repeated_effect_key_rotates_the_keys_once
            of_rotations_at_once_one_passes
            the_youngest_signing_key_is_never_dropped
        }
    };
}

/// Makes a test of every case on a [`SecondFactorStore`]; the fixture is that of
/// [`account_store_conformance!`](crate::account_store_conformance).
#[macro_export]
macro_rules! second_factor_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::account_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_second_factor_is_begun_anew_until_it_is_confirmed
            a_guest_begins_no_second_factor
            a_confirmed_second_factor_ends_every_session_but_opens_one
            a_refused_confirmation_leaves_the_second_factor_begun
            two_confirmations_at_once_let_one_pass
            a_code_opens_one_session_and_none_before_it_opens_another
            a_code_of_another_secret_opens_nothing
            one_code_at_once_opens_one_session
            a_recovery_code_is_used_once
            a_second_factor_that_was_given_up_leaves_nothing
            a_second_factor_is_given_up_on_a_session_that_holds
            a_second_factor_is_removed_with_every_session
            what_opens_while_a_second_factor_is_confirmed_is_seen_or_comes_later
        }
    };
}

/// Makes a test of every case on a [`PreferenceStore`]; the fixture is that of
/// [`account_store_conformance!`](crate::account_store_conformance).
#[macro_export]
macro_rules! preference_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::account_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            preferences_that_were_never_said_are_the_defaults
            preferences_read_back_as_they_were_said
            stale_preferences_are_not_changed
            two_changes_of_one_revision_at_once_let_one_pass
            a_repeated_effect_key_changes_preferences_once
        }
    };
}

/// The start of 2026, and some seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).expect("the year 2026 is in range")
}

pub(crate) fn step(seconds: i64) -> Step {
    Step::sample(at(seconds))
}

pub(crate) fn step_with_key(seconds: i64, key: u8) -> Step {
    Step { effect_key: Some(EffectKey::new([key; 32])), ..step(seconds) }
}

pub(crate) const fn id(n: u32) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n as u128)
}

pub(crate) fn account(n: u32) -> AccountId {
    AccountId::new(id(n))
}

/// Guest `n`, called "Player", with session `n` that idles out after an hour and ends after a day.
pub(crate) fn guest(n: u32) -> NewGuest {
    NewGuest { id: account(n), display_name: name("Player"), session: session(n) }
}

pub(crate) async fn open_guest(accounts: &dyn AccountStore, n: u32) -> SignedIn {
    accounts.open_guest(&step(0), &guest(n)).await.expect("the guest is new")
}

fn name(text: &str) -> DisplayName {
    DisplayName::new(text).expect("a name")
}

pub(crate) fn session(n: u32) -> NewSession {
    NewSession {
        id: SessionId::new(id(n)),
        device: NewDevice { id: DeviceId::new(id(n)), name: None, fingerprint: None, seen: seen(0) },
        refresh: hash("refresh", n, 0),
        idle_expires_at: at(3600),
        expires_at: at(86_400),
    }
}

/// Seen at so many seconds, from nowhere that is known.
pub(crate) fn seen(seconds: i64) -> Seen {
    Seen::new(at(seconds), None)
}

fn hash(what: &str, n: u32, generation: u32) -> TokenHash {
    TokenHash::of(&format!("{what} {n} {generation}"))
}

/// Bootstrap token `n`, which ends after 15 minutes.
fn bootstrap_token(n: u32) -> NewBootstrapToken {
    NewBootstrapToken { hash: hash("bootstrap", n, 0), expires_at: at(900) }
}

/// Owner `n` for bootstrap token `n`.
fn bootstrap(n: u32) -> Bootstrap {
    Bootstrap {
        token: bootstrap_token(n).hash,
        id: account(n),
        username: Username::new(&format!("owner{n}")).expect("a username"),
        display_name: name("Mira"),
        password: PasswordRecord::from_stored("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".to_owned()),
        grant: GrantId::new(id(n)),
        session: session(n),
    }
}

/// Registered account `n`, called "player" and its number, with session `n`.
fn registration(n: u32) -> Registration {
    Registration {
        id: account(n),
        username: Username::new(&format!("player{n}")).expect("a username"),
        display_name: name("Oskar"),
        email: Some(Email::new("oskar@example.org").expect("an address")),
        password: PasswordRecord::from_stored("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".to_owned()),
        session: session(n),
    }
}

async fn issue(ports: &Ports, n: u32) {
    ports.accounts.issue_bootstrap(&step(0), &bootstrap_token(n)).await.expect("the token is new");
}
