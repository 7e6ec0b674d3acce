use super::{
    account, append, at, body, change_numbers, client_id, edit, history, message, open, position, post, refusal,
    remove, seqs,
};
use crate::{
    accounts::DisplayName,
    chat::{Author, Body, ChatStore, ClientId, NewMessage, Refusal, RemovalMode},
    clock::Timestamp,
    ids::MessageId,
    step::EffectKey,
};

fn batch(channel: u32, numbers: impl IntoIterator<Item = u32>) -> Vec<NewMessage> {
    numbers.into_iter().map(|n| message(channel, n)).collect()
}

/// Readers order by these numbers and notice a hole.
pub async fn messages_are_numbered_from_one_in_the_order_of_the_batch(store: &dyn ChatStore) {
    open(store, 1).await;

    // Identifiers do not grow with the batch, so their order is not mistaken for its order.
    let mut stored = append(store, &batch(1, [3, 1, 2])).await;
    stored.extend(append(store, &batch(1, [5, 4])).await);

    assert_eq!(seqs(&stored), [1, 2, 3, 4, 5]);
    assert_eq!(change_numbers(&stored), [1, 2, 3, 4, 5]);
    assert_eq!(
        stored.iter().map(|message| message.id).collect::<Vec<_>>(),
        batch(1, [3, 1, 2, 5, 4]).iter().map(|new| new.id).collect::<Vec<_>>()
    );
    assert_eq!(history(store, 1).await, stored);
}

/// One batch carries the posts of many channels.
pub async fn channels_count_each_on_its_own(store: &dyn ChatStore) {
    for n in [2, 3, 1] {
        open(store, n).await;
    }

    let mixed = [message(2, 1), message(1, 1), message(2, 2), message(3, 1), message(1, 2), message(2, 3)];
    let stored = append(store, &mixed).await;

    assert_eq!(seqs(&stored), [1, 1, 2, 1, 2, 3]);
    assert_eq!(
        stored.iter().map(|message| message.channel).collect::<Vec<_>>(),
        mixed.each_ref().map(|new| new.channel)
    );
    assert_eq!(history(store, 2).await, [stored[0].clone(), stored[2].clone(), stored[5].clone()]);
}

/// The lane that gathers posts may wake up to none.
pub async fn an_empty_batch_changes_nothing(store: &dyn ChatStore) {
    open(store, 1).await;

    assert_eq!(append(store, &[]).await, []);
    assert_eq!(post(store, &message(1, 1)).await.change.get(), 1);
}

/// An adapter that mangles a text or drops a column is found here.
pub async fn a_message_reads_back_as_it_was_written(store: &dyn ChatStore) {
    open(store, 1).await;
    let first = post(store, &message(1, 1)).await;
    let texts = [
        "\u{1F32C}".repeat(Body::MAX),
        "'; DROP TABLE chat_messages; --".to_owned(),
        r#"{"a":["b\u0000",null,"\\"]},"c""#.to_owned(),
        "line\nbreak\n\nʞuɐlq \u{200D}é%_$1?".to_owned(),
        "NULL".to_owned(),
    ];
    for (n, text) in (2..).zip(&texts) {
        let new = NewMessage {
            author: Author {
                id: account(u128::MAX),
                display_name: DisplayName::new("Jörg \"{1}\" O'Neil").expect("a name"),
            },
            body: body(text),
            client_id: if n == 2 { None } else { client_id(&format!("'\"\\{{,}}$1?{n}")) },
            reply_to: (n != 3).then_some(first.id),
            ..message(1, n)
        };

        let stored = post(store, &new).await;

        assert_eq!((stored.id, stored.channel, &stored.author), (new.id, new.channel, &new.author));
        assert_eq!((stored.body.as_ref(), stored.text()), (Some(&new.body), Some(text.as_str())));
        assert_eq!((&stored.client_id, stored.reply_to, stored.sent_at), (&new.client_id, new.reply_to, new.sent_at));
        assert_eq!((stored.edited_at, &stored.tombstone), (None, &None));
        assert_eq!((stored.posted_change, stored.is_new()), (stored.change, true));
        assert_eq!(store.find_message(new.id).await.expect("the store works"), Some(stored));
    }
}

/// An answer and a later read do not differ by nanoseconds that one of the databases drops.
pub async fn instants_are_cut_to_microseconds(store: &dyn ChatStore) {
    open(store, 1).await;
    let nanoseconds = |n| Timestamp::from_nanosecond(at(0).as_nanosecond() + n).expect("the year 2026 is in range");
    let fine = NewMessage { sent_at: nanoseconds(1_999), ..message(1, 1) };
    let coarse = NewMessage { sent_at: nanoseconds(2_000), ..message(1, 2) };
    let fractions = NewMessage { sent_at: nanoseconds(500_000_000), ..message(1, 3) };

    let stored = append(store, &[fine, coarse, fractions]).await;

    let micros: Vec<i64> =
        stored.iter().map(|message| message.sent_at.as_microsecond() - at(0).as_microsecond()).collect();
    assert_eq!(micros, [1, 2, 500_000]);
    assert_eq!(stored[0].sent_at.subsec_nanosecond(), 1_000);
    assert_eq!(history(store, 1).await, stored);
    assert_eq!(
        store.purge(stored[0].channel, nanoseconds(2_000), 9).await.expect("the store works"),
        1,
        "instants are ordered"
    );
}

/// Players who retry after a lost reply see their message once.
pub async fn a_repeated_client_id_returns_the_stored_message(store: &dyn ChatStore) {
    open(store, 1).await;
    let greeting = NewMessage::sample("well met");
    let first = store.append(std::slice::from_ref(&greeting)).await.expect("the first append succeeds");

    let again = store.append(std::slice::from_ref(&greeting)).await.expect("the repeat succeeds");
    assert_eq!(again, first);

    // A retry through another node draws another identifier, later and perhaps under another name.
    let elsewhere = NewMessage {
        id: message(1, 9).id,
        author: Author { display_name: DisplayName::new("Mira II").expect("a name"), ..greeting.author.clone() },
        sent_at: at(9),
        ..greeting
    };
    assert_eq!(store.append(&[elsewhere]).await.expect("the repeat succeeds"), first);
    assert_eq!(history(store, 1).await.len(), 1);
    assert_eq!(post(store, &message(1, 2)).await.seq.get(), 2, "a repeat takes no number");
}

/// An impatient client's two requests may be gathered into one batch.
pub async fn a_repeat_within_a_batch_is_stored_once(store: &dyn ChatStore) {
    open(store, 1).await;
    let new = message(1, 1);
    let twin = NewMessage { id: message(1, 9).id, ..new.clone() };

    let stored = append(store, &[new.clone(), twin, message(1, 2), new]).await;

    assert_eq!(seqs(&stored), [1, 1, 2, 1]);
    assert_eq!((&stored[1], &stored[3]), (&stored[0], &stored[0]));
    assert_eq!(history(store, 1).await, [stored[0].clone(), stored[2].clone()]);
}

/// Who posts under an idempotency key may leave the client id out; what stands in its place is no author's.
pub async fn a_message_named_after_its_request_is_known_again(store: &dyn ChatStore) {
    open(store, 1).await;
    let named = |key| ClientId::of_request(&EffectKey::new([key; 32]));
    let new = NewMessage { client_id: Some(named(1)), ..message(1, 1) };
    let other = NewMessage { client_id: Some(named(2)), ..message(1, 2) };

    let stored = append(store, &[new.clone(), other.clone()]).await;
    let again = append(store, &[NewMessage { id: message(1, 9).id, ..new }, other]).await;

    assert_eq!(again, stored);
    assert_eq!(history(store, 1).await, stored);
    assert!(stored[0].client_id.as_ref().is_some_and(|id| !id.is_the_authors()));
}

/// A client that counts its ids anew after a restart must hear of it, not lose a message.
pub async fn a_client_id_for_another_message_is_refused(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &batch(1, [1, 2])).await;
    let other_text = NewMessage { id: message(1, 8).id, body: body("something else"), ..message(1, 1) };
    let other_reply = NewMessage { id: message(1, 9).id, reply_to: Some(stored[1].id), ..message(1, 1) };

    let answers =
        store.append(&[message(1, 3), other_text, other_reply, message(1, 4)]).await.expect("the store works");

    let reused = Refusal::ClientIdReused(message(1, 1).client_id.expect("it has one"));
    assert_eq!(answers[1..3], [Err(reused.clone()), Err(reused)]);
    assert_eq!(answers[0].as_ref().map(|message| message.seq.get()), Ok(3));
    assert_eq!(answers[3].as_ref().map(|message| message.seq.get()), Ok(4), "a refusal leaves no hole");
    assert_eq!(history(store, 1).await[..2], stored);
}

/// The same holds when both messages wait for the same commit.
pub async fn a_client_id_for_another_message_is_refused_within_a_batch(store: &dyn ChatStore) {
    open(store, 1).await;
    let first = message(1, 1);
    let other = NewMessage { id: message(1, 9).id, body: body("something else"), ..first.clone() };

    let answers =
        store.append(&[first.clone(), other.clone(), message(1, 2), first, other]).await.expect("the store works");

    let reused = Refusal::ClientIdReused(message(1, 1).client_id.expect("it has one"));
    assert_eq!(answers[1], Err(reused.clone()));
    assert_eq!(answers[4], Err(reused));
    assert_eq!(answers[3], answers[0]);
    assert_eq!(answers[2].as_ref().map(|message| message.seq.get()), Ok(2), "a refusal leaves no hole");
}

/// Two players may count their messages alike, and one player in two channels.
pub async fn a_client_id_belongs_to_its_author_and_channel(store: &dyn ChatStore) {
    open(store, 1).await;
    open(store, 2).await;
    let mine = message(1, 1);
    let theirs = NewMessage {
        id: message(1, 2).id,
        author: Author { id: account(2), ..mine.author.clone() },
        body: body("another text"),
        ..mine.clone()
    };
    let elsewhere = NewMessage { body: body("a third text"), ..message(2, 1) };
    let shouted = NewMessage { id: message(1, 3).id, client_id: client_id("C1"), body: body("louder"), ..mine.clone() };

    let stored = append(store, &[mine, theirs, elsewhere, shouted]).await;

    assert_eq!(seqs(&stored), [1, 2, 1, 3]);
}

/// Saying the same thing twice on purpose is two messages.
pub async fn messages_without_client_id_are_never_repeats(store: &dyn ChatStore) {
    open(store, 1).await;
    let hello = |n| NewMessage { client_id: None, body: body("hello"), ..message(1, n) };

    let stored = append(store, &[hello(1), hello(2)]).await;
    let later = post(store, &hello(3)).await;

    assert_eq!((seqs(&stored), later.seq.get()), (vec![1, 2], 3));
}

/// A late retry does not bring back what was edited or destroyed, and is still recognised.
pub async fn a_repeat_returns_the_present_state(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &batch(1, [1, 2])).await;
    let edited = edit(store, &stored[0], "a better text").await;
    let purged = remove(store, &stored[1], RemovalMode::Purge).await;

    assert_eq!(append(store, &batch(1, [1, 2])).await, [edited, purged]);

    let as_edited = NewMessage { body: body("a better text"), ..message(1, 1) };
    assert!(matches!(refusal(store, &as_edited).await, Refusal::ClientIdReused(_)), "the first text is what counts");
    let not_the_purged = NewMessage { body: body("something else"), ..message(1, 2) };
    assert!(
        matches!(refusal(store, &not_the_purged).await, Refusal::ClientIdReused(_)),
        "the digest outlives the text"
    );
}

/// One player's stale channel list does not fail the posts of others.
pub async fn an_unknown_channel_is_refused_without_harm_to_others(store: &dyn ChatStore) {
    open(store, 1).await;

    let answers =
        store.append(&[message(1, 1), message(2, 1), message(1, 2), message(2, 1)]).await.expect("the store works");

    assert_eq!(answers[1], Err(Refusal::ChannelNotFound));
    assert_eq!(answers[3], Err(Refusal::ChannelNotFound));
    assert_eq!(history(store, 1).await, [0, 2].map(|n: usize| answers[n].clone().expect("the message is written")));
    assert_eq!(position(store, 1).await.change.get(), 2);
}

/// A reply does not lead out of its channel, and a removed message can still be replied to.
pub async fn a_reply_is_to_a_message_of_the_same_channel(store: &dyn ChatStore) {
    open(store, 1).await;
    open(store, 2).await;
    let here = post(store, &message(1, 1)).await;
    let there = post(store, &message(2, 1)).await;
    let nowhere = message(3, 1).id;
    let reply = |n, to: MessageId| NewMessage { reply_to: Some(to), ..message(1, n) };

    let answers = store
        .append(&[reply(2, there.id), reply(3, here.id), reply(4, nowhere), message(1, 5)])
        .await
        .expect("the store works");

    assert_eq!(answers[0], Err(Refusal::ReplyNotFound));
    assert_eq!(answers[2], Err(Refusal::ReplyNotFound));
    let numbers = [1, 3].map(|n: usize| answers[n].as_ref().map(|message| message.seq.get()));
    assert_eq!(numbers, [Ok(2), Ok(3)], "a refusal leaves no hole");
    assert_eq!(answers[1].as_ref().map(|message| message.reply_to), Ok(Some(here.id)));

    remove(store, &here, RemovalMode::Purge).await;
    assert_eq!(post(store, &reply(6, here.id)).await.reply_to, Some(here.id));
}

/// What was not written did not use its client id up, not even for the rest of its batch.
pub async fn a_refused_reply_leaves_its_client_id_free(store: &dyn ChatStore) {
    open(store, 1).await;
    let lost = NewMessage { reply_to: Some(message(3, 1).id), ..message(1, 1) };
    let plain = NewMessage { id: message(1, 9).id, ..message(1, 1) };

    let answers =
        store.append(&[lost.clone(), lost.clone(), plain.clone(), lost.clone()]).await.expect("the store works");

    assert_eq!(answers[..2], [Err(Refusal::ReplyNotFound), Err(Refusal::ReplyNotFound)]);
    assert_eq!(answers[2].as_ref().map(|message| (message.seq.get(), message.id)), Ok((1, plain.id)));
    assert!(matches!(answers[3], Err(Refusal::ClientIdReused(_))), "{:?}", answers[3]);
    assert!(matches!(refusal(store, &lost).await, Refusal::ClientIdReused(_)));
}

/// The largest batch that the lanes send, with everything in it that can happen to a message.
pub async fn a_full_batch_of_everything_is_answered_in_order(store: &dyn ChatStore) {
    for n in 1..=3 {
        open(store, n).await;
    }
    let known = append(store, &[message(1, 900), message(2, 900), message(3, 900)]).await;
    let batch: Vec<NewMessage> = (0..256_u32)
        .map(|n| {
            let channel = 1 + n % 3;
            match n % 8 {
                0 => message(channel, 900),
                1 => NewMessage { body: body("something else"), ..message(channel, 900) },
                2 => message(4, n),
                3 => NewMessage { reply_to: Some(message(4, 1).id), ..message(channel, n) },
                4 => NewMessage { reply_to: Some(message(channel, 900).id), ..message(channel, n) },
                5 => message(1 + (n - 3) % 3, n - 3),
                6 => NewMessage { client_id: None, ..message(channel, n) },
                _ => message(channel, n),
            }
        })
        .collect();

    let answers = store.append(&batch).await.expect("the store works");

    assert_eq!(answers.len(), batch.len());
    let mut next = [2; 3];
    for (n, (new, answer)) in batch.iter().zip(&answers).enumerate() {
        match (n % 8, answer) {
            (0, Ok(message)) => assert!(known.contains(message), "{n}: {message:?}"),
            (1, Err(Refusal::ClientIdReused(_)))
            | (2, Err(Refusal::ChannelNotFound))
            | (3, Err(Refusal::ReplyNotFound)) => {}
            (4..=7, Ok(message)) => {
                let next = &mut next[usize::try_from(message.channel.uuid().as_u128() & 3).expect("1 to 3") - 1];
                assert_eq!((message.id, message.channel, message.seq.get()), (new.id, new.channel, *next), "{n}");
                *next += 1;
            }
            _ => panic!("{n}: {answer:?}"),
        }
    }
    for (channel, next) in (1..).zip(next) {
        assert_eq!(seqs(&history(store, channel).await), (1..next).collect::<Vec<_>>());
        assert_eq!(position(store, channel).await.change.get(), next - 1);
    }
}
