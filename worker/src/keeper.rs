//! Keeping a job ours: its lease is renewed at a third of its length, and the script is
//! killed at nine tenths after the last confirmed renewal, before anybody else can have
//! the job. At each renewal, and when a control message rings, the record is read: another
//! attempt or a cancellation ends the script too.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use job_queue::{CancelRequest, Job, Lease, Records, Renewal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::execute::{Kill, KillReason, KillSwitch};

/// A job in our hands. Dropping it ends the renewals.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    kill: Kill,
    _end: DropGuard,
}

struct Shared {
    lease: Lease,
    length: Duration,
    /// Until when, in the milliseconds since `since`, nobody else can have the job.
    ours_ms: AtomicU64,
    since: Instant,
    records: Records,
    job: Job,
    bell: Arc<Notify>,
    switch: KillSwitch,
    /// The attempt the start script has counted; 0 while there is none.
    attempt: AtomicU32,
    canceled: OnceLock<CancelRequest>,
    /// Not ours any more, for whichever reason.
    over: CancellationToken,
    /// Somebody else has the job, or may have it.
    lease_gone: AtomicBool,
    abort: CancellationToken,
}

impl Keeper {
    /// Starts renewing. The delivery has just arrived, so the lease is whole.
    pub(crate) fn start(
        lease: Lease,
        length: Duration,
        records: Records,
        job: Job,
        bell: Arc<Notify>,
        abort: CancellationToken,
    ) -> Self {
        let (switch, kill) = Kill::new();
        let end = CancellationToken::new();
        let shared = Arc::new(Shared {
            lease,
            length,
            ours_ms: AtomicU64::new(millis(usable(length))),
            since: Instant::now(),
            records,
            job,
            bell,
            switch,
            attempt: AtomicU32::new(0),
            canceled: OnceLock::new(),
            over: CancellationToken::new(),
            lease_gone: AtomicBool::new(false),
            abort,
        });
        let renewing = shared.clone();
        let ended = end.clone();
        tokio::spawn(async move { ended.run_until_cancelled(renewing.keep()).await });
        Self { shared, kill, _end: end.drop_guard() }
    }

    /// The attempt that holds the fence, from now on compared with the record. `cancel_asked`: it
    /// says already that somebody wants the job ended. The attempt before was told so, or nobody was.
    pub(crate) fn attempt_is(&self, attempt: u32, cancel_asked: bool) {
        self.shared.attempt.store(attempt, Ordering::Release);
        if cancel_asked {
            self.shared.bell.notify_one();
        }
    }

    /// The start was taken back.
    pub(crate) fn attempt_is_undone(&self) {
        self.shared.attempt.store(0, Ordering::Release);
    }

    /// What ends the script.
    pub(crate) fn kill(&self) -> Kill {
        self.kill.clone()
    }

    /// Who asked for the job's end, if somebody did.
    pub(crate) fn canceled(&self) -> Option<CancelRequest> {
        self.shared.canceled.get().cloned()
    }

    /// Whether the delivery may still be answered: after a lost lease an answer would
    /// reach into somebody else's.
    pub(crate) fn holds_lease(&self) -> bool {
        !self.shared.lease_gone.load(Ordering::Acquire)
    }

    /// Whether the lease still stands by the clock, also when nobody has come to looking at it since.
    pub(crate) fn is_in_time(&self) -> bool {
        millis(self.shared.since.elapsed()) < self.shared.ours_ms.load(Ordering::Acquire)
    }

    /// The acknowledgement at the wrong time.
    #[cfg(feature = "planted-bugs")]
    pub(crate) async fn ack(&self) {
        self.shared.lease.ack().await;
    }

    /// Another attempt holds the fence.
    pub(crate) fn let_go(&self) {
        self.shared.lease_gone.store(true, Ordering::Release);
    }

    /// Waits, unless the job stops being ours; says whether it still is.
    pub(crate) async fn hold(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.shared.over.cancelled() => false,
            () = self.shared.abort.cancelled() => false,
        }
    }
}

/// The part of a lease in which a script may run.
fn usable(lease: Duration) -> Duration {
    lease.mul_f64(0.9)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    async fn keep(&self) {
        let third = self.length / 3;
        let mut confirmed = Instant::now();
        let mut next = confirmed + third;
        loop {
            let deadline = confirmed + usable(self.length);
            self.ours_ms.store(millis(deadline - self.since), Ordering::Release);
            tokio::select! {
                () = tokio::time::sleep_until(next.min(deadline)) => {}
                () = self.bell.notified() => {
                    self.look().await;
                    continue;
                }
                () = self.abort.cancelled() => return self.lose(KillReason::Shutdown),
            }
            if Instant::now() >= deadline {
                return self.lose(KillReason::LeaseLost);
            }
            // counted from before the question: the answer may have been slow
            let asked = Instant::now();
            match self.lease.renew(third.min(deadline - asked)).await {
                Ok(()) => (confirmed, next) = (asked, asked + third),
                Err(error) => {
                    tracing::warn!(job.id = %self.job.id, %error, "lease not renewed");
                    next = Instant::now() + Duration::from_millis(200);
                }
            }
            if self.look().await {
                return;
            }
        }
    }

    fn lose(&self, why: KillReason) {
        tracing::warn!(job.id = %self.job.id, reason = ?why, "the job is not ours any more");
        if why == KillReason::LeaseLost {
            self.lease_gone.store(true, Ordering::Release);
        }
        self.switch.fire(why);
        self.over.cancel();
    }

    /// Reads the record; says whether the fence is lost. A store that is away decides nothing.
    async fn look(&self) -> bool {
        let attempt = self.attempt.load(Ordering::Acquire);
        if attempt == 0 {
            return false;
        }
        match self.records.renew(&self.job.workspace, self.job.id, attempt).await {
            Ok(Renewal::Go) | Err(_) => false,
            Ok(Renewal::Canceled(request)) => {
                // the first request is the one the result names
                let _ = self.canceled.set(request);
                self.switch.fire(KillReason::Canceled);
                false
            }
            // the start was taken back meanwhile, and that is what the record says
            Ok(Renewal::Fenced) if self.attempt.load(Ordering::Acquire) != attempt => false,
            Ok(Renewal::Fenced) => {
                self.lose(KillReason::LeaseLost);
                true
            }
        }
    }
}
