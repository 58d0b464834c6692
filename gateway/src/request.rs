//! What a webhook's request says: its run parameters and its arguments.

mod args;
mod body;
mod params;
mod references;

pub(crate) use args::build;
pub(crate) use body::read;
pub(crate) use params::{RunParams, Wait};
pub(crate) use references::refuse as refuse_references;
