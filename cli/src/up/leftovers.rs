//! Servers of an `up` that was killed: they end by themselves, and must have before we start new ones
//! on the same files.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::server::STOP_GRACE;

/// A supervisor kills its server after the grace; a second more for the kernel to clear up.
const GONE_WITHIN: Duration = Duration::from_secs(STOP_GRACE.as_secs() + 1);

/// A server of an earlier start that does not end.
#[derive(Debug, thiserror::Error)]
pub enum LeftoverError {
    /// It outlived its supervisor.
    #[error(
        "process {pid} still uses {config} and did not end within {} s; end it and try again",
        GONE_WITHIN.as_secs()
    )]
    StillThere {
        /// Its process id.
        pid: i32,
        /// The configuration it was started with.
        config: String,
    },
    /// The kernel would not say when it ends.
    #[error("cannot wait for the servers of an earlier start")]
    Io(#[from] io::Error),
}

/// Waits until no process is left that was started with the configuration file `config`.
///
/// # Errors
/// One is there after the grace it had.
pub async fn wait_for_the_end_of(config: &Path) -> Result<(), LeftoverError> {
    for pid in started_with(config) {
        let number = pid.as_raw_nonzero().get();
        tracing::info!(process.id = number, "waiting for a server of an earlier start to end");
        let gone =
            tokio::task::spawn_blocking(move || ends_in_time(pid)).await.map_err(io::Error::other)??;
        if !gone {
            return Err(LeftoverError::StillThere { pid: number, config: config.display().to_string() });
        }
    }
    Ok(())
}

/// Blocks until the process has ended; false when it has not by then.
fn ends_in_time(pid: Pid) -> io::Result<bool> {
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let limit = Timespec::try_from(GONE_WITHIN).map_err(io::Error::other)?;
    // such a descriptor becomes readable when its process ends
    let ready =
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)))?;
    Ok(ready > 0)
}

fn started_with(config: &Path) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw).filter(|pid| has_argument(*pid, config)).collect()
}

fn has_argument(pid: Pid, config: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let arguments = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    arguments.split(|byte| *byte == 0).skip(1).any(|argument| argument == config.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn it_waits_for_the_process_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("server.conf");
        wait_for_the_end_of(&config).await.unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "read line"]).arg(&config).stdin(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        // it is there before the kernel has its arguments
        let seen = async {
            while started_with(&config).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(GONE_WITHIN, seen).await.unwrap();
        let waiting = tokio::spawn({
            let config = config.clone();
            async move { wait_for_the_end_of(&config).await }
        });
        drop(child.stdin.take());
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        waiting.await.unwrap().unwrap();
        assert!(started_with(&config).is_empty());
        ended.await.unwrap();
    }
}
