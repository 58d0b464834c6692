//! [`Values`]: asks for one key after the other, remembers what was asked and what was wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::raw::Flags;
use super::sources::{Source, Sources, env_prefix, upper};
use super::{HumanDuration, HumanSize, Secret};

/// The values a process was started with, asked for by key. It holds secrets, so it has no `Debug`.
pub struct Values {
    pub(super) env_prefix: String,
    pub(super) keys: Vec<Key>,
    pub(super) flags: BTreeMap<String, Option<String>>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) file_name: String,
    pub(super) file: BTreeMap<String, String>,
    pub(super) problems: Vec<String>,
    /// Failed cross-checks; told only when no placeholder could have caused them.
    pub(super) failed_checks: Vec<String>,
    pub(super) placeholders: bool,
}

/// A key that was asked for.
pub(super) struct Key {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) kind: Kind,
    /// What it is now, ready to print; `None` when not set.
    pub(super) shown: Option<(String, Source)>,
}

/// What kind of key, with its default or example as written.
pub(super) enum Kind {
    Required { example: String },
    Default(String),
    Optional,
    Secret { required: bool },
    Switch,
}

/// A raw value and where it came from.
pub(super) struct Given {
    pub(super) text: String,
    pub(super) source: Source,
}

impl Values {
    /// Takes the raw values of `service`, and reads the file that `--config` or its variable names.
    pub fn new(service: &str, sources: Sources) -> Self {
        let flags = Flags::parse(&sources.args);
        let mut problems = sources.problems;
        problems.extend(flags.problems);
        let mut values = Self {
            env_prefix: env_prefix(service),
            keys: Vec::new(),
            flags: flags.values,
            env: sources.env,
            file_name: String::new(),
            file: BTreeMap::new(),
            problems,
            failed_checks: Vec::new(),
            placeholders: false,
        };
        values.load_file(sources.file);
        values
    }

    /// A key that must be given. `example` stands in for it in `--help` and is never used otherwise.
    ///
    /// # Panics
    /// When `example` itself does not parse: every start would, so no test can miss it.
    pub fn required<T>(&mut self, key: &str, example: &str, help: &str) -> T
    where
        T: FromStr<Err: Display>,
    {
        let kind = Kind::Required { example: example.to_owned() };
        let told = self.problems.len();
        let given = self.ask(key, kind, help);
        if given.is_none() && self.problems.len() == told {
            self.missing(key, help);
        }
        given.and_then(|given| self.parse(key, &given)).unwrap_or_else(|| constant(key, example))
    }

    /// A key with a default.
    ///
    /// # Panics
    /// When `default` itself does not parse: every start would, so no test can miss it.
    pub fn or<T>(&mut self, key: &str, default: &str, help: &str) -> T
    where
        T: FromStr<Err: Display>,
    {
        let fallback = constant(key, default);
        let given = self.ask(key, Kind::Default(default.to_owned()), help);
        given.and_then(|given| self.parse(key, &given)).unwrap_or(fallback)
    }

    /// A key that may be left out.
    pub fn optional<T>(&mut self, key: &str, help: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let given = self.ask(key, Kind::Optional, help)?;
        self.parse(key, &given)
    }

    /// A duration such as `250ms`, `15s`, `2m` or `1h`, with a default.
    ///
    /// # Panics
    /// When `default` itself does not parse.
    pub fn duration(&mut self, key: &str, default: &str, help: &str) -> Duration {
        self.or::<HumanDuration>(key, default, help).0
    }

    /// A size in bytes such as `8MiB` or `65536`, with a default.
    ///
    /// # Panics
    /// When `default` itself does not parse.
    pub fn size(&mut self, key: &str, default: &str, help: &str) -> usize {
        self.or::<HumanSize>(key, default, help).0
    }

    /// A list separated by commas, with a default; the empty text is the empty list.
    ///
    /// # Panics
    /// When an element of `default` itself does not parse.
    pub fn list<T>(&mut self, key: &str, default: &str, help: &str) -> Vec<T>
    where
        T: FromStr<Err: Display>,
    {
        let given = self.ask(key, Kind::Default(default.to_owned()), help);
        let Some(Given { text, source }) = given else {
            return elements(default).map(|element| constant(key, element)).collect();
        };
        elements(&text)
            .filter_map(|element| {
                self.parse(key, &Given { text: element.to_owned(), source: source.clone() })
            })
            .collect()
    }

    /// A switch: off unless `--key`, or a value `true`.
    pub fn switch(&mut self, key: &str, help: &str) -> bool {
        let bare = matches!(self.flags.get(key), Some(None));
        if bare {
            self.flags.insert(key.to_owned(), Some("true".to_owned()));
        }
        let given = self.ask(key, Kind::Switch, help);
        given.and_then(|given| self.parse(key, &given)).unwrap_or(false)
    }

    /// A secret that must be given, directly or by the file that `<key>-file` names.
    pub fn secret(&mut self, key: &str, help: &str) -> Secret<String> {
        let told = self.problems.len();
        let secret = self.ask_secret(key, true, help);
        if secret.is_none() && self.problems.len() == told {
            self.missing(key, help);
        }
        secret.unwrap_or_default()
    }

    /// A secret that may be left out, given directly or by the file that `<key>-file` names.
    pub fn optional_secret(&mut self, key: &str, help: &str) -> Option<Secret<String>> {
        self.ask_secret(key, false, help)
    }

    /// A check across keys: when it does not hold, the start is refused with `message`.
    pub fn check(&mut self, holds: bool, message: &str) {
        if !holds {
            self.failed_checks.push(message.to_owned());
        }
    }

    /// Whether a flag every program has (`help`, `version`, `check-config`) was given.
    pub(super) fn reserved(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }

    fn parse<T>(&mut self, key: &str, given: &Given) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        match given.text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let shown = super::print::without_password(&given.text);
                self.bad(format!("{key}: {shown:?} is not valid: {error} (from {})", given.source));
                None
            }
        }
    }

    pub(super) fn env_name(&self, key: &str) -> String {
        format!("{}{}", self.env_prefix, upper(key))
    }
}

/// A default or example from our own source code.
fn constant<T>(key: &str, text: &str) -> T
where
    T: FromStr<Err: Display>,
{
    match text.parse() {
        Ok(value) => value,
        Err(error) => panic!("the default or example {text:?} of {key} does not parse: {error}"),
    }
}

fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|element| !element.is_empty())
}
