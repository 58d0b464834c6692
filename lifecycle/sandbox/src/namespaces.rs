//! A view of the machine of one's own: users, processes, mounts, IPC objects and host name.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use crate::capabilities::keep_over_exec;
use crate::identity::{hide, show};

/// What the command is told the machine is called.
const HOST_NAME: &str = "job";

/// What `start` starts is the first of a process namespace; whoever we start afterwards is not in it. Needs root's
/// rights.
pub(crate) fn apart<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let ours = fs::File::open("/proc/thread-self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let started = start();
    setns(ours, CloneFlags::CLONE_NEWPID)?;
    started
}

/// The next process we start is the first of a process namespace, and keeps the right to mount. For who is not
/// root: it takes a user namespace, which is not left again.
pub(crate) fn outer() -> io::Result<()> {
    own_users(CloneFlags::CLONE_NEWPID)?;
    keep_over_exec().map_err(Into::into)
}

/// In that process: everything but the users.
pub(crate) fn inner() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)?;
    nix::unistd::sethostname(HOST_NAME).map_err(Into::into)
}

/// A user namespace in which we are who we were, and nobody else is anybody.
pub(crate) fn own_users(and: CloneFlags) -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    // the files below are root's while we may not be looked into
    show()?;
    unshare(CloneFlags::CLONE_NEWUSER | and)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    hide()
}
