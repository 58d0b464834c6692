//! A supervisor and nothing else. Whoever starts it by hand is told so.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    supervisor::intercept();
    let text = "hookmill-supervisor is started by a worker or by `hookmill up`, beside which it lies, for every command they run";
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(2)
}
