//! The whole system, in separate processes, as its users see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arguments;
mod bad_input;
mod dead_letters;
mod deno_fetch;
mod endings;
mod faults;
mod gate;
mod idempotency;
mod jobs;
mod python_client;
mod queue;
mod retention;
mod retries;
mod sandbox;
mod scheduled;
mod schedules;
mod scripts;
mod secrets;
mod ticks;
mod tokens;
mod up;
mod webhooks;
mod worker_memory;
