//! The processes of a job, as the machine sees them: inside a sandbox they have other numbers.

use std::collections::BTreeSet;
use std::fs;

/// Processes that run with the environment of this job, script and all that it has started.
pub fn processes_of(job: &str) -> Vec<i32> {
    of_jobs().filter(|(_, of)| of == job).map(|(id, _)| id).collect()
}

/// Jobs of any system on this machine that have such processes.
pub(crate) fn jobs_with_processes() -> BTreeSet<String> {
    of_jobs().map(|(_, job)| job).collect()
}

/// Each such process that lives, with its job.
fn of_jobs() -> impl Iterator<Item = (i32, String)> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| Some((id, job_of(id)?))).filter(|(id, _)| lives(*id))
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
