//! The steps in their order. Which of them are left out depends on the level alone.

use std::fs;
use std::io;

use nix::sched::CloneFlags;
use rustix::process::{getpriority_process, setpriority_process};

use crate::confinement::{Confinement, Grant};
use crate::level::Level;
use crate::limits::Counted;
use crate::link::{self, Ends};
use crate::network::Network;
use crate::{capabilities, filesystem, identity, mounts, namespaces, network, syscalls};

/// A step that could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct Failed {
    step: &'static str,
    reason: String,
}

/// The last place, by niceness.
const LAST: i32 = 19;

trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, Failed>;
}

impl<T, E: std::fmt::Display> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, Failed> {
        self.map_err(|error| Failed { step, reason: error.to_string() })
    }
}

/// With namespaces, where commands have a user of their own: starts the process that does the rest, by `start`. It
/// is the first of its process namespace.
///
/// # Errors
/// The system does not allow it, or it cannot be started.
pub fn apart<T>(start: impl FnOnce() -> io::Result<T>) -> Result<T, Failed> {
    namespaces::apart(start).step("a process namespace")
}

/// With namespaces, where commands have our user: done by the process that starts the one that does the rest, which
/// is the first of its process namespace.
///
/// # Errors
/// The system does not allow it.
pub fn outside() -> Result<(), Failed> {
    namespaces::outer().step("a process namespace")
}

/// All that can be done before the command is known; what leads out of its network if it has one of its own.
///
/// # Errors
/// One of the steps is not allowed here, or root would stay root.
pub fn before(wanted: &Confinement) -> Result<Option<Ends>, Failed> {
    if wanted.user.is_none() && nix::unistd::geteuid().is_root() {
        return Err("a command must not run as root").step("user");
    }
    let aside = Aside::step();
    wanted.cgroup.enter().step("cgroup")?;
    prefer_for_oom();
    let namespaces = wanted.level == Level::Namespaces;
    let mut ends = None;
    if namespaces {
        namespaces::inner().step("namespaces")?;
        ends = wanted.own_network().map(link::make).transpose().step("a network")?;
        mounts::build(wanted).step("mounts")?;
    }
    // root's right to it goes with root
    drop(aside);
    if let Some(user) = wanted.user {
        identity::become_user(user).step("user")?;
        if namespaces {
            namespaces::own_users(CloneFlags::empty()).step("a user namespace")?;
        }
    }
    if !namespaces {
        // a rule for what cannot be reached would be passed over in silence
        fs::read_dir(&wanted.folder).step("the folder, as its user")?;
    }
    capabilities::drop_all().step("capabilities")?;
    rustix::thread::set_no_new_privs(true).step("no_new_privs")?;
    identity::hide().step("dumpable")?;
    if wanted.level >= Level::Landlock {
        filesystem::restrict(wanted).step("landlock")?;
        if wanted.network == Network::Internet && ends.is_none() {
            network::only_ports(&wanted.ports).step("network")?;
        }
        syscalls::filter(wanted.level, wanted.network).step("seccomp")?;
    }
    Ok(ends)
}

/// What depends on the command; the last thing before it starts.
///
/// # Errors
/// One of the steps is not allowed here, or the level cannot keep what is granted.
pub fn for_command(wanted: &Confinement, granted: &Grant) -> Result<(), Failed> {
    granted.limits.apply(counted(wanted, granted), granted.lasting).step("limits")?;
    match (granted.network, wanted.level) {
        (granted, _) if granted > wanted.network => {
            Err(format!("{granted} is wider than {}", wanted.network)).step("network")
        }
        (Network::None, Level::Process) => {
            Err("the level process cannot take the network away").step("network")
        }
        (_, Level::Process) => Ok(()),
        (granted, _) if granted == wanted.network => Ok(()),
        (Network::Internet, _) => network::only_ports(&wanted.ports)
            .step("network")
            .and_then(|()| syscalls::filter_sockets(Network::Internet).step("seccomp")),
        (granted, _) => syscalls::filter_sockets(granted).step("seccomp"),
    }
}

fn counted(wanted: &Confinement, granted: &Grant) -> Counted {
    let apart = wanted.user.is_some() || wanted.level == Level::Namespaces;
    if wanted.cgroup.processes_limit.is_some() {
        Counted::Elsewhere
    } else if apart {
        Counted::Alone
    } else {
        Counted::WithOthers(granted.neighbours)
    }
}

/// While a launcher is made ready ahead of its job, whoever has a job goes first.
struct Aside {
    place: i32,
}

impl Aside {
    /// `None` for who could not take its place again: whoever may not take the one before either.
    fn step() -> Option<Self> {
        let place = getpriority_process(None).ok()?;
        setpriority_process(None, place - 1).ok()?;
        setpriority_process(None, LAST).ok()?;
        Some(Self { place })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = setpriority_process(None, self.place);
    }
}

/// When memory runs out a command goes first, not its worker.
fn prefer_for_oom() {
    // raising it needs no right; a system that has no such file has no such order
    let _: io::Result<()> = fs::write("/proc/self/oom_score_adj", "1000");
}
