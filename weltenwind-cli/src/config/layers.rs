//! How the layers become one configuration, and which layer a value came from.

use std::path::PathBuf;

use figment::{
    Figment, Metadata, Profile, Provider, Source,
    providers::{Env, Format as _, Serialized, Toml},
    value::{Dict, Map, Value},
};
use serde::Serialize;

use super::{Config, secrets};
use crate::{
    args::{GlobalArgs, ServeArgs},
    failure::Failure,
};

const DEFAULT_FILE: &str = "weltenwind.toml";
const PREFIX: &str = "WELTENWIND_";

/// The layers above the defaults.
#[derive(Debug)]
pub(crate) struct Layers {
    file: Option<PathBuf>,
    set: Vec<String>,
}

/// A value and where it came from.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: serde_json::Value,
    pub(crate) from: String,
}

impl Layers {
    pub(crate) fn new(args: &GlobalArgs) -> Self {
        Self { file: args.config.clone(), set: args.set.clone() }
    }

    /// Puts the named flags of `serve` on top.
    pub(crate) fn with_serve_args(mut self, args: &ServeArgs) -> Self {
        let flags = [("http.listen", &args.listen), ("storage.url", &args.database)];
        self.set.extend(flags.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?))));
        self
    }

    /// Reads every layer and checks the result.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        let config: Config = self.figment()?.extract().map_err(|error| Failure::usage(error.to_string()))?;
        check(&config)?;
        Ok(config)
    }

    /// Reads every layer and answers each value with its origin.
    pub(crate) fn settings(&self) -> Result<Vec<Setting>, Failure> {
        let figment = self.figment()?;
        self.load()?;
        let mut settings = Vec::new();
        for (key, value) in leaves(&figment.data().map_err(unreadable)?) {
            let from = figment.find_metadata(&key).map_or_else(|| "default".to_owned(), |from| origin(from, &key));
            settings.push(Setting { value: secrets::shown(&key, &value), key, from });
        }
        Ok(settings)
    }

    fn figment(&self) -> Result<Figment, Failure> {
        let defaults = Serialized::defaults(Config::default());
        let known: Vec<String> =
            leaves(&defaults.data().map_err(unreadable)?).into_iter().map(|(key, _)| key).collect();
        let file = match &self.file {
            Some(file) if !file.is_file() => {
                return Err(Failure::usage(format!("the configuration file {} does not exist", file.display())));
            }
            Some(file) => Toml::file_exact(file),
            None if std::path::Path::new(DEFAULT_FILE).is_file() => Toml::file_exact(DEFAULT_FILE),
            None => Toml::string(""),
        };
        let file_data = file.data().map_err(|error| Failure::usage(error.to_string()))?;
        require_known(&known, &leaves(&file_data), |key| format!("`{key}` in {}", self.file_name()))?;
        let env = Env::prefixed(PREFIX).split("__");
        let env_data = env.data().map_err(unreadable)?;
        require_known(&known, &leaves(&env_data), |key| format!("the variable {}", variable(key)))?;
        let set = Set::parse(&self.set)?;
        require_known(&known, &leaves(&set.data().map_err(unreadable)?), |key| format!("`{key}` of --set"))?;
        Ok(Figment::from(defaults).merge(file).merge(env).merge(set))
    }

    fn file_name(&self) -> String {
        self.file.as_ref().map_or_else(|| DEFAULT_FILE.to_owned(), |file| file.display().to_string())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn unreadable(error: figment::Error) -> Failure {
    Failure::usage(error.to_string())
}

/// Names the variable that sets a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn origin(from: &Metadata, key: &str) -> String {
    match &from.source {
        Some(Source::File(path)) => path.display().to_string(),
        _ if from.name.contains("environment") => variable(key),
        _ if from.name == Set::NAME => Set::NAME.to_owned(),
        _ => "default".to_owned(),
    }
}

/// Refuses a key that nothing reads, and names the nearest that something does.
fn require_known(known: &[String], given: &[(String, Value)], whence: impl Fn(&str) -> String) -> Result<(), Failure> {
    for (key, _) in given {
        let section = format!("{key}.");
        if known.iter().any(|known| known == key || known.starts_with(&section)) {
            continue;
        }
        let failure = Failure::usage(format!("{} is not a configuration key", whence(key)));
        let nearest = known
            .iter()
            .map(|known| (strsim::jaro_winkler(known, key), known))
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .filter(|(likeness, _)| *likeness > 0.7);
        return Err(match nearest {
            Some((_, nearest)) => failure.hint(format!("did you mean `{nearest}` ({})?", variable(nearest))),
            None => failure.hint("`weltenwind config print` lists every key"),
        });
    }
    Ok(())
}

/// Checks what types cannot.
fn check(config: &Config) -> Result<(), Failure> {
    let refuse = |key: &str, rule: &str| Err(Failure::usage(format!("{key} {rule}")));
    let url = &config.public_url;
    if !(url.is_empty() || url.starts_with("http://") || url.starts_with("https://")) {
        return refuse("public_url", "must begin with http:// or https://");
    }
    if !(60..=3600).contains(&config.auth.access_token_seconds) {
        return refuse("auth.access_token_seconds", "must be 60 to 3600");
    }
    if config.auth.session_idle_days == 0 || config.auth.session_days < config.auth.session_idle_days {
        return refuse("auth.session_days", "must be at least auth.session_idle_days, which must be at least 1");
    }
    if !(1..=64).contains(&config.chat.lanes) {
        return refuse("chat.lanes", "must be 1 to 64");
    }
    if config.redis.is_set() && config.storage.url.starts_with("sqlite:") {
        return Err(Failure::usage("redis.url is for several nodes, and storage.url is a SQLite file, which has one").hint(
            "several nodes share a Postgres: set storage.url to postgres://user:password@host/database, or leave redis.url empty",
        ));
    }
    Ok(())
}

/// Lists every value with its dotted key; a list is one value.
fn leaves(data: &Map<Profile, Dict>) -> Vec<(String, Value)> {
    fn walk(prefix: &str, dict: &Dict, found: &mut Vec<(String, Value)>) {
        for (name, value) in dict {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Dict(_, inner) => walk(&key, inner, found),
                value => found.push((key, value.clone())),
            }
        }
    }
    let mut found = Vec::new();
    for dict in data.values() {
        walk("", dict, &mut found);
    }
    found
}

/// What `--set` and named flags say.
struct Set(Dict);

impl Set {
    const NAME: &str = "command line";

    fn parse(pairs: &[String]) -> Result<Self, Failure> {
        let mut dict = Dict::new();
        for pair in pairs {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| Failure::usage(format!("--set takes KEY=VALUE, not `{pair}`")))?;
            // A value that reads as a number, a truth value or a list is one; everything else is a text.
            let value: Value = value.parse().unwrap_or_else(|error| match error {});
            insert(&mut dict, key, value);
        }
        Ok(Self(dict))
    }
}

fn insert(dict: &mut Dict, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            dict.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = dict.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

impl Provider for Set {
    fn metadata(&self) -> Metadata {
        Metadata::named(Self::NAME)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "figment's Jail asks for its own error")]
mod tests {
    use figment::Jail;

    use super::*;

    fn layers(set: &[&str]) -> Layers {
        Layers { file: None, set: set.iter().map(|&pair| pair.to_owned()).collect() }
    }

    #[test]
    fn a_later_layer_wins_and_every_value_names_its_origin() {
        Jail::expect_with(|jail| {
            jail.create_file("weltenwind.toml", "[http]\nlisten = '127.0.0.1:1'\n[ops]\nlisten = '127.0.0.1:2'")?;
            jail.set_env("WELTENWIND_OPS__LISTEN", "127.0.0.1:3");
            let layers = layers(&["chat.lanes=2"]);

            let config = layers.load().unwrap();

            assert_eq!(config.http.listen, "127.0.0.1:1");
            assert_eq!(config.ops.listen, "127.0.0.1:3");
            assert_eq!(config.chat.lanes, 2);
            let settings = layers.settings().unwrap();
            let from = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap().from.clone();
            assert!(from("http.listen").ends_with("weltenwind.toml"));
            assert_eq!(from("ops.listen"), "WELTENWIND_OPS__LISTEN");
            assert_eq!(from("chat.lanes"), "command line");
            assert_eq!(from("storage.url"), "default");
            Ok(())
        });
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        Jail::expect_with(|jail| {
            jail.create_file("weltenwind.toml", "[http]\nlisen = '127.0.0.1:1'")?;

            let failure = layers(&[]).load().unwrap_err();

            let (_, message, hint) = failure.parts();
            assert_eq!(message, "`http.lisen` in weltenwind.toml is not a configuration key");
            assert_eq!(hint, Some("did you mean `http.listen` (WELTENWIND_HTTP__LISTEN)?"));
            Ok(())
        });
    }

    #[test]
    fn an_unknown_variable_is_an_error() {
        Jail::expect_with(|jail| {
            jail.set_env("WELTENWIND_STORAGE__ULR", "sqlite://x.db");

            let failure = layers(&[]).load().unwrap_err();

            assert_eq!(failure.parts().1, "the variable WELTENWIND_STORAGE__ULR is not a configuration key");
            Ok(())
        });
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_key() {
        Jail::expect_with(|_| {
            let failure = layers(&["chat.lanes=many"]).load().unwrap_err();

            assert!(failure.parts().1.contains("chat.lanes"), "{:?}", failure.parts());
            Ok(())
        });
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        Jail::expect_with(|_| {
            for pair in ["auth.access_token_seconds=1", "chat.lanes=0", "public_url=wind.example"] {
                assert!(layers(&[pair]).load().is_err(), "{pair}");
            }
            Ok(())
        });
    }

    #[test]
    fn a_limit_is_written_as_a_rate_and_what_is_none_is_named() {
        Jail::expect_with(|jail| {
            jail.create_file("weltenwind.toml", "[limits]\nchat = '20/s burst 100'")?;
            jail.set_env("WELTENWIND_LIMITS__AUTH", "10/min");

            let limits = layers(&["limits.write=5/s"]).load().unwrap().limits;
            let written = [limits.chat, limits.auth, limits.write].map(|quota| quota.to_string());
            assert_eq!(written, ["20/s burst 100", "10/min", "5/s"]);

            for (pair, words) in [
                ("limits.guest=none", &["limits.guest", "`none` is no quota", "like `60/s`"][..]),
                ("limits.read=0/s", &["limits.read", "1 to 1000000"]),
                ("limits.read=60", &["limits.read"]),
                ("limits.messages=1/s", &["`limits.messages` of --set"]),
            ] {
                let failure = layers(&[pair]).load().unwrap_err();
                assert!(words.iter().all(|word| failure.parts().1.contains(word)), "{pair}: {:?}", failure.parts());
            }
            Ok(())
        });
    }

    #[test]
    fn redis_goes_with_postgres_alone() {
        Jail::expect_with(|_| {
            let failure = layers(&["redis.url=redis://cache"]).load().unwrap_err();
            assert!(failure.parts().1.contains("storage.url is a SQLite file"), "{:?}", failure.parts());

            assert!(layers(&["redis.url=redis://cache", "storage.url=postgres://db/ww"]).load().is_ok());
            Ok(())
        });
    }
}
