//! What every page of the reference is wrapped in.

use serde_json::Value;

/// The pages that every page leads to, and their names.
const PLACES: [(&str, &str); 3] = [("/docs", "HTTP"), ("/docs/realtime", "Socket"), ("/problems", "Problems")];

/// A page of the reference.
pub(super) struct Page {
    /// Its address.
    pub(super) path: &'static str,
    /// Its title, as text.
    pub(super) title: String,
    /// What its list of contents holds; a page without one is a single column.
    pub(super) contents: String,
    /// What it says.
    pub(super) main: String,
}

impl Page {
    /// Writes the page.
    pub(super) fn finish(self) -> String {
        let title = escape(&self.title);
        let places = PLACES.iter().map(|(path, name)| {
            let current = if *path == self.path { " aria-current=\"page\"" } else { "" };
            format!("<a href=\"{path}\"{current}>{name}</a>")
        });
        let places: String = places.collect();
        let contents = if self.contents.is_empty() { String::new() } else { aside(&self.contents) };
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · Weltenwind</title>\n\
             <link rel=\"icon\" href=\"/assets/favicon.svg\" type=\"image/svg+xml\">\n\
             <link rel=\"stylesheet\" href=\"/assets/theme.css\">\n<link rel=\"stylesheet\" href=\"/assets/docs.css\">\n\
             <script type=\"module\" src=\"/assets/docs.js\"></script>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#content\">Skip to the content</a>\n\
             <header><a class=\"brand\" href=\"/worlds\">Weltenwind</a><nav aria-label=\"Reference\">{places}</nav></header>\n\
             {contents}<main id=\"content\" tabindex=\"-1\">\n{}</main>\n</body>\n</html>\n",
            self.main
        )
    }
}

/// The list of contents; its search is shown by the script that makes it work.
fn aside(contents: &str) -> String {
    format!(
        "<nav class=\"contents\" aria-label=\"Contents\">\n<search hidden><label for=\"filter\">Search</label>\
         <input id=\"filter\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\" aria-describedby=\"found\">\
         <p id=\"found\" role=\"status\"></p></search>\n{contents}</nav>\n"
    )
}

/// Writes text so that nothing of it is markup, in an element and in a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A text of the document, escaped; empty if it is absent.
pub(super) fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

/// An example.
pub(super) fn example(value: &Value) -> String {
    let json = serde_json::to_string_pretty(value).expect("an example is plain data");
    format!("<pre tabindex=\"0\"><code>{}</code></pre>\n", escape(&json))
}

/// A table that scrolls by itself where the screen is narrow: a group, since so many landmarks would lead nowhere.
pub(super) fn table(label: &str, heads: &[&str], rows: &str) -> String {
    let head = |head: &&str| format!("<th scope=\"col\">{head}</th>");
    let heads: String = heads.iter().map(head).collect();
    format!(
        "<div class=\"wide\" role=\"group\" aria-label=\"{}\" tabindex=\"0\"><table><thead><tr>{heads}</tr></thead>\
         <tbody>{rows}</tbody></table></div>\n",
        escape(label)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(escape("<a href=\"x\" title='y'>&"), "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;");
    }
}
