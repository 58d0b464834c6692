//! Runs user code. [`run`] pulls jobs as slots become free; [`execute`] runs one script in
//! a supervised process; [`runtime`] knows the languages. A worker holds no instance key
//! and publishes only what its NATS user may.

mod attempt;
mod config;
mod environment;
pub mod execute;
mod job_token;
mod keeper;
mod log_sink;
mod patience;
pub mod runtime;
mod serve;
mod watchlist;

pub use config::Config;
pub use serve::run;
