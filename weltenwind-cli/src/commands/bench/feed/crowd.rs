//! A world with many members and announcements, and the few who read and publish over HTTP.

use std::time::Duration;

use weltenwind_core::{
    AccountId, Actor, AnnouncementId, Clock as _, GrantId, IdGenerator as _, Scope, ServiceConfig, Services, Sources,
    SystemClock, SystemIds, WorldId,
    access::{GrantDraft, Role},
    announcements::{AnnouncementDraft, AnnouncementText, Audience, NewAnnouncement, Title},
    limits::LimitsConfig,
    worlds::{Slug, WorldDraft},
};
use weltenwind_storage::{
    StorageConfig,
    bench::{self, BulkStore},
};

use super::{
    super::{
        UNHURRIED,
        nodes::sign_in,
        realtime::{Server, Start},
    },
    FeedArgs,
    texts::{Text, Texts, Wanted},
};
use crate::{failure::Failure, store::unopened};

/// Who reads or publishes.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) token: String,
}

/// A world, and whom the bench knows of those who are in it.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) world: WorldId,
    pub(super) publisher: Reader,
    /// Members all over the audience; the last one is the audience's last.
    pub(super) readers: Vec<Reader>,
    texts: Texts,
    /// Some of those that were announced.
    samples: Vec<Text>,
}

/// Rows that are written in one commit.
const WRITTEN_AT_ONCE: usize = 2000;
/// Texts that are searched for again.
const SAMPLES: usize = 1000;
/// Announcements to everybody, which each feed shows, too.
const PUBLIC: usize = 10;
/// From one announcement to the next.
const EVERY: Duration = Duration::from_mins(1);

impl Crowd {
    /// Fills the store. It goes around the services where they would take an hour, and through them where it counts: whoever reads
    /// or publishes has signed in and joined.
    pub(super) async fn gather(args: &FeedArgs, storage: &StorageConfig, start: &Start) -> Result<Self, Failure> {
        let stores = weltenwind_storage::open(storage).await.map_err(unopened)?;
        let settings = ServiceConfig { limits: LimitsConfig::uniform(UNHURRIED), ..ServiceConfig::default() };
        let services = Services::start(stores, settings, Sources::default()).await?;
        let bulk = bench::open(storage).await.map_err(unopened)?;
        let server = start.run(Server::Weltenwind).await?;
        let node = format!("http://{}", server.addresses[0]);

        let operator = Actor::operator();
        let slug = Slug::new(&format!("bench-{}", SystemIds.draw().simple()))?;
        let draft = WorldDraft { slug: Some(slug), ..WorldDraft::new("Bench")? };
        let world = services.worlds.create(&operator, draft).await?.id;
        let scope = Scope::World(world);
        let publisher = sign_in(&node, "Publisher").await?;
        let (account, role) = (publisher.user.id, Role::WorldAdmin);
        let draft = GrantDraft { account, role, scope, reason: None, expires_at: None };
        services.grants.give(&operator, draft).await?;

        let mut texts = Texts::new();
        let (announced, samples) = announce(&*bulk, args, world, &mut texts).await?;
        let readers = admit(&*bulk, args, &node, world).await?;
        bulk.tell(world, &announced[announced.len() - (args.told as usize).min(announced.len())..]).await?;
        for _ in 0..PUBLIC {
            let Text { title, body } = texts.write();
            let draft = AnnouncementDraft::new(Audience::of(Scope::Global), &title, &body)?;
            services.announcements.publish(&operator, draft).await?;
        }
        bulk.settle().await?;
        server.end().await?;
        bulk.close().await;
        services.health.close().await;
        let publisher = Reader { token: publisher.access_token };
        Ok(Self { world, publisher, readers, texts, samples })
    }

    pub(super) fn scope(&self) -> Scope {
        Scope::World(self.world)
    }

    /// Writes the next text.
    pub(super) fn write(&mut self) -> Text {
        self.texts.write()
    }

    /// Returns what somebody searches for.
    pub(super) fn search(&mut self, wanted: Wanted) -> String {
        self.texts.search(wanted, &self.samples)
    }

    /// Counts in the store who was told.
    pub(super) async fn told(&self, storage: &StorageConfig, id: AnnouncementId) -> Result<bench::Audience, Failure> {
        let bulk = bench::open(storage).await.map_err(unopened)?;
        let told = bulk.told(self.world, id).await;
        bulk.close().await;
        Ok(told?)
    }
}

/// Makes announcements, one a minute until now, and returns some of their texts.
async fn announce(
    bulk: &dyn BulkStore,
    args: &FeedArgs,
    world: WorldId,
    texts: &mut Texts,
) -> Result<(Vec<AnnouncementId>, Vec<Text>), Failure> {
    let all = args.announcements as usize;
    let (mut ids, mut samples) = (Vec::with_capacity(all), Vec::new());
    let mut publish_at = SystemClock.now() - EVERY * (args.announcements + 1);
    while ids.len() < all {
        let mut news = Vec::with_capacity(WRITTEN_AT_ONCE);
        for _ in 0..(all - ids.len()).min(WRITTEN_AT_ONCE) {
            let text = texts.write();
            let id = AnnouncementId::new(SystemIds.draw());
            news.push(NewAnnouncement {
                id,
                audience: Audience::of(Scope::World(world)),
                title: Title::new(&text.title)?,
                body: AnnouncementText::new(&text.body)?,
                dedupe_key: None,
                publish_at,
                expires_at: None,
            });
            if ids.len() % (all / SAMPLES).max(1) == 0 {
                samples.push(text);
            }
            ids.push(id);
            publish_at += EVERY;
        }
        bulk.announce(&news).await?;
    }
    Ok((ids, samples))
}

/// Makes the members; identifiers grow with time, so the readers come to stand evenly among them.
async fn admit(bulk: &dyn BulkStore, args: &FeedArgs, node: &str, world: WorldId) -> Result<Vec<Reader>, Failure> {
    let mut readers = Vec::new();
    let (all, count) = (args.members as usize, (args.readers as usize).min(args.members as usize));
    let mut silent = all - count;
    let http = reqwest::Client::new();
    while readers.len() < count {
        // As many as there are for each of the readers that are left.
        let mut batch = silent / (count - readers.len());
        silent -= batch;
        while batch > 0 {
            let members: Vec<(AccountId, GrantId)> = (0..batch.min(WRITTEN_AT_ONCE))
                .map(|_| (AccountId::new(SystemIds.draw()), GrantId::new(SystemIds.draw())))
                .collect();
            batch -= members.len();
            bulk.admit(world, &members, SystemClock.now()).await?;
        }
        let token = sign_in(node, &format!("Reader {}", readers.len())).await?.access_token;
        let joining = http.put(format!("{node}/api/v1/worlds/{world}/members/me")).bearer_auth(&token).send().await;
        let joining = joining.and_then(reqwest::Response::error_for_status);
        joining.map_err(|error| Failure::failed(format!("a guest cannot join: {error}")))?;
        readers.push(Reader { token });
    }
    Ok(readers)
}
