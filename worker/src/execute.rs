//! Runs one script: a throw-away folder, a supervised process, its log, its bounds, its
//! result. Knows nothing of queues, leases or stores; those stand above [`Executor`].

mod bounded;
mod by_command;
mod by_session;
mod executor;
mod failure;
mod folder;
mod invocation;
mod kill;
mod limits;
mod lines;
mod log;
mod mask;
mod mode;
mod neighbourhood;
mod pads;
mod policy;
mod pool;
mod remove;
mod session;
mod text;
mod trial;
mod verdict;
mod watch;

pub(crate) use bounded::FileError;
pub use executor::{Config, Executor, Leftovers, Prepared, StartError};
pub use failure::JobError;
pub use folder::JobFolder;
pub use invocation::{Invocation, Limits, Outcome, Surroundings, Verdict};
pub use kill::{Kill, KillReason, KillSwitch};
pub use log::LogSink;
pub use mode::{Origin, Owner, Start};
pub use neighbourhood::{Place, Surrounding};
pub use policy::{Isolation, NoIsolation};
pub use pool::Bounds;
