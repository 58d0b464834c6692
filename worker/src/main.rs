//! The worker as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    lifecycle::supervisor::intercept();
    let service = lifecycle::Service {
        name: "worker",
        about: "runs scripts: pulls jobs as slots become free",
        version: env!("CARGO_PKG_VERSION"),
    };
    lifecycle::main(&service, worker::run)
}
