//! Real scripts in real processes.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod arguments;
mod bash;
mod bench;
mod bounds;
mod deno;
mod documented;
mod endings;
mod hostile;
mod limits;
mod python;
mod supervisor;
mod uplink;
mod warm;
