//! The gateway as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    let service = lifecycle::Service {
        name: "gateway",
        about: "HTTP in: webhooks and the REST API",
        version: env!("CARGO_PKG_VERSION"),
    };
    lifecycle::main(&service, gateway::run)
}
