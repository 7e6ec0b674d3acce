//! What every [`Bus`] must do: plain functions, each named as the sentence it proves.
//!
//! [`bus_conformance!`](crate::bus_conformance) makes a test of each.

use std::{sync::Arc, time::Duration};

use super::{
    local::Subscription,
    model::{BusLag, RoomEvent},
    port::Bus,
};
use crate::{
    chat::{Change, NewChannel, NewMessage, RemovalMode, Tombstone},
    room::Room,
};

/// Makes a test of every case of [`conformance`](crate::bus::conformance).
///
/// The fixture is a future of a guard, which is dropped after the case, and of [`Nodes`] on which nothing was done before.
/// Tests run on tokio with its features `macros` and `rt-multi-thread`.
///
/// ```
/// mod local {
///     # use weltenwind_core::bus::{LocalBus, conformance::Nodes};
///     weltenwind_core::bus_conformance!(async { ((), Nodes::one(LocalBus::default())) });
/// }
/// mod remote {
///     # use weltenwind_core::bus::{LocalBus, conformance::Nodes};
///     weltenwind_core::bus_conformance!(async { ((), Nodes::one(LocalBus::default())) }, ignore = "needs a broker");
/// }
/// ```
#[macro_export]
macro_rules! bus_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::bus_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            every_listener_of_a_room_hears_what_is_published
            a_listener_on_another_node_hears_what_is_published
            nodes_hear_each_other
            an_event_arrives_with_all_that_it_says
            an_event_is_heard_once_on_every_node
            events_of_one_publisher_keep_their_order
            a_listener_hears_nothing_of_other_rooms
            who_leaves_takes_nothing_from_the_others
            a_room_can_be_left_and_listened_to_again
            waiting_can_be_given_up_without_loss
            a_slow_listener_hears_everything_or_notices_that_it_missed_something
            after_a_lag_a_listener_hears_what_comes_next
            many_rooms_are_listened_to_at_once
            a_hint_of_losses_reaches_every_node
            a_bus_that_works_says_so
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::bus_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, nodes) = $fixture.await;
            $crate::bus::conformance::$case(&nodes).await;
        }
    };
}

/// Two nodes that share a broker.
#[derive(Debug, Clone)]
pub struct Nodes {
    /// One node.
    pub here: Arc<dyn Bus>,
    /// The other.
    pub there: Arc<dyn Bus>,
}

impl Nodes {
    /// A bus that knows no other process: both nodes are one.
    pub fn one(bus: impl Bus) -> Self {
        let bus: Arc<dyn Bus> = Arc::new(bus);
        Self { here: Arc::clone(&bus), there: bus }
    }
}

/// Longer than any working bus takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn room(channel: u32) -> Room {
    Room::Channel(NewChannel::sample(channel).id)
}

async fn publish(bus: &dyn Bus, channel: u32, change: i64) {
    bus.publish(Arc::new(RoomEvent::sample(channel, change))).await;
}

async fn next(listener: &mut Subscription) -> Result<Arc<RoomEvent>, BusLag> {
    tokio::time::timeout(PATIENCE, listener.next()).await.expect("something is heard in time")
}

/// Hears an event that must come, and answers its number.
async fn change(listener: &mut Subscription) -> i64 {
    next(listener).await.expect("nothing was missed").message.change.get()
}

/// Whoever listens hears.
pub async fn every_listener_of_a_room_hears_what_is_published(nodes: &Nodes) {
    let mut one = nodes.here.subscribe(room(1)).await;
    let mut other = nodes.here.subscribe(room(1)).await;

    publish(&*nodes.here, 1, 1).await;

    assert_eq!(change(&mut one).await, 1);
    assert_eq!(change(&mut other).await, 1);
}

/// Players on two nodes share a room.
pub async fn a_listener_on_another_node_hears_what_is_published(nodes: &Nodes) {
    let mut listener = nodes.there.subscribe(room(1)).await;

    publish(&*nodes.here, 1, 1).await;

    assert_eq!(change(&mut listener).await, 1);
}

/// No node is only told or only tells.
pub async fn nodes_hear_each_other(nodes: &Nodes) {
    let mut here = nodes.here.subscribe(room(1)).await;
    let mut there = nodes.there.subscribe(room(1)).await;

    publish(&*nodes.here, 1, 1).await;
    assert_eq!((change(&mut here).await, change(&mut there).await), (1, 1));
    publish(&*nodes.there, 1, 2).await;

    assert_eq!((change(&mut here).await, change(&mut there).await), (2, 2));
}

/// A node shows a message of another exactly as its own.
pub async fn an_event_arrives_with_all_that_it_says(nodes: &Nodes) {
    let mut listener = nodes.there.subscribe(room(1)).await;
    let mut event = RoomEvent::sample(1, 3);
    event.epoch = u32::MAX;
    event.message.change = Change::new(i64::MAX);
    event.message.reply_to = Some(NewMessage::sample("well met").id);
    event.message.edited_at = Some(event.message.sent_at);
    event.message.tombstone = Some(Tombstone {
        deleted_by: Some(event.message.author.id),
        reason: "\"spam\"\n\u{1F32C}".to_owned(),
        deleted_at: event.message.sent_at,
        mode: RemovalMode::Mask,
    });
    let event = Arc::new(event);

    nodes.here.publish(Arc::clone(&event)).await;

    let heard = next(&mut listener).await.expect("nothing was missed");
    assert_eq!((&heard.message, heard.epoch), (&event.message, event.epoch));
}

/// What a node published does not come back to it a second time.
pub async fn an_event_is_heard_once_on_every_node(nodes: &Nodes) {
    let mut here = nodes.here.subscribe(room(1)).await;
    let mut there = nodes.there.subscribe(room(1)).await;

    publish(&*nodes.here, 1, 1).await;
    assert_eq!(change(&mut there).await, 1);
    // Whatever came back of the first event came before this one.
    publish(&*nodes.there, 1, 2).await;

    assert_eq!(change(&mut there).await, 2);
    assert_eq!((change(&mut here).await, change(&mut here).await), (1, 2));
}

/// A room reads the same everywhere, without anybody sorting it.
pub async fn events_of_one_publisher_keep_their_order(nodes: &Nodes) {
    let mut here = nodes.here.subscribe(room(1)).await;
    let mut there = nodes.there.subscribe(room(1)).await;

    for n in 1..=200 {
        publish(&*nodes.here, 1, n).await;
    }

    for n in 1..=200 {
        assert_eq!((change(&mut here).await, change(&mut there).await), (n, n));
    }
}

/// What is said in one room stays there.
pub async fn a_listener_hears_nothing_of_other_rooms(nodes: &Nodes) {
    let mut one = nodes.there.subscribe(room(1)).await;
    let mut other = nodes.there.subscribe(room(2)).await;

    publish(&*nodes.here, 2, 1).await;
    publish(&*nodes.here, 3, 2).await;
    publish(&*nodes.here, 1, 3).await;

    assert_eq!(change(&mut one).await, 3);
    assert_eq!(change(&mut other).await, 1);
}

/// Listeners share a room and not a fate.
pub async fn who_leaves_takes_nothing_from_the_others(nodes: &Nodes) {
    let mut stays = nodes.there.subscribe(room(1)).await;
    let leaves = nodes.there.subscribe(room(1)).await;

    drop(leaves);
    publish(&*nodes.here, 1, 1).await;

    assert_eq!(change(&mut stays).await, 1);
}

/// A player who comes back hears again, and nothing of before.
pub async fn a_room_can_be_left_and_listened_to_again(nodes: &Nodes) {
    for n in 1..=20 {
        let mut listener = nodes.there.subscribe(room(1)).await;
        publish(&*nodes.here, 1, n).await;
        assert_eq!(change(&mut listener).await, n);
    }
}

/// A connection that waits for a room and for its client gives up waiting all the time.
pub async fn waiting_can_be_given_up_without_loss(nodes: &Nodes) {
    let mut listener = nodes.there.subscribe(room(1)).await;
    for n in 1..=20 {
        let waited = tokio::time::timeout(Duration::from_millis(1), listener.next()).await;
        assert!(waited.is_err(), "nothing was published");

        publish(&*nodes.here, 1, n).await;

        assert_eq!(change(&mut listener).await, n);
    }
}

/// A loss is never silent, whether the bus keeps much for a listener or little.
pub async fn a_slow_listener_hears_everything_or_notices_that_it_missed_something(nodes: &Nodes) {
    const EVENTS: i64 = 1500;
    let mut slow = nodes.there.subscribe(room(1)).await;
    let mut quick = nodes.there.subscribe(room(2)).await;

    for n in 1..=EVENTS {
        publish(&*nodes.here, 1, n).await;
    }
    publish(&*nodes.here, 2, 1).await;
    assert_eq!(change(&mut quick).await, 1, "one room does not hold up another");

    for n in 1..=EVENTS {
        match next(&mut slow).await {
            Ok(event) => assert_eq!(event.message.change.get(), n),
            Err(BusLag) => return,
        }
    }
}

/// A listener that read the store goes on hearing.
pub async fn after_a_lag_a_listener_hears_what_comes_next(nodes: &Nodes) {
    const LAST: i64 = 1001;
    let mut listener = nodes.there.subscribe(room(1)).await;
    let mut witness = nodes.there.subscribe(room(2)).await;
    for n in 1..LAST {
        publish(&*nodes.here, 1, n).await;
    }
    publish(&*nodes.here, 2, 1).await;
    assert_eq!(change(&mut witness).await, 1, "everything before has arrived");

    publish(&*nodes.here, 1, LAST).await;

    let mut heard = 0;
    while heard < LAST {
        if let Ok(event) = next(&mut listener).await {
            assert!(event.message.change.get() > heard, "order holds across a lag");
            heard = event.message.change.get();
        }
    }
}

/// Joins come in crowds.
pub async fn many_rooms_are_listened_to_at_once(nodes: &Nodes) {
    let mut joining = tokio::task::JoinSet::new();
    for n in 1..=100 {
        let there = Arc::clone(&nodes.there);
        joining.spawn(async move { (n, there.subscribe(room(n)).await) });
    }
    let mut listeners = joining.join_all().await;

    for (n, _) in &listeners {
        publish(&*nodes.here, *n, i64::from(*n)).await;
    }

    for (n, listener) in &mut listeners {
        assert_eq!(change(listener).await, i64::from(*n));
    }
}

/// A session that was ended on one node ends on the other before it looks by itself.
pub async fn a_hint_of_losses_reaches_every_node(nodes: &Nodes) {
    let (mut here, mut there) = (nodes.here.loss_hints(), nodes.there.loss_hints());

    for _ in 0..3 {
        nodes.here.hint_losses().await;
        tokio::time::timeout(PATIENCE, here.next()).await.expect("the own node hears it");
        tokio::time::timeout(PATIENCE, there.next()).await.expect("the other node hears it");
    }
    nodes.there.hint_losses().await;
    tokio::time::timeout(PATIENCE, here.next()).await.expect("it goes both ways");
}

/// Operators can tell a bus that is there from one that is away.
pub async fn a_bus_that_works_says_so(nodes: &Nodes) {
    let mut listener = nodes.there.subscribe(room(1)).await;
    publish(&*nodes.here, 1, 1).await;
    change(&mut listener).await;

    assert_eq!((nodes.here.check(), nodes.there.check()), (Ok(()), Ok(())));
}
