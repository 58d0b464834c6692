//! What stands between a command and the machine: its own user, Landlock, seccomp, namespaces,
//! limits. A launcher (the `supervisor` crate) takes these steps in a process of its own, before it
//! becomes or starts the command; the host decides what they are, as a [`Confinement`] before the
//! command is known and a [`Grant`] for the one command.
//!
//! Each step is a function that either holds for the rest of the process's life, and for all
//! that it starts, or fails with a text that names it. Nothing is done by halves: a step that
//! fails ends the launcher.

mod bpf;
mod capabilities;
mod cgroup;
mod cgroups;
mod confinement;
mod filesystem;
mod identity;
mod level;
mod limits;
mod link;
mod mounts;
mod namespaces;
mod netlink;
mod network;
mod source;
mod steps;
mod syscalls;
mod tasks;
mod users;

pub use cgroup::{Cgroup, Cpu};
pub use cgroups::{Cgroups, Group};
pub use confinement::{Confinement, Grant};
pub use identity::User;
pub use level::{Level, UnknownLevel};
pub use limits::Limits;
pub use link::{Ends, Link};
pub use mounts::{SEEN_FOLDER, SEEN_TMP};
pub use network::{Network, UnknownNetwork};
pub use source::{SOURCE, fnv1a};
pub use steps::{Failed, apart, before, for_command, outside};
pub use users::{Lease, NoUsers, Users};
