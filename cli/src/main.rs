//! The program's door: a supervisor of one command when started as one, else the verb asked for.

use std::process::ExitCode;

fn main() -> ExitCode {
    // before any thread, any runtime and any reading of arguments
    lifecycle::supervisor::intercept();
    hookmill::main()
}
