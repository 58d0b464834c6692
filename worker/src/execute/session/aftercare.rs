//! What is done with a process once its job is answered: nothing of that job may be there for the next.

use std::time::Duration;

use lifecycle::supervisor::Rested;
use proto::IsolationMode;

use super::frame::Said;
use super::process::Process;

/// A process that has not put things back by then is given up.
const REST_BOUND: Duration = Duration::from_secs(5);

/// Jobs of one process: whatever grows slowly begins anew then.
const MAX_JOBS: u32 = 10_000;

/// A process that has grown by so much since its first job, in KiB, is given up.
const MAX_GROWTH_KIB: u64 = 128 * 1024;

/// Why a process is given up: the label of a metric, and the words of a log line.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::execute) struct Spent {
    /// One of a few.
    pub(in crate::execute) why: &'static str,
    /// For people.
    pub(in crate::execute) text: String,
}

impl Spent {
    fn because(why: &'static str, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }
}

impl Process {
    /// Makes it ready for the next job.
    ///
    /// # Errors
    /// It must not have another; why.
    pub(in crate::execute) async fn recover(&mut self) -> Result<(), Spent> {
        self.rested().await?;
        let rested = tokio::time::timeout(REST_BOUND, self.control.rest()).await;
        let rested = match rested {
            Ok(Ok(rested)) => rested,
            Ok(Err(lost)) => return Err(Spent::because("died", lost.to_string())),
            Err(_) => return Err(Spent::because("died", "its supervisor does not answer")),
        };
        self.check(rested)?;
        let folder = self.folder.clone();
        let cleared =
            tokio::task::spawn_blocking(move || folder.clear()).await.map_err(std::io::Error::other);
        cleared.and_then(|cleared| cleared).map_err(|error| Spent::because("folder", error.to_string()))
    }

    /// Waits until it says that it has put everything back.
    async fn rested(&mut self) -> Result<(), Spent> {
        let said = self.inbox.next(&mut self.channel, 0);
        match tokio::time::timeout(REST_BOUND, said).await {
            Ok(Ok(Some((Said::Rest { left: None }, _)))) => Ok(()),
            Ok(Ok(Some((Said::Rest { left: Some(left) }, _)))) => Err(Spent::because("state", left)),
            Ok(Ok(None)) => Err(Spent::because("died", "it has ended")),
            Ok(other) => Err(Spent::because("state", format!("it said {other:?}"))),
            Err(_) => Err(Spent::because("state", "it did not put things back in time")),
        }
    }

    fn check(&mut self, rested: Rested) -> Result<(), Spent> {
        // the child that waits for the next job
        let expected = u64::from(self.mode == Some(IsolationMode::Fork));
        if rested.others > expected {
            return Err(Spent::because(
                "processes",
                format!("{} processes are left", rested.others - expected),
            ));
        }
        self.resident_kib = rested.resident_kib;
        if self.jobs == 1 {
            self.first_kib = rested.resident_kib;
        }
        let grown = rested.resident_kib.saturating_sub(self.first_kib);
        if grown > MAX_GROWTH_KIB {
            return Err(Spent::because("memory", format!("it has grown by {grown} KiB")));
        }
        if self.jobs >= MAX_JOBS {
            return Err(Spent::because("jobs", format!("it has had {MAX_JOBS} jobs")));
        }
        Ok(())
    }
}
