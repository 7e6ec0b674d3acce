//! What must not be shown.

use figment::value::Value;

/// Returns a value as it may be shown: without the password that a URL carries, and not at all where the key names a secret.
pub(super) fn shown(key: &str, value: &Value) -> serde_json::Value {
    let plain = serde_json::to_value(value).unwrap_or(serde_json::Value::Null);
    match plain {
        serde_json::Value::String(text) if is_secret(key) && !text.is_empty() => "[redacted]".into(),
        serde_json::Value::String(text) => weltenwind_storage::redact(&text).into(),
        other => other,
    }
}

/// A key names a secret by its last word: `key_prefix` and `master_key_file` do not.
fn is_secret(key: &str) -> bool {
    let word = key.rsplit(['.', '_']).next().unwrap_or(key);
    matches!(word, "password" | "secret" | "token" | "key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_passwords_are_not_shown() {
        let shown = |key, text: &str| shown(key, &Value::from(text));

        assert_eq!(shown("mail.password", "hunter2"), "[redacted]");
        assert_eq!(shown("storage.url", "postgres://ww:hunter2@db/ww"), "postgres://ww:[redacted]@db/ww");
        assert_eq!(shown("auth.master_key", "hunter2"), "[redacted]");
        assert_eq!(shown("auth.master_key_file", "/run/key"), "/run/key");
        assert_eq!(shown("redis.key_prefix", "ww"), "ww");
    }
}
