//! The processes of a job, as the machine sees them: inside a sandbox they have other numbers.

use std::collections::BTreeSet;
use std::fs;

/// Processes that were started with the environment of this job, or that have called themselves after it
/// ([`job_name`]), as a script in a process that was there before it must.
pub fn processes_of(job: &str) -> Vec<i32> {
    let name = job_name(job);
    let called =
        |id: i32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| comm.trim() == name);
    living().filter(|id| job_of(*id).is_some_and(|of| of == job) || called(*id)).collect()
}

/// The end of its id: what fits into the name of a process.
pub fn job_name(job: &str) -> &str {
    job.rsplit('-').next().unwrap_or(job)
}

/// Jobs of any system on this machine that have such processes.
pub(crate) fn jobs_with_processes() -> BTreeSet<String> {
    of_jobs().map(|(_, job)| job).collect()
}

/// Each such process that lives, with its job.
fn of_jobs() -> impl Iterator<Item = (i32, String)> {
    living().filter_map(|id| Some((id, job_of(id)?)))
}

fn living() -> impl Iterator<Item = i32> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|id| lives(*id))
}

fn job_of(id: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
    let job =
        environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"WM_JOB_ID="))?;
    String::from_utf8(job.to_vec()).ok()
}

/// Whether a process runs; one that only waits to be reaped does not.
pub fn lives(id: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}
