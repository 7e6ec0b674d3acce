//! Pages and what they load.

mod fixture;

use std::collections::BTreeSet;

use serde_json::json;

use weltenwind_core::{
    Actor, Code,
    worlds::{Slug, WorldAmendment, WorldRef},
};

use self::fixture::{Person, Reply, Server, id};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// Where somebody wants others to be sent, one of each kind that some browser or server has been taken in by.
const ELSEWHERE: &[&str] = &[
    // Another authority, in ways that the standard and browsers read.
    "//evil.example",
    "///evil.example",
    "////evil.example/%2f..",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "HTTPS://evil.example",
    "http:///evil.example",
    "//evil.example:443/account",
    "//[::1]/account",
    "//2130706433/account",
    // Somebody's name before an authority.
    "//127.0.0.1:8080@evil.example",
    "https://127.0.0.1:8080@evil.example/account",
    "/@evil.example//",
    "@evil.example",
    ".evil.example",
    "127.0.0.1:8080.evil.example",
    // Schemes that run something.
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    // What browsers drop, cut or turn before they read.
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/account\t//evil.example",
    "/\u{0}/evil.example",
    "\u{b}//evil.example",
    "\u{feff}//evil.example",
    "\u{200b}//evil.example",
    "/account\u{7f}",
    // Headers of one's own.
    "/account\r\nLocation: https://evil.example",
    "/account\r\n\r\n<script>alert(1)</script>",
    "/account\u{85}Set-Cookie: a=b",
    "/account%0d%0aLocation:%20https://evil.example",
    // Letters that look like a slash, a full stop or a colon, or become one.
    "/\u{2044}evil.example",
    "\u{2044}\u{2044}evil.example",
    "/\u{2215}evil.example",
    "\u{ff0f}\u{ff0f}evil.example",
    "/\u{ff0f}evil.example",
    "/\u{29f8}evil.example",
    "/\u{ff3c}evil.example",
    "//evil\u{3002}example",
    "https\u{ff1a}//evil.example",
    "/worlds/\u{202e}elpmaxe.live",
    // Encoded once more than is decoded.
    "/%2fevil.example",
    "%2f%2fevil.example",
    "/%2f%2fevil.example",
    "/%5cevil.example",
    "/%252fevil.example",
    "/%09/evil.example",
    "/%E2%81%84evil.example",
    "/worlds/%2e%2e//evil.example",
    // Ways up and through.
    "/worlds/..//evil.example",
    "/worlds/../..//evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/worlds//evil.example",
    "/account/..%2f..%2f/evil.example",
    "../account",
    // What belongs to somebody behind.
    "/account?next=//evil.example",
    "/account#@evil.example",
    "/account;//evil.example",
    "/account//",
    "?next=//evil.example",
    "#//evil.example",
    "",
    "account",
    // Pages that are none, or that would lead in a circle.
    "/accounts.evil.example",
    "/w/mistral",
    "/me",
    "/sign-in",
    "/sign-in?next=//evil.example",
    "/api/v1/users/me",
    "/realtime/v1",
];

#[tokio::test]
async fn the_shell_stands_at_every_page_s_address() {
    let server = Server::start().await;
    let owner = server.owner().await;
    server.world(&owner, "mistral").await;

    for path in ["/", "/worlds", "/worlds/mistral", "/worlds/mistral/chat", "/?from=mail&from=chat"] {
        let page = server.get(path).with("accept", HTML).await.expect(200);
        assert!(page.body.starts_with(b"<!doctype html>"), "{path}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(page.header("content-security-policy"), POLICY);
        assert_eq!(page.header("cache-control"), "no-cache");
        let known = server.get(path).with("if-none-match", page.header("etag")).await.expect(304);
        assert!(known.body.is_empty());
    }
}

#[tokio::test]
async fn the_shell_loads_files_that_are_there() {
    let server = Server::start().await;
    let shell = String::from_utf8(server.get("/").await.body.to_vec()).unwrap();
    let named: Vec<&str> = shell.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(named.len() >= 3, "{named:?}");

    for path in named {
        let file = server.get(path).await.expect(200);
        let media_type = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other} has no media type"),
        };
        assert_eq!((file.header("content-type"), file.header("cache-control")), (media_type, "no-cache"), "{path}");
        server.get(path).with("if-none-match", file.header("etag")).await.expect(304);
    }
    assert_eq!(server.get("/favicon.ico").await.expect(200).header("content-type"), "image/svg+xml");
}

/// On the socket a refusal has no status, so the module knows by the code alone whether the same may pass later.
#[tokio::test]
async fn the_socket_s_module_knows_every_refusal_that_passes() {
    let server = Server::start().await;
    let module = server.get("/assets/problem.js").await.expect(200);
    let module = String::from_utf8(module.body.to_vec()).unwrap();

    let (_, list) = module.split_once("const PASSING_CODES = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let known: BTreeSet<&str> = list.split('\'').skip(1).step_by(2).collect();

    let passes =
        |code: &&Code| matches!(code.status(), 408 | 429 | 502 | 503 | 504) || **code == Code::IdempotencyInProgress;
    assert_eq!(known, Code::ALL.iter().filter(passes).map(|code| code.as_str()).collect());
}

#[tokio::test]
async fn the_reference_and_the_problems_are_pages() {
    let server = Server::start().await;

    for path in ["/docs", "/docs/realtime", "/problems", "/problems/slug-taken"] {
        let page = server.get(path).with("accept", HTML).await.expect(200);
        let text = String::from_utf8(page.body.to_vec()).unwrap();
        assert!(text.starts_with("<!doctype html>") && text.ends_with("</html>\n"), "{path}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!((page.header("content-security-policy"), page.header("cache-control")), (POLICY, "no-cache"));
        // The one place that is named in full is no place to load from.
        let loaded = text.split("src=\"").skip(1).chain(
            text.split("<link rel=\"").skip(1).filter_map(|rest| rest.split_once("href=\"").map(|(_, href)| href)),
        );
        assert!(loaded.map(|rest| rest.split('"').next().unwrap()).all(|file| file.starts_with("/assets/")), "{path}");
        for landmark in ["<main", "<header", "<nav", "class=\"skip\"", "lang=\"en\"", "<h1>"] {
            assert!(text.contains(landmark), "{path} without {landmark}");
        }
        server.get(path).with("if-none-match", page.header("etag")).await.expect(304);
    }
}

#[tokio::test]
async fn the_reference_tells_every_call_every_record_and_every_schema() {
    let server = Server::start().await;
    let page = async |path: &str| {
        let page = server.get(path).await.expect(200);
        String::from_utf8(page.body.to_vec()).unwrap()
    };
    let (calls, records) = (page("/docs").await, page("/docs/realtime").await);
    let openapi = server.get("openapi.json").await.json();
    let asyncapi = server.get("asyncapi.json").await.json();

    for operation in openapi["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
    {
        let name = operation["operationId"].as_str().unwrap();
        assert!(
            calls.contains(&format!("<article id=\"{name}\"")) && calls.contains(&format!("href=\"#{name}\"")),
            "{name}"
        );
    }
    for name in asyncapi["components"]["messages"].as_object().unwrap().keys() {
        assert!(records.contains(&format!("-{name}\" data-words")), "{name}");
    }
    for (text, document) in [(&calls, &openapi), (&records, &asyncapi)] {
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(text.contains(&format!("<article id=\"schema-{name}\"")), "{name}");
        }
        // Every link within the page leads somewhere.
        for target in text.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(text.contains(&format!("id=\"{target}\"")), "#{target}");
        }
    }
    for code in calls.split("href=\"/problems/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(weltenwind_core::Code::ALL.iter().any(|known| known.as_str() == code), "{code}");
    }
}

#[tokio::test]
async fn every_code_has_a_page_that_says_what_to_do() {
    let server = Server::start().await;
    let index = String::from_utf8(server.get("/problems").await.body.to_vec()).unwrap();

    for code in weltenwind_core::Code::ALL {
        let page = String::from_utf8(server.get(format!("/problems/{code}")).await.expect(200).body.to_vec()).unwrap();
        let said = |text: &str| text.split('`').next().unwrap().replace('\'', "&#39;");
        for text in [code.title(), &code.status().to_string(), &code.urn(), code.meaning(), code.advice()] {
            assert!(page.contains(&said(text)), "{code} does not say: {text}");
        }
        assert!(index.contains(&format!("href=\"/problems/{code}\"")), "{code}");
    }
    let unknown = server.get("/problems/no-such-code").with("accept", HTML).await.expect(404);
    assert!(unknown.body.starts_with(b"<!doctype html>"));
}

#[tokio::test]
async fn a_file_that_does_not_exist_is_not_found() {
    let server = Server::start().await;

    for name in ["missing.js", "index.html", "..%2fCargo.toml", "%ff", ".."] {
        let reply = server.get(format!("/assets/{name}")).with("accept", HTML).await;
        assert_eq!(reply.expect(404).code(), "not-found", "{name}");
    }
}

#[tokio::test]
async fn every_name_of_a_world_is_one_redirect_away_from_its_page() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;
    for (from, tag, to) in [("mistral", "\"1\"", "bora"), ("bora", "\"2\"", "foehn")] {
        let change = json!({ "slug": to });
        server.patch(format!("worlds/{from}")).by(&owner).with("if-match", tag).json(change).await.expect(200);
    }

    for (path, location) in [
        ("/w/mistral".to_owned(), "/worlds/foehn"),
        ("/w/foehn".to_owned(), "/worlds/foehn"),
        ("/worlds/mistral?next=//evil.example".to_owned(), "/worlds/foehn"),
        ("/worlds/bora/chat".to_owned(), "/worlds/foehn/chat"),
        (format!("/worlds/{}", id(&world)), "/worlds/foehn"),
        (format!("/w/{}", id(&world)), "/worlds/foehn"),
    ] {
        let reply = server.get(&path).with("host", "evil.example").await.expect(301);
        assert_eq!((reply.header("location"), reply.header("cache-control")), (location, "no-cache"), "{path}");
    }
}

#[tokio::test]
async fn a_world_that_nobody_may_see_gives_nothing_away() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let wish = json!({ "name": "Mistral", "visibility": "private" });
    let world = server.post("worlds").by(&owner).json(wish).await.json();
    let change = json!({ "slug": "bora" });
    server.patch("worlds/mistral").by(&owner).with("if-match", "\"1\"").json(change).await.expect(200);

    for name in ["mistral", "bora", id(&world), "never-was", "%2f%2fevil.example", "Mistral"] {
        for below in ["", "/chat"] {
            let page = server.get(format!("/worlds/{name}{below}")).with("accept", HTML).await.expect(404);
            assert!(page.body.starts_with(b"<!doctype html>"));
            assert_eq!((page.header("content-security-policy"), page.header("vary")), (POLICY, "accept"));
            let problem = server.get(format!("/worlds/{name}{below}")).await.expect(404);
            assert_eq!((problem.code().as_str(), problem.header("vary")), ("world-not-found", "accept"));
        }
        assert_eq!(server.get(format!("/w/{name}")).await.expect(404).code(), "world-not-found", "{name}");
    }
}

/// Signs a guest in as a browser does, and answers its cookie.
async fn cookie(server: &Server) -> (Person, String) {
    let reply = server.post("auth/guest").by_page().json(json!({})).await.expect(201);
    let cookie = reply.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    (Person::of(&reply), cookie)
}

fn encoded(text: &str) -> String {
    let digit = |four: u8| char::from_digit(four.into(), 16).expect("four bits");
    text.bytes().flat_map(|byte| ['%', digit(byte >> 4), digit(byte & 15)]).collect()
}

fn is_shell(page: &Reply) -> bool {
    page.body.starts_with(b"<!doctype html>") && page.header("content-security-policy") == POLICY
}

#[tokio::test]
async fn a_page_of_one_s_own_leads_to_the_way_in_and_back() {
    let server = Server::start().await;
    let (_, cookie) = cookie(&server).await;

    for (page, built) in [("/account", true), ("/settings", false), ("/admin", false), ("/admin/reports", false)] {
        let sent = server.get(page).with("accept", HTML).await.expect(303);
        assert_eq!(sent.header("location"), format!("/sign-in?next={page}"));
        assert_eq!((sent.header("cache-control"), sent.header("vary")), ("private, no-cache", "cookie"));
        assert!(is_shell(&server.get(sent.header("location")).with("accept", HTML).await.expect(200)));

        let back = server.get(sent.header("location")).with("cookie", &cookie).await.expect(303);
        assert_eq!(back.header("location"), page);
        let seen = server.get(page).with("cookie", &cookie).with("accept", HTML).await;
        assert!(is_shell(&seen), "{page}");
        // What is not built yet is not there, for people and for programs.
        assert_eq!(seen.status, if built { 200 } else { 404 }, "{page}");
        if !built {
            assert_eq!(server.get(page).with("cookie", &cookie).await.expect(404).code(), "not-found");
        }
    }
    assert_eq!(server.get("/me").await.expect(301).header("location"), "/account");
    let strange = server.get("/account").with("cookie", "ww_refresh=wwr_invented").await.expect(303);
    assert_eq!(strange.header("location"), "/sign-in?next=/account");
}

#[tokio::test]
async fn a_page_neither_trades_nor_prolongs_the_cookie_it_is_asked_with() {
    let server = Server::start().await;
    let (person, cookie) = cookie(&server).await;
    let before = server.digest().await;

    for _ in 0..3 {
        server.get("/account").with("cookie", &cookie).await.expect(200);
    }

    assert_eq!(server.digest().await, before);
    server.post("auth/refresh").by_page().with("cookie", &cookie).json(json!({})).await.expect(200);
    server.get("/account").with("cookie", &cookie).await.expect(200);
    server.post("auth/logout").by(&person).json(json!({})).await.expect(204);
    server.get("/account").with("cookie", &cookie).await.expect(303);
}

#[tokio::test]
async fn a_sign_in_never_leads_elsewhere() {
    let server = Server::start().await;
    let (_, cookie) = cookie(&server).await;
    assert!(ELSEWHERE.len() > 70);

    for elsewhere in ELSEWHERE {
        let address = format!("/sign-in?next={}", encoded(elsewhere));
        let forged = |address: &str| {
            let ask = server.get(address).with("host", "evil.example").with("x-forwarded-host", "evil.example");
            ask.with("forwarded", "host=evil.example;proto=https").with("x-original-url", "//evil.example")
        };

        let signed_in = forged(&address).with("cookie", &cookie).await.expect(303);
        let signed_out = forged(&address).await.expect(303);

        assert_eq!(signed_in.header("location"), "/", "{elsewhere:?}");
        assert_eq!(signed_out.header("location"), "/sign-in", "{elsewhere:?}");
    }
    for within in ["/", "/worlds", "/worlds/mistral/chat", "/admin/reports", "/docs/realtime"] {
        let address = format!("/sign-in?next={}", encoded(within));
        let reply = server.get(&address).with("cookie", &cookie).with("host", "evil.example").await.expect(303);
        assert_eq!(reply.header("location"), within);
    }
    // Two of them: the first counts, here and in the browser.
    let twice = server.get("/sign-in?next=//evil.example&next=/account").with("cookie", &cookie).await.expect(303);
    assert_eq!(twice.header("location"), "/");
    // A whole address in the first line of the request names another host; the path alone counts.
    let absolute = server.get(format!("/admin/{}", encoded("//evil.example"))).await.expect(303);
    assert_eq!(
        absolute.header("location"),
        "/sign-in?next=/admin/%252f%252f%2565%2576%2569%256c%252e%2565%2578%2561%256d%2570%256c%2565"
    );
    let back = server.get(absolute.header("location")).with("cookie", &cookie).await.expect(303);
    assert_eq!(back.header("location"), "/");
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_no_world() {
    let server = Server::start().await;
    let owner = server.owner().await;
    server.world(&owner, "mistral").await;

    for elsewhere in ELSEWHERE.iter().filter(|name| !name.is_empty()) {
        let name = encoded(elsewhere);
        for path in [format!("/w/{name}"), format!("/worlds/{name}"), format!("/worlds/{name}/chat")] {
            let reply = server.get(&path).with("host", "evil.example").await.expect(404);
            assert_eq!(reply.header("location"), "", "{elsewhere:?}");
        }
        let reply = server.get(format!("worlds/{name}/members")).await.expect(404);
        assert_eq!((reply.code().as_str(), reply.header("location")), ("world-not-found", ""), "{elsewhere:?}");
    }
}

#[tokio::test]
async fn a_former_slug_leads_within_whatever_stands_behind_it() {
    let server = Server::start().await;
    let owner = server.owner().await;
    server.world(&owner, "mistral").await;
    let change = json!({ "slug": "bora" });
    server.patch("worlds/mistral").by(&owner).with("if-match", "\"1\"").json(change).await.expect(200);

    for elsewhere in ELSEWHERE {
        let query = encoded(elsewhere);
        let page = server.get(format!("/worlds/mistral/chat?next={query}")).with("host", "evil.example");
        assert_eq!(page.await.expect(301).header("location"), "/worlds/bora/chat", "{elsewhere:?}");
        let short = server.get(format!("/w/mistral?{query}")).with("x-forwarded-host", "//evil.example").await;
        assert_eq!(short.expect(301).header("location"), "/worlds/bora", "{elsewhere:?}");
        let path = format!("/api/v1/worlds/mistral/channels?cursor={query}");
        let api = server.get(&path).with("host", "evil.example").await.expect(308);
        assert_eq!(api.header("location"), path.replace("mistral", "bora"), "{elsewhere:?}");
    }
}

#[tokio::test]
async fn a_thousand_renames_are_one_redirect() {
    const RENAMES: usize = 1_000;
    let server = Server::start().await;
    let owner = server.owner().await;
    let world = server.world(&owner, "wind-0").await;
    let reference: WorldRef = id(&world).parse().unwrap();
    for n in 1..=RENAMES {
        let amendment =
            WorldAmendment { slug: Some(Slug::new(&format!("wind-{n}")).unwrap()), ..WorldAmendment::default() };
        server.services.worlds.amend(&Actor::operator(), &reference, None, amendment).await.unwrap();
    }
    let present = format!("wind-{RENAMES}");

    for n in 0..RENAMES {
        let page = server.get(format!("/worlds/wind-{n}")).await.expect(301);
        assert_eq!(page.header("location"), format!("/worlds/{present}"), "{n}");
    }
    for n in (0..RENAMES).step_by(99) {
        assert_eq!(
            server.get(format!("/w/wind-{n}")).await.expect(301).header("location"),
            format!("/worlds/{present}")
        );
        let api = server.get(format!("worlds/wind-{n}/channels?limit=7")).await.expect(308);
        assert_eq!(api.header("location"), format!("/api/v1/worlds/{present}/channels?limit=7"));
        server.get(api.header("location")).await.expect(200);
    }
    server.get(format!("/worlds/{present}")).with("accept", HTML).await.expect(200);
}

#[tokio::test]
async fn a_page_that_is_not_built_moves_with_its_world_and_is_not_found() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;
    let change = json!({ "slug": "bora" });
    server.patch("worlds/mistral").by(&owner).with("if-match", "\"1\"").json(change).await.expect(200);

    for below in ["feed", "ranking", "groups", "invites", "members"] {
        for name in ["mistral", id(&world)] {
            let moved = server.get(format!("/worlds/{name}/{below}")).await.expect(301);
            assert_eq!(moved.header("location"), format!("/worlds/bora/{below}"));
        }
        assert!(is_shell(&server.get(format!("/worlds/bora/{below}")).with("accept", HTML).await.expect(404)));
        assert_eq!(server.get(format!("/worlds/bora/{below}")).await.expect(404).code(), "not-found");
        assert_eq!(server.get(format!("/worlds/unknown/{below}")).await.expect(404).code(), "world-not-found");
    }
    assert_eq!(server.get("/worlds/mistral/elsewhere").await.expect(404).code(), "not-found");
}

#[tokio::test]
async fn a_private_world_s_page_is_there_for_its_members_alone() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let wish = json!({ "name": "Mistral", "visibility": "private" });
    let world = server.post("worlds").by(&owner).json(wish).await.json();
    let change = json!({ "slug": "bora" });
    server.patch("worlds/mistral").by(&owner).with("if-match", "\"1\"").json(change).await.expect(200);
    let ((member, own), (_, strange)) = (cookie(&server).await, cookie(&server).await);
    let scope = format!("world:{}", id(&world)).parse().unwrap();
    server.grant(&member, weltenwind_core::access::Role::WorldMember, scope).await;

    for (path, status) in
        [("/worlds/bora", 200), ("/worlds/bora/chat", 200), ("/worlds/mistral", 301), ("/w/bora", 301)]
    {
        server.get(path).with("accept", HTML).with("cookie", &own).await.expect(status);
        server.get(path).with("accept", HTML).with("cookie", &strange).await.expect(404);
        server.get(path).with("accept", HTML).await.expect(404);
    }
}
