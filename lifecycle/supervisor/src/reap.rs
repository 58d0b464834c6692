//! Ends and buries all that a command left behind. The supervisor is subreaper, so every
//! descendant, however it detached itself, becomes our child once its parent is gone.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};
use sandbox::Cgroup;
use wait4::try_wait4_pid;

use super::processes;

/// What the processes of one command used, added up as each is buried.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// The largest resident set of any one of them, in bytes.
    pub(crate) max_rss: u64,
    /// User and system time of all of them.
    pub(crate) cpu: Duration,
}

/// One child that has ended, without waiting.
pub(crate) enum Reaped {
    /// It has ended.
    Ended(Pid, ExitStatus),
    /// Children live, none has ended.
    Living,
    /// There are no children.
    Nobody,
}

/// Buries one child, if one has ended.
pub(crate) fn reap_one(used: &mut Used) -> Reaped {
    reap(WaitPidFlag::WNOHANG, used)
}

/// Who it is must be known before it is buried: only then can be asked for its use.
fn reap(options: WaitPidFlag, used: &mut Used) -> Reaped {
    loop {
        match waitid(Id::All, options | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::StillAlive) => return Reaped::Living,
            Ok(ended) => {
                if let Some(reaped) = ended.pid().and_then(|pid| bury(pid.as_raw(), used)) {
                    return reaped;
                }
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return Reaped::Nobody,
        }
    }
}

/// Buries one that has ended.
pub(crate) fn bury(pid: i32, used: &mut Used) -> Option<Reaped> {
    let ended = try_wait4_pid(pid.cast_unsigned()).ok().flatten()?;
    used.max_rss = used.max_rss.max(ended.rusage.maxrss);
    used.cpu += ended.rusage.utime + ended.rusage.stime;
    Some(Reaped::Ended(Pid::from_raw(pid)?, ended.status))
}

/// Kills until nobody is left. `group` is the main process's: it takes most of them in one call. In a control
/// group nobody can start another meanwhile, and all are found, whoever their parent is.
pub(crate) fn kill_all(group: Pid, cgroup: Option<&Cgroup>, used: &mut Used) {
    let _ = kill_process_group(group, Signal::KILL);
    if bury_all(used) {
        return;
    }
    if let Some(cgroup) = cgroup {
        cgroup.refuse_processes();
    }
    loop {
        let _ = kill_process_group(group, Signal::KILL);
        if bury_all(used) {
            return;
        }
        let members = cgroup.into_iter().flat_map(Cgroup::members).filter_map(Pid::from_raw);
        for process in children().into_iter().chain(members) {
            let _ = kill_process(process, Signal::KILL);
        }
        // each direct child has its SIGKILL now, so one of them ends; its own children become ours
        if let Reaped::Nobody = reap(WaitPidFlag::empty(), used) {
            return;
        }
    }
}

/// Ends all members of a control group, which are ours, and buries them.
pub(crate) fn kill_members(cgroup: &Cgroup) {
    let mut used = Used::default();
    loop {
        let members: Vec<Pid> = cgroup.members().into_iter().filter_map(Pid::from_raw).collect();
        for process in &members {
            let _ = kill_process(*process, Signal::KILL);
        }
        if members.is_empty() {
            return;
        }
        if let Reaped::Nobody = reap(WaitPidFlag::empty(), &mut used) {
            return;
        }
    }
}

/// Buries all who have ended; whether nobody is left.
fn bury_all(used: &mut Used) -> bool {
    loop {
        match reap_one(used) {
            Reaped::Ended(..) => {}
            Reaped::Living => return false,
            Reaped::Nobody => return true,
        }
    }
}

/// Our direct children. From `/proc/*/stat`, because `/proc/self/task/*/children` is not in every kernel.
fn children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().get();
    let ours = processes::all().filter(|process| process.parent == own);
    ours.filter_map(|process| Pid::from_raw(process.id)).collect()
}
