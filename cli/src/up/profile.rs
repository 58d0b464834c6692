//! How much a power cut may take: the one setting that NATS and Valkey share.

use std::fmt;

/// What is on disk when an answer goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Every accepted job and every result is on disk first.
    #[default]
    Durable,
    /// The disk follows: a power cut may take Valkey's last second and what NATS wrote in
    /// the last two minutes. A killed process takes nothing.
    Relaxed,
}

impl Profile {
    /// NATS's `sync_interval`.
    pub fn nats_sync_interval(self) -> &'static str {
        match self {
            Self::Durable => "always",
            Self::Relaxed => "2m",
        }
    }

    /// Valkey's `appendfsync`.
    pub fn appendfsync(self) -> &'static str {
        match self {
            Self::Durable => "always",
            Self::Relaxed => "everysec",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Durable => "durable",
            Self::Relaxed => "relaxed",
        })
    }
}
