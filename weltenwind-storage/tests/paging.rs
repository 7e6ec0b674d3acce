//! Lists that change while they are read page by page: whatever stays is met once, whatever comes and goes meanwhile.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use proptest::{
    collection::{btree_set, vec},
    prelude::*,
    test_runner::{Config, TestCaseResult, TestRunner},
};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, ChannelId, DeviceId, GrantId, Limit, MessageId, Page, Scope, SessionId, Step, Timestamp, WorldId,
    access::{GrantStore, MemberQuery, MemoryGrantStore, NewGrant, Role},
    accounts::{AccountStore, DisplayName, NewDevice, NewGuest, NewSession, Seen, TokenHash},
    chat::{
        ChannelAmendment, ChannelChange, ChannelQuery, ChatStore, MemoryChatStore, MessageQuery, NewChannel,
        NewMessage, Position, Removal, RemovalMode, Seq,
    },
    worlds::{
        Description, JoinPolicy, NewWorld, Slug, Visibility, WorldAmendment, WorldChange, WorldName, WorldQuery,
        WorldSort, WorldStore,
    },
};

use self::fixture::Fixture;

/// Things that a case may put into its list, numbered in the order of the list.
const THINGS: u32 = 24;

/// A list of a case's own, and what can become of it.
#[async_trait]
trait List: Send + Sync {
    /// Puts thing `n` into the list, where it belongs by its number.
    async fn put(&self, n: u32);

    /// Takes thing `n` away for good.
    async fn take(&self, n: u32);

    /// Reads the part behind thing `after`, and whether more follow.
    async fn page(&self, after: Option<u32>, limit: Limit) -> (Vec<u32>, bool);

    /// Whether the highest number comes first.
    fn is_descending(&self) -> bool {
        false
    }

    /// Whether things are put at the end with the highest numbers alone, and taken from the other.
    fn is_a_history(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Put(u32),
    Take(u32),
}

#[derive(Debug, Clone)]
struct Walk {
    limit: u16,
    first: BTreeSet<u32>,
    /// What happens behind each page.
    meanwhile: Vec<Vec<Act>>,
}

fn walks() -> impl Strategy<Value = Walk> {
    let act = prop_oneof![(0..THINGS).prop_map(Act::Put), (0..THINGS).prop_map(Act::Take)];
    let meanwhile = vec(vec(act, 0..4), 0..8);
    (1_u16..6, btree_set(0..THINGS, 0..16), meanwhile).prop_map(|(limit, first, meanwhile)| Walk {
        limit,
        first,
        meanwhile,
    })
}

/// What a case knows of its list.
#[derive(Default)]
struct Known {
    present: BTreeSet<u32>,
    /// What was ever there: nothing comes back under the same identifier.
    spent: BTreeSet<u32>,
    taken: BTreeSet<u32>,
}

impl Known {
    async fn act(&mut self, list: &dyn List, act: Act) {
        match act {
            Act::Put(n) => {
                let n = if list.is_a_history() { self.spent.last().map_or(0, |last| last + 1) } else { n };
                if self.spent.insert(n) {
                    list.put(n).await;
                    self.present.insert(n);
                }
            }
            Act::Take(n) => {
                let n = if list.is_a_history() { self.present.first().copied().unwrap_or(n) } else { n };
                if self.present.remove(&n) {
                    list.take(n).await;
                    self.taken.insert(n);
                }
            }
        }
    }
}

async fn holds(list: &dyn List, walk: &Walk) -> TestCaseResult {
    let limit = Limit::new(walk.limit).expect("1 to 200");
    let mut known = Known::default();
    for n in &walk.first {
        known.act(list, Act::Put(*n)).await;
    }
    let first = known.present.clone();
    let mut meanwhile = walk.meanwhile.iter();
    let (mut met, mut after): (Vec<u32>, Option<u32>) = (Vec::new(), None);

    loop {
        let (items, more) = list.page(after, limit).await;
        prop_assert!(items.iter().all(|n| known.present.contains(n)), "{items:?} of {:?}", known.present);
        prop_assert!(items.len() <= limit.get());
        prop_assert!(!more || items.len() == limit.get(), "a part that is not full says that more follow");
        after = items.last().copied().or(after);
        met.extend(items);
        prop_assert!(met.len() <= known.spent.len(), "more than was ever there: {met:?}");
        for act in meanwhile.next().into_iter().flatten() {
            known.act(list, *act).await;
        }
        if !more {
            break;
        }
    }

    if list.is_descending() {
        met.reverse();
    }
    prop_assert!(met.is_sorted_by(|one, next| one < next), "out of order, or twice: {met:?}");
    let missing: Vec<&u32> = first.difference(&known.taken).filter(|n| !met.contains(n)).collect();
    prop_assert!(missing.is_empty(), "lost {missing:?} of {first:?}, met {met:?}");
    Ok(())
}

/// Walks through a list that `make` makes for each case, so that all of them can use one database.
async fn walk_through<L, F>(cases: u32, make: impl Fn(u32) -> F + Send + 'static)
where
    L: List,
    F: Future<Output = L>,
{
    let next_case = AtomicU32::new(1);
    let handle = tokio::runtime::Handle::current();
    let runs = tokio::task::spawn_blocking(move || {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(&walks(), |walk| {
            let case = next_case.fetch_add(1, Ordering::Relaxed);
            handle.block_on(async { holds(&make(case).await, &walk).await })
        })
    });
    runs.await.expect("the runner does not panic").unwrap_or_else(|failure| panic!("{failure}"));
}

fn at(second: u32) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + i64::from(second)).expect("the year 2026 is in range")
}

fn step() -> Step {
    Step::sample(at(0))
}

fn uuid(case: u32, n: u32) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(case) << 32 | u128::from(n))
}

/// Returns the number that [`uuid`] made an identifier of.
fn number(uuid: Uuid) -> u32 {
    u32::try_from(uuid.as_u128() & 0xffff_ffff).expect("32 bits")
}

struct WorldList {
    store: Arc<dyn WorldStore>,
    case: u32,
    sort: WorldSort,
}

#[async_trait]
impl List for WorldList {
    async fn put(&self, n: u32) {
        let world = NewWorld {
            id: WorldId::new(uuid(self.case, n)),
            slug: Slug::new(&format!("world-{}-{n}", self.case)).expect("a slug"),
            name: WorldName::new(&format!("World {n} of case {}.", self.case)).expect("a name"),
            description: Description::new("").expect("a description"),
            visibility: Visibility::Public,
            join_policy: JoinPolicy::Open,
            owner: None,
        };
        self.store.create(&step(), &world).await.expect("a world");
    }

    async fn take(&self, n: u32) {
        let id = WorldId::new(uuid(self.case, n));
        // Archived, or hidden: either way it is no longer listed.
        let hidden = WorldAmendment { visibility: Some(Visibility::Private), ..WorldAmendment::default() };
        let amendment = if n.is_multiple_of(2) { hidden } else { WorldAmendment::default() };
        let change = WorldChange { id, expected: None, amendment, archive: !n.is_multiple_of(2) };
        self.store.amend(&step(), &change).await.expect("a world");
    }

    async fn page(&self, after: Option<u32>, limit: Limit) -> (Vec<u32>, bool) {
        let query = WorldQuery {
            text: Some(format!("of case {}.", self.case)),
            sort: self.sort,
            after: after.map(|n| WorldId::new(uuid(self.case, n))),
            limit,
            ..WorldQuery::default()
        };
        let Page { items, more } = self.store.page(&query).await.expect("a page");
        (items.iter().map(|world| number(world.id.uuid())).collect(), more)
    }

    fn is_descending(&self) -> bool {
        self.sort == WorldSort::NewestFirst
    }
}

struct MemberList {
    store: Arc<dyn GrantStore>,
    case: u32,
}

impl MemberList {
    fn account(n: u32) -> AccountId {
        AccountId::new(uuid(0, n))
    }

    fn world(&self) -> WorldId {
        WorldId::new(uuid(self.case, 0))
    }
}

#[async_trait]
impl List for MemberList {
    async fn put(&self, n: u32) {
        // Some hold two roles, and are one member.
        let roles =
            if n.is_multiple_of(3) { vec![Role::WorldMember, Role::WorldModerator] } else { vec![Role::WorldMember] };
        for (i, role) in (0..).zip(roles) {
            let grant = NewGrant {
                id: GrantId::new(uuid(self.case, n + i * THINGS)),
                account: Self::account(n),
                role,
                scope: Scope::World(self.world()),
                reason: None,
                expires_at: None,
            };
            self.store.grant(&step(), &grant).await.expect("a grant");
        }
    }

    async fn take(&self, n: u32) {
        self.store.revoke_all(&step(), Self::account(n), Scope::World(self.world())).await.expect("a member");
    }

    async fn page(&self, after: Option<u32>, limit: Limit) -> (Vec<u32>, bool) {
        let query = MemberQuery { world: self.world(), at: at(1), after: after.map(Self::account), limit };
        let Page { items, more } = self.store.members(&query).await.expect("a page");
        (items.iter().map(|member| number(member.account.uuid())).collect(), more)
    }
}

/// Whoever may become a member of some case's world.
async fn with_accounts(accounts: &dyn AccountStore) {
    for n in 0..THINGS {
        let session = NewSession {
            id: SessionId::new(uuid(0, n)),
            device: NewDevice {
                id: DeviceId::new(uuid(0, n)),
                name: None,
                fingerprint: None,
                seen: Seen::new(at(0), None),
            },
            refresh: TokenHash::of(&format!("refresh {n}")),
            idle_expires_at: at(3600),
            expires_at: at(86_400),
        };
        let display_name = DisplayName::new("Mira").expect("a name");
        let guest = NewGuest { id: MemberList::account(n), display_name, session };
        accounts.open_guest(&step(), &guest).await.expect("a guest");
    }
}

struct ChannelList {
    store: Arc<dyn ChatStore>,
    case: u32,
}

impl ChannelList {
    fn scope(&self) -> Scope {
        Scope::World(WorldId::new(uuid(self.case, 0)))
    }
}

#[async_trait]
impl List for ChannelList {
    async fn put(&self, n: u32) {
        let id = ChannelId::new(uuid(self.case, n));
        let channel = NewChannel { id, scope: self.scope(), ..NewChannel::sample(n) };
        self.store.create_channel(&step(), &channel).await.expect("a channel");
    }

    async fn take(&self, n: u32) {
        let id = ChannelId::new(uuid(self.case, n));
        let change = ChannelChange { id, expected: None, amendment: ChannelAmendment::default(), archive: true };
        self.store.amend_channel(&step(), &change).await.expect("a channel");
    }

    async fn page(&self, after: Option<u32>, limit: Limit) -> (Vec<u32>, bool) {
        let after = after.map(|n| ChannelId::new(uuid(self.case, n)));
        let query = ChannelQuery { scope: self.scope(), after, limit };
        let Page { items, more } = self.store.channels(&query).await.expect("a page");
        (items.iter().map(|channel| number(channel.id.uuid())).collect(), more)
    }
}

/// The history of a channel: it grows at its newer end, retention takes its oldest part, and what is removed keeps its
/// place.
struct MessageList {
    store: Arc<dyn ChatStore>,
    case: u32,
    newest_first: bool,
}

impl MessageList {
    async fn new(store: Arc<dyn ChatStore>, case: u32, newest_first: bool) -> Self {
        let list = Self { store, case, newest_first };
        let channel = NewChannel { id: list.channel(), ..NewChannel::sample(case) };
        list.store.create_channel(&step(), &channel).await.expect("a channel");
        list
    }

    fn channel(&self) -> ChannelId {
        ChannelId::new(uuid(self.case, 0))
    }

    fn message(&self, n: u32) -> MessageId {
        MessageId::new(uuid(self.case, n))
    }
}

#[async_trait]
impl List for MessageList {
    async fn put(&self, n: u32) {
        let message = NewMessage {
            id: self.message(n),
            channel: self.channel(),
            client_id: None,
            sent_at: at(n),
            ..NewMessage::sample("well met")
        };
        let appended = self.store.append(&[message]).await.expect("a message");
        assert!(appended[0].is_ok(), "{appended:?}");
        if n.is_multiple_of(4) {
            let removal = Removal { message: self.message(n), reason: "spam".to_owned(), mode: RemovalMode::Mask };
            self.store.remove(&step(), &removal).await.expect("a message");
        }
    }

    async fn take(&self, n: u32) {
        self.store.purge(self.channel(), at(n + 1), 1).await.expect("a channel");
    }

    async fn page(&self, after: Option<u32>, limit: Limit) -> (Vec<u32>, bool) {
        // The first message is number 0 here and `seq` 1 there.
        let seq = after.map(|n| Seq::new(i64::from(n) + 1));
        let position = match (self.newest_first, seq) {
            (true, None) => Position::Newest,
            (true, Some(seq)) => Position::Before(seq),
            (false, seq) => Position::After(seq.unwrap_or(Seq::ZERO)),
        };
        let query = MessageQuery { channel: self.channel(), position, limit };
        let Page { items, more } = self.store.page(&query).await.expect("a page").expect("a channel").page;
        let numbers = items.iter().map(|message| u32::try_from(message.seq.get() - 1).expect("a few"));
        (numbers.collect(), more)
    }

    fn is_descending(&self) -> bool {
        self.newest_first
    }

    fn is_a_history(&self) -> bool {
        true
    }
}

/// Databases are slower than memory.
const CASES: u32 = 24;

async fn sqlite() -> Fixture {
    let fixture = fixture::sqlite().await;
    with_accounts(&*fixture.stores.accounts).await;
    fixture
}

async fn postgres() -> Fixture {
    let fixture = fixture::postgres().await;
    with_accounts(&*fixture.stores.accounts).await;
    fixture
}

async fn worlds_are_met_once_newest_first(fixture: &Fixture) {
    let stores = fixture.stores.clone();
    walk_through(CASES, move |case| {
        std::future::ready(WorldList { store: Arc::clone(&stores.worlds), case, sort: WorldSort::NewestFirst })
    })
    .await;
}

async fn worlds_are_met_once_oldest_first(fixture: &Fixture) {
    let stores = fixture.stores.clone();
    walk_through(CASES, move |case| {
        std::future::ready(WorldList { store: Arc::clone(&stores.worlds), case, sort: WorldSort::OldestFirst })
    })
    .await;
}

async fn members_are_met_once(fixture: &Fixture) {
    let stores = fixture.stores.clone();
    walk_through(CASES, move |case| std::future::ready(MemberList { store: Arc::clone(&stores.grants), case })).await;
}

async fn channels_are_met_once(fixture: &Fixture) {
    let stores = fixture.stores.clone();
    walk_through(CASES, move |case| std::future::ready(ChannelList { store: Arc::clone(&stores.chat), case })).await;
}

async fn messages_are_met_once_newest_first(fixture: &Fixture) {
    let stores = fixture.stores.clone();
    walk_through(CASES, move |case| MessageList::new(Arc::clone(&stores.chat), case, true)).await;
}

async fn messages_are_met_once_oldest_first(fixture: &Fixture) {
    let stores = fixture.stores.clone();
    walk_through(CASES, move |case| MessageList::new(Arc::clone(&stores.chat), case, false)).await;
}

mod sqlite {
    #[tokio::test]
    async fn worlds_are_met_once_newest_first() {
        super::worlds_are_met_once_newest_first(&super::sqlite().await).await;
    }

    #[tokio::test]
    async fn worlds_are_met_once_oldest_first() {
        super::worlds_are_met_once_oldest_first(&super::sqlite().await).await;
    }

    #[tokio::test]
    async fn members_are_met_once() {
        super::members_are_met_once(&super::sqlite().await).await;
    }

    #[tokio::test]
    async fn channels_are_met_once() {
        super::channels_are_met_once(&super::sqlite().await).await;
    }

    #[tokio::test]
    async fn messages_are_met_once_newest_first() {
        super::messages_are_met_once_newest_first(&super::sqlite().await).await;
    }

    #[tokio::test]
    async fn messages_are_met_once_oldest_first() {
        super::messages_are_met_once_oldest_first(&super::sqlite().await).await;
    }
}

mod postgres {
    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn worlds_are_met_once_newest_first() {
        super::worlds_are_met_once_newest_first(&super::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn worlds_are_met_once_oldest_first() {
        super::worlds_are_met_once_oldest_first(&super::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn members_are_met_once() {
        super::members_are_met_once(&super::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn channels_are_met_once() {
        super::channels_are_met_once(&super::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn messages_are_met_once_newest_first() {
        super::messages_are_met_once_newest_first(&super::postgres().await).await;
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn messages_are_met_once_oldest_first() {
        super::messages_are_met_once_oldest_first(&super::postgres().await).await;
    }
}

mod memory {
    use std::{future::ready, sync::Arc};

    use super::{ChannelList, MemberList, MemoryChatStore, MemoryGrantStore, MessageList, walk_through};

    const CASES: u32 = 256;

    #[tokio::test]
    async fn members_are_met_once() {
        walk_through(CASES, |case| ready(MemberList { store: Arc::new(MemoryGrantStore::default()), case })).await;
    }

    #[tokio::test]
    async fn channels_are_met_once() {
        walk_through(CASES, |case| ready(ChannelList { store: Arc::new(MemoryChatStore::default()), case })).await;
    }

    #[tokio::test]
    async fn messages_are_met_once_newest_first() {
        walk_through(CASES, |case| MessageList::new(Arc::new(MemoryChatStore::default()), case, true)).await;
    }

    #[tokio::test]
    async fn messages_are_met_once_oldest_first() {
        walk_through(CASES, |case| MessageList::new(Arc::new(MemoryChatStore::default()), case, false)).await;
    }
}
