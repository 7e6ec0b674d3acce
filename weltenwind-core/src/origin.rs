//! The origins whose pages may speak to this installation.

/// Names of the machine itself; a page opened under one of them is the page opened under any other.
const LOOPBACK: &[&str] = &["127.0.0.1", "localhost", "[::1]"];

/// A list of web origins (RFC 6454): scheme, host and port, compared as texts.
///
/// ```
/// use weltenwind_core::AllowedOrigins;
///
/// let origins = AllowedOrigins::of_public_url("http://127.0.0.1:8080/");
/// assert!(origins.allows("http://localhost:8080"));
/// assert!(!origins.allows("http://127.0.0.1:8080.elsewhere.test") && !origins.allows("null"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    origins: Vec<String>,
}

impl AllowedOrigins {
    /// Returns whether a text names one origin, as [`AllowedOrigins::new`] takes it: no wildcard, and not `null`.
    pub fn is_origin(text: &str) -> bool {
        origin_of(text).is_some_and(|origin| !origin.contains(['*', ' ', ',']))
    }

    /// Allows exactly these; a path behind the port is cut, upper case is lowered, and what is no origin is left out.
    pub fn new<'o>(origins: impl IntoIterator<Item = &'o str>) -> Self {
        Self { origins: origins.into_iter().filter(|origin| Self::is_origin(origin)).filter_map(origin_of).collect() }
    }

    /// Allows the origin of the installation's public URL and, if that is the machine itself, its other names.
    pub fn of_public_url(url: &str) -> Self {
        let Some(origin) = origin_of(url) else {
            return Self::default();
        };
        let own = LOOPBACK.iter().find_map(|host| split_host(&origin, host));
        match own {
            Some((scheme, port)) => {
                Self { origins: LOOPBACK.iter().map(|host| format!("{scheme}://{host}{port}")).collect() }
            }
            None => Self { origins: vec![origin] },
        }
    }

    /// Returns whether a page of `origin` may speak.
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

/// Cuts a URL behind its port, and the port where it is the scheme's own.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let standard = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    Some(format!("{scheme}://{}", authority.strip_suffix(standard).unwrap_or(&authority)))
}

fn split_host<'o>(origin: &'o str, host: &str) -> Option<(&'o str, &'o str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let port = authority.strip_prefix(host)?;
    (port.is_empty() || port.starts_with(':')).then_some((scheme, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_allows_its_own_origin_alone() {
        let origins = AllowedOrigins::of_public_url("https://Wind.example/worlds");

        assert!(origins.allows("https://wind.example"));
        for other in ["http://wind.example", "https://wind.example:8443", "https://wind.example.evil.test", "null", ""]
        {
            assert!(!origins.allows(other), "{other}");
        }
    }

    #[test]
    fn a_wildcard_is_no_origin() {
        for text in
            ["*", "https://*.wind.example", "null", "", "wind.example", "ftp://wind.example", "https://", "https://a@b"]
        {
            assert!(!AllowedOrigins::is_origin(text), "{text}");
            assert_eq!(AllowedOrigins::new([text]), AllowedOrigins::default(), "{text}");
        }
        assert!(AllowedOrigins::is_origin("https://wind.example:8443"));
    }

    #[test]
    fn a_scheme_s_own_port_need_not_be_written() {
        assert!(AllowedOrigins::new(["https://wind.example:443"]).allows("https://wind.example"));
    }
}
