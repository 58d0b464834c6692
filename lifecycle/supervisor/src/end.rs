//! Ends all that is left of a command, however many there are and whatever they do meanwhile.
//!
//! The supervisor is subreaper: every descendant, however it detached itself, becomes our child once its parent is
//! gone. So nothing is left as soon as we have no child.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};
use sandbox::Cgroup;

use super::processes;
use super::reap::{Reaped, Used, reap_next, reap_one};
use super::supervised::read_status;
use super::wire::Status;

/// Kills and buries until nobody is left; how `main` has ended, if it is one of those buried here. Its group takes
/// most of them in one call, of whom none escapes. In a control group nobody can start another meanwhile, and all
/// are found, whoever their parent is.
pub(crate) fn kill_all(main: Pid, cgroup: Option<&Cgroup>, used: &mut Used) -> Option<Status> {
    let mut dead = Dead { main, status: None, used };
    let _ = kill_process_group(main, Signal::KILL);
    if dead.bury_all() {
        return dead.status;
    }
    if let Some(cgroup) = cgroup {
        cgroup.refuse_processes();
    }
    loop {
        let children = kill_descendants(cgroup);
        // all of these have their SIGKILL, and nobody else can bury them: so many will end
        if !dead.bury(children) || dead.bury_all() {
            return dead.status;
        }
    }
}

struct Dead<'a> {
    main: Pid,
    status: Option<Status>,
    used: &'a mut Used,
}

impl Dead<'_> {
    /// Waits until so many more have ended; whether anybody is left.
    fn bury(&mut self, count: usize) -> bool {
        (0..count).all(|_| {
            let reaped = reap_next(self.used);
            self.note(reaped)
        })
    }

    /// Buries all who have ended; whether nobody is left.
    fn bury_all(&mut self) -> bool {
        loop {
            match reap_one(self.used) {
                Reaped::Living => return false,
                reaped => {
                    if !self.note(reaped) {
                        return true;
                    }
                }
            }
        }
    }

    /// Whether there was somebody.
    fn note(&mut self, reaped: Reaped) -> bool {
        if let Reaped::Ended(id, status) = reaped {
            if id == self.main {
                self.status = Some(read_status(status));
            }
            return true;
        }
        !matches!(reaped, Reaped::Nobody)
    }
}

/// Kills our descendants, and who has come meanwhile, until nobody new is there; how many are our children.
///
/// Nobody is buried before: a dead process counts until then, so that those who start others as fast as we kill
/// them run into their limit and stand still.
fn kill_descendants(cgroup: Option<&Cgroup>) -> usize {
    let mut known = BTreeSet::new();
    loop {
        let (before, children) = (known.len(), kill_round(&mut known));
        for member in cgroup.into_iter().flat_map(Cgroup::members) {
            kill(member);
        }
        if known.len() == before {
            return children;
        }
    }
}

/// Kills each descendant at the moment it is seen: an instant later it may have been replaced by another.
fn kill_round(known: &mut BTreeSet<i32>) -> usize {
    let (own, mut children) = (getpid().as_raw_nonzero().get(), 0);
    processes::under_us(|process| {
        known.insert(process.id);
        children += usize::from(process.parent == own);
        if !process.zombie {
            kill(process.id);
        }
        ControlFlow::Continue(())
    });
    children
}

fn kill(id: i32) {
    if let Some(id) = Pid::from_raw(id) {
        // it may have ended by itself
        let _ = kill_process(id, Signal::KILL);
    }
}
