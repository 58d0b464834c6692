//! Ends and buries all that a command left behind. The supervisor is subreaper, so every
//! descendant, however it detached itself, becomes our child once its parent is gone.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait};

/// One child that has ended, without waiting.
pub(super) enum Reaped {
    /// It has ended.
    Ended(Pid, WaitStatus),
    /// Children live, none has ended.
    Living,
    /// There are no children.
    Nobody,
}

/// Buries one child, if one has ended.
pub(super) fn reap_one() -> Reaped {
    reap(WaitOptions::NOHANG)
}

fn reap(options: WaitOptions) -> Reaped {
    loop {
        match wait(options) {
            Ok(Some((pid, status))) => return Reaped::Ended(pid, status),
            Ok(None) => return Reaped::Living,
            Err(Errno::INTR) => {}
            Err(_) => return Reaped::Nobody,
        }
    }
}

/// Kills until nobody is left. `group` is the main process's: it takes most of them in one call.
pub(super) fn kill_all(group: Pid) {
    loop {
        let _ = kill_process_group(group, Signal::KILL);
        if bury() {
            return;
        }
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        // each direct child has its SIGKILL now, so one of them ends; its own children become ours
        if let Reaped::Nobody = reap(WaitOptions::empty()) {
            return;
        }
    }
}

/// Buries all who have ended; whether nobody is left.
fn bury() -> bool {
    loop {
        match reap_one() {
            Reaped::Ended(..) => {}
            Reaped::Living => return false,
            Reaped::Nobody => return true,
        }
    }
}

/// Our direct children. From `/proc/*/stat`, because `/proc/self/task/*/children` is not in every kernel.
fn children() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| parent_of(*id) == Some(getpid().as_raw_nonzero().get()))
        .filter_map(Pid::from_raw)
        .collect()
}

fn parent_of(id: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    parent_in(&stat)
}

/// The fourth field; the second, a name in parentheses, may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_found_behind_any_name() {
        assert_eq!(parent_in("12 (a) b) 1 (c) S 34 12 12 0"), Some(34));
        assert_eq!(parent_in("12 bash"), None);
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(parent_in(&own), Some(std::os::unix::process::parent_id().cast_signed()));
    }
}
