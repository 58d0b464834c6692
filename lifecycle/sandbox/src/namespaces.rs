//! A view of the machine of one's own: users, processes, mounts, IPC objects and host name.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::capabilities::keep_over_exec;
use crate::identity::{hide, show};

/// What the command is told the machine is called.
const HOST_NAME: &str = "job";

/// The next process we start is the first of a process namespace. Only root may have that just so;
/// anybody else needs a user namespace first, in which that process keeps the right to mount.
pub(crate) fn outer(root: bool) -> io::Result<()> {
    if root {
        return unshare(CloneFlags::CLONE_NEWPID).map_err(Into::into);
    }
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
