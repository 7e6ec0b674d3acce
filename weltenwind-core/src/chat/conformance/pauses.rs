use std::time::Duration;

use super::{
    account, append, at, at_once, body, change_numbers, history, message, one_to, open, post, refusal, remove, seqs,
    step,
};
use crate::{
    chat::{
        Author, ChannelAmendment, ChannelChange, ChatStore, ClientId, Message, NewChannel, NewMessage, Refusal,
        RemovalMode,
    },
    step::EffectKey,
};

/// Message `n` by an author of whom a pause of ten seconds is asked.
fn paced(author: u128, n: u32) -> NewMessage {
    let new = message(1, n);
    NewMessage { author: Author { id: account(author), ..new.author }, pause: Duration::from_secs(10), ..new }
}

/// The same some seconds after the start of 2026, under any other number.
fn sent(seconds: i64, new: NewMessage) -> NewMessage {
    NewMessage { sent_at: at(seconds), ..new }
}

const fn wait(seconds: u64) -> Refusal {
    Refusal::SlowMode(Duration::from_secs(seconds))
}

/// Not after anybody's, nor after one elsewhere; and a removal is no pause.
pub async fn a_pause_is_kept_after_the_authors_own_last_message_in_the_channel(store: &dyn ChatStore) {
    open(store, 1).await;
    open(store, 2).await;
    let elsewhere = NewMessage { channel: NewChannel::sample(2).id, ..paced(1, 3) };
    let first = append(store, &[sent(0, paced(1, 1)), sent(2, paced(2, 2)), sent(5, elsewhere)]).await.remove(0);

    assert_eq!(refusal(store, &sent(4, paced(1, 4))).await, wait(7));
    let unnamed = NewMessage { client_id: None, ..paced(1, 5) };
    assert_eq!(refusal(store, &sent(9, unnamed.clone())).await, wait(2), "without client id too");
    remove(store, &first, RemovalMode::Purge).await;
    assert_eq!(refusal(store, &sent(9, paced(1, 6))).await, wait(2));

    let next = post(store, &sent(10, unnamed)).await;
    assert_eq!((next.seq.get(), next.sent_at), (3, at(10)), "whoever waits so long has waited long enough");
    assert_eq!(refusal(store, &sent(19, paced(1, 7))).await, wait(2), "the pause begins anew");
    assert_eq!(refusal(store, &sent(11, paced(2, 8))).await, wait(2));
    post(store, &sent(15, NewMessage { channel: NewChannel::sample(2).id, ..paced(1, 9) })).await;
}

/// Whoever lost an answer repeats the message at once, and is not punished for it.
pub async fn a_repeat_needs_no_pause_and_is_none_to_pause_after(store: &dyn ChatStore) {
    open(store, 1).await;
    let request =
        NewMessage { client_id: Some(ClientId::of_request(&EffectKey::new([1; 32]))), ..sent(0, paced(2, 2)) };
    let stored = append(store, &[sent(0, paced(1, 1)), request.clone()]).await;
    let again = |n: u32| NewMessage { id: message(1, 100 + n).id, ..sent(i64::from(n), paced(1, 1)) };

    assert_eq!(append(store, &[again(1), NewMessage { id: message(1, 200).id, ..request }]).await, stored);
    assert_eq!(append(store, &[again(9), again(8)]).await, [stored[0].clone(), stored[0].clone()]);
    let other_text = NewMessage { body: body("something else"), ..again(3) };
    assert!(matches!(refusal(store, &other_text).await, Refusal::ClientIdReused(_)), "it is told what is wrong");

    // In one batch with what it is a repeat of, and with what comes later.
    let (first, repeat, next) = (sent(10, paced(1, 3)), sent(11, paced(1, 3)), sent(20, paced(1, 4)));
    let answers = append(store, &[first, NewMessage { id: message(1, 300).id, ..repeat }, again(12), next]).await;
    assert_eq!((seqs(&answers), answers[0] == answers[1]), (vec![3, 3, 1, 4], true));
    assert_eq!(history(store, 1).await.len(), 4);
}

/// Whoever sends much at once says one thing, and holds nobody else up.
pub async fn of_a_batch_that_keeps_no_pause_the_first_is_written(store: &dyn ChatStore) {
    open(store, 1).await;
    open(store, 2).await;
    let mut batch: Vec<NewMessage> = (1..=20).map(|n| sent(i64::from(n % 2), paced(1, n))).collect();
    batch.insert(3, sent(0, paced(2, 50)));
    batch.push(message(2, 51));
    batch.push(message(1, 52));
    batch.push(sent(13, paced(1, 53)));
    batch.push(sent(14, paced(1, 54)));

    let answers = store.append(&batch).await.expect("the store works");

    let written: Vec<Message> = answers.iter().flatten().cloned().collect();
    let numbers: Vec<_> = written.iter().map(|message| (message.id, message.seq.get())).collect();
    let id = |channel, n| message(channel, n).id;
    assert_eq!(numbers, [(id(1, 1), 1), (id(1, 50), 2), (id(2, 51), 1), (id(1, 52), 3)]);
    for (new, answer) in batch.iter().zip(&answers) {
        if let Err(refusal) = answer {
            // Message 52 is the author's as well: it was asked for no pause, and has to be paused after.
            let last = if new.sent_at < at(5) { at(1) } else { at(52) };
            assert_eq!(Some(refusal), new.too_soon_after(Some(last)).as_ref(), "{new:?}");
        }
    }
    let read = history(store, 1).await;
    assert_eq!((seqs(&read), change_numbers(&read)), (one_to(3), one_to(3)));
    assert_eq!(append(store, &[sent(62, paced(1, 55)), sent(72, paced(1, 56))]).await.len(), 2, "a late batch");
    assert_eq!(refusal(store, &sent(81, paced(1, 57))).await, wait(2), "after the later of them");
}

/// Whoever mistook a reply may say it right at once.
pub async fn what_is_not_written_is_none_to_pause_after(store: &dyn ChatStore) {
    open(store, 1).await;
    post(store, &sent(0, paced(1, 1))).await;
    assert_eq!(refusal(store, &sent(8, paced(1, 2))).await, wait(3));
    let lost = NewMessage { reply_to: Some(message(3, 1).id), ..sent(10, paced(1, 3)) };

    let answers = store.append(&[lost, sent(9, paced(1, 4)), sent(10, paced(1, 5))]).await.expect("the store works");

    assert_eq!(answers[0], Err(Refusal::ReplyNotFound));
    assert_eq!(answers[1], Err(wait(2)));
    assert_eq!(answers[2].as_ref().expect("it is written").seq.get(), 2);
    let retry = NewMessage { id: message(1, 9).id, ..sent(20, paced(1, 2)) };
    assert_eq!(post(store, &retry).await.seq.get(), 3, "what came too soon has left its client id free");
}

/// Moderators of a channel in slow mode, and everybody where there is none.
pub async fn only_whom_a_pause_is_asked_of_keeps_one(store: &dyn ChatStore) {
    open(store, 1).await;
    let free = |n| NewMessage { pause: Duration::ZERO, ..sent(0, paced(1, n)) };

    let stored = append(store, &[free(1), free(2), sent(0, paced(2, 3)), free(4)]).await;

    assert_eq!(seqs(&stored), [1, 2, 3, 4]);
    assert_eq!(post(store, &free(5)).await.seq.get(), 5);
    assert_eq!(refusal(store, &sent(3, paced(1, 6))).await, wait(8), "whoever is no moderator any more has spoken too");
}

/// To wait would be of no use to them.
pub async fn another_reason_is_told_before_a_pause_that_is_not_kept(store: &dyn ChatStore) {
    open(store, 1).await;
    post(store, &sent(0, paced(1, 1))).await;

    let lost = NewMessage { reply_to: Some(message(3, 1).id), ..sent(1, paced(1, 2)) };
    assert_eq!(refusal(store, &lost).await, Refusal::ReplyNotFound);
    let nowhere = NewMessage { channel: NewChannel::sample(3).id, ..sent(1, paced(1, 3)) };
    assert_eq!(refusal(store, &nowhere).await, Refusal::ChannelNotFound);
    let closing = ChannelChange {
        id: NewChannel::sample(1).id,
        expected: None,
        amendment: ChannelAmendment::default(),
        archive: true,
    };
    store.amend_channel(&step(1), &closing).await.expect("the channel is open");
    assert_eq!(refusal(store, &sent(1, paced(1, 4))).await, Refusal::ChannelNotFound);
}

/// Whoever sends much through many nodes at once says one thing.
pub async fn of_messages_at_once_that_keep_no_pause_one_is_written(store: &dyn ChatStore) {
    open(store, 1).await;
    // More than once, because the first calls of all meet only while a store's connections are warm.
    for round in 0..4_u32 {
        let attempt = |n: u32| async move {
            let numbered = |m| message(1, round * 1000 + m + n);
            let mine = |m| sent(i64::from(round) * 10, paced(7, round * 1000 + m + n));
            // Neighbours in the batch must not suffer from the race.
            store.append(&[numbered(100), mine(200), numbered(300), mine(400)]).await.expect("the store works")
        };

        let answers = at_once((0..16).map(attempt)).await;

        let mut written = 0;
        for answer in answers.into_iter().flatten() {
            match answer {
                Ok(message) => written += usize::from(message.author.id == account(7)),
                Err(refusal) => assert_eq!(refusal, wait(11)),
            }
        }
        assert_eq!(written, 1, "round {round}");
        let read = history(store, 1).await;
        let all = 33 * (usize::try_from(round).expect("a few") + 1);
        assert_eq!((seqs(&read), change_numbers(&read)), (one_to(all), one_to(all)));
    }
}
