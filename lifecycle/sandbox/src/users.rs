//! Users for commands: numbers that nobody else on this machine goes by.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::identity::User;

/// Where they are taken from: systemd's table of numbers leaves this range to nobody
/// (<https://systemd.io/UIDS-GIDS/>); in a user namespace with 65,536 users there is less to choose from.
const RANGES: [std::ops::Range<u32>; 2] = [0x7000_0000..0x7fff_0000, 20_000..60_000];

/// A block has this many users.
const BLOCK: u32 = 1024;

/// A stock of users. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Users {
    stock: Arc<Mutex<Stock>>,
}

#[derive(Debug)]
struct Stock {
    /// Nobody has ever had these, or nobody has them any more.
    free: BTreeSet<User>,
    /// Given back. A supervisor that was killed itself may have left somebody who still goes by one.
    back: BTreeSet<User>,
}

impl Stock {
    /// One that no process has. Those given back are looked at only when there is no other.
    fn take(&mut self) -> Option<User> {
        if self.free.is_empty() && !self.back.is_empty() {
            let taken = in_use();
            self.free = self.back.extract_if(.., |User(id)| !taken.contains(id)).collect();
        }
        self.free.pop_first()
    }
}

/// Why there are no users.
#[derive(Debug, thiserror::Error)]
pub enum NoUsers {
    /// The system does not say which there are.
    #[error("/proc/self/uid_map: {0}")]
    Map(#[from] io::Error),
    /// None of the ranges is mapped into our user namespace.
    #[error("this user namespace has none of the users 1879048192 to 2147418111 and 20000 to 59999")]
    Unmapped,
    /// All are somebody's.
    #[error("all users are in use")]
    Exhausted,
}

impl Users {
    /// A block that no process of this machine, as far as we see, has a user of. `seed` chooses among
    /// them: workers that cannot see each other had better not choose the same.
    ///
    /// # Errors
    /// There is none.
    pub fn claim(seed: u32) -> Result<Self, NoUsers> {
        let map = fs::read_to_string("/proc/self/uid_map")?;
        let range = RANGES.into_iter().find(|range| maps(&map, range)).ok_or(NoUsers::Unmapped)?;
        let (blocks, taken) = ((range.end - range.start) / BLOCK, in_use());
        let found = (0..blocks)
            .map(|step| range.start + (seed.wrapping_add(step) % blocks) * BLOCK)
            .find(|start| taken.range(*start..start + BLOCK).next().is_none());
        let start = found.ok_or(NoUsers::Exhausted)?;
        let stock = Stock { free: (start..start + BLOCK).map(User).collect(), back: BTreeSet::new() };
        Ok(Self { stock: Arc::new(Mutex::new(stock)) })
    }

    /// One that nobody has.
    ///
    /// # Errors
    /// All are out.
    pub fn take(&self) -> Result<Lease, NoUsers> {
        let user = self.stock.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Lease { user: user.ok_or(NoUsers::Exhausted)?, stock: Arc::clone(&self.stock) })
    }
}

/// A user that is nobody else's until this is dropped: when no file of it is left. It is nobody's after that either,
/// for as long as a process has it.
#[derive(Debug)]
pub struct Lease {
    user: User,
    stock: Arc<Mutex<Stock>>,
}

impl Lease {
    /// Which one.
    pub fn user(&self) -> User {
        self.user
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner).back.insert(self.user);
    }
}

/// Whether all of `range` is there, by the lines `inside outside count` of a map.
fn maps(map: &str, range: &std::ops::Range<u32>) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().filter_map(|field| field.parse::<u64>().ok());
        let (Some(inside), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        inside <= u64::from(range.start) && u64::from(range.end) <= inside + count
    })
}

/// Users of the processes that can be seen, each by all its four (proc_pid_status(5)). Who owns their folders says
/// less: one that does not let itself be looked into has root's.
fn in_use() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    texts.flat_map(|text| users(&text)).collect()
}

fn users(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn maps_of_a_whole_machine_and_of_a_pod() {
        let [far, near] = RANGES;
        let (machine, pod) = ("         0          0 4294967295\n", "0 100000 65536\n");
        assert!(maps(machine, &far) && maps(machine, &near));
        assert!(!maps(pod, &far) && maps(pod, &near));
        assert!(!maps("1000 1000 1\n", &near) && !maps("", &near));
    }

    #[test]
    fn nobody_has_two_and_what_comes_back_is_used_again() {
        let users = Users::claim(7).unwrap();
        let mut all: Vec<Lease> = (0..BLOCK).map(|_| users.take().unwrap()).collect();
        assert_eq!(all.iter().map(Lease::user).collect::<BTreeSet<_>>().len(), BLOCK as usize);
        assert!(matches!(users.take(), Err(NoUsers::Exhausted)));
        let back = all.pop().unwrap().user();
        assert_eq!(users.take().unwrap().user(), back);
    }

    #[test]
    fn one_that_a_process_still_has_is_nobody_elses() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let users = Users::claim(11).unwrap();
        let mut all: Vec<Lease> = (0..BLOCK).map(|_| users.take().unwrap()).collect();
        let User(id) = all.last().unwrap().user();
        let left = Command::new("/bin/cat").uid(id).gid(id).stdin(Stdio::piped()).spawn();
        let mut left = left.unwrap();
        drop(all.pop());
        assert!(matches!(users.take(), Err(NoUsers::Exhausted)));
        drop(left.stdin.take());
        left.wait().unwrap();
        assert_eq!(users.take().unwrap().user(), User(id));
    }

    #[test]
    fn all_users_of_a_process_count() {
        assert_eq!(users("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\n"), [1, 2, 3, 4]);
        assert!(users("").is_empty() && in_use().contains(&nix::unistd::getuid().as_raw()));
    }
}
