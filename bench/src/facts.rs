//! What a figure means nothing without: the machine, the programs, the disk, and how busy it was before us.

use std::fs::{File, read_to_string};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use crate::install::versions;
use crate::stats::Spread;

/// Above this the run shares its cores with somebody.
const BUSY: f64 = 0.5;

/// Writes that are timed.
const SYNCS: usize = 200;

/// Above this the disk, or what is under it, is not a usual SSD or a cache.
const SLOW_SYNC_MS: f64 = 5.0;

/// The machine, before the load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Facts {
    /// Cores we may use.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// Name and version of each program.
    pub(crate) programs: Vec<(&'static str, String)>,
    /// Append 256 B + fdatasync, where the data are.
    pub(crate) fdatasync: Spread,
    /// Load average of the last minute.
    pub(crate) load: f64,
    /// Whether this program was compiled without optimisation.
    pub(crate) debug_build: bool,
}

impl Facts {
    /// Of this machine, and of the disk under `folder`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn gather(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            memory_mib: memory_mib(&read_to_string("/proc/meminfo").unwrap_or_default()),
            programs: versions(),
            fdatasync: fdatasync(folder).context("cannot measure the disk")?,
            load: load(&read_to_string("/proc/loadavg").unwrap_or_default()),
            debug_build: cfg!(debug_assertions),
        })
    }

    /// What speaks against the figures before there are any.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let load = format!("noise: the load average was {:.2} before the run", self.load);
        let sync = format!("a slow disk: fdatasync takes {:.1} ms", self.fdatasync.p50_ms);
        let debug = "not a release build: the figures are of unoptimised code".to_owned();
        let all = [
            (self.load > BUSY, load),
            (self.fdatasync.p50_ms > SLOW_SYNC_MS, sync),
            (self.debug_build, debug),
        ];
        all.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text).collect()
    }
}

fn fdatasync(folder: &Path) -> std::io::Result<Spread> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[b'.'; 256])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(Spread::of(times.into_iter().skip(SYNCS / 10).collect::<Vec<Duration>>()))
}

fn memory_mib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn load(loadavg: &str) -> f64 {
    loadavg.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(memory_mib("MemTotal:       24576000 kB\nMemFree: 1 kB\n"), 24_000);
        assert!((load("0.75 0.50 0.25 1/123 4567\n") - 0.75).abs() < f64::EPSILON);
        assert_eq!((memory_mib(""), load("")), (0, 0.0));
    }

    #[test]
    fn a_busy_machine_is_noise() {
        let mut facts = Facts::gather(&std::env::temp_dir()).unwrap();
        facts.load = 2.0;
        assert!(facts.warnings().iter().any(|warning| warning.starts_with("noise: ")));
    }
}
