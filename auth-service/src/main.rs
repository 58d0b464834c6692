//! The program `auth-service`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let service = lifecycle::Service {
        name: "auth-service",
        about: "who are you: identities, tokens and job tokens over gRPC",
        version: env!("CARGO_PKG_VERSION"),
    };
    lifecycle::main(&service, auth_service::run)
}
