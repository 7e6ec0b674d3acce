//! The page in real browsers, against the real binary: what a player clicks, types and reads.

mod fixture;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fixture::{PATIENCE, Server, Store};
use serde_json::{Value, json};
use thirtyfour::{
    By, ChromiumLikeCapabilities as _, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver, error::WebDriverResult,
};
use weltenwind_core::{Clock as _, SystemClock};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// A fresh installation knows nobody, so the page's first question is answered 401, and the browser notes that.
const FIRST_REFRESH: &str = "/api/v1/auth/refresh";

const CONVERSATION: &str = "[...document.querySelectorAll('#rows .message[data-state=sent]')]
    .map((row) => [row.querySelector('.author').textContent, row.querySelector('.body').textContent])";
const WRITERS: &str = "[...document.querySelectorAll('#writers .author')].map((name) => name.textContent)";
const STATUS: &str = "document.getElementById('status').dataset.state";

/// The program that steers browsers, on a port of its own choice.
struct Driver {
    process: Child,
    url: String,
}

impl Driver {
    fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let url = format!("http://127.0.0.1:{}", port.expect("chromedriver names its port"));
        // The pipe is emptied, or a driver that says much would stand still.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url }
    }

    /// Opens a browser with a profile of its own.
    async fn window(&self) -> Window {
        let profile = tempfile::tempdir().expect("a folder");
        let mut wishes = DesiredCapabilities::chrome();
        for flag in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ] {
            wishes.add_arg(flag).expect("a flag is a text");
        }
        wishes.set_browser_log_level(LoggingPrefsLogLevel::All).expect("a level");
        let driver = WebDriver::new(&self.url, wishes).await.expect("a browser starts");
        Window { driver, _profile: profile }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A browser: somebody who looks at the page. If a test fails, dropping the driver ends it.
struct Window {
    driver: WebDriver,
    _profile: tempfile::TempDir,
}

impl Window {
    async fn open(&self, server: &Server) {
        self.driver.goto(format!("{}/", server.url)).await.expect("the page loads");
    }

    async fn reload(&self) {
        self.driver.refresh().await.expect("the page loads again");
    }

    async fn eval(&self, expression: &str) -> WebDriverResult<Value> {
        let answer = self.driver.execute(format!("return {expression};"), Vec::new()).await?;
        Ok(answer.json().clone())
    }

    /// Waits until an expression has a value on the page.
    async fn until(&self, expression: &str, expected: Value) {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            // Between two pages there is nothing to ask.
            let seen = self.eval(expression).await;
            if seen.as_ref().is_ok_and(|seen| *seen == expected) {
                return;
            }
            assert!(Instant::now() < deadline, "{expression}\nshould be {expected}\nbut is {seen:?}");
        }
    }

    async fn until_usable(&self, id: &str) {
        let element = format!("document.getElementById('{id}')");
        self.until(&format!("{element}.checkVisibility() && !{element}.disabled"), json!(true)).await;
    }

    async fn click(&self, id: &str) {
        self.until_usable(id).await;
        self.driver.find(By::Id(id)).await.expect("it is there").click().await.expect("it can be clicked");
    }

    async fn type_into(&self, id: &str, text: &str) {
        self.until_usable(id).await;
        self.driver.find(By::Id(id)).await.expect("it is there").send_keys(text).await.expect("it can be typed into");
    }

    async fn shows(&self, conversation: &[(&str, &str)]) {
        self.until(CONVERSATION, json!(conversation)).await;
    }

    /// Takes a name, as whoever comes by does.
    async fn join(&self, name: &str) {
        self.type_into("name", name).await;
        self.click("join").await;
        self.is_signed_in_as(name).await;
    }

    async fn is_signed_in_as(&self, name: &str) {
        self.until("document.querySelector('#me .name')?.textContent", json!(name)).await;
        self.until(STATUS, json!("live")).await;
    }

    async fn is_nobody(&self) {
        self.until("document.getElementById('sign-in').checkVisibility()", json!(true)).await;
        self.until("document.getElementById('compose').checkVisibility()", json!(false)).await;
        self.until(STATUS, json!("reading")).await;
    }

    async fn say(&self, text: &str) {
        self.type_into("composer", text).await;
        self.click("send").await;
    }

    /// What the browser has complained about since the last time it was asked.
    async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.expect("the browser tells its log");
        log.into_iter().map(|entry| format!("{}: {}", entry.level, entry.message)).collect()
    }

    /// Nothing but the first refresh was complained about, and every file and answer came from the server itself.
    async fn is_at_ease(&self, server: &Server) {
        let complaints = self.complaints().await;
        assert_eq!(complaints.len(), 1, "{complaints:#?}");
        assert!(complaints[0].contains(FIRST_REFRESH) && complaints[0].contains("401"), "{complaints:#?}");
        self.asked_nobody_else(server).await;
    }

    async fn asked_nobody_else(&self, server: &Server) {
        self.asked_no_other_origin(server, 6).await;
    }

    /// Everything came from the server, at least so many files and answers.
    async fn asked_no_other_origin(&self, server: &Server, at_least: usize) {
        let asked =
            self.eval("performance.getEntries().map((entry) => entry.name).filter((name) => name.includes('://'))");
        let asked: Vec<String> = serde_json::from_value(asked.await.expect("an answer")).expect("addresses");
        assert!(asked.len() >= at_least, "the page loads its files: {asked:?}");
        let elsewhere: Vec<_> = asked.iter().filter(|name| !name.starts_with(&format!("{}/", server.url))).collect();
        assert!(elsewhere.is_empty(), "{elsewhere:?}");
    }

    async fn close(self) {
        self.driver.quit().await.expect("the browser ends");
    }
}

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
