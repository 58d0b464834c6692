//! Ending a run from outside.

use tokio::sync::watch;

use super::failure::JobError;
use super::invocation::Limits;

/// Why a run was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// Its wall-clock time is over.
    Timeout,
    /// Somebody cancelled it.
    Canceled,
    /// The lease on its job could not be renewed: it may run elsewhere soon.
    LeaseLost,
    /// The worker stops.
    Shutdown,
    /// It wrote more than [`Limits::output_kill_bytes`].
    OutputTooLarge,
}

impl KillReason {
    /// Whether SIGTERM may come first. A lost lease leaves no time and a flood no reason.
    pub(super) fn allows_grace(self) -> bool {
        match self {
            Self::Timeout | Self::Canceled | Self::Shutdown => true,
            Self::LeaseLost | Self::OutputTooLarge => false,
        }
    }

    /// The error a job shows for it.
    pub fn error(self, limits: &Limits) -> JobError {
        match self {
            Self::Timeout => {
                let seconds = limits.timeout.as_secs_f64();
                JobError::new(
                    "Timeout",
                    format!("the script was terminated due to timeout after {seconds} s"),
                )
            }
            Self::Canceled => JobError::new("Canceled", "the job was canceled"),
            Self::LeaseLost => {
                JobError::new("LeaseLost", "the worker lost its lease on the job and ended the script")
            }
            Self::Shutdown => JobError::new("Shutdown", "the worker stopped and ended the script"),
            Self::OutputTooLarge => {
                let limit = limits.output_kill_bytes;
                JobError::new(
                    "OutputTooLarge",
                    format!("the script wrote more than {limit} bytes to its log and was killed"),
                )
            }
        }
    }
}

/// The near end of a [`Kill`]. Dropping it unfired lets the run go on.
#[derive(Debug)]
pub struct KillSwitch(watch::Sender<Option<KillReason>>);

/// A run listens to this.
#[derive(Clone, Debug)]
pub struct Kill(watch::Receiver<Option<KillReason>>);

impl Kill {
    /// A pair: fire the switch and the run ends.
    pub fn new() -> (KillSwitch, Self) {
        let (fire, fired) = watch::channel(None);
        (KillSwitch(fire), Self(fired))
    }

    /// Waits until the switch is fired; for ever if it is dropped unfired.
    pub async fn fired(&mut self) -> KillReason {
        self.until(|_| true).await
    }

    /// Waits until the lease is lost, whatever was fired before.
    pub(super) async fn lease_lost(&mut self) {
        self.until(|reason| reason == KillReason::LeaseLost).await;
    }

    async fn until(&mut self, wanted: impl Fn(KillReason) -> bool) -> KillReason {
        loop {
            if let Some(reason) = self.0.borrow_and_update().filter(|reason| wanted(*reason)) {
                return reason;
            }
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl KillSwitch {
    /// Ends the run. The first reason stays, but a lost lease, which leaves no time, overrides any.
    pub fn fire(&self, reason: KillReason) {
        self.0.send_if_modified(|fired| {
            let counts = fired.is_none() || reason == KillReason::LeaseLost;
            if counts {
                *fired = Some(reason);
            }
            counts
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_reason_stays_but_a_lost_lease_overrides() {
        let (switch, mut kill) = Kill::new();
        switch.fire(KillReason::Canceled);
        switch.fire(KillReason::Shutdown);
        assert_eq!(kill.fired().await, KillReason::Canceled);
        switch.fire(KillReason::LeaseLost);
        kill.lease_lost().await;
        assert_eq!(kill.fired().await, KillReason::LeaseLost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_switch_kills_nothing() {
        let (switch, mut kill) = Kill::new();
        drop(switch);
        assert!(tokio::time::timeout(std::time::Duration::from_mins(1), kill.fired()).await.is_err());
    }
}
