//! The `hookmill` program: one machine's whole installation with `up`, and a client of any installation
//! with the other verbs, which speak HTTP only.

pub mod api;
pub mod args;
pub mod consumers;
pub mod failure;
pub mod output;
pub mod provision;
pub mod render;
mod run;
pub mod script_file;
pub mod up;
pub mod verbs;

pub use run::main;
