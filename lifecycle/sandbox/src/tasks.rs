//! How many processes and threads the kernel counts for our user. It tells nobody, and `/proc` does not show
//! all of them: processes of other containers that go by the same number count, too. But it refuses one more
//! when a limit is reached, so the count is found by trying limits.

use std::io;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The first limit that is tried; the others are multiples of a part of it.
const FIRST: u64 = 64;

/// The count found is at most this part of it too high, or this part of [`FIRST`].
const TOLERANCE: u64 = 16;

/// A thread that does nothing needs no more, in bytes.
const STACK: usize = 16 * 1024;

/// Sets what we and whoever we start may have for good: what there is now, all of our user's, and `more`.
/// `reserve` of what our user may have is left to others in any case. For a process without other threads.
pub(crate) fn limit_to_more(more: u64, reserve: u64) -> io::Result<()> {
    let most = getrlimit(Resource::Nproc).maximum.unwrap_or(u64::MAX);
    let limit = least_with_room(most)?.saturating_add(more).min(most.saturating_sub(reserve));
    set(limit, limit)
}

/// The least limit that lets us start one more, roughly; `most` if none does.
fn least_with_room(most: u64) -> io::Result<u64> {
    let (mut too_low, mut enough) = (0, FIRST.min(most));
    while !has_room(enough, most)? {
        if enough == most {
            return Ok(most);
        }
        (too_low, enough) = (enough, enough.saturating_mul(2).min(most));
    }
    while enough - too_low > enough.max(FIRST) / TOLERANCE {
        let between = u64::midpoint(too_low, enough);
        if has_room(between, most)? {
            enough = between;
        } else {
            too_low = between;
        }
    }
    Ok(enough)
}

/// Whether a limit lets us start one more. One that has just ended may still be counted.
fn has_room(limit: u64, most: u64) -> io::Result<bool> {
    set(limit, most)?;
    match thread::Builder::new().stack_size(STACK).spawn(|| ()) {
        Ok(started) => Ok(started.join().is_ok()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// The kernel's largest number means no limit.
fn set(current: u64, maximum: u64) -> io::Result<()> {
    let limited = |value: u64| (value != u64::MAX).then_some(value);
    setrlimit(Resource::Nproc, Rlimit { current: limited(current), maximum: limited(maximum) })
        .map_err(Into::into)
}
