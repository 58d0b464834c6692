//! Child processes that cannot outlive us: every script and every service of
//! `hookmill up` is started by a supervisor that has no other command at that time, a small
//! single-threaded process (the `supervisor` crate). It is subreaper of all that the command starts and ends everything when
//! the command ends, when it is told to, or when its socket to us closes, which also happens
//! when we are killed.
//!
//! [`intercept`] is the first line of `main`; [`Host`] is the side that asks.

mod graveyard;
mod handover;
mod host;
mod program;
mod running;
mod service;

pub use ::supervisor::wire::{Exit, Hit, Input, Kind, Output, Refusal, Rested, Spec, Status, Streams};
pub use ::supervisor::{ARGUMENT, DIALECT, PROGRAM, intercept, monotonic_ns};
pub use host::{Belongings, Host, Spare};
pub use running::{Control, Ended, LogPipe, Lost, Running};
pub use service::ServiceHandle;
