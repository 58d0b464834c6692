//! The supervisor: one small process between us and each command we run, be it a script or a
//! service of `hookmill up`. It is subreaper of all that the command starts and ends everything
//! when the command ends, when it is told to, or when its socket to us closes, which also
//! happens when we are killed.
//!
//! One runs one command at a time and is then used for the next: starting it costs more than a
//! short script does. It is a program of its own, `hookmill-supervisor`, which starts faster and
//! is smaller than a service. Where that program is not to be found the service itself takes its
//! part, in the mode that [`intercept`] looks for.
//! `lifecycle::supervisor` is the side that asks.

mod child;
mod footing;
pub mod orders;
mod processes;
mod reap;
mod spawn;
pub mod wire;

use std::ffi::OsStr;

pub use processes::kill_session;
pub use wire::DIALECT;

/// The hidden first argument that turns a binary into a supervisor.
pub const ARGUMENT: &str = "__supervise";

/// The name of the program that is nothing else.
pub const PROGRAM: &str = "hookmill-supervisor";

/// The exit code of a supervisor whose host speaks another [`DIALECT`].
pub const STRANGER: i32 = 3;

/// Becomes a supervisor, and never returns, if the process was started as one.
///
/// To be called first in `main`: before any thread, any runtime and any reading of arguments.
#[expect(clippy::exit, reason = "the mode has no caller to return to")]
pub fn intercept() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == ARGUMENT) {
        std::process::exit(run(arguments.next().as_deref()));
    }
}

fn run(dialect: Option<&OsStr>) -> i32 {
    if dialect.is_none_or(|spoken| spoken != OsStr::new(&DIALECT.to_string())) {
        return STRANGER;
    }
    child::run()
}

/// Nanoseconds on the monotonic clock, which all processes of a machine share.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
