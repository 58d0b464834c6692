//! The whole service over a real socket and a real nats-server, under the permissions
//! of an installation.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod access;
mod away;
mod first_start;
mod jobs;
#[path = "../../../catalog/tests/it/nats.rs"]
mod nats;
mod retention;
mod tokens;
mod trail;
mod workspaces;
mod world;
