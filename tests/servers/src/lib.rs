//! Real servers for tests: a nats-server and a valkey-server as child processes, each with
//! its own folder, ports and passwords, gone with the value that holds them. Nothing is
//! mocked. Everything here panics with what went wrong: a test without its server has failed.

mod binary;
mod http;
mod nats;
mod process;
mod valkey;
mod wait;

pub use nats::{ConnectionStats, Nats, NatsOptions};
pub use valkey::{Fsync, Valkey};
pub use wait::within;
