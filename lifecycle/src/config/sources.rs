//! Where raw values come from: arguments, environment and a flat TOML file, before any key is known.
//! [`Sources::from_process`] is the only place of the workspace that reads the process environment.

use std::collections::BTreeMap;
use std::fmt;

/// The prefix of every environment variable of ours.
pub(super) const PREFIX: &str = "HOOKMILL_";

/// The programs that may have variables under [`PREFIX`]; anything else there is a typing error.
const FAMILY: [&str; 5] = ["GATEWAY", "AUTH_SERVICE", "WORKER", "UP", "CLI"];

/// The largest configuration or secret file read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Raw input of the configuration: what a process was started with, or what a test says it was.
/// It holds secrets, so it has no `Debug`.
#[derive(Clone, Default)]
pub struct Sources {
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) file: Option<(String, String)>,
    pub(super) problems: Vec<String>,
}

impl Sources {
    /// The arguments and `HOOKMILL_*` variables of this process.
    pub fn from_process() -> Self {
        let mut sources = Self::default();
        for arg in std::env::args_os().skip(1) {
            match arg.into_string() {
                Ok(arg) => sources.args.push(arg),
                Err(arg) => sources.problems.push(format!("argument {} is not UTF-8", arg.display())),
            }
        }
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            if name.starts_with(PREFIX) {
                sources.take_env(name, value.into_string().ok());
            }
        }
        sources
    }

    /// Leaves out the first arguments, such as a subcommand's name.
    #[must_use]
    pub fn skip_args(mut self, count: usize) -> Self {
        self.args.drain(..count.min(self.args.len()));
        self
    }

    fn take_env(&mut self, name: String, value: Option<String>) {
        match value {
            Some(value) => drop(self.env.insert(name, value)),
            None => self.problems.push(format!("{name} is not UTF-8")),
        }
    }

    /// Adds an argument, such as `--listen=127.0.0.1:0`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an environment variable under its full name.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Uses this TOML text as the file, named `name` in messages.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.file = Some((name.into(), text.into()));
        self
    }
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Flag(String),
    Env(String),
    File(String),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "--{key}"),
            Self::Env(name) | Self::File(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// `auth-service` → `HOOKMILL_AUTH_SERVICE_`.
pub(super) fn env_prefix(service: &str) -> String {
    format!("{PREFIX}{}_", upper(service))
}

/// `nats-url` → `NATS_URL`.
pub(super) fn upper(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}

/// Whether a variable under [`PREFIX`] belongs to none of our programs.
pub(super) fn is_stranger(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    !FAMILY.iter().any(|program| rest.strip_prefix(program).is_some_and(|end| end.starts_with('_')))
}

/// Whether Kubernetes itself sets this variable, for a Service object named like one of ours.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let service = name.ends_with("_SERVICE_HOST") || (name.contains("_SERVICE_PORT") && digits);
    let protocol = name.contains("_TCP") || name.contains("_UDP");
    let address = value.starts_with("tcp://") || value.starts_with("udp://");
    service || (name.contains("_PORT") && (address || protocol))
}

/// Reads a text file of bounded size.
pub(super) fn read_bounded(path: &str) -> Result<String, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let mut text = String::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| format!("cannot read {path}: {error}"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{path} is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok(text)
}
