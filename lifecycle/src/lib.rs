//! How any process of ours starts, is watched and stops: configuration, telemetry, readiness, orderly
//! shutdown and the admin port. There are no domain words here; a service calls [`main`] and gets its typed
//! configuration and a [`Process`].

pub mod admin;
mod allocator;
pub mod config;
pub mod listen;
mod process;
mod readiness;
mod service;
mod shutdown;
mod start;
pub mod supervisor;
pub mod telemetry;
pub mod trace_context;

pub use config::{FromValues, HumanDuration, HumanSize, Secret, Sources, Values};
pub use listen::bind;
pub use process::{Process, StopReason};
pub use readiness::{Latch, Readiness};
pub use service::Service;
pub use shutdown::{Shutdown, StopTiming};
pub use start::{ProcessConfig, main, run_process};
pub use telemetry::{current_trace_context, current_traceparent, set_parent};
