//! HTTP in: webhooks and the REST API of the contract. Stateless: definitions come from
//! watched tables, jobs go to the stream, ends come back on one completion subject, and
//! everything else is read from Redis. It never sees the worker.

mod answer;
mod app;
mod auth;
mod config;
mod connection;
mod dead_letter;
mod error;
mod idempotency;
mod job_id;
mod middleware;
mod openapi;
mod present;
mod request;
mod retention;
mod router;
mod routes;
mod schedule;
mod serve;
mod sweep;
mod ticks;
mod trigger;

pub use config::Config;
pub use openapi::document;
pub use serve::{run, run_on};
