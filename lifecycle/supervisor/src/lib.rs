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
mod disk;
mod end;
mod footing;
mod launch;
mod launcher;
pub mod orders;
mod processes;
mod reap;
mod rest;
mod spawn;
mod supervised;
mod watchdog;
mod way_out;
pub mod wire;

use std::os::fd::{AsRawFd, BorrowedFd};

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
    let arguments: Vec<String> =
        std::env::args_os().skip(1).take(3).map_while(|a| a.into_string().ok()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match arguments[..] {
        [ARGUMENT, dialect] => same_build(dialect, child::run),
        [stage @ (launcher::OUTER | launcher::INNER), dialect, wanted] => {
            same_build(dialect, || launcher::run(stage, wanted))
        }
        [ARGUMENT, ..] => STRANGER,
        _ => return,
    };
    std::process::exit(code);
}

fn same_build(dialect: &str, run: impl FnOnce() -> i32) -> i32 {
    if dialect == DIALECT.to_string() { run() } else { STRANGER }
}

/// Descriptors above 2, but for `ours`, are leaks of whoever started our program; a command must not get them.
fn close_strangers(ours: BorrowedFd<'_>) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2 && *number != ours.as_raw_fd()) {
        let _ = nix::unistd::close(number);
    }
}

/// Nanoseconds on the monotonic clock, which all processes of a machine share.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
