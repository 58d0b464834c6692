//! Buries those who have ended, and adds up what they used.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, Signal, kill_process};
use sandbox::Cgroup;
use wait4::try_wait4_pid;

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

/// Buries one child, and waits for its end.
pub(crate) fn reap_next(used: &mut Used) -> Reaped {
    reap(WaitPidFlag::empty(), used)
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
        if let Reaped::Nobody = reap_next(&mut used) {
            return;
        }
    }
}
