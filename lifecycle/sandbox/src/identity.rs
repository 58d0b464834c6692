//! Who a command runs as.

use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use serde::{Deserialize, Serialize};

/// A user that has nothing else on this machine; its group has the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct User(pub u32);

/// Becomes the user, for good: all capabilities of root go with it.
pub(crate) fn become_user(User(id): User) -> io::Result<()> {
    let (group, user) = (Gid::from_raw(id), Uid::from_raw(id));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    Ok(())
}

/// Neither a debugger nor a reader of `/proc/<id>/mem` of the same user; no core file either.
pub(crate) fn hide() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Into::into)
}

/// For the moment in which files of our own in `/proc` must belong to us.
pub(crate) fn show() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Into::into)
}
