//! The program as people run it, and the servers it starts, as real processes on throw-away data.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ask;
mod configs;
mod host;
mod servers;
mod up;
mod verbs;
