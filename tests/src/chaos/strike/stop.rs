//! Killing a process at a certain moment.

use std::time::Duration;

use tokio::time::timeout;

use super::{Hand, Hit};
use crate::chaos::fault::Victim;
use crate::chaos::moment::{Moment, Sign};
use crate::chaos::runs::{self, Run};
use crate::link::{Flow, Link, Way};
use crate::service::Service;

/// How soon the load brings about any moment.
const COMES: Duration = Duration::from_secs(20);
/// How soon a job whose worker is lost runs elsewhere: some leases.
const RUNS_AGAIN: Duration = Duration::from_secs(15);
/// How often the ledger is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How many of the last runs are looked at: more than run at once.
const LAST_RUNS: usize = 16;

impl Hand<'_> {
    pub(super) async fn kill_at(&self, moment: Moment, number: usize, lasts: Duration) -> Hit {
        let victim = moment.victim(number);
        let Some(service) = self.service(victim) else { return Hit::No };
        let (trap, came) = self.await_sign(moment, victim, number).await;
        // those whose end is on its way have ended before
        let ended = if moment == Moment::LateEnd { self.unrecorded().await } else { Vec::new() };
        service.slay().await;
        if moment == Moment::LateEnd && came {
            self.runs_again(&ended).await;
        } else {
            tokio::time::sleep(lasts).await;
        }
        if let Some(link) = trap {
            link.mend();
        }
        Service::launch(service);
        if came { Hit::Yes } else { Hit::No }
    }

    /// The link that is spoiled from now on, and whether the moment came.
    async fn await_sign(&self, moment: Moment, victim: Victim, number: usize) -> (Option<Link>, bool) {
        let (link, way, trap) = match moment.sign() {
            Sign::Up(peer, trap) => (self.system.link(&victim.service(), peer), Way::Up, trap),
            Sign::Down(peer, trap) => (self.system.link(&victim.service(), peer), Way::Down, trap),
            Sign::ToCallers(trap) => (self.callers[number].clone(), Way::Down, trap),
            Sign::Waiting => return (None, self.comes(|| self.ledger.waiting(number) > 0).await),
            Sign::Running => {
                let worker = worker_name(self.system.worker(number));
                return (None, self.comes(|| self.runs_at(&worker)).await);
            }
        };
        link.set(way, Flow::At(trap));
        let came = timeout(COMES, link.trapped(way)).await.is_ok();
        (Some(link), came)
    }

    async fn comes(&self, is_there: impl Fn() -> bool) -> bool {
        let looks = async {
            while !is_there() {
                tokio::time::sleep(LOOK).await;
            }
        };
        timeout(COMES, looks).await.is_ok()
    }

    /// The last lines of all: what runs now is among them.
    fn last_runs(&self) -> Vec<Run> {
        let mut last = runs::read(&self.system.hub().last_said(8 * LAST_RUNS));
        last.drain(..last.len().saturating_sub(LAST_RUNS));
        last
    }

    fn runs_at(&self, worker: &str) -> bool {
        self.last_runs().iter().any(|run| !run.ended && run.worker == worker)
    }

    /// Jobs whose script has ended and whose record does not say so.
    async fn unrecorded(&self) -> Vec<Run> {
        let mut found = Vec::new();
        for run in self.last_runs().into_iter().filter(|run| run.ended) {
            if self.system.client().result_maybe(&run.job).await["completed"] == false {
                found.push(run);
            }
        }
        found
    }

    /// Waits until one of these jobs runs as another attempt.
    async fn runs_again(&self, ended: &[Run]) {
        let again = |run: &Run| ended.iter().any(|old| old.job == run.job && old.attempt < run.attempt);
        let looks = async {
            while !self.last_runs().iter().any(again) {
                tokio::time::sleep(LOOK).await;
            }
        };
        // else the late end finds its own attempt, which is no harm
        let _ = timeout(RUNS_AGAIN, looks).await;
    }
}

/// The name by which a worker's jobs know it.
fn worker_name(worker: &Service) -> String {
    let lines = worker.log_lines();
    let line = lines.iter().find(|line| line["message"] == "worker starts");
    line.and_then(|line| line["worker.id"].as_str()).unwrap_or_default().to_owned()
}
