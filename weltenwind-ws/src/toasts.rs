//! Toasts: what is new for whoever looks at a client right now.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use bytes::Bytes;
use tokio::{sync::broadcast::error::RecvError, task::AbortHandle};
use weltenwind_core::{
    AccountId, DeviceId, Room, Services, chain,
    notifications::{Notice, Notifications},
    presence::SocketId,
    wire::ServerRecord,
};

use crate::{bell::Bell, records};

/// The sockets of this node that somebody looks at.
#[derive(Debug, Default)]
pub(crate) struct Toasts {
    shared: Arc<Shared>,
    handing_over: OnceLock<AbortHandle>,
}

#[derive(Debug, Default)]
struct Shared {
    viewers: Mutex<BTreeMap<AccountId, Vec<Viewer>>>,
}

#[derive(Debug)]
struct Viewer {
    socket: SocketId,
    device: DeviceId,
    tray: Arc<Tray>,
}

/// Toasts that wait for one socket.
#[derive(Debug)]
struct Tray {
    records: Mutex<VecDeque<Bytes>>,
    bell: Arc<Bell>,
}

/// Toasts that wait for a socket; of more the newest is dropped, and stays in the feed.
const WAITING: usize = 16;

/// Accounts that the store is asked for at once: some milliseconds, and a node with many has shown the first by then.
const ASKED_AT_ONCE: usize = 250;

/// That somebody looks at a socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct Viewing {
    account: AccountId,
    socket: SocketId,
    tray: Arc<Tray>,
    shared: Weak<Shared>,
}

impl Toasts {
    /// Notes that somebody looks at a socket. Whoever is told of it by this is told of what comes from now on.
    pub(crate) fn view(
        &self,
        services: &Services,
        account: AccountId,
        device: DeviceId,
        socket: SocketId,
        bell: &Arc<Bell>,
    ) -> Viewing {
        self.handing_over.get_or_init(|| hand_over(&services.notifications, &self.shared));
        let tray = Arc::new(Tray { records: Mutex::default(), bell: Arc::clone(bell) });
        let viewer = Viewer { socket, device, tray: Arc::clone(&tray) };
        lock(&self.shared.viewers).entry(account).or_default().push(viewer);
        Viewing { account, socket, tray, shared: Arc::downgrade(&self.shared) }
    }
}

impl Drop for Toasts {
    fn drop(&mut self) {
        if let Some(handing_over) = self.handing_over.get() {
            handing_over.abort();
        }
    }
}

impl Viewing {
    /// Notes that the client says so again: of its device's sockets it is the one that was looked at last.
    pub(crate) fn look_again(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut viewers = lock(&shared.viewers);
        if let Some(of_account) = viewers.get_mut(&self.account)
            && let Some(own) = of_account.iter().position(|viewer| viewer.socket == self.socket)
        {
            of_account[own..].rotate_left(1);
        }
    }

    pub(crate) fn has_toasts(&self) -> bool {
        !lock(&self.tray.records).is_empty()
    }

    pub(crate) fn next_toast(&self) -> Option<Bytes> {
        lock(&self.tray.records).pop_front()
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut viewers = lock(&shared.viewers);
        if let Some(of_account) = viewers.get_mut(&self.account) {
            of_account.retain(|viewer| viewer.socket != self.socket);
            if of_account.is_empty() {
                viewers.remove(&self.account);
            }
        }
    }
}

/// Hands over what there is notice of from now on.
fn hand_over(notifications: &Notifications, shared: &Arc<Shared>) -> AbortHandle {
    let (notifications, shared) = (notifications.clone(), Arc::clone(shared));
    let mut notices = notifications.notices().subscribe();
    let handing_over = tokio::spawn(async move {
        loop {
            match notices.recv().await {
                Ok(notice) => shared.offer(&notifications, notice).await,
                // Those are in the feed.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    handing_over.abort_handle()
}

impl Shared {
    /// Hands a notice to each account that it concerns, looks here, and was not told of it.
    async fn offer(&self, notifications: &Notifications, notice: Notice) {
        let accounts: Vec<AccountId> = match notice.room {
            Room::User(account) => Vec::from_iter(lock(&self.viewers).contains_key(&account).then_some(account)),
            // Whom it concerns, the store knows.
            _ => lock(&self.viewers).keys().copied().collect(),
        };
        for accounts in accounts.chunks(ASKED_AT_ONCE) {
            match notifications.dispatch(accounts, notice.notification).await {
                Ok(told) => told.into_iter().for_each(|account| self.show(account, notice)),
                Err(error) => tracing::warn!(error = chain(&error), "a toast is not shown"),
            }
        }
    }

    /// Shows a notice on one socket of each device.
    fn show(&self, account: AccountId, notice: Notice) {
        let kind = if matches!(notice.room, Room::User(_)) { "notification" } else { "announcement" };
        let record = ServerRecord::Notice { room: notice.room, kind: kind.to_owned(), id: Some(notice.notification) };
        let record = records::write(&record);
        let mut devices = BTreeSet::new();
        let viewers = lock(&self.viewers);
        // The socket that was looked at last is the one that is looked at.
        for Viewer { device, tray, .. } in viewers.get(&account).into_iter().flatten().rev() {
            if devices.insert(*device) {
                let mut records = lock(&tray.records);
                if records.len() < WAITING {
                    records.push_back(record.clone());
                }
                drop(records);
                tray.bell.ring();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
