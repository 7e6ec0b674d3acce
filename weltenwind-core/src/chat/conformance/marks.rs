use std::time::Duration;

use super::{
    account, append, at, changes, edit, history, is_refused, limit, message, open, page, position, post, remove, seqs,
    step,
};
use crate::{
    chat::{Change, ChatStore, NewChannel, NewMessage, Position, RemovalMode, RoomPosition, Seq, Unread},
    page::Limit,
};

/// Two devices of one account report in any order.
pub async fn a_mark_moves_neither_back_nor_beyond_the_last_message(store: &dyn ChatStore) {
    open(store, 1).await;
    append(store, &[message(1, 1), message(1, 2), message(1, 3)]).await;
    let channel = NewChannel::sample(1).id;
    let mark = |seq| async move {
        let unread = store.mark_read(account(1), channel, Seq::new(seq)).await.expect("the channel exists");
        assert_eq!((unread.channel, unread.last.get()), (channel, 3));
        unread.read.get()
    };

    assert_eq!(mark(0).await, 0);
    assert_eq!(mark(2).await, 2);
    assert_eq!(mark(1).await, 2);
    assert_eq!(mark(99).await, 3);
    assert_eq!(mark(-1).await, 3);

    post(store, &message(1, 4)).await;
    let stored = store.mark_read(account(1), channel, Seq::ZERO).await.expect("the channel exists");
    assert_eq!((stored.read.get(), stored.last.get()), (3, 4), "the mark did not run ahead");
    let other = store.mark_read(account(2), channel, Seq::new(1)).await.expect("the channel exists");
    assert_eq!(other.read.get(), 1, "marks are each account's own");
}

/// What a client shows as dots beside the channels that its account follows.
pub async fn open_channels_with_messages_behind_the_mark_are_unread(store: &dyn ChatStore) {
    for n in [5, 1, 4, 3, 2] {
        open(store, n).await;
        append(store, &[message(n, 1), message(n, 2)]).await;
    }
    for (n, seq) in [(4, 1), (3, 2), (2, 0), (1, 1)] {
        store.mark_read(account(1), NewChannel::sample(n).id, Seq::new(seq)).await.expect("the channel exists");
    }
    store.amend_channel(&step(1), &super::channels::closing(4)).await.expect("the channel is open");
    let unread = |n, read| Unread { channel: NewChannel::sample(n).id, read: Seq::new(read), last: Seq::new(2) };

    assert_eq!(store.unread(account(1)).await.expect("the store works"), [unread(1, 1), unread(2, 0)]);
    assert_eq!(store.unread(account(2)).await.expect("the store works"), []);
}

/// Old messages go, a slice at a time, and no number is given twice.
pub async fn retention_deletes_the_oldest_and_keeps_the_counters(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &[1, 2, 3, 4, 5].map(|n| message(1, n))).await;
    let channel = stored[0].channel;
    let edited = edit(store, &stored[0], "a better text").await;

    assert_eq!(store.purge(channel, at(4), 2).await.expect("the store works"), 2);
    assert_eq!(seqs(&history(store, 1).await), [3, 4, 5], "the oldest go first");
    assert_eq!(store.purge(channel, at(4), 2).await.expect("the store works"), 1);
    assert_eq!(store.purge(channel, at(4), 2).await.expect("the store works"), 0);
    assert_eq!(store.purge(channel, at(9), 9).await.expect("the store works"), 2);

    assert_eq!(position(store, 1).await.change, edited.change);
    let next = post(store, &message(1, 6)).await;
    assert_eq!((next.seq.get(), next.change.get()), (6, 7));
}

/// A message sent at the very instant stays, and so does what lies in other channels.
pub async fn retention_leaves_newer_messages_and_other_channels(store: &dyn ChatStore) {
    open(store, 1).await;
    open(store, 2).await;
    let stored = append(store, &[message(1, 1), message(1, 2), message(1, 3), message(2, 1)]).await;

    assert_eq!(store.purge(stored[0].channel, at(1), 9).await.expect("the store works"), 0);
    assert_eq!(store.purge(stored[0].channel, at(2), 9).await.expect("the store works"), 1);

    assert_eq!(history(store, 1).await, stored[1..3]);
    assert_eq!(history(store, 2).await, stored[3..]);
}

/// Whoever held a position or a reply to a deleted message goes on without it.
pub async fn what_retention_deleted_is_gone_for_every_reader(store: &dyn ChatStore) {
    open(store, 1).await;
    let first = post(store, &message(1, 1)).await;
    let reply = post(store, &NewMessage { reply_to: Some(first.id), ..message(1, 2) }).await;
    assert_eq!(store.purge(first.channel, at(2), 9).await.expect("the store works"), 1);

    assert_eq!(store.find_message(first.id).await.expect("the store works"), None);
    assert_eq!(page(store, 1, Position::Before(reply.seq), limit(5)).await.page.items, []);
    let rest = changes(store, 1, RoomPosition { epoch: 7, change: first.change }, Limit::MAX).await;
    assert_eq!((rest.page.items, rest.position.change), (vec![reply.clone()], reply.change));

    let again = NewMessage { id: message(1, 9).id, ..message(1, 1) };
    assert_eq!(post(store, &again).await.seq.get(), 3, "its client id is forgotten with it");
    assert_eq!(store.purge(first.channel, at(99), 9).await.expect("the store works"), 2);
    let at_once = NewMessage { pause: Duration::from_hours(1), ..message(1, 10) };
    assert_eq!(post(store, &at_once).await.seq.get(), 4, "there is no message left to pause after");
}

/// Returns for which of the positions up to the head not everything since can be told.
async fn refused(store: &dyn ChatStore) -> Vec<i64> {
    let head = store.head(NewChannel::sample(1).id).await.expect("the store works").expect("the channel exists");
    let mut refused = Vec::new();
    for change in 0..=head.position.change.get() {
        let since = RoomPosition { change: Change::new(change), ..head.position };
        assert_eq!(since.gap_before(head).is_some(), is_refused(store, since).await, "since {change}");
        refused.extend(since.gap_before(head).map(|_| change));
    }
    refused
}

/// Who was away for longer than messages are kept is told so. Who knew all that is gone has missed nothing.
pub async fn who_missed_what_retention_deleted_is_refused(store: &dyn ChatStore) {
    open(store, 1).await;
    open(store, 2).await;
    let stored = append(store, &[1, 2, 3, 4, 5].map(|n| message(1, n))).await;
    append(store, &[message(2, 1), message(2, 2)]).await;
    assert_eq!(refused(store).await, [0; 0]);
    let purge = async |before, limit| store.purge(stored[0].channel, at(before), limit).await.expect("the store works");

    assert_eq!(purge(1, 9).await, 0);
    assert_eq!(refused(store).await, [0; 0]);
    assert_eq!(purge(4, 2).await, 2);
    assert_eq!(refused(store).await, [0, 1]);
    assert_eq!(purge(4, 2).await, 1);
    assert_eq!(refused(store).await, [0, 1, 2]);

    let knew_them = changes(store, 1, RoomPosition { epoch: 7, change: Change::new(3) }, Limit::MAX).await;
    assert_eq!(knew_them.page.items, stored[3..]);
    let other = changes(store, 2, RoomPosition { epoch: 7, change: Change::ZERO }, Limit::MAX).await;
    assert_eq!(seqs(&other.page.items), [1, 2], "another channel has lost nothing");
}

/// A removal that was missed is missed for good once the message is gone, and so is an edit. What else was overwritten is none
/// of it: of the two messages that are left here one was edited twice.
pub async fn who_missed_what_became_of_a_deleted_message_is_refused(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &[1, 2, 3].map(|n| message(1, n))).await;
    let channel = stored[0].channel;
    edit(store, &stored[1], "a better text").await;
    edit(store, &stored[1], "the best text").await;
    assert_eq!(store.purge(channel, at(2), 9).await.expect("the store works"), 1);
    assert_eq!(refused(store).await, [0], "its posting alone");

    let removed = remove(store, &stored[1], RemovalMode::Mask).await;
    let edited = edit(store, &stored[2], "a text").await;
    assert_eq!((removed.change.get(), edited.change.get()), (6, 7));
    assert_eq!(store.purge(channel, at(3), 9).await.expect("the store works"), 1);

    assert_eq!(refused(store).await, [0, 1, 2, 3, 4, 5]);
    let rest = changes(store, 1, RoomPosition { epoch: 7, change: removed.change }, Limit::MAX).await;
    assert_eq!((rest.page.items, rest.position.change), (vec![edited.clone()], edited.change));
}

/// Where nothing is left, the counters still tell who has missed something.
pub async fn a_channel_that_retention_emptied_refuses_who_was_away(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &[message(1, 1), message(1, 2)]).await;
    assert_eq!(refused(store).await, [0; 0], "a channel in which nothing was deleted");

    assert_eq!(store.purge(stored[0].channel, at(9), 9).await.expect("the store works"), 2);
    assert_eq!(refused(store).await, [0, 1]);
    let end = changes(store, 1, RoomPosition { epoch: 7, change: stored[1].change }, Limit::MAX).await;
    assert_eq!((end.page.items, end.position.change), (vec![], stored[1].change));

    let next = post(store, &message(1, 3)).await;
    assert_eq!(refused(store).await, [0, 1]);
    let rest = changes(store, 1, end.position, Limit::MAX).await;
    assert_eq!(rest.page.items, [next]);
}
