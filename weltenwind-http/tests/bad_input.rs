//! Input that nobody sends by mistake: for every class one request as it goes over the wire, and the refusal it meets.
//!
//! None is the server's failure, and none changes a row. A parser that gives up on what is no HTTP answers 400 without a
//! body; everything else is a problem. No call takes an instant yet, so none is out of range.

#[path = "documents/calls.rs"]
mod calls;
mod fixture;
#[path = "bad_input/noise.rs"]
mod noise;
#[path = "bad_input/wire.rs"]
mod wire;

use serde_json::json;

use self::{
    fixture::{Town, id},
    wire::{Ask, Wire},
};

/// The parser's answer to what is no HTTP.
const NO_HTTP: &str = "";
const MALFORMED: &str = "malformed-request";
const INVALID: &str = "validation-failed";
const MEDIA: &str = "unsupported-media-type";
const MISSING: &str = "not-found";
const NO_WORLD: &str = "world-not-found";

/// A request, the code of its refusal with the member that it concerns (or `-`), and how it differs from its neighbours.
type Case = (Ask, &'static str, &'static str, &'static str);

/// Sends every case and finds the database as it was.
async fn meet(town: &Town, cases: Vec<Case>) {
    let wire = Wire::listen(&town.server).await;
    let before = town.server.digest().await;
    for (ask, code, pointer, why) in cases {
        let shown = ask.to_string();
        let answer = wire.send(&ask).await;
        assert_eq!((answer.code.as_str(), answer.pointer.as_str()), (code, pointer), "{why}: {shown}\n{}", answer.text);
        assert!((400..500).contains(&answer.status), "{why}: {shown}\n{}", answer.text);
        assert_eq!(town.server.digest().await, before, "{why} changed something: {shown}");
    }
    wire.close().await;
}

fn guest(body: impl AsRef<[u8]>) -> Ask {
    Ask::new("POST", "/api/v1/auth/guest").json(body)
}

fn named(name: &str) -> Ask {
    guest(json!({ "displayName": name }).to_string())
}

/// Otherwise the rest would prove nothing.
#[tokio::test]
async fn a_good_request_is_seen_in_the_database() {
    let town = Town::start().await;
    let wire = Wire::listen(&town.server).await;
    let before = town.server.digest().await;
    assert_eq!(town.server.digest().await, before);

    let answer = wire.send(&named("Sirocco")).await;

    assert_eq!(answer.status, 201, "{}", answer.text);
    let after = town.server.digest().await;
    assert!(after != before && after.contains("Sirocco") && !before.contains("Sirocco"));
    wire.close().await;
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let town = Town::start().await;
    let utf_16 =
        |order: fn(u16) -> [u8; 2]| "{\"displayName\":\"Mira\"}".encode_utf16().flat_map(order).collect::<Vec<_>>();

    meet(
        &town,
        vec![
            (guest("\u{feff}{}"), MALFORMED, "-", "a byte order mark is no JSON, though editors write it"),
            (guest(utf_16(u16::to_le_bytes)), MALFORMED, "-", "UTF-16 without saying so"),
            (
                guest([&[0xfe, 0xff], &*utf_16(u16::to_be_bytes)].concat()),
                MALFORMED,
                "-",
                "UTF-16 that says so by its mark",
            ),
            (
                guest(utf_16(u16::to_le_bytes)).content_type("application/json; charset=utf-16"),
                MEDIA,
                "-",
                "UTF-16 that says so by its header is refused by that",
            ),
            (guest(b"{\"displayName\": \"M\xecra\"}"), MALFORMED, "-", "Latin-1"),
            (guest(b"{\"displayName\": \"M\xc0\xafra\"}"), MALFORMED, "-", "a slash in more bytes than it needs"),
            (guest(b"{\"displayName\": \"\xed\xa0\x80\"}"), MALFORMED, "-", "a surrogate as bytes"),
            (guest(b"{\"displayName\": \"\xf5\x80\x80\x80\"}"), MALFORMED, "-", "a character behind the last one"),
            (guest(b"{\"displayName\": \"M\xc3"), MALFORMED, "-", "a character that is cut off"),
            (guest(r#"{"displayName": "\ud800"}"#), MALFORMED, "-", "half of a surrogate pair"),
            (guest(r#"{"displayName": "\udc00\ud800"}"#), MALFORMED, "-", "both halves, the wrong way round"),
            (guest(r#"{"displayName": "\u12"}"#), MALFORMED, "-", "an escape that is too short"),
            (guest(r#"{"displayName": "\x41"}"#), MALFORMED, "-", "an escape of another language"),
            (guest(b"{\"displayName\": \"M\0ra\"}"), MALFORMED, "-", "NUL as a byte in a text"),
            (guest(b"{}\0"), MALFORMED, "-", "NUL behind the value, where a C reader stops"),
            (
                guest(r#"{"displayName": "M\u0000ra"}"#),
                INVALID,
                "/displayName",
                "NUL as an escape is JSON, and no name",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn texts_that_are_no_json() {
    let town = Town::start().await;
    let deep =
        |open: &str, close: &str, n: usize| format!("{{\"displayName\": {}{}}}", open.repeat(n), close.repeat(n));

    meet(
        &town,
        vec![
            (guest(""), MALFORMED, "-", "nothing"),
            (guest(" \r\n\t"), MALFORMED, "-", "nothing but blanks"),
            (guest("{\"displayName\": \"Mira\""), MALFORMED, "-", "a value that is cut off"),
            (guest("{} {}"), MALFORMED, "-", "two values"),
            (guest("{'displayName': 'Mira'}"), MALFORMED, "-", "the other quotes"),
            (guest("{\"displayName\": \"Mira\",}"), MALFORMED, "-", "a comma too many"),
            (guest("{/* Mira */}"), MALFORMED, "-", "a comment"),
            (guest("{displayName: \"Mira\"}"), MALFORMED, "-", "a name without quotes"),
            (guest("displayName=Mira"), MALFORMED, "-", "a form under the name of JSON"),
            (guest("{\"displayName\": NaN}"), MALFORMED, "-", "no number, as JavaScript writes it"),
            (guest("{\"displayName\": Infinity}"), MALFORMED, "-", "no end, as JavaScript writes it"),
            (guest("{\"displayName\": -Infinity}"), MALFORMED, "-", "no end, the other way"),
            (guest("{\"displayName\": 1e999}"), MALFORMED, "-", "a number that no double holds"),
            (guest("{\"displayName\": 0x10}"), MALFORMED, "-", "a number of base 16"),
            (guest("{\"displayName\": 007}"), MALFORMED, "-", "zeros in front"),
            (guest("{\"displayName\": +1}"), MALFORMED, "-", "a sign that JSON does not know"),
            (guest("{\"displayName\": .5}"), MALFORMED, "-", "nothing before the point"),
            (guest("{\"displayName\": TRUE}"), MALFORMED, "-", "a word in capitals"),
            (
                guest("{\"displayName\": \"a\", \"displayName\": \"b\"}"),
                MALFORMED,
                "-",
                "a member twice: readers disagree which one counts",
            ),
            (
                guest("{\"displayName\": \"a\", \"display\\u004eame\": \"b\"}"),
                MALFORMED,
                "-",
                "a member twice, once spelled by an escape",
            ),
            (guest("{\"device\": {\"name\": \"a\", \"name\": \"b\"}}"), MALFORMED, "-", "a member twice, further down"),
            (guest(deep("[", "]", 17)), MALFORMED, "-", "deeper than any body of the API"),
            (guest(deep("{\"a\":", "}", 17)), MALFORMED, "-", "deep, in objects"),
            (guest("[".repeat(60_000)), MALFORMED, "-", "deep enough to end the stack of a reader that recurses"),
            (
                guest(format!("{{\"displayName\": {}}}", "9".repeat(60_000))),
                MALFORMED,
                "-",
                "a number as long as a body",
            ),
            (guest(" ".repeat(65_537)), "payload-too-large", "-", "a byte more than a body may have"),
        ],
    )
    .await;
}

#[tokio::test]
async fn values_of_another_shape() {
    let town = Town::start().await;
    let owner = &town.owner.token;
    let world = || Ask::new("PATCH", "/api/v1/worlds/mistral").bearing(owner).header("If-Match", "\"1\"");
    let channel = |body: &str| Ask::new("POST", "/api/v1/channels").bearing(owner).json(body);
    let scope = |scope: &str| channel(&json!({ "scope": scope, "slug": "attic", "name": "Attic" }).to_string());
    let attic =
        |more: &str| channel(&format!("{{\"scope\": \"global\", \"slug\": \"attic\", \"name\": \"Attic\"{more}}}"));
    let read = |seq: &str| {
        let path = format!("/api/v1/{}/read", town.channel());
        Ask::new("PUT", &path).bearing(owner).json(format!("{{\"seq\": {seq}}}"))
    };

    meet(
        &town,
        vec![
            (guest("null"), INVALID, "", "null for the body"),
            (guest("[]"), INVALID, "", "a list for an object"),
            (guest("[\"Mira\"]"), INVALID, "", "a list of the members, which some readers take"),
            (guest("\"Mira\""), INVALID, "", "a text for an object"),
            (guest("{\"device\": []}"), INVALID, "/device", "a list for an object, further down"),
            (guest("{\"displayName\": {}}"), INVALID, "/displayName", "an object for a text"),
            (guest("{\"displayName\": [\"Mira\"]}"), INVALID, "/displayName", "a list for a text"),
            (guest("{\"displayName\": 7}"), INVALID, "/displayName", "a number for a text"),
            (guest("{\"displayName\": true}"), INVALID, "/displayName", "a truth for a text"),
            (
                guest("{\"DisplayName\": \"Mira\"}"),
                INVALID,
                "/DisplayName",
                "a member in another case is another member",
            ),
            (guest("{\"display_name\": \"Mira\"}"), INVALID, "/display_name", "a member in another spelling"),
            (guest("{\"admin\": true}"), INVALID, "/admin", "a member that is not known"),
            (
                guest("{\"__proto__\": {\"admin\": true}}"),
                INVALID,
                "/__proto__",
                "a member that scripts treat specially",
            ),
            (guest("{\"a/b~c\": 1}"), INVALID, "/a~1b~0c", "a member whose name a pointer must escape"),
            (guest("{\"\": 1}"), INVALID, "/", "a member without a name"),
            (world().json("{\"name\": null}"), INVALID, "/name", "null where a member would be left out"),
            (world().json("{\"visibility\": \"Public\"}"), INVALID, "/visibility", "a word in another case"),
            (
                world().json("{\"visibility\": {\"public\": null}}"),
                INVALID,
                "/visibility",
                "a word as an object, which some readers take",
            ),
            (attic(", \"guestsMayPost\": \"true\""), INVALID, "/guestsMayPost", "a truth as a text"),
            (attic(", \"guestsMayPost\": 1"), INVALID, "/guestsMayPost", "a truth as a number"),
            (attic(", \"slowmodeSeconds\": \"5\""), INVALID, "/slowmodeSeconds", "a number as a text"),
            (attic(", \"slowmodeSeconds\": 1.5"), INVALID, "/slowmodeSeconds", "a part of a number"),
            (
                attic(", \"slowmodeSeconds\": 1e2"),
                INVALID,
                "/slowmodeSeconds",
                "a whole number, written as a fraction is",
            ),
            (attic(", \"slowmodeSeconds\": -1"), INVALID, "/slowmodeSeconds", "below nothing"),
            (attic(", \"slowmodeSeconds\": 21601"), INVALID, "/slowmodeSeconds", "one above the bound"),
            (attic(", \"slowmodeSeconds\": 4294967301"), INVALID, "/slowmodeSeconds", "5, if 32 bits were all"),
            (attic(", \"retentionDays\": 0"), INVALID, "/retentionDays", "one below the bound"),
            (read("-1"), INVALID, "/seq", "a mark before the first message"),
            (read("9223372036854775808"), INVALID, "/seq", "one more than 64 bits hold"),
            (read("99999999999999999999999999"), INVALID, "/seq", "more than any integer holds"),
            (scope("planet:1"), INVALID, "/scope", "a scope of an unknown kind"),
            (scope("world:"), INVALID, "/scope", "a scope without its id"),
            (scope("world:mistral"), INVALID, "/scope", "a slug where only an id is unambiguous"),
            (scope("global:1"), INVALID, "/scope", "an id that the whole has not"),
            (scope(" global"), INVALID, "/scope", "a blank in front"),
        ],
    )
    .await;
}

#[tokio::test]
async fn texts_that_deceive() {
    let town = Town::start().await;
    let post = |body: &str| {
        let path = format!("/api/v1/{}", town.messages());
        Ask::new("POST", &path).bearing(&town.mira.token).json(json!({ "body": body }).to_string())
    };
    let register = |name: &str| {
        let body = json!({ "username": name, "password": "correct horse battery" });
        Ask::new("POST", "/api/v1/auth/register").json(body.to_string())
    };
    let client_id = |client_id: &str| {
        let path = format!("/api/v1/{}", town.messages());
        let body = json!({ "body": "hi", "clientId": client_id });
        Ask::new("POST", &path).bearing(&town.mira.token).json(body.to_string())
    };

    meet(
        &town,
        vec![
            (named(&"M".repeat(33)), INVALID, "/displayName", "one character too many"),
            (named(&"M".repeat(60_000)), INVALID, "/displayName", "as many as a body has room for"),
            (named(""), INVALID, "/displayName", "none"),
            (named(" \u{3000}\u{a0}"), INVALID, "/displayName", "blanks of three kinds, and nothing else"),
            (named("Mira\nMod"), INVALID, "/displayName", "a second line"),
            (named("Mi\rra"), INVALID, "/displayName", "a line that is written over"),
            (named("\u{1b}[31mMira"), INVALID, "/displayName", "a colour of the terminal"),
            (named("Mira\u{7f}"), INVALID, "/displayName", "the control character at the end of ASCII"),
            (named("Mi\u{85}ra"), INVALID, "/displayName", "a control character behind ASCII"),
            (named("Mira\u{2028}Mod"), INVALID, "/displayName", "a line break that is no control character"),
            (named("\u{202e}domM"), INVALID, "/displayName", "text that runs backwards"),
            (named("Mira\u{2066}"), INVALID, "/displayName", "a direction that is never ended"),
            (named("Mi\u{200b}ra"), INVALID, "/displayName", "a character without width, to pass for another"),
            (named("\u{feff}Mira"), INVALID, "/displayName", "a mark of byte order inside a text"),
            (named("Mi\u{ad}ra"), INVALID, "/displayName", "a hyphen that nobody sees"),
            (named("Mira\u{e0041}"), INVALID, "/displayName", "a tag character, which nobody sees either"),
            (register("Mira"), INVALID, "/username", "a capital, which would make two names alike"),
            (register("mirа"), INVALID, "/username", "a Cyrillic letter that looks like a Latin one"),
            (register("mi ra"), INVALID, "/username", "a blank between"),
            (register("-mira"), INVALID, "/username", "an option of a command"),
            (register("mi"), INVALID, "/username", "one character too few"),
            (post(""), INVALID, "/body", "a message that says nothing"),
            (post("\u{200b}"), INVALID, "/body", "a message that shows nothing"),
            (post("\u{202e}"), INVALID, "/body", "a message that turns what stands around it"),
            (post(&"ä".repeat(2001)), INVALID, "/body", "a character too many, counted as characters"),
            (post("a\u{8}b"), INVALID, "/body", "a control character that is no line break"),
            (client_id(""), INVALID, "/clientId", "an empty client id"),
            (client_id("a b"), INVALID, "/clientId", "a blank, which is not visible"),
            (client_id("ä"), INVALID, "/clientId", "a letter outside of ASCII"),
            (client_id(&"a".repeat(65)), INVALID, "/clientId", "a client id that is too long"),
        ],
    )
    .await;
}

#[tokio::test]
async fn bodies_of_another_kind() {
    let town = Town::start().await;
    let sent = |media_type: &str| guest("{}").content_type(media_type);

    meet(
        &town,
        vec![
            (Ask::new("POST", "/api/v1/auth/guest").body("{}"), MEDIA, "-", "no media type"),
            (sent("text/plain"), MEDIA, "-", "what a page may send to any site without asking"),
            (sent("application/x-www-form-urlencoded"), MEDIA, "-", "what a form sends"),
            (sent("multipart/form-data; boundary=x"), MEDIA, "-", "what a form with files sends"),
            (sent("application/jsonp"), MEDIA, "-", "a type that begins alike"),
            (sent("text/json"), MEDIA, "-", "a type that ends alike"),
            (sent("application/json; charset=latin1"), MEDIA, "-", "JSON in another encoding"),
            (sent("application/json").header("Content-Type", "text/plain"), MEDIA, "-", "two types at once"),
            (guest("{}").header("Content-Encoding", "gzip"), MEDIA, "-", "compressed, or said to be"),
            (
                guest("{}").header("Content-Encoding", "identity"),
                MEDIA,
                "-",
                "an encoding that changes nothing is one all the same",
            ),
            (guest("{}").header("Accept", "text/html"), "not-acceptable", "-", "a caller that cannot read the answer"),
            (
                guest("{}").header("Accept", "application/json;q=0"),
                "not-acceptable",
                "-",
                "a caller that does not want it",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn paths_that_lead_elsewhere() {
    let town = Town::start().await;
    let get = |path: &str| Ask::new("GET", path);
    let lobby = id(&town.lobby);

    meet(
        &town,
        vec![
            (get("/api/v1/worlds/"), MISSING, "-", "a slash too many behind"),
            (get("//api/v1/worlds"), MISSING, "-", "a slash too many in front"),
            (get("/api//v1/worlds"), MISSING, "-", "a slash too many between"),
            (get("/API/v1/worlds"), MISSING, "-", "another case"),
            (get("/api/v1/./worlds"), MISSING, "-", "a dot, which clients resolve and servers do not"),
            (get("/api/v1/x/../worlds"), MISSING, "-", "the way back"),
            (get("/api/v1/x/%2e%2e/worlds"), MISSING, "-", "the way back, encoded"),
            (get("/api/v1/x/%252e%252e/worlds"), MISSING, "-", "the way back, encoded twice"),
            (get("/api/v1/..%2f..%2fetc/passwd"), MISSING, "-", "the way back with its slashes encoded"),
            (get("/api/v1/..\\..\\etc"), MISSING, "-", "the other slashes are letters of one segment"),
            (get("/assets/..%5c..%5cCargo.toml"), MISSING, "-", "the other slashes, encoded"),
            (get("/assets/%2e%2e%2fCargo.toml"), MISSING, "-", "the way out of a folder of files"),
            (get("/api/v1/worlds/%2e%2e"), NO_WORLD, "-", "the way back as a name"),
            (get("/api/v1/worlds/mistral."), NO_WORLD, "-", "a dot behind, which some file systems drop"),
            (get("/api/v1/worlds/mistral%20"), NO_WORLD, "-", "a blank behind, which some file systems drop"),
            (get("/api/v1/worlds/mistral;x=1"), NO_WORLD, "-", "a parameter of a path segment"),
            (get("/api/v1/worlds/mistral%2fchannels"), NO_WORLD, "-", "an encoded slash stays inside its segment"),
            (get("/api/v1/worlds/mistral%00"), NO_WORLD, "-", "NUL, where a C reader stops"),
            (get("/api/v1/worlds/%c0%ae%c0%ae"), MISSING, "-", "dots in more bytes than they need are no text"),
            (get("/api/v1/worlds/%ff"), MISSING, "-", "a byte that is no text"),
            (get("/api/v1/worlds/%"), NO_WORLD, "-", "an escape without digits"),
            (get("/api/v1/worlds/%zz"), NO_WORLD, "-", "an escape with other digits"),
            (get("/api/v1/worlds/m%C4%B1stral"), NO_WORLD, "-", "a letter that lower case makes alike in one language"),
            (get("/api/v1/worlds/' OR 1=1"), NO_HTTP, "-", "a blank ends the path"),
            (get("/api/v1/worlds/'%20OR%201=1--"), NO_WORLD, "-", "words of another language"),
            (
                get(&format!("/api/v1/worlds/{}", "m".repeat(9000))),
                NO_WORLD,
                "-",
                "a name that is too long, in a head that is not",
            ),
            (
                get(&format!("/api/v1/worlds/{}", "m".repeat(17_000))),
                "headers-too-large",
                "-",
                "a path that no head has room for",
            ),
            (get(&format!("/api/v1/channels/{}", &lobby[..35])), "channel-not-found", "-", "an id that is cut off"),
            (get(&format!("/api/v1/channels/{lobby}0")), "channel-not-found", "-", "an id that goes on"),
            (
                get(&format!("/api/v1/channels/{}", lobby.replace('-', ""))),
                "channel-not-found",
                "-",
                "an id in another form",
            ),
            (get(&format!("/api/v1/channels/%7B{lobby}%7D")), "channel-not-found", "-", "an id in braces"),
            (get(&format!("/api/v1/channels/urn:uuid:{lobby}")), "channel-not-found", "-", "an id as a URN"),
            (get("/api/v1/channels/1"), "channel-not-found", "-", "an id of a system that counts"),
            (
                get("/api/v1/channels/00000000-0000-0000-0000-000000000000"),
                "channel-not-found",
                "-",
                "an id of nothing",
            ),
            (get("/api/v1/channels/ｇeneral"), "channel-not-found", "-", "letters that a path should encode"),
            (
                get(&format!("/api/v1/users/{}", id(&town.world))),
                "account-not-found",
                "-",
                "an id of another kind of thing",
            ),
            (
                Ask::new("get", "/api/v1/worlds"),
                "method-not-allowed",
                "-",
                "a method in another case is another method",
            ),
            (
                Ask::new("TRACE", "/api/v1/worlds"),
                "method-not-allowed",
                "-",
                "the method that echoes what a script may not read",
            ),
            (Ask::new("OPTIONS", "*"), MISSING, "-", "the server as a whole, which has no methods of its own"),
            (Ask::new("WORLDS", "/api/v1/worlds"), "method-not-allowed", "-", "a method of one's own"),
            (Ask::new("DELETE", "/api/v1/worlds"), "method-not-allowed", "-", "a method of another path"),
        ],
    )
    .await;
}

#[tokio::test]
async fn queries_that_cannot_be_read() {
    let town = Town::start().await;
    let get = |query: &str| Ask::new("GET", &format!("/api/v1/worlds?{query}"));

    meet(
        &town,
        vec![
            (get("limit=0"), MALFORMED, "limit", "below the range"),
            (get("limit=201"), MALFORMED, "limit", "above the range"),
            (get("limit=-1"), MALFORMED, "limit", "below nothing"),
            (get("limit=65537"), MALFORMED, "limit", "1, if 16 bits were all"),
            (get("limit=99999999999999999999"), MALFORMED, "limit", "more than any integer holds"),
            (get("limit="), MALFORMED, "limit", "nothing"),
            (get("limit"), MALFORMED, "limit", "nothing, and no sign of equality"),
            (get("limit=1e1"), MALFORMED, "limit", "a number written as a fraction is"),
            (get("limit=1.0"), MALFORMED, "limit", "a fraction"),
            (get("limit=0x10"), MALFORMED, "limit", "another base"),
            (get("limit=%201"), MALFORMED, "limit", "a blank in front"),
            (get("limit=%EF%BC%91"), MALFORMED, "limit", "a digit of another script"),
            (get("limit=1&limit=1"), MALFORMED, "limit", "twice, which readers settle differently"),
            (get("limit=1&%6Cimit=1"), MALFORMED, "limit", "twice, once encoded"),
            (get("limit[]=1"), MALFORMED, "limit[]", "a list, as some frameworks read it"),
            (get("Limit=1"), MALFORMED, "Limit", "another case"),
            (get("page=2"), MALFORMED, "page", "a parameter that is not known"),
            (get("=1"), MALFORMED, "", "a parameter without a name"),
            (get("sort=name"), MALFORMED, "sort", "an order that is not known"),
            (get("sort=%2DCREATEDAT"), MALFORMED, "sort", "an order in another case"),
            (get("q=%00"), MALFORMED, "q", "NUL, which no database text holds"),
            (get("q=a%0Ab"), MALFORMED, "q", "a second line"),
            (get(&format!("q={}", "m".repeat(65))), MALFORMED, "q", "one character too many"),
        ],
    )
    .await;

    // What is no UTF-8 becomes the sign for that, and a semicolon is a part of the text: they find nothing.
    for query in ["q=%ff", "q=%", "q=a;limit=1"] {
        let found = town.server.get(format!("worlds?{query}")).await.expect(200).json();
        assert_eq!(found["items"], json!([]), "{query}");
    }
}

#[tokio::test]
async fn cursors_that_belong_elsewhere() {
    let (town, elsewhere) = (Town::start().await, Town::start().await);
    for there in [&town, &elsewhere] {
        there.server.world(&there.owner, "bora").await;
        there.server.say(&there.owner, &there.lobby, "one").await;
        there.server.say(&there.owner, &there.lobby, "two").await;
    }
    let cursor = async |there: &Town, path: &str| {
        let page = there.server.get(path).await.expect(200).json();
        page["nextCursor"].as_str().expect("a cursor").to_owned()
    };
    let own = cursor(&town, "worlds?limit=1").await;
    let foreign = cursor(&elsewhere, "worlds?limit=1").await;
    let filtered = cursor(&town, "worlds?limit=1&sort=createdAt").await;
    let history = town.messages();
    let of_history = cursor(&town, &format!("{history}?limit=1")).await;
    let room = town.history("").await["roomCursor"].as_str().expect("a cursor").to_owned();
    let worlds = |cursor: &str| Ask::new("GET", &format!("/api/v1/worlds?limit=1&cursor={cursor}"));
    let messages = |query: &str| Ask::new("GET", &format!("/api/v1/{history}?{query}"));
    let wrong = "cursor-invalid";
    let swapped: String = own.chars().rev().collect();

    meet(
        &town,
        vec![
            (worlds(""), wrong, "-", "nothing"),
            (worlds("next"), wrong, "-", "a word"),
            (worlds("50"), wrong, "-", "an offset"),
            (worlds(&own[..own.len() - 1]), wrong, "-", "a cursor that is cut off"),
            (worlds(&own[..20]), wrong, "-", "a cursor that ends before its position"),
            (worlds(&format!("{own}A")), wrong, "-", "a cursor that goes on"),
            (worlds(&format!("{own}%3D")), wrong, "-", "a cursor that is padded"),
            (worlds(&format!("%20{own}")), wrong, "-", "a blank in front"),
            (worlds(&own.to_uppercase()), wrong, "-", "another case"),
            (worlds(&swapped), wrong, "-", "the other way round"),
            (worlds(&format!("AQ{}", &own[2..])), wrong, "-", "another version"),
            (worlds(&"A".repeat(600)), wrong, "-", "longer than any cursor"),
            (worlds(&foreign), wrong, "-", "of another installation"),
            (worlds(&filtered), wrong, "-", "of the same list in another order"),
            (worlds(&of_history), wrong, "-", "of another list"),
            (worlds(&room), wrong, "-", "of a room"),
            (messages(&format!("cursor={own}")), wrong, "-", "of worlds, where messages are read"),
            (
                messages(&format!("cursor={of_history}&direction=newer")),
                wrong,
                "-",
                "of the same history the other way",
            ),
            (messages(&format!("since={of_history}")), wrong, "-", "of a page, where a room's is asked for"),
            (messages(&format!("cursor={of_history}&since={room}")), MALFORMED, "since", "two positions at once"),
            (messages("direction=sideways"), MALFORMED, "direction", "a way that is not known"),
        ],
    )
    .await;
    town.server.get(format!("worlds?limit=1&cursor={own}")).await.expect(200);
}

#[tokio::test]
async fn heads_that_forge_or_confuse() {
    let town = Town::start().await;
    let owner = &town.owner.token;
    let get = || Ask::new("GET", "/api/v1/worlds");
    let amend = || Ask::new("PATCH", "/api/v1/worlds/mistral").bearing(owner).json("{\"name\": \"Bora\"}");
    let refresh = || Ask::new("POST", "/api/v1/auth/refresh").json("{}");
    let token = "token-invalid";

    meet(
        &town,
        vec![
            (get().header("Authorization", "Bearer"), token, "-", "a scheme without a token"),
            (get().header("Authorization", "Bearer  x"), token, "-", "a blank too many"),
            (get().header("Authorization", "Basic bWlyYTp4"), token, "-", "another scheme"),
            (get().header("Authorization", &format!("Bearer {owner}x")), token, "-", "a token that goes on"),
            (get().header("Authorization", "Bearer \u{e4}"), token, "-", "a token that is no ASCII"),
            (get().bearing(owner).bearing(owner), token, "-", "two tokens, even of one caller"),
            (get().raw("X-Note: a\r\n b\r\n"), NO_HTTP, "-", "a header over two lines, as of old"),
            (get().raw("X-Note : a\r\n"), NO_HTTP, "-", "a blank before the colon, which proxies read differently"),
            (get().raw("X-Note\r\n"), NO_HTTP, "-", "a header without a value"),
            (get().raw("X-Note: a\0b\r\n"), NO_HTTP, "-", "NUL in a header"),
            (get().raw("X-Note: a\rSet-Cookie: b=c\r\n"), NO_HTTP, "-", "half a line break, to smuggle a header in"),
            (get().raw("Content-Length: 4\r\nContent-Length: 5\r\n"), NO_HTTP, "-", "two lengths"),
            (get().raw("Content-Length: -1\r\n"), NO_HTTP, "-", "a length below nothing"),
            (get().raw("Content-Length: +1\r\n"), NO_HTTP, "-", "a length with a sign"),
            (get().raw("Transfer-Encoding: xchunked\r\n"), NO_HTTP, "-", "an encoding that is not known"),
            (
                guest("").raw("Transfer-Encoding: chunked\r\n").body("zz\r\n{}\r\n0\r\n\r\n"),
                MALFORMED,
                "-",
                "a chunk whose size is no number",
            ),
            (amend(), "precondition-required", "-", "no state"),
            (amend().header("If-Match", "*"), "precondition-required", "-", "any state"),
            (amend().header("If-Match", "1"), MALFORMED, "-", "a state without quotes"),
            (amend().header("If-Match", "\"1"), MALFORMED, "-", "half of the quotes"),
            (amend().header("If-Match", "\"1\", \"2\""), MALFORMED, "-", "two states"),
            (amend().header("If-Match", "\"1\"").header("If-Match", "\"1\""), MALFORMED, "-", "two headers"),
            (amend().header("If-Match", "W/\"1\""), "precondition-failed", "-", "a weak tag names no state"),
            (amend().header("If-Match", "\"+1\""), "precondition-failed", "-", "another spelling of the number"),
            (
                amend().header("If-Match", "\"18446744073709551617\""),
                "precondition-failed",
                "-",
                "1, if 64 bits were all",
            ),
            (refresh().header("X-Weltenwind-Csrf", "1"), "origin-not-allowed", "-", "cookie mode without an origin"),
            (
                refresh().header("X-Weltenwind-Csrf", "1").header("Origin", "null"),
                "origin-not-allowed",
                "-",
                "the origin of a page that hides it",
            ),
            (
                refresh().header("X-Weltenwind-Csrf", "1").header("Origin", "http://127.0.0.1:8080@evil.example"),
                "origin-not-allowed",
                "-",
                "an origin that begins like ours",
            ),
            (refresh().header("Cookie", "ww_refresh=wwr_x"), "csrf-header-required", "-", "a cookie alone"),
            (refresh().header("Cookie", "ww_refresh"), INVALID, "/refreshToken", "a cookie without a value is none"),
        ],
    )
    .await;
}
