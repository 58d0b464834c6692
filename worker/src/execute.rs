//! Runs one script: a throw-away folder, a supervised process, its log, its bounds, its
//! result. Knows nothing of queues, leases or stores; those stand above [`Executor`].

mod bounded;
mod executor;
mod failure;
mod folder;
mod invocation;
mod kill;
mod limits;
mod lines;
mod log;
mod mask;
mod neighbourhood;
mod pads;
mod policy;
mod remove;
mod text;
mod trial;
mod watch;

pub(crate) use bounded::FileError;
pub use executor::{Config, Executor, Leftovers, Prepared, StartError};
pub use failure::JobError;
pub use folder::JobFolder;
pub use invocation::{Invocation, Limits, Outcome, Surroundings, Verdict};
pub use kill::{Kill, KillReason, KillSwitch};
pub use log::LogSink;
pub use neighbourhood::{Place, Surrounding};
pub use policy::{Isolation, NoIsolation};
