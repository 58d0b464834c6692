//! The processes of this machine, as `/proc` shows them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// Rounds of killing in which nobody new may appear before we give up: each is some milliseconds.
const ROUNDS: u32 = 100;

/// More than `/proc/<id>/stat` ever has: a name of 64 bytes and 51 numbers.
const STAT: usize = 2048;

/// What `/proc/<id>/stat` says of one process (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: i32,
    pub(crate) zombie: bool,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// User and system time, its own and that of children it has waited for, in clock ticks.
    pub(crate) ticks: u64,
    pub(crate) threads: u64,
    /// Resident pages.
    pub(crate) pages: u64,
}

/// What all our descendants use at this moment.
#[derive(Debug, Default)]
pub(crate) struct Use {
    pub(crate) ids: Vec<i32>,
    pub(crate) tasks: u64,
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) cpu: Duration,
}

/// All that can be seen at this moment.
pub(crate) fn all() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| of(entry.file_name().to_str()?.parse().ok()?))
}

/// In one read: of thousands, under a storm, each call counts.
pub(crate) fn of(id: i32) -> Option<Process> {
    let mut text = [0; STAT];
    let length = File::open(format!("/proc/{id}/stat")).ok()?.read(&mut text).ok()?;
    parse(id, &String::from_utf8_lossy(&text[..length]))
}

/// Processes and threads of the whole machine: the fourth field of one short file, `running/all` (proc_loadavg(5)).
pub(crate) fn tasks_of_all() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// The second field, a name in parentheses, may hold anything.
fn parse(id: i32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // utime, stime, cutime and cstime are fields 14 to 17, num_threads is 20, rss 24
    let mut numbers = fields.skip(7).map(|field| field.parse().unwrap_or(0));
    let mut next = |skipped: usize| numbers.nth(skipped).unwrap_or(0);
    let ticks = next(0) + next(0) + next(0) + next(0);
    Some(Process { id, zombie, parent, session, ticks, threads: next(2), pages: next(3) })
}

/// Shows `see` our children, theirs, and so on, each as soon as it is found, until it has seen enough.
pub(crate) fn under_us(mut see: impl FnMut(&Process) -> ControlFlow<()>) {
    let (mut ours, mut others) = (BTreeSet::from([getpid().as_raw_nonzero().get()]), Vec::new());
    let mut take = |process: &Process| {
        let is_ours = ours.contains(&process.parent);
        if is_ours {
            ours.insert(process.id);
        }
        (is_ours, if is_ours { see(process) } else { ControlFlow::Continue(()) })
    };
    for process in all() {
        match take(&process) {
            (_, ControlFlow::Break(())) => return,
            (true, _) => {}
            (false, _) => others.push(process),
        }
    }
    // ids begin again at the lowest, so that a child may have come before its parent
    loop {
        let (before, mut enough) = (others.len(), false);
        others.retain(|process| {
            let (is_ours, flow) = take(process);
            enough |= flow.is_break();
            !is_ours
        });
        if enough || others.len() == before {
            return;
        }
    }
}

impl Use {
    /// At this moment; of more than `most_tasks` it is just known that there are more.
    pub(crate) fn now(most_tasks: u64) -> Self {
        let (mut used, mut ticks, mut pages) = (Self::default(), 0, 0);
        under_us(|process| {
            used.ids.push(process.id);
            used.tasks += if process.zombie { 0 } else { process.threads };
            (ticks, pages) = (ticks + process.ticks, pages + process.pages);
            if used.tasks > most_tasks { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        used.memory = pages * u64::try_from(page_size()).unwrap_or(4096);
        used.cpu = time(ticks);
        used
    }
}

/// So many clock ticks.
pub(crate) fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / clock_ticks_per_second().max(1))
}

/// Bytes of memory of these processes, what several of them share being counted once (`Pss`, proc_pid_smaps(5)).
pub(crate) fn proportional(ids: &[i32]) -> u64 {
    let shared = |id: &i32| {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    // who does not let itself be asked counts with all it has
    let whole = |id: &i32| Some(of(*id)?.pages * u64::try_from(page_size()).unwrap_or(4096));
    ids.iter().filter_map(|id| shared(id).map(|kib| kib * 1024).or_else(|| whole(id))).sum()
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
        let stat = "12 (a) b) 1 (c) Z 34 56 78 0 -1 4194304 9 9 9 9 10 20 30 40 20 0 5 0 99 1000 77 0";
        let found = parse(12, stat).unwrap();
        let expected =
            Process { id: 12, zombie: true, parent: 34, session: 78, ticks: 100, threads: 5, pages: 77 };
        assert_eq!(found, expected);
        assert_eq!(parse(12, "12 bash"), None);
        let own = std::process::id().cast_signed();
        let own = all().find(|process| process.id == own).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id().cast_signed());
        // 0 where the session was made outside this process's namespace, which rustix will not say
        let session = nix::unistd::getsid(None).unwrap().as_raw();
        assert_eq!((own.zombie, own.session), (false, session));
    }
}
