//! A command that takes one job after the other, between two of them: what is left of the last one, and a way to
//! have nothing of it run until the next. Only its own processes are looked at, not the machine's: this is done after
//! each job.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};

use super::processes;
use super::wire::Rested;

/// Who is at rest.
pub(crate) struct Resting {
    /// All of it, the launcher that accompanies it left out.
    members: Vec<i32>,
    /// Of them and the launcher, in clock ticks.
    ticks: u64,
}

impl Resting {
    /// As it is now. `launcher` is the first process of the command's namespace, if it has one.
    pub(crate) fn now(launcher: Option<Pid>) -> Self {
        let (mut members, mut at) = (vec![getpid().as_raw_nonzero().get()], 0);
        while let Some(process) = members.get(at) {
            // the launcher's children are in the order in which they became its own, and so is the command its first
            members.extend(children(*process));
            at += 1;
        }
        members.remove(0);
        let ticks = members.iter().filter_map(|id| processes::of(*id)).map(|process| process.ticks).sum();
        let launcher = launcher.map(|id| id.as_raw_nonzero().get());
        members.retain(|id| Some(*id) != launcher);
        Self { members, ticks }
    }

    /// What is there, and used. The largest resident set is that since the last call.
    pub(crate) fn account(&self) -> Rested {
        let main = self.members.first().copied().unwrap_or(0);
        let (peak_kib, resident_kib) = memory(main);
        // where it is not allowed the peak is that of all jobs before
        let _: std::io::Result<()> = fs::write(format!("/proc/{main}/clear_refs"), "5");
        let others = self.members.iter().skip(1).filter(|id| processes::of(**id).is_some_and(|p| !p.zombie));
        Rested { others: others.count() as u64, peak_kib, resident_kib }
    }

    /// The time that those have used who are not buried yet.
    pub(crate) fn cpu(&self) -> Duration {
        processes::time(self.ticks)
    }

    /// Stops it, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        for id in self.members.iter().filter_map(|id| Pid::from_raw(*id)) {
            // it may have ended
            let _ = kill_process(id, signal);
        }
    }
}

/// Of all its threads (proc_pid_task(5)).
fn children(process: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Its largest resident set, and that of now, in KiB (proc_pid_status(5)).
fn memory(process: i32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let of = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    };
    (of("VmHWM:").unwrap_or(0), of("VmRSS:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_job_has_left_is_seen_and_can_be_stopped() {
        let mut child = Command::new("/bin/sh");
        child.args(["-c", "sleep 60 & echo; wait"]).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let id = child.id().cast_signed();
        // once it says so, its own child is there
        std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0; 8]).unwrap();
        let mut resting = Resting::now(None);
        // other tests have children, too
        resting
            .members
            .retain(|member| *member == id || processes::of(*member).is_some_and(|p| p.parent == id));
        let rested = resting.account();
        assert_eq!((resting.members[0], rested.others), (id, 1));
        assert!(rested.peak_kib >= rested.resident_kib && rested.resident_kib > 0, "{rested:?}");
        resting.signal(Signal::STOP);
        let stopped = nix::sys::wait::waitpid(
            nix::unistd::Pid::from_raw(id),
            Some(nix::sys::wait::WaitPidFlag::WUNTRACED),
        );
        assert!(matches!(stopped, Ok(nix::sys::wait::WaitStatus::Stopped(..))), "{stopped:?}");
        resting.signal(Signal::KILL);
        child.wait().unwrap();
    }
}
