//! The buses of all nodes, bound together by a network that loses, doubles, reorders, stands still and breaks.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;
use weltenwind_core::{
    Room,
    bus::{Bus, LocalBus, LossHints, RoomEvent, Subscription},
};

use crate::dice::Dice;

#[derive(Debug)]
pub(crate) struct Network {
    ports: Mutex<Vec<Arc<Port>>>,
    dice: Mutex<Dice>,
    /// So many events in a thousand are lost, and nobody is told.
    pub(crate) loss: AtomicU64,
    /// So many in a thousand come twice.
    pub(crate) doubling: AtomicU64,
    /// Milliseconds by which events may overtake each other.
    pub(crate) disorder: AtomicU64,
}

/// Where one node meets the network.
#[derive(Debug)]
pub(crate) struct Port {
    local: LocalBus,
    dead: AtomicBool,
    /// Until when nothing comes through, and everything comes then.
    stalled_until: Mutex<Option<Instant>>,
    /// Whether what comes is lost, until the node hears that it has missed something.
    broken: AtomicBool,
}

impl Port {
    pub(crate) fn end(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    pub(crate) fn stall(&self, span: Duration) {
        *self.stalled_until.lock().expect("no panic") = Some(Instant::now() + span);
    }

    /// Loses everything from now on, and knows that it does.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// Tells the node's listeners that they have missed something, one after the other.
    pub(crate) fn mend(&self) {
        self.broken.store(false, Ordering::SeqCst);
        let mut rooms = self.local.rooms();
        rooms.sort_by_key(Room::to_string);
        for room in rooms {
            self.local.miss(room);
        }
    }

    fn deliver(&self, signal: &Signal) {
        if self.dead.load(Ordering::SeqCst) || self.broken.load(Ordering::SeqCst) {
            return;
        }
        match signal {
            Signal::Event(event) => self.local.deliver(Arc::clone(event)),
            Signal::Hint => self.local.hint(),
        }
    }
}

#[derive(Debug, Clone)]
enum Signal {
    Event(Arc<RoomEvent>),
    Hint,
}

impl Network {
    pub(crate) fn new(dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            ports: Mutex::default(),
            dice: Mutex::new(dice),
            loss: AtomicU64::new(0),
            doubling: AtomicU64::new(0),
            disorder: AtomicU64::new(0),
        })
    }

    /// Adds a node.
    pub(crate) fn attach(self: &Arc<Self>) -> (Arc<Port>, Arc<Line>) {
        let port = Arc::new(Port {
            local: LocalBus::default(),
            dead: AtomicBool::new(false),
            stalled_until: Mutex::default(),
            broken: AtomicBool::new(false),
        });
        let mut ports = self.ports.lock().expect("no panic");
        ports.retain(|port| !port.dead.load(Ordering::SeqCst));
        ports.push(Arc::clone(&port));
        let line = Line { network: Arc::clone(self), port: Arc::clone(&port) };
        (port, Arc::new(line))
    }

    pub(crate) fn heal(&self) {
        for fault in [&self.loss, &self.doubling, &self.disorder] {
            fault.store(0, Ordering::SeqCst);
        }
        for port in &*self.ports.lock().expect("no panic") {
            *port.stalled_until.lock().expect("no panic") = None;
            if port.broken.load(Ordering::SeqCst) {
                port.mend();
            }
        }
    }

    fn send(&self, from: &Arc<Port>, signal: &Signal) {
        let mut dice = self.dice.lock().expect("no panic");
        let [loss, doubling, disorder] =
            [&self.loss, &self.doubling, &self.disorder].map(|fault| fault.load(Ordering::SeqCst));
        for port in &*self.ports.lock().expect("no panic") {
            let chance = |dice: &mut Dice, permille| permille > 0 && dice.within(0..1000) < permille;
            if chance(&mut dice, loss) || (from.broken.load(Ordering::SeqCst) && !Arc::ptr_eq(from, port)) {
                continue;
            }
            let stall = port.stalled_until.lock().expect("no panic").map(|until| until.duration_since(Instant::now()));
            for _ in 0..=u32::from(chance(&mut dice, doubling)) {
                // Inside a node nothing takes time.
                let way = if Arc::ptr_eq(from, port) { 0 } else { dice.within(0..3) };
                let way = Duration::from_millis(way + if disorder > 0 { dice.within(0..disorder) } else { 0 });
                let way = way + stall.unwrap_or_default();
                if way.is_zero() {
                    port.deliver(signal);
                    continue;
                }
                let (port, signal) = (Arc::clone(port), signal.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(way).await;
                    port.deliver(&signal);
                });
            }
        }
    }
}

/// The bus of one node.
#[derive(Debug)]
pub(crate) struct Line {
    network: Arc<Network>,
    port: Arc<Port>,
}

impl Line {
    fn send(&self, signal: &Signal) {
        if !self.port.dead.load(Ordering::SeqCst) {
            self.network.send(&self.port, signal);
        }
    }
}

#[async_trait]
impl Bus for Line {
    async fn publish(&self, event: Arc<RoomEvent>) {
        self.send(&Signal::Event(event));
    }

    async fn subscribe(&self, room: Room) -> Subscription {
        self.port.local.listen(room)
    }

    async fn hint_losses(&self) {
        self.send(&Signal::Hint);
    }

    fn loss_hints(&self) -> LossHints {
        self.port.local.hints()
    }
}
