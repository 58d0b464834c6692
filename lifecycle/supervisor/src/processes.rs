//! The processes of this machine, as `/proc` shows them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Rounds of killing in which nobody new may appear before we give up: each is some milliseconds.
const ROUNDS: u32 = 100;

/// What `/proc/<id>/stat` says of one process (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: i32,
    pub(crate) zombie: bool,
    pub(crate) parent: i32,
    pub(crate) session: i32,
}

/// All that can be seen at this moment.
pub(crate) fn all() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| parse(id, &fs::read_to_string(format!("/proc/{id}/stat")).ok()?))
}

/// The second field, a name in parentheses, may hold anything.
fn parse(id: i32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process { id, zombie, parent, session })
}

/// Kills whoever lives in the session of a supervisor that was killed itself: what its command
/// left, but for what has made a session of its own. The best left to its host, to whom none of
/// them is a child. The supervisor must not have been waited for: its number is still its own.
pub fn kill_session(supervisor: u32) {
    for _ in 0..ROUNDS {
        let living = all().filter(|process| {
            process.session.cast_unsigned() == supervisor && !process.zombie && process.id != process.session
        });
        let killed = living.filter_map(|process| Pid::from_raw(process.id)).map(|id| {
            let _ = kill_process(id, Signal::KILL);
        });
        if killed.count() == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let found = parse(12, "12 (a) b) 1 (c) Z 34 56 78 12").unwrap();
        assert_eq!(found, Process { id: 12, zombie: true, parent: 34, session: 78 });
        assert_eq!(parse(12, "12 bash"), None);
        let own = std::process::id().cast_signed();
        let own = all().find(|process| process.id == own).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id().cast_signed());
        // 0 where the session was made outside this process's namespace, which rustix will not say
        let session = nix::unistd::getsid(None).unwrap().as_raw();
        assert_eq!((own.zombie, own.session), (false, session));
    }
}
