//! Pages and what they load.

mod fixture;

use serde_json::json;

use self::fixture::{Server, id};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

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
