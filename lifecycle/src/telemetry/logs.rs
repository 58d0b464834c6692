//! Log lines on stderr, their filter and its change at run time, and panics as log lines.

use std::fmt;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::str::FromStr;
use std::sync::OnceLock;

use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as lines, reload};

use super::TelemetryConfig;

/// A valid log filter, such as `info` or `warn,gateway=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

/// Why a log filter or format is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(String);

/// Reads and changes the log filter; clones change the same.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

/// Log lines are global to a process by their nature, and so is their filter.
static IN_FORCE: OnceLock<LogLevel> = OnceLock::new();

impl FromStr for LogFilter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        if text.trim().is_empty() {
            return Err(BadFilter("the filter is empty".to_owned()));
        }
        EnvFilter::builder().parse(text).map_err(|error| BadFilter(error.to_string()))?;
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LogFilter {
    fn build(&self) -> EnvFilter {
        EnvFilter::builder().parse_lossy(&self.0)
    }
}

impl FromStr for LogFormat {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "human" => Ok(Self::Human),
            _ => Err(BadFilter("expected auto, json or human".to_owned())),
        }
    }
}

impl LogFormat {
    fn is_json(self) -> bool {
        match self {
            Self::Auto => !std::io::stderr().is_terminal(),
            Self::Json => true,
            Self::Human => false,
        }
    }
}

impl LogLevel {
    /// The handle of the first start in this process: only its filter is in force.
    pub(super) fn shared(self) -> Self {
        IN_FORCE.get_or_init(|| self).clone()
    }

    /// The filter in force.
    pub fn current(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Puts another filter in force.
    pub fn set(&self, filter: &LogFilter) -> Result<(), BadFilter> {
        self.0.reload(filter.build()).map_err(|error| BadFilter(error.to_string()))
    }
}

/// The layer that writes log lines, and the handle on its filter.
pub(super) fn layer(config: &TelemetryConfig) -> (Box<dyn Layer<Registry> + Send + Sync>, LogLevel) {
    let (filter, handle) = reload::Layer::new(config.log.build());
    let lines = lines::layer().with_writer(std::io::stderr);
    let layer = if config.log_format.is_json() {
        lines.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed()
    } else {
        lines.compact().with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
    };
    (layer, LogLevel(handle))
}

/// Writes a panic as a log line, in place of the plain text on stderr.
pub(super) fn log_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(panic.message = text, panic.location = place, panic.backtrace = %backtrace, "panicked");
}
