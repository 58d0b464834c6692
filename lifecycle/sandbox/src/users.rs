//! Users for commands: numbers that nobody else on this machine goes by.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
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
    free: Arc<Mutex<BTreeSet<User>>>,
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
        Ok(Self { free: Arc::new(Mutex::new((start..start + BLOCK).map(User).collect())) })
    }

    /// One that nobody has.
    ///
    /// # Errors
    /// All are out.
    pub fn take(&self) -> Result<Lease, NoUsers> {
        let user = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
        Ok(Lease { user: user.ok_or(NoUsers::Exhausted)?, free: Arc::clone(&self.free) })
    }
}

/// A user that is nobody else's until this is dropped: when no process and no file of it is left.
#[derive(Debug)]
pub struct Lease {
    user: User,
    free: Arc<Mutex<BTreeSet<User>>>,
}

impl Lease {
    /// Which one.
    pub fn user(&self) -> User {
        self.user
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).insert(self.user);
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

/// Users of the processes that can be seen.
fn in_use() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok().map(|about| about.uid())).collect()
}

#[cfg(test)]
mod tests {
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
}
