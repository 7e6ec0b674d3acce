//! What the page shows of others while they are there, and how it comes through losses, in real browsers.

mod fixture;
#[path = "fixture/window.rs"]
mod window;

use std::time::Duration;

use fixture::{Server, Store};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use window::{CONVERSATION, Driver, STATUS, Window};

const HERE: &str = "[...document.querySelectorAll('#here .author')].map((name) => name.textContent)";
const HERE_TITLE: &str = "document.querySelector('#here h2').textContent";
const TYPING: &str = "document.getElementById('typing').textContent";
const DRAFT: &str = "document.getElementById('composer').value";
const TOASTS: &str = "[...document.querySelectorAll('#toasts strong')].map((title) => title.textContent)";
const BELL: &str = "document.getElementById('bell-count').textContent";
const WAITING: &str = "document.querySelectorAll('#rows .message[data-state=sending]').length";
const FAILED: &str = "document.querySelectorAll('#rows .message[data-state=failed]').length";

/// Posts `name 0`, `name 1`, … up to a number, as fast as the page takes them.
fn posting(name: &str, count: u32) -> String {
    format!(
        "void (globalThis.posted = 0, globalThis.timer = setInterval(() => {{
            const composer = document.getElementById('composer');
            composer.value = '{name} ' + posted;
            document.getElementById('compose').requestSubmit();
            if (!composer.value && ++posted === {count}) clearInterval(timer);
            composer.value = '';
        }}, 20))"
    )
}

fn told(history: &[Value]) -> Value {
    history.iter().map(|message| json!([message["author"]["displayName"], message["body"]])).collect()
}

async fn act(window: &Window, expression: &str) -> Value {
    window.eval(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// An owner's access token.
async fn owner(store: &Store, server: &Server) -> String {
    let output = store.run(&["admin", "bootstrap", "--json"]);
    let link: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let body = json!({ "token": link["token"], "username": "nadia", "password": "a lantern on the pier" });
    let (status, session) = server.post("/api/v1/auth/bootstrap", None, &body).await;
    assert_eq!(status, 201, "{session}");
    session["accessToken"].as_str().expect("a token").to_owned()
}

/// Makes the store what a backup of it was when it had one message.
async fn restore_the_first_message(store: &Store) {
    let mut connection = SqliteConnection::connect(store.url()).await.expect("the file");
    for statement in [
        "DELETE FROM chat_messages WHERE seq = 2",
        "UPDATE chat_channels SET epoch = epoch + 1, last_seq = 1, last_change = 1, purged_change = 0",
    ] {
        sqlx::query(statement).execute(&mut connection).await.expect("the statement");
    }
    connection.close().await.expect("the file is closed");
}

async fn announce(server: &Server, owner: &str, title: &str) {
    let body = json!({ "title": title, "body": "Season 7 begins tonight.", "audience": { "kind": "global" } });
    let key = format!("the-key-of-{}", title.to_lowercase().replace(' ', "-"));
    let (status, _, made) =
        server.try_post_under(&key, "/api/v1/announcements", owner, &body).await.expect("an answer");
    assert_eq!(status, 201, "{made}");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn two_players_see_who_is_here_and_who_is_writing() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&["--set", "presence.leave_seconds=1"]);
    let (here, there) = (driver.window().await, driver.window().await);
    for (window, name) in [(&here, "Mira"), (&there, "Oskar")] {
        window.open(&server).await;
        window.is_nobody().await;
        window.until("document.getElementById('here').checkVisibility()", json!(false)).await;
        window.join(name).await;
    }

    for window in [&here, &there] {
        window.until(HERE, json!(["Mira", "Oskar"])).await;
        window.until(HERE_TITLE, json!("Here now (2)")).await;
    }
    let log_ends = "document.getElementById('log').getBoundingClientRect().bottom";
    let before = act(&here, log_ends).await;
    there.type_into("composer", "the wind is").await;
    here.until(TYPING, json!("Oskar is typing…")).await;
    assert_eq!(act(&here, log_ends).await, before, "nothing moves");
    assert_eq!(act(&there, TYPING).await, json!(""), "nobody is told of oneself");
    there.say(" turning").await;
    here.shows(&[("Oskar", "the wind is turning")]).await;
    here.until(TYPING, json!("")).await;

    there.click("leave").await;
    here.until(HERE, json!(["Mira"])).await;
    there.is_nobody().await;
    there.until("document.getElementById('here').checkVisibility()", json!(false)).await;
    for window in [&here, &there] {
        window.is_at_ease(&server).await;
    }
    here.close().await;
    there.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn where_more_are_than_are_listed_only_the_number_is_shown() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&["--set", "presence.max_members=1"]);
    let window = driver.window().await;
    window.open(&server).await;
    window.join("Mira").await;
    window.until(HERE, json!(["Mira"])).await;
    let (_, welcome) = server.get("/api/v1/worlds/welcome").await;
    let mut other = server.socket(&server.guest("Oskar").await).await;

    let room = format!("world:{}", welcome["id"].as_str().expect("an id"));
    other.send(&json!({ "t": "join", "id": 1, "room": room })).await;

    window.until(HERE_TITLE, json!("Here now (2)")).await;
    window.until(HERE, json!([])).await;
    window.until("document.querySelector('#here li').textContent", json!("Too many to list them.")).await;
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_server_that_is_killed_amid_a_conversation_loses_and_doubles_nothing() {
    const EACH: u32 = 60;

    let (store, driver) = (Store::sqlite(), Driver::start());
    let mut server = store.serve(&[]);
    let channel = server.general().await;
    let (here, there) = (driver.window().await, driver.window().await);
    for (window, name) in [(&here, "Mira"), (&there, "Oskar")] {
        window.open(&server).await;
        window.join(name).await;
    }
    let address = server.address().to_owned();

    for (window, name) in [(&here, "Mira"), (&there, "Oskar")] {
        act(window, &posting(name, EACH)).await;
    }
    for seen in [5, 30, 60] {
        here.until(&format!("({CONVERSATION}).length >= {seen}"), json!(true)).await;
        server.kill();
        for window in [&here, &there] {
            window.until(&format!("{STATUS} !== 'live'"), json!(true)).await;
        }
        server = store.serve_at(&address);
    }

    for window in [&here, &there] {
        window.until(&format!("({CONVERSATION}).length"), json!(2 * EACH)).await;
        window.until(STATUS, json!("live")).await;
    }
    let history = server.history(&channel).await;
    let expected = told(&history);
    for window in [&here, &there] {
        window.until(CONVERSATION, expected.clone()).await;
        assert_eq!(act(window, FAILED).await, json!(0));
        window.until(HERE, json!(["Mira", "Oskar"])).await;
    }
    for name in ["Mira", "Oskar"] {
        let own = history.iter().filter(|message| message["author"]["displayName"] == name);
        let bodies: Vec<&str> = own.map(|message| message["body"].as_str().expect("a body")).collect();
        let wanted: Vec<String> = (0..EACH).map(|number| format!("{name} {number}")).collect();
        assert_eq!(bodies, wanted, "each once, in the order in which it was written");
    }
    here.close().await;
    there.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn what_waits_for_the_connection_has_a_bound_and_the_player_is_told() {
    const BOUND: usize = 20;

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let channel = server.general().await;
    let window = driver.window().await;
    window.open(&server).await;
    window.join("Mira").await;
    window.until(HERE, json!(["Mira"])).await;
    let address = server.address().to_owned();
    server.kill();
    window.until(&format!("{STATUS} !== 'live'"), json!(true)).await;

    for number in 0..BOUND {
        window.say(&format!("word {number}\u{e007}")).await;
        window.until(WAITING, json!(number + 1)).await;
    }
    window.say("one more").await;

    let notice = "document.getElementById('notice').textContent.includes('Too many messages are waiting')";
    window.until(notice, json!(true)).await;
    assert_eq!(act(&window, DRAFT).await, json!("one more"), "what is not taken stays where it was written");
    assert_eq!(act(&window, WAITING).await, json!(BOUND));
    let server = store.serve_at(&address);
    window.until(&format!("({CONVERSATION}).length"), json!(BOUND)).await;
    window.click("send").await;
    window.until(&format!("({CONVERSATION}).length"), json!(BOUND + 1)).await;
    window.until(DRAFT, json!("")).await;
    let history = server.history(&channel).await;
    assert_eq!(act(&window, CONVERSATION).await, told(&history));
    assert_eq!(history.len(), BOUND + 1);
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_restored_backup_is_noticed_and_the_history_read_anew() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let channel = server.general().await;
    let (here, there) = (driver.window().await, driver.window().await);
    for (window, name) in [(&here, "Mira"), (&there, "Oskar")] {
        window.open(&server).await;
        window.join(name).await;
    }
    for body in ["the first word", "a word that the backup does not have"] {
        here.say(body).await;
        there.until(&format!("({CONVERSATION}).at(-1)"), json!(["Mira", body])).await;
    }
    let address = server.address().to_owned();
    server.kill();
    restore_the_first_message(&store).await;
    there.until(&format!("{STATUS} !== 'live'"), json!(true)).await;
    there.say("is it you?").await;

    let server = store.serve_at(&address);

    for window in [&here, &there] {
        window.shows(&[("Mira", "the first word"), ("Oskar", "is it you?")]).await;
        window.until(STATUS, json!("live")).await;
    }
    here.say("it is").await;
    for window in [&here, &there] {
        window.shows(&[("Mira", "the first word"), ("Oskar", "is it you?"), ("Mira", "it is")]).await;
    }
    assert_eq!(server.history(&channel).await.len(), 3);
    here.close().await;
    there.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_history_that_could_not_be_read_anew_at_once_takes_the_place_of_the_old_one_all_the_same() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.open(&server).await;
    window.join("Mira").await;
    for body in ["the first word", "a word that the backup does not have"] {
        window.say(body).await;
        window.until(&format!("({CONVERSATION}).at(-1)"), json!(["Mira", body])).await;
    }
    let address = server.address().to_owned();
    server.kill();
    restore_the_first_message(&store).await;
    window.until(&format!("{STATUS} !== 'live'"), json!(true)).await;
    window.block(&["*/messages?limit=50*"]).await;

    let _server = store.serve_at(&address);

    let notice = "document.getElementById('notice').textContent.includes('cannot be reached')";
    let asked =
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/messages?limit=50')).length";
    window.until(&format!("{notice} && {asked} > 1"), json!(true)).await;
    window.block(&[]).await;
    window.shows(&[("Mira", "the first word")]).await;
    window.until(STATUS, json!("live")).await;
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn history_is_not_read_out_as_news_and_what_comes_is() {
    const ROWS: &str = "document.querySelectorAll('#rows .message').length";
    const BUSY: &str = "document.getElementById('log').getAttribute('aria-busy')";
    const WATCH: &str = "void (globalThis.added = [], new MutationObserver((changes) => {
        for (const { addedNodes } of changes) if (addedNodes.length) added.push(document.getElementById('log').ariaBusy);
    }).observe(document.getElementById('rows'), { childList: true }))";
    const WHILE_BUSY: &str = "[...new Set(added)]";

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let owner = owner(&store, &server).await;
    let (_, welcome) = server.get("/api/v1/worlds/welcome").await;
    let scope = format!("world:{}", welcome["id"].as_str().expect("an id"));
    let quiet = json!({ "scope": scope, "slug": "quiet", "name": "Quiet" });
    let (status, made) = server.post("/api/v1/channels", Some(&owner), &quiet).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/api/v1/channels/{}/messages", server.general().await);
    let other = server.guest("Nadia").await;
    for number in 0..70 {
        server.post(&path, Some(&other.token), &json!({ "body": format!("word {number}") })).await;
    }
    let elsewhere = format!("/api/v1/channels/{}/messages", made["id"].as_str().expect("an id"));
    server.post(&elsewhere, Some(&other.token), &json!({ "body": "a word elsewhere" })).await;
    let window = driver.window().await;
    window.open(&server).await;
    window.join("Mira").await;
    window.until(ROWS, json!(50)).await;
    window.until(BUSY, json!("false")).await;

    act(&window, WATCH).await;
    act(&window, "document.getElementById('older').focus()").await;
    act(&window, "document.getElementById('older').click()").await;
    window.until(ROWS, json!(70)).await;
    assert_eq!(act(&window, WHILE_BUSY).await, json!(["true"]), "an older page is no news");
    window.until("document.activeElement.id", json!("log")).await;
    window.until(BUSY, json!("false")).await;

    for (channel, rows) in [("quiet", 1), ("general", 70)] {
        act(&window, "void (added = [])").await;
        act(&window, &format!("void (location.hash = '#channel={channel}')")).await;
        window.until(ROWS, json!(rows)).await;
        assert_eq!(act(&window, WHILE_BUSY).await, json!(["true"]), "another channel is no news");
        window.until(BUSY, json!("false")).await;
    }

    act(&window, "void (added = [])").await;
    server.post(&path, Some(&other.token), &json!({ "body": "this is news" })).await;
    window.until(ROWS, json!(71)).await;
    assert_eq!(act(&window, WHILE_BUSY).await, json!(["false"]), "news are read out");
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_session_that_is_ended_elsewhere_closes_and_does_not_come_back() {
    const TICKETS: &str =
        "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/realtime/tickets')).length";

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let account = json!({ "username": "mira", "password": "a lantern on the pier" });
    let (status, phone) = server.post("/api/v1/auth/register", None, &account).await;
    assert_eq!(status, 201, "{phone}");
    let window = driver.window().await;
    window.open(&server).await;
    window.is_nobody().await;
    window.click("login-toggle").await;
    window.type_into("username", "mira").await;
    window.type_into("password", "a lantern on the pier").await;
    window.click("login").await;
    window.is_signed_in_as("mira").await;
    assert_eq!((server.metric("weltenwind_ws_connections").await, act(&window, TICKETS).await), (1.0, json!(1)));

    let bearer = phone["accessToken"].as_str();
    assert_eq!(server.post("/api/v1/users/me/sessions/revoke-others", bearer, &json!({})).await.0, 200);

    window.is_nobody().await;
    let notice = "document.getElementById('notice').textContent.includes('Your session has ended')";
    window.until(notice, json!(true)).await;
    // Longer than the longest first pause.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((server.metric("weltenwind_ws_connections").await, act(&window, TICKETS).await), (0.0, json!(1)));
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_toast_appears_in_the_visible_tab_alone_and_the_bell_keeps_it() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let owner = owner(&store, &server).await;
    let window = driver.window().await;
    window.open(&server).await;
    window.join("Mira").await;
    let behind = window.driver.window().await.expect("a tab");
    let before = window.driver.new_tab().await.expect("a second tab");
    window.driver.switch_to_window(before.clone()).await.expect("it is there");
    window.open(&server).await;
    window.is_signed_in_as("Mira").await;
    window.until("document.visibilityState", json!("visible")).await;

    announce(&server, &owner, "The gates open at dusk").await;

    window.until(TOASTS, json!(["The gates open at dusk"])).await;
    assert_eq!(act(&window, "document.getElementById('toasts').getAttribute('role')").await, json!("status"));
    window.until(BELL, json!("1")).await;
    act(&window, "document.querySelector('#toasts [aria-label^=Dismiss]').click()").await;
    window.until(TOASTS, json!([])).await;
    window.click("bell").await;
    let listed = "[...document.querySelectorAll('#news strong')].map((title) => title.textContent)";
    window.until(listed, json!(["The gates open at dusk"])).await;
    window.until(BELL, json!("")).await;

    window.driver.switch_to_window(behind).await.expect("it is there");
    window.until(BELL, json!("")).await;
    assert_eq!(act(&window, TOASTS).await, json!([]), "nobody looked at this one");
    announce(&server, &owner, "The gates are open").await;
    window.until(TOASTS, json!(["The gates are open"])).await;
    window.driver.switch_to_window(before).await.expect("it is there");
    assert_eq!(act(&window, TOASTS).await, json!([]));
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_page_speaks_german_to_whoever_reads_it_and_no_sentence_is_missing() {
    const MISSING: &str = "import('/assets/text.js').then(({ tables: { en, de } }) => [
        ...Object.keys(en).filter((key) => !(key in de)),
        ...Object.keys(de).filter((key) => !(key in en) && !key.startsWith('error.')),
        ...Object.keys(en).filter((key) => String(en[key].match(/{\\w+}/g)?.sort()) !== String(de[key]?.match(/{\\w+}/g)?.sort())),
    ])";

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window_in("de-AT,en").await;
    window.open(&server).await;

    window.join("Mira").await;

    window.until("document.documentElement.lang", json!("de")).await;
    window.until(HERE_TITLE, json!("Jetzt hier (1)")).await;
    window.until("document.getElementById('composer').placeholder.startsWith('Nachricht an ')", json!(true)).await;
    assert_eq!(act(&window, MISSING).await, json!([]));
    window.close().await;
}
