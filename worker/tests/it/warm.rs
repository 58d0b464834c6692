//! Processes that take one job after the other: what one job changes is not there for the next, and nobody gets
//! another's process.

mod pool;
mod state;

use proto::IsolationMode;
use proto::Language::Python3;
use worker::execute::Origin;

use super::bench::{Bench, Call, Ran, invocation};

/// A job of one script and one identity.
fn job(script: &str, args: &str, mode: IsolationMode) -> Call {
    invocation(Python3, script, args).of("u/alice", mode)
}

async fn warm(bench: &Bench, script: &str, args: &str) -> Ran {
    bench.invoke(job(script, args, IsolationMode::Warm)).await
}

fn origin(ran: &Ran) -> Origin {
    ran.outcome.start.expect("it ran").origin
}
