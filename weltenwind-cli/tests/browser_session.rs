//! Whom the page takes its reader for, while the server cannot say it, and after it said that somebody is nobody any more.

mod fixture;
#[path = "fixture/window.rs"]
mod window;

use std::time::Duration;

use fixture::Store;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};
use thirtyfour::By;
use window::{Driver, STATUS, Window};

const NOTICE: &str = "document.getElementById('notice').textContent";
const SIGN_IN: &str = "document.getElementById('sign-in').checkVisibility()";
const REFRESH: &str = "*/api/v1/auth/refresh";

/// The page reads along, says why it does not know its reader, and offers nobody another account.
async fn does_not_know_its_reader(window: &Window, why: &str) {
    window.until(&format!("{NOTICE}.includes({})", json!(why)), json!(true)).await;
    window.until(&format!("{NOTICE}.includes('signed in is not known yet')"), json!(true)).await;
    window.until("document.querySelector('#rows .body')?.textContent", json!("well met")).await;
    assert_eq!(window.eval(SIGN_IN).await.expect("an answer"), json!(false), "nobody is asked for a name");
    window.until(STATUS, json!("connecting")).await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_guest_stays_that_guest_while_nobody_can_say_who_is_signed_in() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&["--set", "limits.auth=10/min"]);
    let window = driver.window().await;
    window.open(&server).await;
    window.join("Mira").await;
    window.say("well met").await;
    window.shows(&[("Mira", "well met")]).await;
    let me = "document.getElementById('me').dataset.id";
    let mira = window.eval(me).await.expect("an id");

    // Nobody is reached.
    window.block(&[REFRESH]).await;
    window.reload().await;
    does_not_know_its_reader(&window, "cannot be reached").await;
    window.block(&[]).await;
    window.is_signed_in_as("Mira").await;
    window.until(NOTICE, json!("")).await;

    // Nobody says anything at all.
    window.hold(REFRESH).await;
    window.reload().await;
    does_not_know_its_reader(&window, "has not answered yet").await;
    window.let_go().await;
    window.is_signed_in_as("Mira").await;

    // Too many have asked from this address, the last of them just now: for six seconds nobody is let in.
    let is_let_in = async || {
        let other = json!({ "refreshToken": "wwr_of-nobody" });
        server.post("/api/v1/auth/refresh", None, &other).await.0 != 429
    };
    window.hold(REFRESH).await;
    window.reload().await;
    while is_let_in().await {}
    while !is_let_in().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    window.let_go().await;
    does_not_know_its_reader(&window, "The limit `auth` is reached").await;
    window.is_signed_in_as("Mira").await;

    assert_eq!(window.eval(me).await.expect("an id"), mira);
    window.say("still me").await;
    window.shows(&[("Mira", "well met"), ("Mira", "still me")]).await;
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_guest_stays_that_guest_while_the_store_takes_nothing() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&["--set", "storage.busy_timeout_ms=50"]);
    let window = driver.window().await;
    window.open(&server).await;
    window.join("Mira").await;
    window.say("well met").await;
    window.shows(&[("Mira", "well met")]).await;

    let mut connection = SqliteConnection::connect(store.url()).await.expect("the file");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("the file is locked");
    window.reload().await;
    does_not_know_its_reader(&window, "A part of the server is away").await;
    window.driver.goto(format!("{}/account", server.url)).await.expect("the page loads");
    window.until(&format!("{NOTICE}.includes('signed in is not known yet')"), json!(true)).await;
    sqlx::query("ROLLBACK").execute(&mut connection).await.expect("the lock goes");

    window.until("document.getElementById('mine-who').textContent.startsWith('Mira, a guest')", json!(true)).await;
    assert_eq!(window.eval("location.pathname").await.expect("an answer"), json!("/account"));
    window.open(&server).await;
    window.is_signed_in_as("Mira").await;
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn what_was_not_sent_when_a_session_ends_stays_with_whoever_wrote_it() {
    const UNSENT: &str = "[...document.querySelectorAll('#rows .message:not([data-state=sent])')].map((row) =>
        [row.querySelector('.body').textContent, ...[...row.querySelectorAll('button')].map((button) => button.textContent)])";
    const FOCUS: &str = "document.activeElement.id || [document.activeElement.textContent,
        document.activeElement.closest('.message')?.querySelector('.body').textContent]";

    /// By keyboard, on the first button of the name.
    async fn press(window: &Window, label: &str) {
        let buttons = window.driver.find_all(By::Css("#rows button")).await.expect("they are there");
        for button in buttons {
            if button.text().await.expect("a label") == label {
                return button.send_keys("\u{e007}").await.expect("it can be pressed");
            }
        }
        panic!("no button {label}");
    }

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.open(&server).await;
    window.join("Mira").await;
    let address = server.address().to_owned();
    let here = window.driver.window().await.expect("a tab");
    server.kill();
    window.until(&format!("{STATUS} !== 'live'"), json!(true)).await;
    // Without a ticket there is no socket, and what is written waits.
    window.block(&["*/realtime/tickets"]).await;
    for text in ["half a thought", "another one", "the last one"] {
        window.say(text).await;
    }
    window.until(&format!("({UNSENT}).length"), json!(3)).await;
    let server = store.serve_at(&address);

    let there = window.driver.new_tab().await.expect("a second tab");
    window.driver.switch_to_window(there).await.expect("it is there");
    window.open(&server).await;
    window.is_signed_in_as("Mira").await;
    window.click("leave").await;
    window.is_nobody().await;
    window.driver.switch_to_window(here).await.expect("it is there");

    window.is_nobody().await;
    window.until(&format!("{NOTICE}.startsWith('Your session has ended.')"), json!(true)).await;
    window.until(&format!("{NOTICE}.includes('is kept in its channel')"), json!(true)).await;
    let kept = ["half a thought", "another one", "the last one"].map(|text| json!([text, "Discard"]));
    window.until(UNSENT, json!(kept)).await;
    press(&window, "Discard").await;
    window.until(UNSENT, json!(kept[1..])).await;
    window.until(FOCUS, json!(["Discard", "another one"])).await;

    window.block(&[]).await;
    window.join("Oskar").await;
    let kept = ["another one", "the last one"].map(|text| json!([text, "Try again", "Discard"]));
    window.until(UNSENT, json!(kept)).await;
    press(&window, "Try again").await;
    window.until(FOCUS, json!(["Try again", "the last one"])).await;
    press(&window, "Try again").await;
    window.until(FOCUS, json!("composer")).await;
    window.shows(&[("Oskar", "another one"), ("Oskar", "the last one")]).await;

    // Whoever leaves here, in this very tab, leaves nothing behind.
    let address = server.address().to_owned();
    server.kill();
    window.until(&format!("{STATUS} !== 'live'"), json!(true)).await;
    window.block(&["*/realtime/tickets"]).await;
    window.say("never mind").await;
    window.until(&format!("({UNSENT}).length"), json!(1)).await;
    let server = store.serve_at(&address);
    window.click("leave").await;
    window.is_nobody().await;
    window.until(UNSENT, json!([])).await;
    assert_eq!(server.history(&server.general().await).await.len(), 2);
    window.close().await;
}
