//! The processes of a job, as the machine sees them: inside a sandbox they have other numbers.

use std::fs;

/// Processes that run with the environment of this job, script and all that it has started.
pub fn processes_of(job: &str) -> Vec<i32> {
    let mark = format!("WM_JOB_ID={job}");
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) && lives(*id)
    })
    .collect()
}

/// Whether a process runs; one that only waits to be reaped does not.
pub fn lives(id: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}
