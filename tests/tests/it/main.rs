//! The whole system, in separate processes, as its users see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arguments;
mod bad_input;
mod connections;
mod consumers;
mod dead_letters;
mod deno_fetch;
mod durable;
mod endings;
mod failures;
mod faults;
mod gate;
mod handlers;
mod idempotency;
mod jobs;
mod pressure;
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
