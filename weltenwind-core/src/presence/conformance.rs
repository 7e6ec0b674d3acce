//! What every [`PresenceStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`presence_store_conformance!`](crate::presence_store_conformance) makes a test of each.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;

use super::{
    model::{Flush, Member, PresenceNews, RoomChange, Shard, Typing},
    port::PresenceStore,
};
use crate::{
    clock::Timestamp,
    ids::{AccountId, NodeId, WorldId},
    room::Room,
};

/// Makes a test of every case of [`conformance`](crate::presence::conformance).
///
/// The fixture is a future of a guard, which is dropped after the case, and of [`Stores`] in which nobody is yet. Tests run on
/// tokio with its features `macros`, `rt-multi-thread` and `time`.
///
/// ```
/// mod memory {
///     # use std::sync::Arc;
///     # use weltenwind_core::presence::{MemoryPresenceStore, conformance::Stores};
///     weltenwind_core::presence_store_conformance!(async {
///         let store = Arc::new(MemoryPresenceStore::default());
///         ((), Stores { here: store.clone(), there: store })
///     });
/// }
/// ```
#[macro_export]
macro_rules! presence_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::presence_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_lease_stands_from_beat_to_beat
            a_lease_that_has_run_out_is_not_renewed
            a_beat_tells_the_sequence_of_the_last_flush
            what_a_node_publishes_is_read_elsewhere
            a_whole_room_replaces_what_was_there
            members_of_several_nodes_are_kept_apart
            rooms_are_read_in_the_order_asked
            a_burial_forgets_one_node_and_no_other
            whoever_publishes_after_its_burial_is_found_dead
            flushes_are_heard_in_order
            typing_is_heard_elsewhere
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::presence_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, stores) = $fixture.await;
            $crate::presence::conformance::$case(&stores).await;
        }
    };
}

/// Two nodes' ways to one store.
#[derive(Debug, Clone)]
pub struct Stores {
    /// One node's.
    pub here: Arc<dyn PresenceStore>,
    /// The other's.
    pub there: Arc<dyn PresenceStore>,
}

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_millis(20);

const fn node(n: u128) -> NodeId {
    NodeId::new(uuid::Uuid::from_u128(n))
}

const fn world(n: u128) -> Room {
    Room::World(WorldId::new(uuid::Uuid::from_u128(n)))
}

fn member(n: u128, state: &str) -> Member {
    Member {
        account: AccountId::new(uuid::Uuid::from_u128(n)),
        display_name: format!("Player “{n}”"),
        state: Some(state.to_owned()),
        at: Timestamp::from_microsecond(1_767_225_600_123_456).expect("in range"),
    }
}

fn flush(node: NodeId, sequence: u64, room: Room, set: Vec<Member>, gone: &[u128]) -> Flush {
    let gone = gone.iter().map(|n| AccountId::new(uuid::Uuid::from_u128(*n))).collect();
    Flush { node, sequence, changes: vec![RoomChange { room, whole: false, set, gone }] }
}

async fn publish(store: &dyn PresenceStore, flush: Flush) {
    store.publish(&flush).await.expect("the store takes a flush");
}

async fn read(store: &dyn PresenceStore, room: Room) -> Vec<Shard> {
    let mut shards = store.read(&[room]).await.expect("the store is read").pop().expect("one room was asked for");
    shards.sort_by_key(|shard| shard.node);
    for shard in &mut shards {
        shard.members.sort_by_key(|member| member.account);
    }
    shards
}

/// The nodes that are alive and those that are dead, as `asking` learns by its first beat.
async fn nodes(store: &dyn PresenceStore, asking: NodeId) -> (Vec<NodeId>, Vec<NodeId>) {
    let beat = store.beat(asking, 0, LONG, true).await.expect("the store takes a beat");
    let mut live: Vec<NodeId> = beat.live.into_iter().map(|(node, _)| node).collect();
    live.sort_unstable();
    (live, beat.dead)
}

async fn hear(news: &mut broadcast::Receiver<PresenceNews>) -> PresenceNews {
    tokio::time::timeout(PATIENCE, news.recv()).await.expect("news come in time").expect("none are lost")
}

/// Others know a node from its first sign of life on.
pub async fn a_lease_stands_from_beat_to_beat(stores: &Stores) {
    assert!(!stores.here.beat(node(1), 0, LONG, true).await.expect("a first beat").was_known);
    assert!(stores.here.beat(node(1), 0, LONG, false).await.expect("a second beat").was_known);

    assert_eq!(nodes(&*stores.there, node(2)).await, (vec![node(1), node(2)], vec![]));
}

/// A node that stood still too long may have been taken for dead, and must not come back under the same name.
pub async fn a_lease_that_has_run_out_is_not_renewed(stores: &Stores) {
    stores.here.beat(node(1), 0, SHORT, true).await.expect("a first beat");
    tokio::time::sleep(SHORT * 5).await;

    assert!(!stores.here.beat(node(1), 0, LONG, false).await.expect("a late beat").was_known);

    assert_eq!(nodes(&*stores.there, node(2)).await, (vec![node(2)], vec![node(1)]));
}

/// Whoever missed the last flush of a node that says nothing more finds out by its lease.
pub async fn a_beat_tells_the_sequence_of_the_last_flush(stores: &Stores) {
    stores.here.beat(node(1), 0, LONG, true).await.expect("a first beat");
    stores.here.beat(node(1), 7, LONG, false).await.expect("a second beat");

    let beat = stores.there.beat(node(2), 3, LONG, true).await.expect("a beat");

    let mut live = beat.live;
    live.sort_unstable();
    assert_eq!(live, [(node(1), 7), (node(2), 3)]);
}

/// Who came is read with name and state, who went is not, and an empty room is nobody's.
pub async fn what_a_node_publishes_is_read_elsewhere(stores: &Stores) {
    publish(&*stores.here, flush(node(1), 1, world(1), vec![member(1, "here"), member(2, "here")], &[])).await;
    publish(&*stores.here, flush(node(1), 2, world(1), vec![member(1, "in a raid")], &[2, 9])).await;

    let shard = Shard { node: node(1), version: 2, members: vec![member(1, "in a raid")] };
    assert_eq!(read(&*stores.there, world(1)).await, [shard]);

    publish(&*stores.here, flush(node(1), 3, world(1), vec![], &[1])).await;
    assert_eq!(read(&*stores.there, world(1)).await, []);
}

/// What was said before and is not part of the whole is gone.
pub async fn a_whole_room_replaces_what_was_there(stores: &Stores) {
    publish(&*stores.here, flush(node(1), 1, world(1), vec![member(1, "a"), member(2, "a")], &[])).await;
    let whole = RoomChange { room: world(1), whole: true, set: vec![member(2, "b"), member(3, "b")], gone: vec![] };
    publish(&*stores.here, Flush { node: node(1), sequence: 2, changes: vec![whole] }).await;

    let shards = read(&*stores.there, world(1)).await;
    assert_eq!(shards, [Shard { node: node(1), version: 2, members: vec![member(2, "b"), member(3, "b")] }]);
}

/// An account with sockets on two nodes is kept by each.
pub async fn members_of_several_nodes_are_kept_apart(stores: &Stores) {
    publish(&*stores.here, flush(node(1), 1, world(1), vec![member(1, "a")], &[])).await;
    publish(&*stores.there, flush(node(2), 5, world(1), vec![member(1, "b")], &[])).await;
    publish(&*stores.here, flush(node(1), 2, world(2), vec![member(1, "c")], &[])).await;
    let of = |node, version, state| Shard { node, version, members: vec![member(1, state)] };

    assert_eq!(read(&*stores.here, world(1)).await, [of(node(1), 1, "a"), of(node(2), 5, "b")]);
    publish(&*stores.here, flush(node(1), 3, world(1), vec![], &[1])).await;
    assert_eq!(read(&*stores.here, world(1)).await, [of(node(2), 5, "b")]);
}

/// Also a room in which nobody is has its place.
pub async fn rooms_are_read_in_the_order_asked(stores: &Stores) {
    for n in [1, 3] {
        let sequence = u64::try_from(n).expect("it is small");
        publish(&*stores.here, flush(node(1), sequence, world(n), vec![member(n, "a")], &[])).await;
    }

    let read = stores.there.read(&[world(3), world(2), world(1)]).await.expect("the store is read");

    let members = |shards: &Vec<Shard>| shards.iter().map(|shard| shard.members.clone()).collect::<Vec<_>>();
    let members: Vec<_> = read.iter().map(members).collect();
    assert_eq!(members, [vec![vec![member(3, "a")]], vec![], vec![vec![member(1, "a")]]]);
}

/// What a dead node had is gone from every room.
pub async fn a_burial_forgets_one_node_and_no_other(stores: &Stores) {
    stores.here.beat(node(1), 0, SHORT, true).await.expect("a first beat");
    for room in [world(1), world(2)] {
        publish(&*stores.here, flush(node(1), 1, room, vec![member(1, "a")], &[])).await;
        publish(&*stores.there, flush(node(2), 1, room, vec![member(2, "a")], &[])).await;
    }
    tokio::time::sleep(SHORT * 5).await;
    assert_eq!(nodes(&*stores.there, node(2)).await, (vec![node(2)], vec![node(1)]));

    stores.there.bury(node(1)).await.expect("a burial");

    assert_eq!(nodes(&*stores.there, node(2)).await, (vec![node(2)], vec![]));
    for room in [world(1), world(2)] {
        let shards = read(&*stores.here, room).await;
        assert_eq!(shards, [Shard { node: node(2), version: 1, members: vec![member(2, "a")] }]);
    }
}

/// A node that stood still between its beat and its flush leaves nothing behind that nobody would ever clear away.
pub async fn whoever_publishes_after_its_burial_is_found_dead(stores: &Stores) {
    stores.there.bury(node(1)).await.expect("a burial");

    publish(&*stores.here, flush(node(1), 1, world(1), vec![member(1, "a")], &[])).await;

    assert_eq!(nodes(&*stores.there, node(2)).await, (vec![node(2)], vec![node(1)]));
}

/// What is heard is what was published; a loss shows as a hole in the sequence.
pub async fn flushes_are_heard_in_order(stores: &Stores) {
    let mut news = stores.there.listen();
    let flushes: Vec<Flush> =
        (1..=20).map(|n| flush(node(1), n, world(1), vec![member(u128::from(n), "“a”")], &[7])).collect();

    for flush in &flushes {
        stores.here.publish(flush).await.expect("the store takes a flush");
    }

    for flush in flushes {
        assert_eq!(hear(&mut news).await, PresenceNews::Flush(Arc::new(flush)));
    }
}

/// It is told and nowhere kept.
pub async fn typing_is_heard_elsewhere(stores: &Stores) {
    let mut news = stores.there.listen();
    let Member { account, display_name, .. } = member(1, "a");
    let typing = Typing { node: node(1), room: world(1), account, display_name };

    stores.here.tell(&typing).await;

    assert_eq!(hear(&mut news).await, PresenceNews::Typing(Arc::new(typing)));
    assert_eq!(read(&*stores.there, world(1)).await, []);
}
