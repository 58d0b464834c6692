//! Watches one running command to its end: its own, its time's, or somebody's order.

use std::time::Duration;

use lifecycle::supervisor::{Control, Ended, Lost};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::invocation::Limits;
use super::kill::{Kill, KillReason};

/// A supervisor kills at once, unless the script has stopped it: after this long it is set going again.
const WAKE_AFTER: Duration = Duration::from_secs(1);

/// After this long it is ended itself, with everything in its session: only somebody who stops it again
/// and again, or a kernel that hangs, can make it come to that.
const KILL_BOUND: Duration = Duration::from_secs(30);

/// How a command ended.
pub(super) struct End {
    /// Its own account.
    pub(super) exit: Result<Ended, Lost>,
    /// Why we ended it, if we did.
    pub(super) killed: Option<KillReason>,
}

/// Waits for the end; brings it about when `kill` fires, time is over, or `too_much` is notified.
pub(super) async fn watch(control: &mut Control, kill: &mut Kill, too_much: &Notify, limits: &Limits) -> End {
    let deadline = tokio::time::sleep(limits.timeout);
    let reason = tokio::select! {
        // an end that is there already counts, whatever else came with it
        biased;
        exit = control.exited() => return End { exit, killed: None },
        reason = kill.fired() => reason,
        () = too_much.notified() => KillReason::OutputTooLarge,
        () = deadline => KillReason::Timeout,
    };
    let grace = if reason.allows_grace() { limits.kill_grace } else { Duration::ZERO };
    control.kill_gently(grace);
    End { exit: until_killed(control, kill, grace).await, killed: Some(reason) }
}

/// During a grace a lost lease still kills at once.
pub(super) async fn until_killed(
    control: &mut Control,
    kill: &mut Kill,
    grace: Duration,
) -> Result<Ended, Lost> {
    let bound = Instant::now() + grace + KILL_BOUND;
    let mut lease = Box::pin(kill.lease_lost());
    let (mut hurried, mut woken) = (grace.is_zero(), false);
    loop {
        tokio::select! {
            exit = control.exited() => return exit,
            () = &mut lease, if !hurried => {
                control.kill();
                hurried = true;
            }
            () = tokio::time::sleep_until(bound - KILL_BOUND + WAKE_AFTER), if !woken => {
                control.wake();
                woken = true;
            }
            () = tokio::time::sleep_until(bound) => {
                control.destroy();
                let text = format!("its supervisor did not end it within {} s", KILL_BOUND.as_secs());
                return Err(Lost::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)));
            }
        }
    }
}
