//! What every [`ChatStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`chat_store_conformance!`](crate::chat_store_conformance) makes a test of each.

mod append;
mod authors;
mod channels;
mod edits;
mod history;
mod marks;
mod pauses;
mod side_by_side;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use uuid::Uuid;

pub use self::{append::*, authors::*, channels::*, edits::*, history::*, marks::*, pauses::*, side_by_side::*};
use super::{
    body::{Body, ClientId},
    error::{ChatError, Refusal},
    model::{
        ChangeQuery, Changes, Channel, Edit, History, Message, MessageQuery, NewChannel, NewMessage, Position, Removal,
        RemovalMode, RoomPosition,
    },
    store::ChatStore,
};
use crate::{
    clock::Timestamp,
    ids::{AccountId, MessageId},
    page::Limit,
    step::{EffectKey, Step},
};

/// Makes a test of every case of [`conformance`](crate::chat::conformance).
///
/// The fixture is a future of a guard, which is dropped after the case, and of an `Arc` or `Box` of a store on which
/// nothing was done before. Tests run on tokio with its features `macros` and `rt-multi-thread`.
///
/// ```
/// mod memory {
///     # use std::sync::Arc;
///     # use weltenwind_core::chat::MemoryChatStore;
///     weltenwind_core::chat_store_conformance!(async { ((), Arc::new(MemoryChatStore::default())) });
/// }
/// mod remote {
///     # use std::sync::Arc;
///     # use weltenwind_core::chat::MemoryChatStore;
///     weltenwind_core::chat_store_conformance!(
///         async { ((), Arc::new(MemoryChatStore::default())) },
///         ignore = "needs a server"
///     );
/// }
/// ```
#[macro_export]
macro_rules! chat_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::chat_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_new_channel_reads_back_as_it_was_made
            what_does_not_exist_is_told
            an_open_channel_holds_its_slug_in_its_scope
            a_closed_channel_gives_its_slug_free
            open_channels_are_listed_by_scope_in_order_of_their_ids
            an_amendment_changes_what_it_names
            a_stale_amendment_is_refused_with_the_present_revision
            an_amendment_to_a_taken_slug_is_refused
            a_closed_channel_is_not_amended
            a_closed_channel_takes_no_message_and_keeps_its_history
            messages_do_not_count_a_channels_revision
            open_channels_with_retention_are_found
            a_repeated_effect_key_has_no_second_effect
            messages_are_numbered_from_one_in_the_order_of_the_batch
            channels_count_each_on_its_own
            an_empty_batch_changes_nothing
            a_message_reads_back_as_it_was_written
            instants_are_cut_to_microseconds
            a_repeated_client_id_returns_the_stored_message
            a_repeat_within_a_batch_is_stored_once
            a_message_named_after_its_request_is_known_again
            a_client_id_for_another_message_is_refused
            a_client_id_for_another_message_is_refused_within_a_batch
            a_client_id_belongs_to_its_author_and_channel
            messages_without_client_id_are_never_repeats
            a_repeat_returns_the_present_state
            an_unknown_channel_is_refused_without_harm_to_others
            a_reply_is_to_a_message_of_the_same_channel
            a_refused_reply_leaves_its_client_id_free
            a_full_batch_of_everything_is_answered_in_order
            an_edit_gives_a_text_and_takes_the_next_change
            a_masked_message_keeps_its_text_for_moderators
            a_purge_destroys_the_text
            a_purge_destroys_a_masked_text_too
            any_other_second_removal_answers_the_first
            a_removed_message_is_not_edited
            an_unknown_message_is_neither_edited_nor_removed
            a_repeated_edit_or_removal_has_no_second_effect
            pages_go_both_ways_by_seq
            a_page_at_either_end_is_empty
            pages_do_not_repeat_while_messages_arrive
            a_page_says_which_change_it_is_complete_to
            removed_messages_keep_their_places
            changes_come_once_each_in_their_newest_state
            changes_go_on_where_the_last_page_ended
            a_second_edit_leaves_a_hole_in_what_is_stored
            a_position_of_another_epoch_is_refused
            a_position_ahead_is_refused
            a_position_behind_the_window_is_refused
            a_pause_is_kept_after_the_authors_own_last_message_in_the_channel
            a_repeat_needs_no_pause_and_is_none_to_pause_after
            of_a_batch_that_keeps_no_pause_the_first_is_written
            what_is_not_written_is_none_to_pause_after
            only_whom_a_pause_is_asked_of_keeps_one
            another_reason_is_told_before_a_pause_that_is_not_kept
            a_mark_moves_neither_back_nor_beyond_the_last_message
            open_channels_with_messages_behind_the_mark_are_unread
            what_an_author_wrote_is_found_in_every_channel
            another_name_takes_a_change_for_each_message
            a_name_that_a_message_bears_already_takes_no_change
            a_repeat_is_known_under_another_name
            retention_deletes_the_oldest_and_keeps_the_counters
            retention_leaves_newer_messages_and_other_channels
            what_retention_deleted_is_gone_for_every_reader
            who_missed_what_retention_deleted_is_refused
            who_missed_what_became_of_a_deleted_message_is_refused
            a_channel_that_retention_emptied_refuses_who_was_away
            appenders_at_once_leave_neither_holes_nor_doubles
            of_messages_at_once_that_keep_no_pause_one_is_written
            one_client_id_at_once_is_stored_once
            two_texts_for_one_client_id_at_once_store_one
            posts_edits_and_removals_at_once_take_every_change_once
            removals_at_once_take_one_change
            one_effect_key_at_once_has_one_effect
            creations_at_once_give_a_slug_to_one
            amendments_at_once_of_one_revision_let_one_pass
            a_channel_that_closes_meanwhile_loses_no_acknowledged_message
            history_and_changes_meet_while_messages_arrive
            marks_at_once_keep_the_furthest
            retention_at_once_counts_every_message_once
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::chat_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, store) = $fixture.await;
            $crate::chat::conformance::$case(&*store).await;
        }
    };
}

/// Runs calls side by side and returns what they answer, in their order.
async fn at_once<T>(calls: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    enum Call<F, T> {
        Running(Pin<Box<F>>),
        Ended(T),
    }
    let mut calls: Vec<_> = calls.into_iter().map(|call| Call::Running(Box::pin(call))).collect();
    poll_fn(|cx| {
        for call in &mut calls {
            if let Call::Running(running) = call
                && let Poll::Ready(answer) = running.as_mut().poll(cx)
            {
                *call = Call::Ended(answer);
            }
        }
        if calls.iter().all(|call| matches!(call, Call::Ended(_))) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let answers = calls.into_iter().map(|call| match call {
        Call::Ended(answer) => answer,
        Call::Running(_) => unreachable!("all calls have ended"),
    });
    answers.collect()
}

fn limit(n: u16) -> Limit {
    Limit::new(n).expect("1 to 200")
}

fn account(n: u128) -> AccountId {
    AccountId::new(Uuid::from_u128(n))
}

/// The start of 2026, and some seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).expect("the year 2026 is in range")
}

fn step(seconds: i64) -> Step {
    Step::sample(at(seconds))
}

fn step_with_key(seconds: i64, key: u8) -> Step {
    Step { effect_key: Some(EffectKey::new([key; 32])), ..step(seconds) }
}

async fn open(store: &dyn ChatStore, n: u32) -> Channel {
    store.create_channel(&step(0), &NewChannel::sample(n)).await.expect("the channel is new")
}

/// Message `n` for [`NewChannel::sample`] number `channel`, sent `n` seconds after the start of 2026 as client id
/// `c<n>`.
fn message(channel: u32, n: u32) -> NewMessage {
    NewMessage {
        id: MessageId::new(Uuid::from_u128(
            0x0e55_0000_0000_7000_8000_0000_0000_0000 + (u128::from(channel) << 32) + u128::from(n),
        )),
        channel: NewChannel::sample(channel).id,
        client_id: client_id(&format!("c{n}")),
        sent_at: at(i64::from(n)),
        ..NewMessage::sample(&format!("message {n}"))
    }
}

fn body(text: &str) -> Body {
    Body::new(text).expect("a text")
}

#[expect(clippy::unnecessary_wraps, reason = "a message's client id is an option")]
fn client_id(text: &str) -> Option<ClientId> {
    Some(ClientId::new(text).expect("a client id"))
}

/// Appends one message that is to be written.
async fn post(store: &dyn ChatStore, new: &NewMessage) -> Message {
    append(store, std::slice::from_ref(new)).await.remove(0)
}

/// Appends messages all of which are to be written.
async fn append(store: &dyn ChatStore, batch: &[NewMessage]) -> Vec<Message> {
    let answers = store.append(batch).await.expect("the store works");
    answers.into_iter().map(|answer| answer.expect("the message is written")).collect()
}

/// Appends one message that is to be refused.
async fn refusal(store: &dyn ChatStore, new: &NewMessage) -> Refusal {
    store
        .append(std::slice::from_ref(new))
        .await
        .expect("the store works")
        .remove(0)
        .expect_err("the message is refused")
}

async fn page(store: &dyn ChatStore, channel: u32, position: Position, limit: Limit) -> History {
    let query = MessageQuery { channel: NewChannel::sample(channel).id, position, limit };
    store.page(&query).await.expect("the store works").expect("the channel exists")
}

/// Reads all messages of a channel, oldest first.
async fn history(store: &dyn ChatStore, channel: u32) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let behind = messages.last().map_or(super::Seq::ZERO, |last| last.seq);
        let mut part = page(store, channel, Position::After(behind), Limit::MAX).await.page;
        messages.append(&mut part.items);
        if !part.more {
            return messages;
        }
    }
}

async fn position(store: &dyn ChatStore, channel: u32) -> RoomPosition {
    page(store, channel, Position::Newest, limit(1)).await.position
}

async fn changes(store: &dyn ChatStore, channel: u32, since: RoomPosition, limit: Limit) -> Changes {
    let query = ChangeQuery { channel: NewChannel::sample(channel).id, since, limit };
    store.changes(&query).await.expect("the position is in the window")
}

/// Returns whether not everything since a position can be told.
async fn is_refused(store: &dyn ChatStore, since: RoomPosition) -> bool {
    let query = ChangeQuery { channel: NewChannel::sample(1).id, since, limit: limit(1) };
    match store.changes(&query).await {
        Ok(_) => false,
        Err(ChatError::ReplayWindowExceeded) => true,
        Err(error) => panic!("{error}"),
    }
}

async fn edit(store: &dyn ChatStore, message: &Message, text: &str) -> Message {
    let edit = Edit { message: message.id, body: body(text) };
    store.edit(&step(100), &edit).await.expect("the message can be edited")
}

async fn remove(store: &dyn ChatStore, message: &Message, mode: RemovalMode) -> Message {
    let removal = Removal { message: message.id, reason: "spam".to_owned(), mode };
    store.remove(&step(200), &removal).await.expect("the message exists")
}

fn seqs(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|message| message.seq.get()).collect()
}

fn change_numbers(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|message| message.change.get()).collect()
}

fn one_to(n: usize) -> Vec<i64> {
    (1..=i64::try_from(n).expect("a few")).collect()
}
