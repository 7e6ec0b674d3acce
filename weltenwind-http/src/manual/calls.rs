//! `/docs`: the calls of the HTTP API.

use serde_json::Value;

use super::{
    html::{Page, escape, example, table, text},
    markdown::{blocks, inline},
    schema::{self, kind, resolved, target},
};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// A call, where it stands.
pub(super) struct Call<'d> {
    pub(super) path: &'d str,
    pub(super) method: &'static str,
    pub(super) operation: &'d Value,
}

/// Every call of a document, by path and method.
pub(super) fn calls(document: &Value) -> Vec<Call<'_>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| Some(Call { path, method, operation: item.get(method)? }))
        })
        .collect()
}

/// Writes the page.
pub(super) fn page(document: &Value) -> String {
    let calls = calls(document);
    let (mut contents, mut sections) = (String::new(), String::new());
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(&tag["name"]);
        let tagged: Vec<&Call<'_>> = calls.iter().filter(|call| call.operation["tags"][0] == tag["name"]).collect();
        let links: String = tagged.iter().map(|call| link(call)).collect();
        contents
            .extend([format!("<section><h2><a href=\"#tag-{name}\">{name}</a></h2>\n<ul>{links}</ul></section>\n")]);
        let articles: String = tagged.iter().map(|call| article(document, call)).collect();
        sections.extend([format!(
            "<section id=\"tag-{name}\"><h2>{name}</h2>\n{}{articles}</section>\n",
            blocks(tag["description"].as_str().unwrap_or_default())
        )]);
    }
    contents.push_str("<section><h2><a href=\"#schemas\">schemas</a></h2></section>\n");
    let info = &document["info"];
    let main = format!(
        "<h1>{} <small>{}</small></h1>\n{}<p>The same for programs: <a href=\"/api/v1/openapi.json\">openapi.json</a>, OpenAPI {}.</p>\n\
         {}{sections}<section id=\"schemas\"><h2>schemas</h2>\n{}</section>\n",
        text(&info["title"]),
        text(&info["version"]),
        blocks(info["description"].as_str().unwrap_or_default()),
        text(&document["openapi"]),
        ways_in(document),
        schema::all(document),
    );
    Page { path: "/docs", title: "HTTP reference".to_owned(), contents, main }.finish()
}

/// How one signs in.
fn ways_in(document: &Value) -> String {
    let schemes = document["components"]["securitySchemes"].as_object();
    let row = |(name, scheme): (&String, &Value)| {
        let description = inline(scheme["description"].as_str().unwrap_or_default());
        format!("<tr><th scope=\"row\"><code>{}</code></th><td>{description}</td></tr>", escape(name))
    };
    let rows: String = schemes.into_iter().flatten().map(row).collect();
    format!(
        "<section id=\"ways-in\"><h2>who asks</h2>\n{}</section>\n",
        table("Ways to sign in", &["way", "what"], &rows)
    )
}

fn link(call: &Call<'_>) -> String {
    let (id, words) = (text(&call.operation["operationId"]), words(call));
    format!("<li data-words=\"{words}\"><a href=\"#{id}\">{}{}</a></li>\n", method(call), short(call.path))
}

/// What a call is found by.
fn words(call: &Call<'_>) -> String {
    let operation = call.operation;
    let said = [&operation["operationId"], &operation["summary"], &operation["tags"][0]]
        .map(|text| text.as_str().unwrap_or_default());
    escape(&format!("{} {} {}", call.method, call.path, said.join(" ")).to_lowercase())
}

fn method(call: &Call<'_>) -> String {
    format!("<span class=\"method\" data-method=\"{0}\">{0}</span> ", call.method)
}

/// A path without what all of them begin with.
fn short(path: &str) -> String {
    escape(path.strip_prefix("/api/v1/").unwrap_or(path))
}

fn article(document: &Value, call: &Call<'_>) -> String {
    let operation = call.operation;
    let id = text(&operation["operationId"]);
    format!(
        "<article id=\"{id}\" data-words=\"{}\">\n<h3><a href=\"#{id}\">{}<code>{}</code></a></h3>\n\
         <p class=\"summary\">{}</p>\n{}<p><small>Who: {}. Name: <code>{id}</code>.</small></p>\n{}{}{}</article>\n",
        words(call),
        method(call),
        escape(call.path),
        inline(operation["summary"].as_str().unwrap_or_default()),
        blocks(operation["description"].as_str().unwrap_or_default()),
        who(operation),
        parameters(document, operation),
        body(document, operation),
        answers(document, operation),
    )
}

fn who(operation: &Value) -> String {
    let ways = operation["security"].as_array().into_iter().flatten();
    let ways: Vec<String> = ways
        .map(|way| match way.as_object().and_then(|way| way.keys().next()) {
            Some(scheme) => format!("<a href=\"#ways-in\"><code>{}</code></a>", escape(scheme)),
            None => "anyone".to_owned(),
        })
        .collect();
    ways.join(" or ")
}

fn parameters(document: &Value, operation: &Value) -> String {
    let row = |parameter: &Value| {
        let parameter = resolved(document, parameter);
        let name = format!(
            "{} ({})",
            parameter["name"].as_str().unwrap_or_default(),
            parameter["in"].as_str().unwrap_or_default()
        );
        let (is_required, schema) = (parameter["required"] == true, &parameter["schema"]);
        schema::row(&name, is_required, schema, &parameter["description"], &schema["default"])
    };
    let rows: String = operation["parameters"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        rows
    } else {
        format!("<h4>Parameters</h4>\n{}", table("Parameters", &["name", "what", "meaning"], &rows))
    }
}

fn body(document: &Value, operation: &Value) -> String {
    let Some(body) = operation.get("requestBody") else { return String::new() };
    let content = &body["content"]["application/json"];
    let optional = if body["required"] == true { "" } else { ", may be absent" };
    let schema = &content["schema"];
    format!(
        "<h4>Body</h4>\n<p>{}{optional}</p>\n{}{}",
        kind(schema),
        schema::members("Members of the body", resolved(document, schema)),
        example(&content["example"]),
    )
}

fn answers(document: &Value, operation: &Value) -> String {
    let responses = operation["responses"].as_object().into_iter().flatten();
    let answers: String = responses.map(|(status, response)| answer(status, resolved(document, response))).collect();
    format!("<h4>Answers</h4>\n{answers}")
}

fn answer(status: &str, response: &Value) -> String {
    let problem = &response["content"]["application/problem+json"];
    let codes: Vec<&String> = problem["examples"].as_object().into_iter().flat_map(|codes| codes.keys()).collect();
    let is_problem = problem.is_object();
    let description = response["description"].as_str().unwrap_or_default();
    // The description of a problem lists its codes, which stand as links below.
    let said = if is_problem {
        description.split("\n\n").find(|block| !block.starts_with("- ")).unwrap_or_default()
    } else {
        description
    };
    let named: Vec<String> =
        codes.iter().map(|code| format!("<a href=\"/problems/{0}\"><code>{0}</code></a>", escape(code))).collect();
    let content = &response["content"]["application/json"];
    let mut detail = String::new();
    if is_problem {
        detail.extend([format!("<p>{}</p>\n", named.join(", "))]);
    }
    if content.is_object() {
        detail.extend([format!("<p>{}</p>\n", kind(&content["schema"]))]);
        if !content["example"].is_null() {
            detail.push_str(&example(&content["example"]));
        }
    }
    let headers: Vec<String> = response["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, header)| {
            let kept = target(header).map_or_else(String::new, |name| format!(" title=\"{}\"", escape(name)));
            format!("<code{kept}>{}</code>", escape(name))
        })
        .collect();
    if !headers.is_empty() {
        detail.extend([format!("<p><small>Headers: {}.</small></p>\n", headers.join(", "))]);
    }
    let summary = if said.is_empty() {
        codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(", ")
    } else {
        said.to_owned()
    };
    format!(
        "<details><summary><strong>{}</strong> {}</summary>\n{detail}</details>\n",
        if status == "default" { "else".to_owned() } else { escape(status) },
        inline(&summary),
    )
}
