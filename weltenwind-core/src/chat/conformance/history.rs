use super::{
    append, change_numbers, changes, edit, is_refused, limit, message, open, page, position, post, remove, seqs,
};
use crate::{
    chat::{Change, ChatStore, Message, Position, REPLAY_WINDOW, RemovalMode, RoomPosition, Seq},
    page::Limit,
};

const SINCE_THE_BEGINNING: RoomPosition = RoomPosition { epoch: 7, change: Change::ZERO };

async fn fill(store: &dyn ChatStore, messages: u32) -> Vec<Message> {
    open(store, 1).await;
    // A neighbour whose rows must not be read.
    open(store, 2).await;
    let mut stored = Vec::new();
    for n in 1..=messages {
        stored.push(post(store, &message(1, n)).await);
        post(store, &message(2, n)).await;
    }
    stored
}

/// Scrolling up, and reading on from where one was.
pub async fn pages_go_both_ways_by_seq(store: &dyn ChatStore) {
    fill(store, 7).await;
    let read = |position, n| async move {
        let page = page(store, 1, position, limit(n)).await.page;
        (seqs(&page.items), page.more)
    };

    assert_eq!(read(Position::Newest, 3).await, (vec![7, 6, 5], true));
    assert_eq!(read(Position::Before(Seq::new(5)), 3).await, (vec![4, 3, 2], true));
    assert_eq!(read(Position::Before(Seq::new(2)), 3).await, (vec![1], false));
    assert_eq!(read(Position::After(Seq::ZERO), 3).await, (vec![1, 2, 3], true));
    assert_eq!(read(Position::After(Seq::new(3)), 3).await, (vec![4, 5, 6], true));
    assert_eq!(read(Position::After(Seq::new(6)), 3).await, (vec![7], false));
    assert_eq!(
        read(Position::Newest, 7).await,
        (vec![7, 6, 5, 4, 3, 2, 1], false),
        "a page that just fits has no more"
    );
    assert_eq!(read(Position::After(Seq::ZERO), 7).await, (vec![1, 2, 3, 4, 5, 6, 7], false));
}

/// A page without messages still says what it is complete to.
pub async fn a_page_at_either_end_is_empty(store: &dyn ChatStore) {
    let stored = fill(store, 2).await;

    for place in [Position::Before(Seq::new(1)), Position::After(Seq::new(2)), Position::After(Seq::new(99))] {
        let end = page(store, 1, place, limit(5)).await;
        assert_eq!((end.page.items, end.page.more), (vec![], false), "{place:?}");
        assert_eq!(end.position, RoomPosition { epoch: 7, change: stored[1].change }, "{place:?}");
    }
    let beyond = page(store, 1, Position::Before(Seq::new(99)), limit(5)).await;
    assert_eq!(seqs(&beyond.page.items), [2, 1]);
}

/// Scrolling through a busy channel shows each message once.
pub async fn pages_do_not_repeat_while_messages_arrive(store: &dyn ChatStore) {
    fill(store, 9).await;
    let mut arriving = 10..;
    let mut arrive = || message(1, arriving.next().expect("there is no end"));

    let (mut up, mut place) = (Vec::new(), Position::Newest);
    loop {
        let part = page(store, 1, place, limit(2)).await.page;
        up.extend(seqs(&part.items));
        post(store, &arrive()).await;
        let Some(next) = part.next(|last| last.seq) else { break };
        place = Position::Before(next);
    }
    assert_eq!(up, [9, 8, 7, 6, 5, 4, 3, 2, 1]);

    let (mut down, mut after) = (Vec::new(), Seq::ZERO);
    while down.len() < 20 {
        let part = page(store, 1, Position::After(after), limit(3)).await.page;
        after = part.items.last().expect("messages keep arriving").seq;
        down.extend(seqs(&part.items));
        append(store, &[arrive(), arrive()]).await;
    }
    assert!(down.iter().copied().eq(1..=i64::try_from(down.len()).expect("a few")), "{down:?}");
}

/// History and live meet without a gap: what `changes` answers from a page's position is what the page lacks.
pub async fn a_page_says_which_change_it_is_complete_to(store: &dyn ChatStore) {
    let stored = fill(store, 3).await;
    assert_eq!(page(store, 1, Position::Newest, limit(1)).await.position.change.get(), 3);

    let edited = edit(store, &stored[0], "a better text").await;
    let after_edit = page(store, 1, Position::Before(Seq::new(2)), limit(5)).await;
    assert_eq!((after_edit.page.items, after_edit.position.change), (vec![edited.clone()], edited.change));

    let newer = post(store, &message(1, 4)).await;
    let removed = remove(store, &stored[1], RemovalMode::Mask).await;
    let missing = changes(store, 1, after_edit.position, Limit::MAX).await;
    assert_eq!(missing.page.items, [newer, removed]);
    assert_eq!(missing.position, position(store, 1).await);
}

/// A page's length and a reader's place do not depend on what moderators did.
pub async fn removed_messages_keep_their_places(store: &dyn ChatStore) {
    let stored = fill(store, 4).await;
    let masked = remove(store, &stored[1], RemovalMode::Mask).await;
    let purged = remove(store, &stored[2], RemovalMode::Purge).await;

    let down = page(store, 1, Position::After(Seq::ZERO), limit(4)).await.page.items;

    assert_eq!(down, [stored[0].clone(), masked, purged, stored[3].clone()]);
}

/// A reader that was away gets each message once, however often it changed.
pub async fn changes_come_once_each_in_their_newest_state(store: &dyn ChatStore) {
    let stored = fill(store, 4).await;
    edit(store, &stored[1], "a better text").await;
    let removed = remove(store, &stored[0], RemovalMode::Mask).await;
    let edited = edit(store, &stored[1], "the best text").await;

    let all = changes(store, 1, SINCE_THE_BEGINNING, Limit::MAX).await;

    assert_eq!(all.page.items, [stored[2].clone(), stored[3].clone(), removed, edited.clone()]);
    assert_eq!(change_numbers(&all.page.items), [3, 4, 6, 7]);
    assert_eq!((all.page.more, all.position), (false, RoomPosition { epoch: 7, change: edited.change }));
    assert_eq!(all.page.items[3].posted_change, stored[1].change);
}

/// A page's position is where to go on; it never skips what the page had no room for.
pub async fn changes_go_on_where_the_last_page_ended(store: &dyn ChatStore) {
    let stored = fill(store, 5).await;
    let edited = edit(store, &stored[2], "a better text").await;

    let first = changes(store, 1, SINCE_THE_BEGINNING, limit(2)).await;
    assert_eq!(
        (change_numbers(&first.page.items), first.page.more, first.position.change.get()),
        (vec![1, 2], true, 2)
    );
    let second = changes(store, 1, first.position, limit(2)).await;
    assert_eq!(
        (change_numbers(&second.page.items), second.page.more, second.position.change.get()),
        (vec![4, 5], true, 5)
    );
    let third = changes(store, 1, second.position, limit(2)).await;
    assert_eq!(
        (third.page.items, third.page.more, third.position.change),
        (vec![edited.clone()], false, edited.change)
    );
    let end = changes(store, 1, third.position, limit(2)).await;
    assert_eq!((end.page.items, end.page.more, end.position), (vec![], false, third.position));

    let just_fitting = changes(store, 1, SINCE_THE_BEGINNING, limit(5)).await;
    assert_eq!((just_fitting.page.more, just_fitting.position.change), (false, edited.change));
}

/// What is stored of two edits is the second: a reader behind both sees one, and its position is complete all the same.
pub async fn a_second_edit_leaves_a_hole_in_what_is_stored(store: &dyn ChatStore) {
    let stored = fill(store, 1).await;
    edit(store, &stored[0], "a better text").await;
    let edited = edit(store, &stored[0], "the best text").await;

    for seen in 0..=2 {
        let since = RoomPosition { epoch: 7, change: Change::new(seen) };
        let rest = changes(store, 1, since, limit(5)).await;
        assert_eq!((rest.page.items, rest.position.change.get()), (vec![edited.clone()], 3), "since {seen}");
    }
}

/// After a restored backup the same number means another message.
pub async fn a_position_of_another_epoch_is_refused(store: &dyn ChatStore) {
    let stored = fill(store, 1).await;

    for epoch in [0, 6, 8, u32::MAX] {
        assert!(is_refused(store, RoomPosition { epoch, change: stored[0].change }).await, "epoch {epoch}");
    }
    assert!(!is_refused(store, RoomPosition { epoch: 7, change: stored[0].change }).await);
}

/// Who has seen what has not happened comes from somewhere else.
pub async fn a_position_ahead_is_refused(store: &dyn ChatStore) {
    let stored = fill(store, 2).await;

    assert!(!is_refused(store, RoomPosition { epoch: 7, change: stored[1].change }).await, "the head itself is no gap");
    assert!(is_refused(store, RoomPosition { epoch: 7, change: stored[1].change.next() }).await);
    assert!(is_refused(store, RoomPosition { epoch: 7, change: Change::new(i64::MAX) }).await);
}

/// Replay has an end; beyond it a reader starts from the history.
pub async fn a_position_behind_the_window_is_refused(store: &dyn ChatStore) {
    const BATCH: u32 = 256;
    open(store, 1).await;
    let window = u32::try_from(REPLAY_WINDOW).expect("a small number");
    for start in (1..=window).step_by(BATCH as usize) {
        let batch: Vec<_> = (start..(start + BATCH).min(window + 1)).map(|n| message(1, n)).collect();
        append(store, &batch).await;
    }
    assert!(!is_refused(store, SINCE_THE_BEGINNING).await, "as many changes as the window holds");
    assert!(is_refused(store, RoomPosition { change: Change::new(-1), ..SINCE_THE_BEGINNING }).await);

    post(store, &message(1, window + 1)).await;

    assert!(is_refused(store, SINCE_THE_BEGINNING).await, "one more");
    let rest = changes(store, 1, RoomPosition { epoch: 7, change: Change::new(1) }, limit(1)).await;
    assert_eq!((change_numbers(&rest.page.items), rest.position.change.get()), (vec![2], 2));
}
