//! What one author has written, and under which name it stands.

use super::{
    account, append, body, change_numbers, changes, history, limit, message, open, position, post, remove, seqs,
};
use crate::{
    accounts::DisplayName,
    chat::{
        Author, AuthorRenaming, ChatStore, Message, NewChannel, NewMessage, RemovalMode, Seq, Written, WrittenQuery,
    },
    ids::{AccountId, ChannelId},
};

fn by(author: u128, new: NewMessage) -> NewMessage {
    let display_name = DisplayName::new(&format!("Player {author}")).expect("a name");
    NewMessage { author: Author { id: account(author), display_name }, ..new }
}

fn of(author: u128) -> WrittenQuery {
    WrittenQuery { author: account(author), besides: None, after: None, limit: 100 }
}

fn nobody() -> DisplayName {
    DisplayName::new("Nobody").expect("a name")
}

fn place(message: &Message) -> Written {
    Written { channel: message.channel, seq: message.seq, change: message.change }
}

async fn rename(store: &dyn ChatStore, author: AccountId, channel: ChannelId, places: &[Seq]) -> Vec<Message> {
    let renaming = AuthorRenaming { author, name: nobody(), channel, places: places.to_vec() };
    store.rename_author(&renaming).await.expect("the store works")
}

/// Whoever asks for what an author wrote gets it channel by channel, and nothing of others.
pub async fn what_an_author_wrote_is_found_in_every_channel(store: &dyn ChatStore) {
    open(store, 1).await;
    open(store, 2).await;
    let batch =
        [(1, 1, 7), (1, 2, 8), (2, 3, 7), (1, 4, 7)].map(|(channel, n, author)| by(author, message(channel, n)));
    let stored = append(store, &batch).await;
    let masked = remove(store, &stored[3], RemovalMode::Mask).await;

    let all = store.written(&of(7)).await.expect("the store works");
    let first = store.written(&WrittenQuery { limit: 2, ..of(7) }).await.expect("the store works");
    let after = Some((first[1].channel, first[1].seq));
    let rest = store.written(&WrittenQuery { after, ..of(7) }).await.expect("the store works");

    assert_eq!(all, [place(&stored[0]), place(&masked), place(&stored[2])]);
    assert_eq!([first, rest].concat(), all);
    assert!(store.written(&of(9)).await.expect("the store works").is_empty());
    let read = store.messages_at(stored[0].channel, &[Seq::new(3), Seq::new(1), Seq::new(9)]).await;
    assert_eq!(read.expect("the store works"), [stored[0].clone(), masked]);
}

/// Readers learn of another name as they learn of an edit: each message takes a change of its own, without a hole.
pub async fn another_name_takes_a_change_for_each_message(store: &dyn ChatStore) {
    let channel = open(store, 1).await.id;
    let batch = [(1, 7), (2, 8), (3, 7), (4, 7)].map(|(n, author)| by(author, message(1, n)));
    let stored = append(store, &batch).await;
    let masked = remove(store, &stored[2], RemovalMode::Mask).await;
    let before = position(store, 1).await;
    let places: Vec<Seq> = stored.iter().map(|message| message.seq).collect();

    let renamed = rename(store, account(7), channel, &places).await;

    assert_eq!((seqs(&renamed), change_numbers(&renamed)), (vec![1, 3, 4], vec![6, 7, 8]));
    let author = Author { id: account(7), display_name: nobody() };
    let expected = [(&stored[0], 0), (&masked, 1), (&stored[3], 2)].map(|(message, n)| Message {
        author: author.clone(),
        change: renamed[n].change,
        ..message.clone()
    });
    assert_eq!(renamed, expected);
    assert_eq!(changes(store, 1, before, limit(50)).await.page.items, renamed);
    assert_eq!(history(store, 1).await[1], stored[1]);
    assert_eq!(position(store, 1).await.change.get(), 8);
}

/// Whoever goes on with what somebody else has done already takes no change.
pub async fn a_name_that_a_message_bears_already_takes_no_change(store: &dyn ChatStore) {
    let channel = open(store, 1).await.id;
    let stored = append(store, &[by(7, message(1, 1)), by(7, message(1, 2))]).await;
    rename(store, account(7), channel, &[stored[0].seq]).await;

    let again = rename(store, account(7), channel, &[stored[0].seq, stored[1].seq]).await;

    assert_eq!(seqs(&again), [2]);
    assert!(rename(store, account(7), channel, &[stored[0].seq, stored[1].seq]).await.is_empty());
    assert!(rename(store, account(8), channel, &[stored[0].seq]).await.is_empty(), "it is somebody else's");
    assert!(rename(store, account(7), NewChannel::sample(9).id, &[stored[0].seq]).await.is_empty());
    assert_eq!(position(store, 1).await.change.get(), 4);
    let besides = Some(nobody());
    assert!(store.written(&WrittenQuery { besides, ..of(7) }).await.expect("the store works").is_empty());
}

/// A repeat of what was posted under the old name is still known.
pub async fn a_repeat_is_known_under_another_name(store: &dyn ChatStore) {
    let channel = open(store, 1).await.id;
    let new = by(7, message(1, 1));
    let stored = post(store, &new).await;
    let renamed = rename(store, account(7), channel, &[stored.seq]).await;

    let again = post(store, &new).await;

    assert_eq!(vec![again], renamed);
    assert_eq!(renamed[0].body, Some(body("message 1")));
}
