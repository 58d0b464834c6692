//! What each process of an installation has in memory.

use anyhow::Context;
use serde::Serialize;

use crate::install::Install;

/// A process, by its name, and the MiB that are its own in memory.
pub(super) type Resident = (&'static str, f64);

/// One process with an empty and with a full queue.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemoryReport {
    /// Its program.
    pub(crate) process: &'static str,
    /// Resident MiB with nothing queued.
    pub(crate) empty_mib: f64,
    /// Resident MiB with the backlog queued.
    pub(crate) full_mib: f64,
}

/// Of every process that runs now.
///
/// # Errors
/// One has ended.
pub(super) async fn of(install: &mut Install) -> anyhow::Result<Vec<Resident>> {
    let processes = install.processes().await?;
    processes.into_iter().map(|(name, pid)| Ok((name, resident(pid).context(name)?))).collect()
}

/// The same processes at two moments.
pub(super) fn beside(before: Vec<Resident>, after: Vec<Resident>) -> Vec<MemoryReport> {
    let pairs = before.into_iter().zip(after);
    pairs.map(|((process, empty_mib), (_, full_mib))| MemoryReport { process, empty_mib, full_mib }).collect()
}

fn resident(pid: i32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    mib(&status).context("no VmRSS in its status")
}

fn mib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_size_is_read() {
        assert_eq!(mib("Name:\tx\nVmPeak:\t  9 kB\nVmRSS:\t   2048 kB\n"), Some(2.0));
        assert_eq!(mib("Name:\tx\n"), None);
        assert!(resident(i32::try_from(std::process::id()).unwrap()).unwrap() > 0.5);
    }
}
