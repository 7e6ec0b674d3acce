use std::collections::{BTreeMap, BTreeSet};

use super::{
    account, append, at, at_once, body, change_numbers, changes, channels, history, limit, message, one_to, open, page,
    position, post, seqs, step, step_with_key,
};
use crate::chat::{
    ChannelChange, ChatError, ChatStore, Edit, Message, NewChannel, NewMessage, Position, Refusal, Removal,
    RemovalMode, Seq,
};

/// Nodes append to the same channels at the same time, and name them in any order.
pub async fn appenders_at_once_leave_neither_holes_nor_doubles(store: &dyn ChatStore) {
    for n in 1..=4 {
        open(store, n).await;
    }
    let appender = |task: u32| async move {
        let mut stored = Vec::new();
        for round in 0..3 {
            let channels = [0, 1, 2, 3].map(|n| 1 + (n * (1 + 2 * (task % 2)) + task) % 4);
            let batch: Vec<NewMessage> =
                (0..8).map(|n| message(channels[n as usize % 4], 1 + task * 100 + round * 10 + n)).collect();
            let answers = append(store, &batch).await;
            assert!(answers.iter().zip(&batch).all(|(answer, new)| answer.id == new.id));
            stored.extend(answers);
        }
        stored
    };

    let acknowledged: Vec<Message> = at_once((0..32).map(appender)).await.into_iter().flatten().collect();

    assert_eq!(acknowledged.len(), 32 * 3 * 8);
    for n in 1..=4 {
        let read = history(store, n).await;
        assert_eq!(seqs(&read), one_to(read.len()));
        assert_eq!(change_numbers(&read), one_to(read.len()));
        assert_eq!(position(store, n).await.change, read.last().expect("messages were written").change);
        let mut answered: Vec<Message> =
            acknowledged.iter().filter(|message| message.channel == read[0].channel).cloned().collect();
        answered.sort_by_key(|message| message.seq);
        assert_eq!(answered, read, "what was acknowledged is what is stored");
    }
}

/// A client retries through many nodes before the first has answered.
pub async fn one_client_id_at_once_is_stored_once(store: &dyn ChatStore) {
    open(store, 1).await;
    // More than once, because the first calls of all meet only while a store's connections are warm.
    for round in 0..4 {
        let attempt = |n: u32| async move {
            let numbered = |m| message(1, round * 1000 + m + n);
            let retry = NewMessage { id: numbered(100).id, ..message(1, 1 + round) };
            // Neighbours in the batch must not suffer from the race.
            append(store, &[numbered(200), retry, numbered(300)]).await
        };

        let answers = at_once((0..16).map(attempt)).await;

        let winners: BTreeSet<_> = answers.iter().map(|answer| (answer[1].id, answer[1].seq)).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let read = history(store, 1).await;
        let written = 33 * (usize::try_from(round).expect("a few") + 1);
        assert_eq!((seqs(&read), change_numbers(&read)), (one_to(written), one_to(written)));
        assert!(answers.iter().flatten().all(|answer| read.contains(answer)));
    }
}

/// One of them is written; the other author's mistake is told, and told truly.
pub async fn two_texts_for_one_client_id_at_once_store_one(store: &dyn ChatStore) {
    open(store, 1).await;
    for round in 0..4 {
        let attempt = |n: u32| async move {
            let text = body(if n.is_multiple_of(2) { "heads" } else { "tails" });
            let new =
                NewMessage { id: message(1, round * 1000 + 100 + n).id, body: text.clone(), ..message(1, 1 + round) };
            (text, store.append(&[new]).await.expect("the store works").remove(0))
        };

        let answers = at_once((0..16).map(attempt)).await;

        let read = history(store, 1).await;
        assert_eq!(read.len(), usize::try_from(round).expect("a few") + 1);
        let stored = read.last().expect("one was written");
        for (text, answer) in answers {
            match answer {
                Ok(message) => assert_eq!((&message, message.body.as_ref()), (stored, Some(&text))),
                Err(Refusal::ClientIdReused(_)) => assert_ne!(stored.body.as_ref(), Some(&text)),
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }
}

/// Listeners count changes: each number belongs to one event, whatever kind.
pub async fn posts_edits_and_removals_at_once_take_every_change_once(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &(1..=12).map(|n| message(1, n)).collect::<Vec<_>>()).await;
    let act = |n: usize| {
        let target = stored[n % 12].id;
        async move {
            match n % 3 {
                0 => post(store, &message(1, 100 + u32::try_from(n).expect("a few"))).await,
                1 => store
                    .edit(&step(1), &Edit { message: target, body: body("a better text") })
                    .await
                    .expect("it can be edited"),
                _ => {
                    let removal = Removal { message: target, reason: "spam".to_owned(), mode: RemovalMode::Mask };
                    store.remove(&step(1), &removal).await.expect("it exists")
                }
            }
        }
    };

    // Numbers 0 to 23: eight posts, two edits of each of four messages, two removals of each of four others.
    let answers = at_once((0..24).map(act)).await;

    let taken: BTreeSet<i64> = answers.iter().map(|message| message.change.get()).collect();
    let last = position(store, 1).await.change.get();
    assert_eq!(last, 12 + 8 + 8 + 4);
    assert!(taken.iter().copied().eq(13..=last), "{taken:?}");
    assert_eq!(seqs(&history(store, 1).await), one_to(20));
}

/// Two moderators press the button together.
pub async fn removals_at_once_take_one_change(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = post(store, &message(1, 1)).await;
    let removal = Removal { message: stored.id, reason: "spam".to_owned(), mode: RemovalMode::Mask };

    let answers = at_once((0..8).map(|n| {
        let removal = &removal;
        async move { store.remove(&step(n), removal).await.expect("it exists") }
    }))
    .await;

    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(position(store, 1).await.change.get(), 2);
}

/// Two administrators open a channel of the same name.
pub async fn creations_at_once_give_a_slug_to_one(store: &dyn ChatStore) {
    let slug = NewChannel::sample(1).slug;

    let answers = at_once((1..=8).map(|n| {
        let new = NewChannel { slug: slug.clone(), ..NewChannel::sample(n) };
        async move { store.create_channel(&step(0), &new).await }
    }))
    .await;

    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(ChatError::SlugTaken(_)))), "{answers:?}");
}

/// An impatient client sends its request again before the first has answered.
pub async fn one_effect_key_at_once_has_one_effect(store: &dyn ChatStore) {
    let made =
        at_once((1..=8).map(|n| {
            let new = NewChannel { slug: NewChannel::sample(1).slug, ..NewChannel::sample(n) };
            async move {
                store.create_channel(&step_with_key(0, 1), &new).await.expect("the key is known, or the slug free")
            }
        }))
        .await;
    assert!(made.iter().all(|channel| *channel == made[0]), "{made:?}");

    let new = NewMessage { channel: made[0].id, ..message(1, 1) };
    let better = Edit { message: post(store, &new).await.id, body: body("a better text") };
    let edited =
        at_once((0..8).map(|_| async { store.edit(&step_with_key(1, 2), &better).await.expect("it can be edited") }))
            .await;
    assert!(edited.iter().all(|message| message.change.get() == 2), "{edited:?}");
}

/// Two administrators save the same form.
pub async fn amendments_at_once_of_one_revision_let_one_pass(store: &dyn ChatStore) {
    let made = open(store, 1).await;
    let change = ChannelChange { expected: Some(made.revision), ..channels::change(1) };

    let answers = at_once((0..8).map(|_| async { store.amend_channel(&step(1), &change).await })).await;

    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let second = made.revision.next();
    let stale = answers.iter().filter(|answer| matches!(answer, Err(ChatError::Stale(present)) if *present == second));
    assert_eq!(stale.count(), 7, "{answers:?}");
}

/// What was acknowledged is in the history; what came too late was refused.
pub async fn a_channel_that_closes_meanwhile_loses_no_acknowledged_message(store: &dyn ChatStore) {
    open(store, 1).await;
    let poster = |task: u32| async move {
        let mut acknowledged = Vec::new();
        for n in 0..8 {
            match store.append(&[message(1, 1 + task * 10 + n)]).await.expect("the store works").remove(0) {
                Ok(message) => acknowledged.push(message),
                Err(refusal) => assert_eq!(refusal, Refusal::ChannelNotFound),
            }
        }
        acknowledged
    };
    let closer = async {
        while position(store, 1).await.change.get() < 8 {}
        store.amend_channel(&step(1), &channels::closing(1)).await.expect("the channel is open");
    };

    let (answers, ()) = tokio::join!(at_once((0..4).map(poster)), closer);

    let mut acknowledged: Vec<Message> = answers.into_iter().flatten().collect();
    acknowledged.sort_by_key(|message| message.seq);
    assert_eq!(history(store, 1).await, acknowledged);
    assert_eq!(super::refusal(store, &message(1, 99)).await, Refusal::ChannelNotFound);
}

/// A reader who starts with a page and follows from its position ends with what is stored.
pub async fn history_and_changes_meet_while_messages_arrive(store: &dyn ChatStore) {
    open(store, 1).await;
    let first = post(store, &message(1, 1)).await;
    let writer = |task: u32| {
        let first = first.id;
        async move {
            for n in 0..6 {
                append(store, &[message(1, 10 + task * 20 + n), message(1, 20 + task * 20 + n)]).await;
                store
                    .edit(&step(1), &Edit { message: first, body: body("a better text") })
                    .await
                    .expect("it can be edited");
            }
        }
    };
    let reader = async {
        let start = page(store, 1, Position::Newest, limit(200)).await;
        let mut seen: BTreeMap<Seq, Message> =
            start.page.items.into_iter().map(|message| (message.seq, message)).collect();
        let mut position = start.position;
        while position.change.get() < 1 + 4 * 6 * 3 {
            let next = changes(store, 1, position, limit(5)).await;
            assert!(
                next.page
                    .items
                    .iter()
                    .all(|message| message.change > position.change && message.change <= next.position.change)
            );
            seen.extend(next.page.items.into_iter().map(|message| (message.seq, message)));
            position = next.position;
            tokio::task::yield_now().await;
        }
        seen
    };

    let (_, seen) = tokio::join!(at_once((0..4).map(writer)), reader);

    assert_eq!(seen.into_values().collect::<Vec<_>>(), history(store, 1).await);
}

/// Devices of one account report side by side.
pub async fn marks_at_once_keep_the_furthest(store: &dyn ChatStore) {
    open(store, 1).await;
    append(store, &(1..=16).map(|n| message(1, n)).collect::<Vec<_>>()).await;
    let channel = NewChannel::sample(1).id;

    at_once((1..=16).map(|seq| async move {
        let marked = store.mark_read(account(1), channel, Seq::new(seq)).await.expect("the channel exists");
        assert!(marked.read.get() >= seq);
    }))
    .await;

    let marked = store.mark_read(account(1), channel, Seq::ZERO).await.expect("the channel exists");
    assert_eq!(marked.read.get(), 16);
}

/// Two nodes run the retention job at once.
pub async fn retention_at_once_counts_every_message_once(store: &dyn ChatStore) {
    open(store, 1).await;
    append(store, &(1..=40).map(|n| message(1, n)).collect::<Vec<_>>()).await;
    let channel = NewChannel::sample(1).id;

    let deleted =
        at_once((0..8).map(|_| async move { store.purge(channel, at(31), 4).await.expect("the store works") })).await;

    let rest = history(store, 1).await;
    assert_eq!(u64::try_from(40 - rest.len()).expect("a few"), deleted.iter().sum::<u64>());
    assert_eq!(seqs(&rest).last(), Some(&40));
    assert!(rest.len() >= 10);
}
