//! Child processes that cannot outlive us: every script and every service of
//! `hookmill up` is started by a supervisor of its own, a small single-threaded mode of
//! our own binary. The supervisor is subreaper of all that the command starts and ends
//! everything when the command ends, when it is told to, or when its socket to us closes,
//! which also happens when we are killed.
//!
//! [`intercept`] is the first line of `main`; [`Host`] is the side that asks.

mod child;
mod handover;
mod host;
mod reap;
mod running;
mod service;
mod spares;
mod spawn;
mod wire;

pub use host::{Host, Spare};
pub use running::{Control, LogPipe, Lost, Running};
pub use service::ServiceHandle;
pub use spares::Spares;
pub use wire::{Exit, Kind, Output, Spec, Status, Streams};

/// The hidden first argument that turns a binary into a supervisor.
pub const ARGUMENT: &str = "__supervise";

/// Becomes a supervisor, and never returns, if the process was started as one.
///
/// To be called first in `main`: before any thread, any runtime and any reading of arguments.
#[expect(clippy::exit, reason = "the mode has no caller to return to")]
pub fn intercept() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT) {
        std::process::exit(child::run());
    }
}

/// Nanoseconds on the monotonic clock, which all processes of a machine share.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
