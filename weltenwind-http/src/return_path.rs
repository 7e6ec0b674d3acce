//! Where a sign-in leads back to: a page of this installation, whatever the address says.

use std::fmt::Write as _;

/// The pages that one may come back to; everything else is none of ours, or needs nobody to come back.
const PAGES: [&str; 6] = ["/worlds", "/account", "/settings", "/admin", "/docs", "/problems"];

/// Returns the value of `next` in a query, decoded once.
pub(crate) fn asked_for(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("next="))?;
    Some(decoded(value))
}

/// Returns the path if it stays within: it begins with the path of one of our pages and has nothing in it that some browser
/// reads as an authority, a scheme, the end of a line or a way up.
pub(crate) fn within(path: &str) -> Option<&str> {
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~'));
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let climbs = segments.iter().any(|segment| segment.is_empty() || segment.bytes().all(|b| b == b'.'));
    let is_ours =
        PAGES.iter().any(|page| path.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let is_within = path == "/" || is_ours && is_plain && !climbs;
    is_within.then_some(path)
}

/// Writes a path as a value of a query.
pub(crate) fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            text.push(byte.into());
        } else {
            write!(text, "%{byte:02X}").expect("a text takes everything");
        }
    }
    text
}

/// Decodes what is percent-encoded; what is not, or makes no text, is left to be refused as it stands.
fn decoded(value: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = value.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let pair = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2)));
        match (bytes[at], pair) {
            (b'%', Some((high, low))) => {
                decoded.push(u8::try_from(high * 16 + low).expect("two digits are a byte"));
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_ours_is_come_back_to_and_nothing_else() {
        for path in ["/", "/account", "/admin/reports", "/worlds/mistral/chat", "/worlds"] {
            assert_eq!(asked_for(&format!("a=b&next={}", escaped(path))).as_deref().and_then(within), Some(path));
        }
        for path in ["", "account", "/accounts", "/api/v1/worlds", "/sign-in", "/worlds/../..", "/worlds//evil.example"]
        {
            assert_eq!(within(path), None, "{path}");
        }
        assert_eq!(asked_for("a=b&nextly=/account"), None);
    }

    #[test]
    fn what_is_encoded_twice_is_decoded_once() {
        assert_eq!(asked_for("next=%2fworlds%2F%252f").as_deref(), Some("/worlds/%2f"));
        assert_eq!(asked_for("next=%ff%zz%4").as_deref(), Some("%ff%zz%4"));
    }
}
