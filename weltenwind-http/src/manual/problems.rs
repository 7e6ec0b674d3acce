//! `/problems`: every code of the catalogue, and what to do about it.

use serde_json::Value;
use weltenwind_core::Code;

use super::{
    calls,
    html::{Page, escape, table, text},
    markdown::inline,
};

const PATH: &str = "/problems";

/// Writes the list of all codes.
pub(super) fn index() -> String {
    let mut codes: Vec<Code> = Code::ALL.to_vec();
    codes.sort_by_key(|code| (code.status(), code.as_str()));
    let row = |code: &Code| {
        format!(
            "<tr><td>{}</td><th scope=\"row\"><a href=\"{PATH}/{code}\"><code>{code}</code></a></th><td>{}</td></tr>",
            code.status(),
            escape(code.title())
        )
    };
    let rows: String = codes.iter().map(row).collect();
    let main = format!(
        "<h1>Problems</h1>\n<p>Every refusal and failure has one of these codes, over HTTP, over the socket and on the command \
         line. A code never changes its meaning.</p>\n{}",
        table("Codes", &["status", "code", "what"], &rows)
    );
    Page { path: PATH, title: "Problems".to_owned(), contents: String::new(), main }.finish()
}

/// Writes the page of a code.
pub(super) fn page(code: Code, document: &Value) -> String {
    let main = format!(
        "<h1>{}</h1>\n<dl>\n<dt>Code</dt><dd><code>{code}</code></dd>\n<dt>HTTP status</dt><dd>{}</dd>\n\
         <dt>Type</dt><dd><code>{}</code></dd>\n</dl>\n<h2>What it means</h2>\n<p>{}</p>\n<h2>What to do</h2>\n<p>{}</p>\n{}\
         <p><a href=\"{PATH}\">All problems</a></p>\n",
        escape(code.title()),
        code.status(),
        code.urn(),
        inline(code.meaning()),
        inline(code.advice()),
        where_it_comes_from(code, document),
    );
    Page { path: PATH, title: code.title().to_owned(), contents: String::new(), main }.finish()
}

/// Writes what stands at the address of a code that does not exist.
pub(super) fn unknown() -> String {
    let main = format!("<h1>No problem has this code</h1>\n<p><a href=\"{PATH}\">All problems</a></p>\n");
    Page { path: PATH, title: "No problem has this code".to_owned(), contents: String::new(), main }.finish()
}

/// The calls that name the code as one of their own; what all calls share is not listed.
fn where_it_comes_from(code: Code, document: &Value) -> String {
    let example = format!("/content/application~1problem+json/examples/{code}");
    let names = |call: &calls::Call<'_>| {
        let responses = call.operation["responses"].as_object().into_iter().flatten();
        responses.into_iter().any(|(_, response)| response.pointer(&example).is_some())
    };
    let item = |call: &calls::Call<'_>| {
        let id = text(&call.operation["operationId"]);
        let summary = inline(call.operation["summary"].as_str().unwrap_or_default());
        let (method, path) = (call.method.to_uppercase(), escape(call.path));
        format!("<li><a href=\"/docs#{id}\"><code>{method} {path}</code></a> {summary}</li>\n")
    };
    let items: String = calls::calls(document).iter().filter(|call| names(call)).map(item).collect();
    if items.is_empty() { items } else { format!("<h2>Where it comes from</h2>\n<ul>{items}</ul>\n") }
}
