//! Every call as everybody, in an open world and in a private one. Who may make it stands in the document (`x-permission`);
//! what follows from that is worked out here once more, from the roles alone.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

#[path = "documents/calls.rs"]
mod calls;
mod fixture;

use std::fmt;

use http::Method;
use serde_json::{Value, json};
use weltenwind_core::{
    Actor, Scope, ScopeKind,
    access::{
        Permission, PermissionSet, Role,
        keys::{ApiKeyDraft, ApiKeyName},
    },
};

use self::{
    calls::{demands_key, openapi, operations},
    fixture::{ORIGIN, Person, Server, id},
};

/// Somebody who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    SignedOut,
    Stranger,
    Guest,
    Member,
    Moderator,
    WorldAdmin,
    Admin,
    KeyWith,
    KeyWithout,
    KeyElsewhere,
}

const ASKERS: [Asker; 10] = [
    Asker::SignedOut,
    Asker::Stranger,
    Asker::Guest,
    Asker::Member,
    Asker::Moderator,
    Asker::WorldAdmin,
    Asker::Admin,
    Asker::KeyWith,
    Asker::KeyWithout,
    Asker::KeyElsewhere,
];

const READING: PermissionSet = PermissionSet::of(&[Permission::WorldRead, Permission::ChatRead]);

impl Asker {
    fn is_key(self) -> bool {
        matches!(self, Self::KeyWith | Self::KeyWithout | Self::KeyElsewhere)
    }

    fn role(self) -> Option<Role> {
        match self {
            Self::Member => Some(Role::WorldMember),
            Self::Moderator => Some(Role::WorldModerator),
            Self::WorldAdmin => Some(Role::WorldAdmin),
            Self::Admin => Some(Role::Admin),
            _ => None,
        }
    }

    /// What a key lists for a call that asks for `needed`.
    fn list(self, needed: Option<Permission>) -> PermissionSet {
        let all = Permission::ALL.iter().copied();
        match self {
            // Enough to see what it is about, and to give a role to a member.
            Self::KeyWith => READING.iter().chain([Permission::ChatPost]).chain(needed).collect(),
            Self::KeyWithout => all.filter(|permission| Some(*permission) != needed).collect(),
            // What is legal in a world.
            _ => all.filter(|permission| permission.legal_in().contains(&ScopeKind::World)).collect(),
        }
    }

    /// What may be done in a world, by roles and by the world's being open.
    fn holds(self, permission: Permission, needed: Option<Permission>, is_open: bool) -> bool {
        let visits = is_open && READING.contains(permission);
        match self {
            Self::SignedOut => visits,
            Self::KeyElsewhere => false,
            Self::KeyWith | Self::KeyWithout => visits || self.list(needed).contains(permission),
            _ => {
                let takes_part = is_open && permission == Permission::ChatPost;
                visits || takes_part || self.role().is_some_and(|role| role.permissions().contains(permission))
            }
        }
    }
}

/// What becomes of a call before it is about its own matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is let through.
    Passes,
    /// 401.
    SignInFirst,
    /// 403.
    Forbidden,
    /// 404: it does not exist for who asks.
    Hidden,
}

/// What a call is about, which says who is told that it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Nothing in a world.
    Nothing,
    /// A scope that the caller names, and that is no secret.
    NamedScope,
    /// A scope whose very existence is told to readers alone.
    ReadScope,
    /// A grant or key, which only managers see.
    Managed,
    /// A world.
    World,
    /// A channel or a message in it.
    Channel,
}

fn about(call: &str, path: &str) -> About {
    match call {
        "listGrants" | "giveRole" | "listKeys" | "makeKey" => About::NamedScope,
        "listAnnouncements" | "publishAnnouncement" => About::World,
        _ if path.contains("/announcements/") => About::World,
        "checkAccess" => About::ReadScope,
        _ if path.contains("/access/") => About::Managed,
        "listChannels" | "openChannel" | "listWorldChannels" => About::Channel,
        _ if path.contains("/channels/") || path.contains("/messages/") => About::Channel,
        _ if path.contains("{world}") => About::World,
        _ => About::Nothing,
    }
}

/// What the rules say of a call, given who is declared to make it.
fn expected(who: &[&str], about: About, is_read: bool, asker: Asker, is_open: bool) -> Outcome {
    let needed: Option<Permission> = who.iter().find_map(|word| word.parse().ok());
    let holds = |permission| asker.holds(permission, needed, is_open);
    let (sees, is_nobody) = match about {
        About::Nothing | About::NamedScope => (true, asker == Asker::SignedOut),
        About::ReadScope => (is_open || holds(Permission::WorldRead), asker == Asker::SignedOut),
        About::Managed => (holds(Permission::AccessManage), asker == Asker::SignedOut),
        About::World => (holds(Permission::WorldRead), asker == Asker::SignedOut),
        About::Channel => (holds(Permission::ChatRead), asker == Asker::SignedOut),
    };
    let is_author = who.contains(&"author") && asker == Asker::Member;
    let granted = |permission: Permission| {
        // The whole installation is asked where the call is about no world.
        let by_place = if about == About::Nothing && needed.is_some() {
            match asker {
                Asker::Admin => Role::Admin.permissions().contains(permission),
                Asker::KeyWith | Asker::KeyWithout => asker.list(needed).contains(permission),
                _ => false,
            }
        } else {
            holds(permission)
        };
        by_place || is_author
    };
    let who_is_asked = who[0];
    match who_is_asked {
        "anyone" => Outcome::Passes,
        _ if is_nobody && !(is_read && needed.is_some_and(|needed| READING.contains(needed))) => Outcome::SignInFirst,
        "self" if asker.is_key() => Outcome::Forbidden,
        _ if !sees => Outcome::Hidden,
        "self" | "signed-in" => Outcome::Passes,
        "author" if needed.is_none() => {
            if is_author {
                Outcome::Passes
            } else {
                Outcome::Forbidden
            }
        }
        _ if granted(needed.expect("a permission")) => Outcome::Passes,
        _ => Outcome::Forbidden,
    }
}

/// A world with everything that calls are about.
struct Scene {
    world: String,
    channel: String,
    message: String,
    grant: String,
    key: String,
    victim: String,
    news: String,
    told: String,
}

struct Stage {
    server: Server,
    owner: Person,
    people: Vec<(Asker, Person)>,
    other: Scope,
    scenes: [Scene; 2],
    made: u32,
}

impl Stage {
    async fn set() -> Self {
        let server = Server::start().await;
        let owner = server.owner().await;
        let mut people = Vec::new();
        for asker in ASKERS {
            if asker == Asker::SignedOut || asker.is_key() {
                continue;
            }
            let person = match asker {
                Asker::Guest => server.guest("Guest").await,
                _ => register(&server, &format!("{asker:?}").to_lowercase()).await,
            };
            people.push((asker, person));
        }
        let admin = people.iter().find(|(asker, _)| *asker == Asker::Admin).unwrap();
        server.grant(&admin.1, Role::Admin, Scope::Global).await;
        let other = Scope::World(id(&server.world(&owner, "elsewhere").await).parse().unwrap());
        let mut stage = Self { server, owner, people, other, scenes: [Scene::none(), Scene::none()], made: 0 };
        for n in 0..2 {
            stage.scenes[n] = stage.scene(n == 0).await;
        }
        stage
    }

    async fn scene(&mut self, is_open: bool) -> Scene {
        self.made += 1;
        let server = &self.server;
        let visibility = if is_open { "public" } else { "private" };
        let wish = json!({ "name": format!("World {}", self.made), "visibility": visibility });
        let world = server.post("worlds").by(&self.owner).json(wish).await.expect(201).json();
        let scope = Scope::World(id(&world).parse().unwrap());
        for (asker, person) in &self.people {
            if let Some(role) = asker.role().filter(|role| *role != Role::Admin) {
                server.grant(person, role, scope).await;
            }
        }
        let victim = server.guest("Victim").await;
        let body = json!({ "userId": victim.id, "role": "world_member", "scope": scope });
        let grant = server.post("access/grants").by(&self.owner).json(body).await.expect(201).json();
        let channel = server.channel(&self.owner, &world, "lobby").await;
        let author = &self.people.iter().find(|(asker, _)| *asker == Asker::Member).unwrap().1;
        let message = server.say(author, &channel, "well met").await;
        let key = server.key(&self.owner, &scope.to_string(), &["chat.read"]).await;
        let audience = json!({ "kind": "world", "worldId": id(&world) });
        let news = server.announce(&self.owner, audience, "The gates open at dusk").await;
        let told = server.announce(&self.owner, json!({ "kind": "global" }), "All worlds are open").await;
        let text = |value: &Value| id(value).to_owned();
        Scene {
            world: text(&world),
            channel: text(&channel),
            message: text(&message),
            grant: text(&grant),
            key: text(&key),
            victim: victim.id,
            news: text(&news),
            told: text(&told),
        }
    }

    /// What an asker shows.
    async fn token(&self, asker: Asker, needed: Option<Permission>) -> Option<String> {
        if !asker.is_key() {
            let person = self.people.iter().find(|(known, _)| *known == asker)?;
            return Some(person.1.token.clone());
        }
        let draft = ApiKeyDraft {
            name: ApiKeyName::new("matrix").unwrap(),
            scope: if asker == Asker::KeyElsewhere { self.other } else { Scope::Global },
            permissions: asker.list(needed),
            expires_at: None,
        };
        let made = self.server.services.api_keys.make(&Actor::operator(), draft).await.unwrap();
        Some(made.secret.expose().clone())
    }
}

impl Scene {
    fn none() -> Self {
        let (world, channel, message) = (String::new(), String::new(), String::new());
        let (grant, key, victim) = (String::new(), String::new(), String::new());
        Self { world, channel, message, grant, key, victim, news: String::new(), told: String::new() }
    }

    fn path(&self, template: &str) -> String {
        let thing = match template {
            path if path.contains("/channels/") => &self.channel,
            path if path.contains("/messages/") => &self.message,
            path if path.contains("/grants/") => &self.grant,
            path if path.contains("/keys/") => &self.key,
            path if path.contains("/announcements/") => &self.news,
            path if path.contains("/notifications/") => &self.told,
            _ => &self.victim,
        };
        template.replace("{world}", &self.world).replace("{userId}", &self.victim).replace("{id}", thing)
    }

    fn query(&self, call: &str) -> String {
        match call {
            "listChannels" | "listGrants" | "listKeys" | "listAnnouncements" => format!("?scope=world:{}", self.world),
            "checkAccess" => format!("?permission=chat.post&scope=world:{}", self.world),
            _ => String::new(),
        }
    }

    fn body(&self, call: &str, example: Option<&Value>, n: u32) -> Option<Value> {
        let scope = format!("world:{}", self.world);
        Some(match call {
            "createWorld" => json!({ "name": format!("New {n}") }),
            "register" => json!({ "username": format!("new-{n}"), "password": "correct horse battery" }),
            "giveRole" => json!({ "userId": self.victim, "role": "world_guest", "scope": scope }),
            "makeKey" => json!({ "name": "arena", "scope": scope, "permissions": ["chat.read"] }),
            "openChannel" => json!({ "scope": scope, "slug": format!("room-{n}"), "name": "Room" }),
            "publishAnnouncement" => {
                let audience = json!({ "kind": "world", "worldId": self.world });
                json!({ "title": "News", "body": "Good ones.", "audience": audience })
            }
            "postMessage" => json!({ "body": "well met" }),
            "editMessage" => json!({ "body": "well met again" }),
            "removeMessage" => json!({ "reason": "off topic", "mode": "mask" }),
            "markRead" => json!({ "seq": 1 }),
            _ => return example.cloned(),
        })
    }
}

async fn register(server: &Server, username: &str) -> Person {
    let body = json!({ "username": username, "password": "correct horse battery" });
    Person::of(&server.post("auth/register").json(body).await.expect(201))
}

/// A cell of the matrix that is not as expected.
struct Miss {
    call: String,
    asker: Asker,
    is_open: bool,
    expected: Outcome,
    seen: String,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, asker, is_open, expected, seen } = self;
        write!(f, "{call} as {asker:?} in a world that is open: {is_open}: expected {expected:?}, seen {seen}")
    }
}

#[tokio::test]
async fn every_call_lets_through_who_is_declared_to_make_it_and_nobody_else() {
    let mut stage = Stage::set().await;
    let document = openapi(&stage.server).await;
    let (mut misses, mut cells, mut refused) = (Vec::new(), 0, 0);

    for (template, method, operation) in operations(&document) {
        let call = operation["operationId"].as_str().unwrap().to_owned();
        let who: Vec<&str> = operation["x-permission"]
            .as_array()
            .unwrap_or_else(|| panic!("{call} does not say who may make it"))
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        assert!(!who.is_empty(), "{call}");
        for word in &who {
            let is_known =
                ["anyone", "self", "signed-in", "author"].contains(word) || word.parse::<Permission>().is_ok();
            assert!(is_known, "{call}: {word}");
        }
        let about = about(&call, template);
        let needed = who.iter().find_map(|word| word.parse().ok());
        let method: Method = method.to_uppercase().parse().unwrap();
        for (n, is_open) in [(0, true), (1, false)] {
            for asker in ASKERS {
                cells += 1;
                stage.made += 1;
                let scene = &stage.scenes[n];
                let expected = expected(&who, about, method == Method::GET, asker, is_open);
                let token = stage.token(asker, needed).await;
                let path = format!("{}{}", scene.path(template), scene.query(&call));
                // Preferences are the asker's own, and were changed in the other world.
                let seen_before = if call == "amendPreferences" && !is_open { "\"2\"" } else { "\"1\"" };
                let mut ask =
                    stage.server.ask(method.clone(), path).with("if-match", seen_before).with("origin", ORIGIN);
                if demands_key(operation) {
                    ask = ask.with("idempotency-key", &stage.server.fresh_key());
                }
                if let Some(token) = &token {
                    ask = ask.bearing(token);
                }
                let example = operation.pointer("/requestBody/content/application~1json/example");
                if let Some(body) = scene.body(&call, example, stage.made) {
                    ask = ask.json(body);
                }
                let reply = ask.await;
                let code = if reply.status.is_client_error() { reply.code() } else { String::new() };
                let seen = match code.as_str() {
                    "unauthenticated" => Outcome::SignInFirst,
                    "permission-denied" | "account-required" => Outcome::Forbidden,
                    "world-not-found"
                    | "channel-not-found"
                    | "message-not-found"
                    | "grant-not-found"
                    | "api-key-not-found"
                    | "account-not-found"
                    | "announcement-not-found" => Outcome::Hidden,
                    _ => Outcome::Passes,
                };
                // Let through means that it came to the call's own matter, not that the request was wrong.
                let is_sound =
                    ![400, 412, 415, 422, 428].contains(&reply.status.as_u16()) && !reply.status.is_server_error();
                if seen != expected || !is_sound {
                    let seen = format!("{} {code}", reply.status);
                    misses.push(Miss { call: call.clone(), asker, is_open, expected, seen });
                }
                if seen != Outcome::Passes {
                    refused += 1;
                } else if ["signOut", "upgradeGuest", "eraseMe"].contains(&call.as_str()) && reply.status.is_success() {
                    stage = Stage { made: stage.made, ..Stage::set().await };
                } else if method != Method::GET && reply.status.is_success() && about != About::Nothing {
                    stage.scenes[n] = stage.scene(is_open).await;
                }
            }
        }
    }

    let misses: Vec<String> = misses.iter().map(Miss::to_string).collect();
    assert!(misses.is_empty(), "{} of {cells} cells:\n{}", misses.len(), misses.join("\n"));
    assert!(cells > 800 && refused > cells / 4, "{refused} of {cells} were refused");
}
