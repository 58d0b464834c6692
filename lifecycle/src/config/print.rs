//! What `--help`, `--version` and `--check-config` print, generated from the keys that were asked for.

use std::fmt::Write as _;

use super::values::{Key, Kind, Values};
use crate::service::Service;

const MASK: &str = "***";

/// The text of `--help`.
pub(super) fn help(service: &Service, values: &Values) -> String {
    let Service { name, about, version } = service;
    let mut text = format!("{name} {version}: {about}\n\nUsage: {name} [--key value | --key=value]...\n\n");
    text.push_str(
        "A key is taken from the flag, else from the environment, else from the file, else its default.\n",
    );
    text.push_str(
        "Durations: 250ms, 15s, 2m, 1h. Sizes: 64KiB, 8MiB, or bytes. Lists: separated by commas.\n\n",
    );
    for key in &values.keys {
        // writing to a String cannot fail
        let _ = writeln!(text, "  --{}{}\n        {}", key.name, form(&key.kind), key.help);
        let _ = writeln!(text, "        {}; {}", values.env_name(&key.name), rule(&key.kind));
    }
    text.push_str("\n  --check-config  print the configuration in force, or all its problems, and end\n");
    text.push_str("  --version       print the version and end\n  --help          print this and end\n");
    text
}

/// The text of `--version`.
pub(super) fn version(service: &Service) -> String {
    format!("{} {}\n", service.name, service.version)
}

/// The configuration in force as a TOML file, with the source of each value; secrets are masked.
pub(super) fn effective(values: &Values) -> String {
    let mut text = String::new();
    for key in values.keys.iter().filter(|key| key.name != "config") {
        // writing to a String cannot fail
        let _ = match &key.shown {
            Some((value, source)) => writeln!(text, "{} = {:?} # {source}", key.name, shown(key, value)),
            None => writeln!(text, "# {} is not set", key.name),
        };
    }
    text
}

fn shown(key: &Key, value: &str) -> String {
    match key.kind {
        Kind::Secret { .. } => MASK.to_owned(),
        Kind::Required { .. } | Kind::Default(_) | Kind::Optional | Kind::Switch => without_password(value),
    }
}

/// Masks the password of every URL in a value: `nats://user:secret@host` is a common mistake.
pub(super) fn without_password(value: &str) -> String {
    value.split(',').map(mask_url).collect::<Vec<_>>().join(",")
}

fn mask_url(value: &str) -> String {
    let masked = || {
        let (scheme, rest) = value.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (credentials, _) = authority.rsplit_once('@')?;
        let user = credentials.split_once(':').map_or("", |(user, _)| user);
        Some(format!("{scheme}://{user}:{MASK}{}", &rest[credentials.len()..]))
    };
    masked().unwrap_or_else(|| value.to_owned())
}

fn form(kind: &Kind) -> String {
    match kind {
        Kind::Required { example } => format!(" <{example}>"),
        Kind::Default(_) | Kind::Optional | Kind::Secret { .. } => " <value>".to_owned(),
        Kind::Switch => String::new(),
    }
}

fn rule(kind: &Kind) -> String {
    match kind {
        Kind::Required { .. } | Kind::Secret { required: true } => "required".to_owned(),
        Kind::Default(text) => format!("default {text:?}"),
        Kind::Optional | Kind::Secret { required: false } => "optional".to_owned(),
        Kind::Switch => "off by default".to_owned(),
    }
}
