//! The worker with one bug planted, under a name of its own: what everybody runs never has the
//! feature.

use std::process::ExitCode;

fn main() -> ExitCode {
    lifecycle::supervisor::intercept();
    let service = lifecycle::Service {
        name: "worker",
        about: "a worker with a bug, for the test that the chaos suite finds it",
        version: env!("CARGO_PKG_VERSION"),
    };
    lifecycle::main(&service, worker::run)
}
