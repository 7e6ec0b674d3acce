//! Accounts that are exported and erased through the services: what is told, what is left, and what a restart or a restored
//! backup makes of it.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};
use weltenwind_core::{
    Actor, ChannelId, Classify as _, Clock as _, Code, CorrelationId, DedupeKey, Limit, ManualClock, NotificationId,
    Scope, Secret, ServiceConfig, Services, Sources, Stores,
    access::{
        GrantDraft, Permission, PermissionSet, Role,
        keys::{ApiKeyDraft, ApiKeyName},
    },
    accounts::{
        AccountsConfig, DeviceDraft, DisplayName, Email, HashingConfig, Password, RegistrationDraft, SessionGrant,
        SignIn, Topic, Username,
    },
    announcements::{AnnouncementText, Title},
    chat::{ChannelDraft, Draft, MessageQuery, Position, Seq},
    idempotency::{Admission, IdempotencyKey, KeyedRequest, StoredAnswer},
    limits::{LimitsConfig, Quota, Unit},
    notifications::NewNotification,
    privacy::{ERASED_NAME, ErasureQuery, LastOwner, NewErasure, PrivacyError},
    wire::ExportBody,
    worlds::{WorldDraft, WorldRef},
};

use self::fixture::Fixture;

/// What is unmistakably somebody's, in the places where people write it.
const USERNAME: &str = "tamsin.quillfeather";
const NAME: &str = "Tamsin Quillfeather";
const FORMER_NAME: &str = "Zephyrine Oldname";
const EMAIL: &str = "quill@tamsin-mail.example";
const DEVICE: &str = "Tamsin's lyre";
const TRACES: [&str; 5] = [USERNAME, NAME, FORMER_NAME, EMAIL, DEVICE];
const FINGERPRINT: &str = "fingerprint of a lyre";
const SECRET: &str = "correct horse battery";

mod sqlite {
    use super::fixture;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_table_speaks_of_an_erased_account() {
        super::no_table_speaks_of_an_erased_account(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn by_what_it_would_be_known_again_is_kept_for_a_while() {
        super::by_what_it_would_be_known_again_is_kept_for_a_while(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_export_tells_everything_and_no_secret() {
        super::an_export_tells_everything_and_no_secret(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_export_is_written_in_pieces() {
        super::a_long_export_is_written_in_pieces(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_export_has_another_state_when_something_has_changed() {
        super::an_export_has_another_state_when_something_has_changed(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_cannot_be_undone_needs_a_recent_sign_in() {
        super::what_cannot_be_undone_needs_a_recent_sign_in(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_last_owner_is_told_what_to_do_first() {
        super::a_last_owner_is_told_what_to_do_first(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_operator_alone_looks_at_others() {
        super::the_operator_alone_looks_at_others(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_erasure_that_was_interrupted_is_finished_by_whoever_starts_next() {
        super::an_erasure_that_was_interrupted_is_finished_by_whoever_starts_next(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_posted_meanwhile_is_renamed_before_an_erasure_is_settled() {
        super::what_was_posted_meanwhile_is_renamed_before_an_erasure_is_settled(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn another_node_shows_the_new_name_without_being_told() {
        super::another_node_shows_the_new_name_without_being_told(&fixture::sqlite().await).await;
    }
}

mod postgres {
    use super::fixture;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn no_table_speaks_of_an_erased_account() {
        super::no_table_speaks_of_an_erased_account(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn by_what_it_would_be_known_again_is_kept_for_a_while() {
        super::by_what_it_would_be_known_again_is_kept_for_a_while(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn an_export_tells_everything_and_no_secret() {
        super::an_export_tells_everything_and_no_secret(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_long_export_is_written_in_pieces() {
        super::a_long_export_is_written_in_pieces(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn an_export_has_another_state_when_something_has_changed() {
        super::an_export_has_another_state_when_something_has_changed(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_cannot_be_undone_needs_a_recent_sign_in() {
        super::what_cannot_be_undone_needs_a_recent_sign_in(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_last_owner_is_told_what_to_do_first() {
        super::a_last_owner_is_told_what_to_do_first(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn the_operator_alone_looks_at_others() {
        super::the_operator_alone_looks_at_others(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn an_erasure_that_was_interrupted_is_finished_by_whoever_starts_next() {
        super::an_erasure_that_was_interrupted_is_finished_by_whoever_starts_next(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_was_posted_meanwhile_is_renamed_before_an_erasure_is_settled() {
        super::what_was_posted_meanwhile_is_renamed_before_an_erasure_is_settled(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn another_node_shows_the_new_name_without_being_told() {
        super::another_node_shows_the_new_name_without_being_told(&fixture::postgres().await).await;
    }
}

struct Node {
    services: Services,
    clock: Arc<ManualClock>,
}

impl Node {
    async fn start(stores: &Stores, clock: &Arc<ManualClock>) -> Self {
        let hashing = HashingConfig { memory_kib: 8, passes: 1, ..HashingConfig::default() };
        let config = ServiceConfig {
            accounts: AccountsConfig { hashing, ..AccountsConfig::default() },
            limits: LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)),
            ..ServiceConfig::default()
        };
        let sources = Sources { clock: clock.clone(), ..Sources::default() };
        Self { services: Services::start(stores.clone(), config, sources).await.unwrap(), clock: clock.clone() }
    }

    async fn on(fixture: &Fixture) -> Self {
        Self::start(&fixture.stores, &Arc::new(ManualClock::default())).await
    }

    async fn actor(&self, session: &SessionGrant) -> Actor {
        self.services.authenticate(session.access_token.expose(), request()).await.unwrap()
    }

    async fn tamsin(&self) -> Actor {
        let draft = RegistrationDraft {
            username: Username::new(USERNAME).unwrap(),
            password: Password::new(SECRET).unwrap(),
            display_name: Some(DisplayName::new(FORMER_NAME).unwrap()),
            email: Some(Email::new(EMAIL).unwrap()),
            device: DeviceDraft::new(Some(DEVICE), Some(FINGERPRINT)).unwrap(),
        };
        let session = self.services.accounts.register(&anonymous(), draft).await.unwrap();
        self.actor(&session).await
    }

    async fn guest(&self) -> Actor {
        let session = self.services.accounts.open_guest(&anonymous(), None, DeviceDraft::default()).await.unwrap();
        self.actor(&session).await
    }

    async fn channel(&self) -> ChannelId {
        let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
        self.services.chat.open_channel(&Actor::operator(), draft).await.unwrap().id
    }

    async fn say(&self, actor: &Actor, channel: ChannelId, text: &str) {
        self.services.chat.post(actor, Draft::new(channel, text)).await.unwrap();
    }

    /// Who wrote the newest messages of a channel, as everybody reads it, newest first.
    async fn authors(&self, channel: ChannelId) -> Vec<String> {
        let query = MessageQuery { channel, position: Position::Newest, limit: Limit::MAX };
        let page = self.services.chat.history(&anonymous(), &query).await.unwrap().page;
        page.items.iter().map(|message| message.author.display_name.to_string()).collect()
    }

    async fn export(&self, actor: &Actor) -> (ExportBody, String) {
        let mut export = self.services.privacy.export(actor).await.unwrap();
        let mut text = Vec::new();
        while let Some(piece) = export.next().await.unwrap() {
            text.extend(piece);
        }
        let text = String::from_utf8(text).unwrap();
        (serde_json::from_str(&text).unwrap(), text)
    }

    /// Lets Tamsin leave a trace in every domain.
    async fn live(&self) -> (Actor, ChannelId) {
        let services = &self.services;
        let channel = self.channel().await;
        let tamsin = self.tamsin().await;
        self.say(&tamsin, channel, "under the former name").await;
        services.accounts.rename(&tamsin, &DisplayName::new(NAME).unwrap()).await.unwrap();
        let again = services.accounts.sign_in(&anonymous(), by_password()).await.unwrap();
        let tamsin = self.actor(&again).await;
        self.say(&tamsin, channel, "under the present name").await;
        services.chat.mark_read(&tamsin, channel, Seq::new(1)).await.unwrap();
        services.accounts.refresh(&anonymous(), again.refresh_token.expose()).await.unwrap();
        services.accounts.issue_ticket(&tamsin, "https://wind.example").await.unwrap();
        let world = WorldDraft::new("Harbour").unwrap();
        let world = services.worlds.create(&Actor::operator(), world).await.unwrap();
        services.worlds.join(&tamsin, &WorldRef::Id(world.id)).await.unwrap();
        let account = tamsin.id().unwrap();
        let admin = GrantDraft { account, role: Role::Admin, scope: Scope::Global, reason: None, expires_at: None };
        services.grants.give(&Actor::operator(), admin).await.unwrap();
        let key = ApiKeyDraft {
            name: ApiKeyName::new("Harbour server").unwrap(),
            scope: Scope::World(world.id),
            permissions: PermissionSet::of(&[Permission::ChatRead]),
            expires_at: None,
        };
        services.api_keys.make(&tamsin, key).await.unwrap();
        self.keep_an_answer(&tamsin).await;
        let told = NewNotification {
            id: NotificationId::new(services.sources.ids.draw()),
            account,
            topic: Topic::Invite,
            dedupe_key: DedupeKey::new("harbour").unwrap(),
            title: Title::new("A seat in the harbour").unwrap(),
            body: AnnouncementText::new(&format!("{NAME} is invited.")).unwrap(),
            at: self.clock.now(),
            expires_at: None,
        };
        services.notifications.tell(&[told]).await.unwrap();
        (tamsin, channel)
    }

    /// Keeps an answer that shows the name, as the host does.
    async fn keep_an_answer(&self, actor: &Actor) {
        let key = IdempotencyKey::new("0123456789abcdef").unwrap();
        let asked = KeyedRequest {
            account: actor.id().unwrap(),
            method: "POST",
            path: "/api/v1/channels/lobby/messages",
            key: &key,
            query: None,
            body: b"{}",
        };
        let Admission::Run(claim) = self.services.idempotency.admit(&asked).await.unwrap() else { panic!("it is new") };
        let answer = StoredAnswer {
            status: 201,
            location: None,
            etag: None,
            content_type: None,
            resource: None,
            body: format!("{{\"displayName\":\"{NAME}\"}}").into_bytes(),
        };
        self.services.idempotency.settle(actor, &claim, &answer).await.unwrap();
    }
}

fn request() -> CorrelationId {
    CorrelationId::accept("request-42").unwrap()
}

fn by_password() -> SignIn {
    let (username, password) = (USERNAME.to_owned(), Secret::new(SECRET.to_owned()));
    SignIn { username, password, code: None, device: DeviceDraft::default() }
}

fn anonymous() -> Actor {
    Actor::anonymous(request())
}

/// Every value of every column of every table, as text, with where it stands.
async fn everything(fixture: &Fixture) -> Vec<(String, String)> {
    let url = &fixture.config.url;
    let mut all = Vec::new();
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        let columns = connection
            .fetch_all(
                "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
            )
            .await
            .unwrap();
        for column in columns {
            let (table, name): (String, String) = (column.get(0), column.get(1));
            let query = format!("SELECT CAST(\"{name}\" AS BLOB) FROM \"{table}\" WHERE \"{name}\" IS NOT NULL");
            for row in connection.fetch_all(AssertSqlSafe(query)).await.unwrap() {
                all.push((format!("{table}.{name}"), String::from_utf8_lossy(&row.get::<Vec<u8>, _>(0)).into_owned()));
            }
        }
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let columns = connection
            .fetch_all(
                "SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT FROM information_schema.columns
                 WHERE table_schema = 'public'",
            )
            .await
            .unwrap();
        for column in columns {
            let (table, name, kind): (String, String, String) = (column.get(0), column.get(1), column.get(2));
            let text =
                if kind == "bytea" { format!("encode(\"{name}\", 'escape')") } else { format!("\"{name}\"::TEXT") };
            let query = format!("SELECT {text} FROM \"{table}\" WHERE \"{name}\" IS NOT NULL");
            for row in connection.fetch_all(AssertSqlSafe(query)).await.unwrap() {
                all.push((format!("{table}.{name}"), row.get(0)));
            }
        }
    }
    all
}

/// Where something of Tamsin's stands.
async fn traces(fixture: &Fixture) -> Vec<(String, &'static str)> {
    let all = everything(fixture).await;
    assert!(all.len() > 50, "the walk finds what there is");
    let found = all.iter().flat_map(|(place, text)| {
        let text = text.to_lowercase();
        TRACES.into_iter().filter(move |trace| text.contains(&trace.to_lowercase())).map(|trace| (place.clone(), trace))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    found.dedup();
    found
}

async fn no_table_speaks_of_an_erased_account(fixture: &Fixture) {
    let node = Node::on(fixture).await;
    let (tamsin, channel) = node.live().await;
    let before = traces(fixture).await;
    for trace in TRACES {
        assert!(before.iter().any(|(_, found)| *found == trace), "{trace} stands somewhere: {before:?}");
    }
    let places = |table: &str| before.iter().filter(|(place, _)| place.starts_with(table)).count();
    assert!(places("chat_messages.") > 1 && places("idempotency_records.") > 0 && places("devices.") > 0, "{before:?}");

    node.services.privacy.erase_oneself(&tamsin).await.unwrap();

    assert_eq!(traces(fixture).await, []);
    let account = tamsin.id().unwrap();
    let refused = node.services.accounts.find(account).await.unwrap_err();
    assert_eq!(refused.code(), Code::AccountNotFound);
    assert_eq!(node.authors(channel).await, [ERASED_NAME, ERASED_NAME]);
    let refused = node.services.chat.post(&node.guest().await, Draft::new(channel, "still here")).await;
    assert!(refused.is_ok(), "others go on");
    let id = account.to_string().replace('-', "");
    let counted = [
        "SELECT count(*) FROM sessions",
        "SELECT count(*) FROM tickets",
        "SELECT count(*) FROM passwords",
        "SELECT count(*) FROM grants",
        "SELECT count(*) FROM chat_read_marks",
        "SELECT count(*) FROM idempotency_records",
        "SELECT count(*) FROM notifications",
        "SELECT count(*) FROM feeds",
    ];
    // The guest of just now has a session.
    for (query, expected) in counted.into_iter().zip([1, 0, 0, 0, 0, 0, 0, 0]) {
        assert_eq!(fixture.count(query).await, expected, "{query}");
    }
    assert_eq!(fixture.count("SELECT count(*) FROM api_keys WHERE deleted_at IS NULL").await, 1, "it is the world's");
    let erased = fixture.audit_log().await.into_iter().find(|row| row.action == "account.erase").unwrap();
    assert_eq!(erased.actor, Some(id));
    assert_eq!(erased.target, account.to_string());
}

async fn by_what_it_would_be_known_again_is_kept_for_a_while(fixture: &Fixture) {
    const MARKS: &str = "SELECT count(DISTINCT kind) FROM erasure_marks";

    let node = Node::on(fixture).await;
    let tamsin = node.tamsin().await;
    node.services.privacy.erase_oneself(&tamsin).await.unwrap();
    assert_eq!(fixture.count(MARKS).await, 3);
    assert_eq!(fixture.count("SELECT count(*) FROM erasure_marks").await, 3);

    // Who comes back under the same name and address, from the same device, leaves the same marks.
    let again = node.tamsin().await;
    node.services.privacy.erase_oneself(&again).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM erasure_marks").await, 6);
    assert_eq!(fixture.count("SELECT count(*) FROM (SELECT DISTINCT kind, hash FROM erasure_marks) AS known").await, 3);

    node.clock.advance(Duration::from_hours(90 * 24));
    assert_eq!(node.services.privacy.enforce_retention().await.unwrap(), 0);
    node.clock.advance(Duration::from_secs(1));
    assert_eq!(node.services.privacy.enforce_retention().await.unwrap(), 6);
    assert_eq!(fixture.count("SELECT count(*) FROM erasures").await, 2, "the ledger stays");
}

async fn an_export_tells_everything_and_no_secret(fixture: &Fixture) {
    const LINK: &str = "
        INSERT INTO external_identities (issuer, subject, account_id, linked_at)
        SELECT 'https://game.example.org', 'player-4711', id, created_at FROM accounts WHERE username IS NOT NULL";

    let node = Node::on(fixture).await;
    let (tamsin, channel) = node.live().await;
    let other = node.guest().await;
    node.say(&other, channel, "of somebody else").await;

    assert_eq!(fixture.execute(LINK).await, 1);
    let (body, text) = node.export(&tamsin).await;

    let identities: Vec<_> = body.identities.iter().map(|held| (held.issuer.as_str(), held.subject.as_str())).collect();
    assert_eq!(identities, [("https://game.example.org", "player-4711")]);
    assert_eq!((body.two_factor_since, body.preferences.notifications.chat), (None, true));
    assert_eq!((body.version, body.account.username.as_deref()), (1, Some(USERNAME)));
    assert_eq!(body.account.email.as_deref(), Some(EMAIL));
    assert!(body.password_set_at.is_some());
    assert_eq!((body.sessions.len(), body.devices.len(), body.api_keys.len(), body.requests.len()), (2, 2, 1, 1));
    assert_eq!(body.devices[0].device.name.as_deref(), Some(DEVICE));
    let roles: Vec<Role> = body.grants.iter().map(|grant| grant.grant.role).collect();
    assert!(roles.contains(&Role::Admin) && roles.contains(&Role::WorldMember), "{roles:?}");
    assert_eq!((body.read_marks.len(), body.read_marks[0].seq), (1, 1));
    assert_eq!((body.notifications.len(), body.notifications[0].topic.as_str()), (1, "invite"));
    assert_eq!(body.notifications[0].title.as_deref(), Some("A seat in the harbour"));
    let said: Vec<_> =
        body.messages.iter().map(|message| (message.display_name.as_str(), message.body.as_deref())).collect();
    let expected = [(FORMER_NAME, Some("under the former name")), (NAME, Some("under the present name"))];
    assert_eq!(said, expected);
    let id = tamsin.id().unwrap().to_string().replace('-', "");
    let log = fixture.audit_log().await;
    let own: Vec<&str> =
        log.iter().filter(|row| row.actor.as_ref() == Some(&id)).map(|row| row.action.as_str()).collect();
    let (by_oneself, by_others): (Vec<_>, Vec<_>) = body.audit.iter().partition(|row| row.by_oneself);
    assert_eq!(by_oneself.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), own);
    for action in ["account.register", "session.open"] {
        assert!(by_others.iter().any(|row| row.action == action), "{action} is missing: {by_others:?}");
    }
    for secret in ["$argon2", "wwr_", "wwt_", "wwk_", "eyJ", SECRET, FINGERPRINT] {
        assert!(!text.contains(secret), "{secret}");
    }
}

async fn a_long_export_is_written_in_pieces(fixture: &Fixture) {
    const MESSAGES: usize = 1000;

    let node = Node::on(fixture).await;
    let (channel, tamsin) = (node.channel().await, node.tamsin().await);
    let posts = (0..MESSAGES).map(|n| node.services.chat.post(&tamsin, Draft::new(channel, format!("message {n}"))));
    futures_util::future::try_join_all(posts).await.unwrap();

    let mut export = node.services.privacy.export(&tamsin).await.unwrap();
    let (mut text, mut longest) = (Vec::new(), 0);
    while let Some(piece) = export.next().await.unwrap() {
        longest = longest.max(piece.len());
        text.extend(piece);
    }

    let body: ExportBody = serde_json::from_slice(&text).unwrap();
    assert!(body.messages.iter().map(|message| message.seq).eq(1..=i64::try_from(MESSAGES).unwrap()));
    assert!(longest < text.len() / 3, "a piece of {longest} bytes, of {}", text.len());
}

async fn an_export_has_another_state_when_something_has_changed(fixture: &Fixture) {
    let node = Node::on(fixture).await;
    let (channel, tamsin) = (node.channel().await, node.tamsin().await);
    let state = async || *node.services.privacy.export(&tamsin).await.unwrap().state();
    let first = state().await;
    node.clock.advance(Duration::from_secs(1));
    assert_eq!(state().await, first, "nothing has changed");

    node.say(&tamsin, channel, "well met").await;
    let said = state().await;
    node.services.chat.mark_read(&tamsin, channel, Seq::new(1)).await.unwrap();
    let read = state().await;
    node.say(&node.guest().await, channel, "of somebody else").await;

    assert!(first != said && said != read);
    assert_eq!(state().await, read, "it is nothing of one's own");
}

async fn what_cannot_be_undone_needs_a_recent_sign_in(fixture: &Fixture) {
    let node = Node::on(fixture).await;
    let (privacy, accounts) = (&node.services.privacy, &node.services.accounts);
    let (tamsin, guest) = (node.tamsin().await, node.guest().await);
    node.clock.advance(Duration::from_mins(15));

    let refused = privacy.erase_oneself(&tamsin).await.unwrap_err();
    assert!(matches!(refused, PrivacyError::RecentSignInRequired), "{refused:?}");
    assert_eq!(refused.code(), Code::RecentSignInRequired);
    privacy.erase_oneself(&guest).await.unwrap();
    let again = accounts.sign_in(&anonymous(), by_password()).await.unwrap();
    node.clock.advance(Duration::from_mins(15) - Duration::from_secs(1));
    let token = accounts.refresh(&anonymous(), again.refresh_token.expose()).await.unwrap();
    privacy.erase_oneself(&node.actor(&token).await).await.unwrap();

    let gone = node.services.authenticate(token.access_token.expose(), request()).await.unwrap_err();
    assert_eq!(gone.code(), Code::SessionEnded);
    let gone = accounts.refresh(&anonymous(), token.refresh_token.expose()).await.unwrap_err();
    assert_eq!(gone.code(), Code::RefreshTokenInvalid);
    let gone = accounts.sign_in(&anonymous(), by_password()).await.unwrap_err();
    assert_eq!(gone.code(), Code::InvalidCredentials);
}

async fn a_last_owner_is_told_what_to_do_first(fixture: &Fixture) {
    let node = Node::on(fixture).await;
    let tamsin = node.tamsin().await;
    let account = tamsin.id().unwrap();
    let owner = GrantDraft { account, role: Role::Owner, scope: Scope::Global, reason: None, expires_at: None };
    node.services.grants.give(&Actor::operator(), owner).await.unwrap();

    let refused = node.services.privacy.erase_oneself(&tamsin).await.unwrap_err();
    assert_eq!(refused.code(), Code::LastOwner);
    let words =
        "the account is the last owner of global; make somebody else an owner there first, or archive the world";
    assert_eq!(refused.to_string(), words);
    let refused = node.services.privacy.erase(&Actor::operator(), account).await.unwrap_err();
    assert_eq!(refused.code(), Code::LastOwner);
    assert_eq!(node.services.accounts.me(&tamsin).await.unwrap().id, account, "nothing has happened");
    let plan = node.services.privacy.plan(&Actor::operator(), account).await.unwrap();
    assert_eq!(plan.last_owner_of, [Scope::Global]);
}

async fn the_operator_alone_looks_at_others(fixture: &Fixture) {
    let node = Node::on(fixture).await;
    let (privacy, operator) = (&node.services.privacy, Actor::operator());
    let (tamsin, other) = (node.tamsin().await, node.guest().await);
    let account = tamsin.id().unwrap();
    for actor in [&other, &tamsin, &anonymous()] {
        assert_eq!(privacy.export_of(actor, account).await.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(privacy.erase(actor, account).await.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(privacy.plan(actor, account).await.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(privacy.erasures(actor, &ErasureQuery::default()).await.unwrap_err().code(), Code::Unauthenticated);
    }

    let mut export = privacy.export_of(&operator, account).await.unwrap();
    assert!(export.next().await.unwrap().is_some());
    let looked = fixture.audit_log().await.pop().unwrap();
    assert_eq!((looked.action.as_str(), looked.target, looked.actor), ("account.export", account.to_string(), None));
    let erased = privacy.erase(&operator, account).await.unwrap();

    let ledger = privacy.erasures(&operator, &ErasureQuery::default()).await.unwrap().items;
    assert_eq!((erased.erased_by, &ledger), (None, &vec![erased.clone()]));
    let refused = privacy.erase_again(&other, &erased).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(privacy.export_of(&operator, account).await.unwrap_err().code(), Code::AccountNotFound);
}

/// The step is committed, and the process is gone before anything else.
async fn an_erasure_that_was_interrupted_is_finished_by_whoever_starts_next(fixture: &Fixture) {
    let node = Node::on(fixture).await;
    let (tamsin, channel) = node.live().await;
    let (account, at) = (tamsin.id().unwrap(), node.clock.now());
    let step = weltenwind_core::Step::sample(at);
    let erasure = NewErasure {
        account,
        marks: weltenwind_core::privacy::ErasureMarks::default(),
        last_owner: LastOwner::Stays,
        erased_at: at,
        erased_by: Some(account),
    };
    fixture.stores.privacy.erase(&step, &erasure).await.unwrap();
    assert_eq!(node.authors(channel).await, [NAME, FORMER_NAME], "that is the rest");

    let next = Node::start(&fixture.stores, &node.clock).await;
    assert_eq!(next.services.privacy.finish().await.unwrap(), 0);

    assert_eq!(traces(fixture).await, []);
    assert_eq!(next.authors(channel).await, [ERASED_NAME, ERASED_NAME]);
    next.clock.advance(Duration::from_mins(2));
    assert_eq!(next.services.privacy.finish().await.unwrap(), 1);
    assert_eq!(next.services.privacy.finish().await.unwrap(), 0, "it is through");
}

/// A post that was let through a moment before the erasure, and written a moment after it.
async fn what_was_posted_meanwhile_is_renamed_before_an_erasure_is_settled(fixture: &Fixture) {
    let node = Node::on(fixture).await;
    let (tamsin, channel) = node.live().await;
    node.services.privacy.erase_oneself(&tamsin).await.unwrap();
    let late = weltenwind_core::chat::NewMessage {
        channel,
        author: weltenwind_core::chat::Author {
            id: tamsin.id().unwrap(),
            display_name: DisplayName::new(NAME).unwrap(),
        },
        ..weltenwind_core::chat::NewMessage::sample("too late")
    };
    fixture.stores.chat.append(&[late]).await.unwrap().remove(0).unwrap();
    fixture.stores.chat.mark_read(tamsin.id().unwrap(), channel, Seq::new(1)).await.unwrap();

    node.services.privacy.finish().await.unwrap();

    assert_eq!(traces(fixture).await, []);
    assert_eq!(fixture.count("SELECT count(*) FROM chat_read_marks").await, 0);
    assert_eq!(fixture.count("SELECT count(*) FROM erasures WHERE unsettled_since IS NULL").await, 0);
}

/// The nodes have no bus between them, so every hint is lost: what the other one holds in memory is corrected all the same.
async fn another_node_shows_the_new_name_without_being_told(fixture: &Fixture) {
    let here = Node::on(fixture).await;
    let there = Node::start(&fixture.stores, &here.clock).await;
    let (tamsin, channel) = here.live().await;
    assert_eq!(there.authors(channel).await, [NAME, FORMER_NAME], "it is in memory now");

    here.services.privacy.erase_oneself(&tamsin).await.unwrap();

    let corrected = async {
        while there.authors(channel).await != [ERASED_NAME, ERASED_NAME] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), corrected).await.expect("the memory is held against the store");
}

/// A backup of before brings the account back; the ledger takes it away again.
async fn a_restored_backup_forgets_again(live: &Fixture, backup: &Stores) {
    let node = Node::on(live).await;
    let operator = Actor::operator();
    let ledger = node.services.privacy.erasures(&operator, &ErasureQuery::default()).await.unwrap().items;
    assert_eq!(ledger.len(), 1);
    let restored = Node::start(backup, &node.clock).await;
    let account = ledger[0].account;
    assert_eq!(restored.services.accounts.find(account).await.unwrap().display_name.as_str(), NAME);

    for _ in 0..2 {
        for entry in &ledger {
            restored.services.privacy.erase_again(&operator, entry).await.unwrap();
        }
    }

    assert_eq!(restored.services.accounts.find(account).await.unwrap_err().code(), Code::AccountNotFound);
    let again = restored.services.privacy.erasures(&operator, &ErasureQuery::default()).await.unwrap().items;
    assert_eq!((again.len(), again[0].erased_at, again[0].erased_by), (1, ledger[0].erased_at, ledger[0].erased_by));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_file_forgets_again() {
    let live = fixture::sqlite().await;
    let node = Node::on(&live).await;
    let (tamsin, channel) = node.live().await;
    let (config, place) = fixture::sqlite_place();
    let copy = config.url.trim_start_matches("sqlite://");
    let mut connection = SqliteConnection::connect(&live.config.url).await.unwrap();
    connection.execute(AssertSqlSafe(format!("VACUUM INTO '{copy}'"))).await.unwrap();
    node.services.privacy.erase_oneself(&tamsin).await.unwrap();
    let stores = weltenwind_storage::open(&config).await.unwrap();

    a_restored_backup_forgets_again(&live, &stores).await;

    let restored = Node::start(&stores, &node.clock).await;
    assert_eq!(restored.authors(channel).await, [ERASED_NAME, ERASED_NAME]);
    drop(place);
}
