//! The page in real browsers, against the real binary: what a player clicks, types and reads.

mod fixture;
#[path = "fixture/window.rs"]
mod window;

use fixture::Store;
use serde_json::{Value, json};
use thirtyfour::By;
use weltenwind_core::{Clock as _, SystemClock};
use window::{CONVERSATION, Driver, STATUS, WRITERS, Window};

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn two_players_look_around_take_names_and_talk() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let channel = server.general().await;
    let early = server.guest("Nadia").await;
    let path = format!("/api/v1/channels/{channel}/messages");
    server.post(&path, Some(&early.token), &json!({ "body": "first light" })).await;
    let (here, there) = (driver.window().await, driver.window().await);

    for window in [&here, &there] {
        window.open(&server).await;
        window.is_nobody().await;
        window.shows(&[("Nadia", "first light")]).await;
    }
    here.join("Mira").await;
    there.join("Oskar").await;
    here.say("anybody there?").await;
    let mut conversation = vec![("Nadia", "first light"), ("Mira", "anybody there?")];
    there.shows(&conversation).await;
    there.say("over here").await;
    conversation.push(("Oskar", "over here"));
    for window in [&here, &there] {
        window.shows(&conversation).await;
        window.until(WRITERS, json!(["Oskar", "Mira", "Nadia"])).await;
        window.is_at_ease(&server).await;
    }

    here.reload().await;
    here.is_signed_in_as("Mira").await;
    here.shows(&conversation).await;
    here.say("still me").await;
    conversation.push(("Mira", "still me"));
    for window in [&here, &there] {
        window.shows(&conversation).await;
        assert_eq!(window.complaints().await, Vec::<String>::new());
        window.asked_nobody_else(&server).await;
    }

    here.close().await;
    there.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn who_registered_leaves_and_comes_back() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.open(&server).await;
    window.is_nobody().await;

    window.click("login-toggle").await;
    window.type_into("username", "mira").await;
    window.type_into("password", "a lantern on the pier").await;
    window.click("register").await;
    window.is_signed_in_as("mira").await;
    window.say("I live here now").await;
    window.shows(&[("mira", "I live here now")]).await;
    window.click("leave").await;
    window.is_nobody().await;
    window.is_at_ease(&server).await;

    window.reload().await;
    window.is_nobody().await;
    window.click("login-toggle").await;
    window.type_into("username", "mira").await;
    window.type_into("password", "another lantern").await;
    window.click("login").await;
    let error = "document.querySelector('#credentials .error').textContent.includes('do not fit together')";
    window.until(error, json!(true)).await;
    let told = window.complaints().await;
    assert!(
        told.len() == 2 && told.iter().all(|line| line.contains("/api/v1/auth/") && line.contains("401")),
        "{told:#?}"
    );

    window.until("document.getElementById('password').select()", Value::Null).await;
    window.type_into("password", "a lantern on the pier").await;
    window.click("login").await;
    window.is_signed_in_as("mira").await;
    window.say("back again").await;
    window.shows(&[("mira", "I live here now"), ("mira", "back again")]).await;
    assert_eq!(window.eval("document.getElementById('password').value").await.expect("an answer"), json!(""));
    assert_eq!(window.complaints().await, Vec::<String>::new());

    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn who_has_a_second_factor_is_asked_for_its_code() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let account = json!({ "username": "mira", "password": "a lantern on the pier" });
    let (_, session) = server.post("/api/v1/auth/register", None, &account).await;
    let bearer = session["accessToken"].as_str();
    let (_, begun) = server.post("/api/v1/users/me/two-factor", bearer, &json!({})).await;
    let secret = totp_rs::Secret::try_from_base32(begun["secret"].as_str().expect("a secret")).expect("base32");
    let authenticator = totp_rs::Builder::new().with_secret(secret).build().expect("an authenticator");
    let now = u64::try_from(SystemClock.now().as_second()).expect("it is past 1970");
    let code = json!({ "code": authenticator.generate(now).to_string() });
    let (status, confirmed) = server.post("/api/v1/users/me/two-factor/confirm", bearer, &code).await;
    assert_eq!(status, 200, "{confirmed}");
    let window = driver.window().await;
    window.open(&server).await;
    window.is_nobody().await;

    window.click("login-toggle").await;
    window.type_into("username", "mira").await;
    window.type_into("password", "a lantern on the pier").await;
    window.until("document.getElementById('totp').checkVisibility()", json!(false)).await;
    window.click("login").await;
    window.until("document.activeElement.id", json!("totp")).await;
    window.type_into("totp", "000-000").await;
    window.until_usable("login").await;
    window.click("login").await;
    let error = "document.querySelector('#credentials .error').textContent.includes('used before')";
    window.until(error, json!(true)).await;
    window.until("document.getElementById('totp').select()", Value::Null).await;
    window.type_into("totp", confirmed["recoveryCodes"][0].as_str().expect("a recovery code")).await;
    window.click("login").await;
    window.is_signed_in_as("mira").await;

    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_account_page_asks_who_it_is_comes_back_and_signs_others_out() {
    const SESSIONS: &str = "document.querySelectorAll('#mine li').length";

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let body = json!({ "username": "mira", "password": "a lantern on the pier", "device": { "name": "phone" } });
    assert_eq!(server.post("/api/v1/auth/register", None, &body).await.0, 201);
    let window = driver.window().await;

    window.driver.goto(format!("{}/me", server.url)).await.expect("the page loads");
    window.until("location.pathname + location.search", json!("/sign-in?next=/account")).await;
    window.click("login-toggle").await;
    window.type_into("username", "mira").await;
    window.type_into("password", "a lantern on the pier").await;
    window.click("login").await;

    window.until("location.pathname + location.search", json!("/account")).await;
    window.until("document.getElementById('mine-who').textContent", json!("mira, signed in as mira.")).await;
    window.until(SESSIONS, json!(2)).await;
    window.click("mine-others").await;
    window.until(SESSIONS, json!(1)).await;
    window.click("leave").await;
    window.until("location.pathname + location.search", json!("/sign-in?next=/account")).await;
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn the_reference_is_read_and_searched_without_asking_anybody_else() {
    const SHOWN: &str =
        "[...document.querySelectorAll('.contents li')].filter((item) => item.checkVisibility()).length";

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;

    for path in ["/docs", "/docs/realtime", "/problems", "/problems/slug-taken"] {
        window.driver.goto(format!("{}{path}", server.url)).await.expect("the page loads");
        window.until("document.readyState", json!("complete")).await;
        // Every colour comes from the theme, so a page without its files would be white.
        window.until("getComputedStyle(document.body).backgroundColor !== 'rgba(0, 0, 0, 0)'", json!(true)).await;
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(window.eval(fits).await.expect("an answer"), json!(true), "{path} is wider than the window");
        assert_eq!(window.complaints().await, Vec::<String>::new(), "{path}");
        window.asked_no_other_origin(&server, 4).await;
    }

    window.driver.goto(format!("{}/docs", server.url)).await.expect("the page loads");
    window.type_into("filter", "world slug-is-no-word").await;
    window.until(SHOWN, json!(0)).await;
    window.driver.find(By::Id("filter")).await.expect("it is there").clear().await.expect("it can be emptied");
    window.type_into("filter", "patch world").await;
    window.until(SHOWN, json!(1)).await;
    window.until("document.getElementById('amendWorld').checkVisibility()", json!(true)).await;
    window.until("document.getElementById('createWorld').checkVisibility()", json!(false)).await;
    assert_eq!(window.complaints().await, Vec::<String>::new());

    window.driver.set_window_rect(0, 0, 500, 800).await.expect("the window can be made small");
    for path in ["/docs", "/docs/realtime", "/problems", "/problems/slug-taken"] {
        window.driver.goto(format!("{}{path}", server.url)).await.expect("the page loads");
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        window.until(fits, json!(true)).await;
    }
    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn markup_stays_text() {
    const MARKUP: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&amp;";
    const NAME: &str = "<b>Mira</b>";

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.open(&server).await;
    window.join(NAME).await;

    window.say(MARKUP).await;

    window.shows(&[(NAME, MARKUP)]).await;
    window.until(WRITERS, json!([NAME])).await;
    let made = "document.querySelectorAll('#rows :is(img, script), .author b, #me b').length";
    assert_eq!(window.eval(made).await.expect("an answer"), json!(0));
    window.reload().await;
    window.shows(&[(NAME, MARKUP)]).await;
    assert_ne!(window.eval("document.title").await.expect("an answer"), json!("owned"));
    window.is_at_ease(&server).await;

    window.close().await;
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_restarted_server_is_found_again_and_nothing_is_missed() {
    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let channel = server.general().await;
    let third = server.guest("Nadia").await;
    let (here, there) = (driver.window().await, driver.window().await);
    for (window, name) in [(&here, "Mira"), (&there, "Oskar")] {
        window.open(&server).await;
        window.join(name).await;
    }
    here.say("the storm is near").await;
    for window in [&here, &there] {
        window.shows(&[("Mira", "the storm is near")]).await;
        window.is_at_ease(&server).await;
    }

    let address = server.address().to_owned();
    server.kill();
    for window in [&here, &there] {
        window.until(&format!("{STATUS} !== 'live'"), json!(true)).await;
    }
    there.say("is it dark?").await;
    there.until("document.querySelectorAll('#rows .message[data-state=sending]').length", json!(1)).await;
    let server = store.serve_at(&address);
    let path = format!("/api/v1/channels/{channel}/messages");
    let (status, posted) = server.post(&path, Some(&third.token), &json!({ "body": "the lamps are lit" })).await;
    assert_eq!(status, 201, "{posted}");

    for window in [&here, &there] {
        window.until(&format!("({CONVERSATION}).length"), json!(3)).await;
        window.until(STATUS, json!("live")).await;
    }
    let history: Vec<_> = server.history(&channel).await;
    let told = history.iter().map(|message| json!([message["author"]["displayName"], message["body"]]));
    let told = Value::Array(told.collect());
    for window in [&here, &there] {
        window.until(CONVERSATION, told.clone()).await;
        let other: Vec<_> = window.complaints().await;
        let other: Vec<_> = other.iter().filter(|line| !line.contains("net::ERR_")).collect();
        assert!(other.is_empty(), "{other:#?}");
    }
    here.say("all is well").await;
    there.until(&format!("({CONVERSATION}).at(-1)"), json!(["Mira", "all is well"])).await;

    here.close().await;
    there.close().await;
}

/// Whether all can use the pages is for people to say; what a program finds, nobody has to.
#[tokio::test]
#[ignore = "needs chromedriver, and WW_TEST_AXE, which scripts/test sets"]
async fn a_program_that_looks_for_barriers_finds_none() {
    let axe = std::env::var("WW_TEST_AXE").expect("WW_TEST_AXE names a file: see scripts/test");
    let axe = std::fs::read_to_string(axe).expect("the file is there");
    let look = async |window: &Window, what: &str| {
        for scheme in ["light", "dark"] {
            // A colour on its way to another one is neither.
            let media = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")];
            let media = media.map(|(name, value)| json!({ "name": name, "value": value }));
            let media = json!({ "features": media });
            window.driver.cdp().send_raw("Emulation.setEmulatedMedia", media).await.expect("a theme can be chosen");
            window.driver.execute(axe.as_str(), Vec::new()).await.expect("the program can be loaded");
            let found = "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]))";
            let found = window.eval(found).await.expect("an answer");
            assert_eq!(found, json!([]), "{what}, {scheme}");
        }
    };

    let (store, driver) = (Store::sqlite(), Driver::start());
    let server = store.serve(&[]);
    let window = driver.window().await;
    window.open(&server).await;
    window.is_nobody().await;
    look(&window, "the world, to nobody").await;
    window.click("login-toggle").await;
    look(&window, "the way in").await;
    window.type_into("username", "mira").await;
    window.type_into("password", "a lantern on the pier").await;
    window.click("register").await;
    window.is_signed_in_as("mira").await;
    window.say("well met").await;
    window.shows(&[("mira", "well met")]).await;
    look(&window, "the world").await;
    window.click("bell").await;
    window.until("document.querySelectorAll('#news li').length", json!(1)).await;
    look(&window, "the news").await;
    for path in ["/account", "/docs", "/docs/realtime", "/problems", "/problems/slug-taken"] {
        window.driver.goto(format!("{}{path}", server.url)).await.expect("the page loads");
        window.until("document.readyState", json!("complete")).await;
        if path == "/account" {
            window.until("document.querySelectorAll('#mine li').length", json!(1)).await;
        }
        look(&window, path).await;
    }
    window.close().await;
}
