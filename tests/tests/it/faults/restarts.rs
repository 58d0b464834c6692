//! NATS and Valkey killed and started again while jobs are queued, run and are waited for.

use std::time::Instant;

use futures::future::join_all;
use system_tests::{Answer, DataServer, System, eventually, within};
use tokio::task::JoinHandle;

use super::stage::{BOUND, HELD, QUICK, Stage, assert_ended_with, backlog_is, backlog_now, figure};

/// Jobs that occupy the two slots, jobs queued behind them, callers that wait.
const HOLDING: usize = 2;
const QUEUED: usize = 30;
const WAITING: usize = 6;

/// Every accepted job of the test with the value it has to end with.
struct Work {
    accepted: Vec<(String, String)>,
    callers: Vec<(String, JoinHandle<Answer>)>,
}

#[tokio::test]
async fn nats_killed_with_a_backlog() {
    let (system, stage, mut work) = begun().await;
    system.nats().kill();
    unlinked(&system).await;
    restarted(&system, [system.nats()]).await;
    finished(&system, &stage, &mut work).await;
}

#[tokio::test]
async fn valkey_killed_with_a_backlog() {
    let (system, stage, mut work) = begun().await;
    system.valkey().kill();
    refused_without_valkey(&system, &stage).await;
    work.accept(&system, &stage, QUICK, "meanwhile").await;
    restarted(&system, [system.valkey()]).await;
    finished(&system, &stage, &mut work).await;
}

#[tokio::test]
async fn both_killed_with_a_backlog() {
    let (system, stage, mut work) = begun().await;
    system.valkey().kill();
    refused_without_valkey(&system, &stage).await;
    system.nats().kill();
    unlinked(&system).await;
    restarted(&system, [system.nats(), system.valkey()]).await;
    finished(&system, &stage, &mut work).await;
}

/// Both slots occupied, a backlog behind them, and callers who wait.
async fn begun() -> (System, Stage, Work) {
    let system = System::start().gateways(2).workers(2).slots(1).lease("3s").await;
    let stage = Stage::set(&system).await;
    let mut work = Work { accepted: Vec::new(), callers: Vec::new() };
    for number in 0..HOLDING + QUEUED {
        let path = if number < HOLDING { HELD } else { QUICK };
        work.accept(&system, &stage, path, &format!("value-{number}")).await;
        if number + 1 == HOLDING {
            stage.begins(HOLDING).await;
        }
    }
    for number in 0..WAITING {
        let (value, client) = (format!("waited-{number}"), system.client().at(system.gateway(number % 2)));
        work.callers.push((value.clone(), stage.caller(&client, QUICK, &value)));
    }
    backlog_is(&system, (HOLDING + QUEUED + WAITING) as u64).await;
    (system, stage, work)
}

/// Every service that speaks to NATS has noticed that it is gone.
async fn unlinked(system: &System) {
    for service in system.services() {
        eventually("the loss of NATS is noticed", BOUND, async || {
            let lines = service.log_lines();
            lines.iter().any(|line| line["message"] == "nats disconnected").then_some(())
        })
        .await;
    }
}

async fn refused_without_valkey(system: &System, stage: &Stage) {
    system.client().wait(QUICK, stage.args("refused")).await.expect(503).text();
}

async fn restarted<const N: usize>(system: &System, servers: [&DataServer; N]) {
    for server in servers {
        server.start_again().await;
    }
    let held = backlog_now(system).await;
    assert!(
        held >= (HOLDING + QUEUED + WAITING) as u64,
        "nothing of the backlog ended before or was lost: {held}"
    );
}

async fn finished(system: &System, stage: &Stage, work: &mut Work) {
    let up = Instant::now();
    assert!(work.callers.iter().all(|(_, caller)| !caller.is_finished()), "they wait over the restart");
    assert!(stage.ended().is_empty());
    // more than there are: an attempt that lost its lease is followed by another
    stage.let_go(HOLDING * 5);
    work.answered().await;
    for (job, value) in &work.accepted {
        assert_ended_with(system.client(), job, value).await;
    }
    backlog_is(system, 0).await;
    figure(&format!("{} jobs ended {:?} after the restart", work.accepted.len(), up.elapsed()));
    counted(system, stage, work).await;
}

impl Work {
    /// An asynchronous trigger, by turns through both gateways.
    async fn accept(&mut self, system: &System, stage: &Stage, path: &str, value: &str) {
        let client = system.client().at(system.gateway(self.accepted.len() % 2));
        self.accepted.push((client.run(path, stage.args(value)).await, value.to_owned()));
    }

    /// Every caller gets the result of the own job.
    async fn answered(&mut self) {
        let (values, callers): (Vec<_>, Vec<_>) = self.callers.drain(..).unzip();
        let answers = within("the answers of all who wait", BOUND, join_all(callers)).await;
        for (value, answer) in values.into_iter().zip(answers) {
            let answer = answer.unwrap().expect(200);
            assert_eq!(answer.json(), value.as_str());
            self.accepted.push((answer.header("x-job-id").to_owned(), value));
        }
    }
}

/// Exactly one run of each job came to its end, and each start was an attempt.
async fn counted(system: &System, stage: &Stage, work: &Work) {
    let ended = stage.ended();
    assert_eq!(ended.len(), work.accepted.len());
    for (job, value) in &work.accepted {
        let ends: Vec<_> = ended.iter().filter(|told| told.job == *job).collect();
        assert!(ends.len() == 1 && ends[0].value == *value, "{job}: {ends:?}");
        let attempt = system.client().get(job).await["attempt"].as_u64().unwrap();
        assert_eq!(stage.runs_of(job) as u64, attempt, "{job}");
    }
    assert_eq!(system.client().list("per_page=1000").await.len(), work.accepted.len());
}
