use super::{
    account, append, at, body, change_numbers, edit, history, message, open, position, post, remove, step,
    step_with_key,
};
use crate::{
    chat::{ChatError, ChatStore, Edit, Message, Removal, RemovalMode, Tombstone},
    step::Step,
};

fn removal(message: &Message, reason: &str, mode: RemovalMode) -> Removal {
    Removal { message: message.id, reason: reason.to_owned(), mode }
}

/// Whoever has seen the message hears of its new text; nothing else about it changes.
pub async fn an_edit_gives_a_text_and_takes_the_next_change(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &[message(1, 1), message(1, 2)]).await;

    let edited = edit(store, &stored[0], "a better text").await;

    let expected = Message {
        change: stored[1].change.next(),
        body: Some(body("a better text")),
        edited_at: Some(at(100)),
        ..stored[0].clone()
    };
    assert_eq!(edited, expected);
    assert!(!edited.is_new());
    assert_eq!(store.find_message(edited.id).await.expect("the store works"), Some(edited.clone()));
    assert_eq!(history(store, 1).await, [edited, stored[1].clone()]);
    assert_eq!(change_numbers(&[post(store, &message(1, 3)).await]), [4], "the next message goes on behind the edit");
}

/// Moderators see what was said; readers don't.
pub async fn a_masked_message_keeps_its_text_for_moderators(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &[message(1, 1), message(1, 2)]).await;
    let by = Step { actor: Some(account(7)), ..step(50) };

    let masked =
        store.remove(&by, &removal(&stored[0], "Werbung – \"kauft\"", RemovalMode::Mask)).await.expect("it exists");

    let tombstone = Tombstone {
        deleted_by: Some(account(7)),
        reason: "Werbung – \"kauft\"".to_owned(),
        deleted_at: at(50),
        mode: RemovalMode::Mask,
    };
    let expected = Message { change: stored[1].change.next(), tombstone: Some(tombstone), ..stored[0].clone() };
    assert_eq!(masked, expected);
    assert_eq!(masked.text(), None);
    assert_eq!(history(store, 1).await, [masked, stored[1].clone()]);
}

/// What must not be kept is not kept; who removed it may be the operator, who is no account.
pub async fn a_purge_destroys_the_text(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = post(store, &message(1, 1)).await;

    let purged = store.remove(&step(50), &removal(&stored, "doxing", RemovalMode::Purge)).await.expect("it exists");

    assert_eq!((purged.change.get(), &purged.body), (2, &None));
    let tombstone = purged.tombstone.clone().expect("it was removed");
    assert_eq!((tombstone.mode, tombstone.deleted_by), (RemovalMode::Purge, None));
    assert_eq!(store.find_message(purged.id).await.expect("the store works"), Some(purged));
}

/// A text that turns out to be worse than it looked; the tombstone then tells of the purge.
pub async fn a_purge_destroys_a_masked_text_too(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = post(store, &message(1, 1)).await;
    remove(store, &stored, RemovalMode::Mask).await;
    let by = Step { actor: Some(account(8)), ..step(300) };

    let purged = store.remove(&by, &removal(&stored, "doxing", RemovalMode::Purge)).await.expect("it exists");

    assert_eq!((purged.change.get(), &purged.body), (3, &None));
    let tombstone = Tombstone {
        deleted_by: Some(account(8)),
        reason: "doxing".to_owned(),
        deleted_at: at(300),
        mode: RemovalMode::Purge,
    };
    assert_eq!(purged.tombstone, Some(tombstone));
}

/// Two moderators who remove the same message both succeed, and readers hear of it once.
pub async fn any_other_second_removal_answers_the_first(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &[message(1, 1), message(1, 2)]).await;
    let by = Step { actor: Some(account(8)), ..step(300) };
    let masked = remove(store, &stored[0], RemovalMode::Mask).await;
    let purged = remove(store, &stored[1], RemovalMode::Purge).await;

    for (first, mode) in [(&masked, RemovalMode::Mask), (&purged, RemovalMode::Mask), (&purged, RemovalMode::Purge)] {
        let second = store.remove(&by, &removal(first, "me too", mode)).await.expect("it exists");
        assert_eq!(&second, first);
    }

    assert_eq!(position(store, 1).await.change.get(), 4, "no change was taken");
    assert_eq!(history(store, 1).await, [masked, purged]);
}

/// An author does not write over a moderator's decision.
pub async fn a_removed_message_is_not_edited(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &[message(1, 1), message(1, 2)]).await;
    let removed =
        [remove(store, &stored[0], RemovalMode::Mask).await, remove(store, &stored[1], RemovalMode::Purge).await];

    for message in &removed {
        let refused = store.edit(&step(300), &Edit { message: message.id, body: body("again") }).await;
        assert!(matches!(refused, Err(ChatError::MessageRemoved)), "{refused:?}");
    }

    assert_eq!(history(store, 1).await, removed);
    assert_eq!(position(store, 1).await.change.get(), 4, "a refusal takes no change");
}

/// A message that retention has deleted meanwhile, or that never was.
pub async fn an_unknown_message_is_neither_edited_nor_removed(store: &dyn ChatStore) {
    open(store, 1).await;
    let unknown = message(1, 1).id;

    let edited = store.edit(&step(1), &Edit { message: unknown, body: body("a text") }).await;
    assert!(matches!(edited, Err(ChatError::MessageNotFound)), "{edited:?}");
    let removal = Removal { message: unknown, reason: "spam".to_owned(), mode: RemovalMode::Purge };
    let removed = store.remove(&step(1), &removal).await;
    assert!(matches!(removed, Err(ChatError::MessageNotFound)), "{removed:?}");
    assert_eq!(position(store, 1).await.change.get(), 0);
}

/// A request repeated after a lost answer takes no second change.
pub async fn a_repeated_edit_or_removal_has_no_second_effect(store: &dyn ChatStore) {
    open(store, 1).await;
    let stored = append(store, &[message(1, 1), message(1, 2)]).await;
    let better = Edit { message: stored[0].id, body: body("a better text") };
    let spam = removal(&stored[1], "spam", RemovalMode::Mask);

    let edited = store.edit(&step_with_key(1, 1), &better).await.expect("it can be edited");
    let removed = store.remove(&step_with_key(1, 2), &spam).await.expect("it exists");

    assert_eq!(store.edit(&step_with_key(9, 1), &better).await.expect("the repeat is known"), edited);
    assert_eq!(store.remove(&step_with_key(9, 2), &spam).await.expect("the repeat is known"), removed);
    assert_eq!(position(store, 1).await.change.get(), 4);
}
