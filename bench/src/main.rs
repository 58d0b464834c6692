//! `make bench`: the product and the floor under it, measured in one run on this machine.
//!
//! The program is also the floor's gateway and worker, and the supervisor of everything it starts.

mod args;
mod backlog;
mod case;
mod facts;
mod floor;
mod http_client;
mod install;
mod launcher;
mod load;
mod overhead;
mod product;
mod queue;
mod report;
mod run;
mod sizes;
mod stats;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    // before any thread, any runtime and any reading of arguments
    lifecycle::supervisor::intercept();
    run::main()
}
