//! `/docs/realtime`: the records of the socket.

use serde_json::Value;

use super::{
    html::{Page, escape, example, text},
    markdown::{blocks, inline},
    schema,
};

/// Writes the page.
pub(super) fn page(document: &Value) -> String {
    let channel = &document["channels"]["socket"];
    let groups = [("receive", "client", "What a client says"), ("send", "server", "What the server says")];
    let (mut contents, mut sections) = (String::new(), String::new());
    for (action, id, title) in groups {
        let names = names(document, action);
        let link = |name: &&str| {
            let name = escape(name);
            format!("<li data-words=\"{name}\"><a href=\"#{id}-{name}\">{name}</a></li>\n")
        };
        let links: String = names.iter().map(link).collect();
        contents.extend([format!("<section><h2><a href=\"#{id}\">{id}</a></h2>\n<ul>{links}</ul></section>\n")]);
        let articles: String = names.iter().map(|name| article(document, id, name)).collect();
        sections.extend([format!("<section id=\"{id}\"><h2>{title}</h2>\n{articles}</section>\n")]);
    }
    contents.push_str("<section><h2><a href=\"#schemas\">schemas</a></h2></section>\n");
    let info = &document["info"];
    let main = format!(
        "<h1>{} <small>{}</small></h1>\n{}<p>The same for programs: <a href=\"/api/v1/asyncapi.json\">asyncapi.json</a>, AsyncAPI {}.</p>\n\
         <section id=\"socket\"><h2><code>{}</code></h2>\n{}</section>\n{sections}<section id=\"schemas\"><h2>schemas</h2>\n{}</section>\n",
        text(&info["title"]),
        text(&info["version"]),
        blocks(info["description"].as_str().unwrap_or_default()),
        text(&document["asyncapi"]),
        text(&channel["address"]),
        blocks(channel["description"].as_str().unwrap_or_default()),
        schema::all(document),
    );
    Page { path: "/docs/realtime", title: "Socket reference".to_owned(), contents, main }.finish()
}

/// The messages of one direction, each once, replies with what the server says by itself.
fn names<'d>(document: &'d Value, action: &str) -> Vec<&'d str> {
    let name = |reference: &'d Value| schema::target(reference);
    let mut names = Vec::new();
    for operation in document["operations"].as_object().into_iter().flat_map(|operations| operations.values()) {
        let said = if operation["action"] == action { operation["messages"].as_array() } else { None };
        let replies = if action == "send" { operation["reply"]["messages"].as_array() } else { None };
        names.extend(said.into_iter().chain(replies).flatten().filter_map(name));
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn article(document: &Value, group: &str, name: &str) -> String {
    let message = &document["components"]["messages"][name];
    let name = escape(name);
    let operation = &document["operations"][&*name];
    let note =
        if group == "client" { inline(operation["description"].as_str().unwrap_or_default()) } else { String::new() };
    let examples: String =
        message["examples"].as_array().into_iter().flatten().map(|one| example(&one["payload"])).collect();
    format!(
        "<article id=\"{group}-{name}\" data-words=\"{name}\">\n<h3><a href=\"#{group}-{name}\"><code>{name}</code></a></h3>\n\
         <p class=\"summary\">{}</p>\n<p>{note}</p>\n{}{examples}</article>\n",
        inline(message["summary"].as_str().unwrap_or_default()),
        schema::members("Members of the record", &message["payload"]),
    )
}
