//! A whole system for tests: nats-server, Valkey, auth-service, gateways and workers as
//! processes of their own, on free ports and throw-away data, made and configured by the same
//! code as `hookmill up`. Everything here panics with what went wrong: a test without its
//! system has failed.
//!
//! ```text
//! let system = System::start().gateways(2).workers(2).slots(2).lease("2s").await;
//! system.client().deploy("f/a/b", "bash", "echo 1").await;
//! system.worker(0).kill();
//! ```

mod answer;
mod builder;
mod calling;
pub mod chaos;
mod client;
mod data_server;
mod disk;
mod hub;
mod job_processes;
mod link;
mod links;
mod people;
mod process;
mod programs;
pub mod recovery;
mod request;
mod service;
mod system;
pub mod trace;
mod waiting;

pub use answer::Answer;
pub use builder::Start;
pub use client::Client;
pub use data_server::DataServer;
pub use disk::Disk;
pub use hub::Hub;
pub use job_processes::{job_name, lives, processes_of};
pub use link::{Flow, Link, Trap, Way};
pub use links::Peer;
pub use process::Process;
pub use programs::ours as program;
pub use request::Request;
pub use service::Service;
pub use system::System;
pub use waiting::{eventually, within};
