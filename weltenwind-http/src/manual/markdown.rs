//! The little of Markdown that descriptions use: paragraphs, lists, tables, `code` and **strong** words.

use super::html::{escape, table};

/// Writes a description as HTML.
pub(super) fn blocks(text: &str) -> String {
    text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()).map(block).collect()
}

fn block(block: &str) -> String {
    let lines: Vec<&str> = block.lines().map(str::trim).collect();
    if lines.iter().all(|line| line.starts_with("- ")) {
        let item = |line: &&str| format!("<li>{}</li>", inline(&line[2..]));
        let items: String = lines.iter().map(item).collect();
        return format!("<ul>{items}</ul>\n");
    }
    if let [head, rule, rows @ ..] = lines.as_slice()
        && rule.starts_with("| ---")
    {
        let heads: Vec<String> = cells(head).map(inline).collect();
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let row = |row: &&str| {
            let cell = |cell: &str| format!("<td>{}</td>", inline(cell));
            let cells: String = cells(row).map(cell).collect();
            format!("<tr>{cells}</tr>")
        };
        return table("Table", &heads, &rows.iter().map(row).collect::<String>());
    }
    format!("<p>{}</p>\n", inline(&lines.join(" ")))
}

fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.trim_matches('|').split('|').map(str::trim)
}

/// Writes a line; what stands between backticks is code, and nothing in it is marked.
pub(super) fn inline(text: &str) -> String {
    let mut html = String::new();
    for (n, part) in text.split('`').enumerate() {
        if n % 2 == 1 {
            html.extend([format!("<code>{}</code>", escape(part))]);
            continue;
        }
        for (n, part) in part.split("**").enumerate() {
            let part = escape(part);
            html.extend([if n % 2 == 1 { format!("<strong>{part}</strong>") } else { part }]);
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_become_paragraphs_lists_and_tables() {
        assert_eq!(
            blocks("One **two**\n`<three>`.\n\nFour & five."),
            "<p>One <strong>two</strong> <code>&lt;three&gt;</code>.</p>\n<p>Four &amp; five.</p>\n"
        );
        assert_eq!(blocks("- `a`: one\n- b"), "<ul><li><code>a</code>: one</li><li>b</li></ul>\n");
        let table = blocks("| code | why |\n| --- | --- |\n| 1 | `x` |");
        assert!(
            table.contains("<th scope=\"col\">code</th>") && table.contains("<td>1</td><td><code>x</code></td>"),
            "{table}"
        );
    }

    #[test]
    fn what_is_code_is_not_marked() {
        assert_eq!(inline("`**x**`"), "<code>**x**</code>");
    }
}
