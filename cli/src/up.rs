//! `hookmill up`: everything on one machine. What makes credentials, configurations and servers is
//! public, so that the system tests and the benchmark run the same ones with the services as
//! processes of their own.

pub(crate) mod admin;
mod args;
pub mod credentials;
pub mod data_folder;
pub mod env_file;
mod example;
pub mod keep_running;
pub mod leftovers;
mod log_file;
pub mod nats;
pub mod private_file;
mod probe;
pub mod profile;
mod run;
mod screen;
pub mod server;
pub mod servers;
pub mod service_settings;
mod services;
pub mod tools;
pub mod valkey;

pub use args::UpArgs;
pub(crate) use run::main;
