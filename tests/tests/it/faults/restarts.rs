//! NATS and Valkey killed and started again while jobs are queued, run and are waited for.

use std::time::Instant;

use futures::future::join_all;
use system_tests::{Answer, DataServer, System, within};
use tokio::task::JoinHandle;

use super::stage::{BOUND, HELD, QUICK, Stage, assert_ended_with, backlog, backlog_is};

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
    survives(|system| vec![system.nats()]).await;
}

#[tokio::test]
async fn valkey_killed_with_a_backlog() {
    survives(|system| vec![system.valkey()]).await;
}

#[tokio::test]
async fn both_killed_with_a_backlog() {
    survives(|system| vec![system.nats(), system.valkey()]).await;
}

async fn survives(killed: impl Fn(&System) -> Vec<&DataServer>) {
    let system = System::start().gateways(2).workers(2).slots(1).lease("3s").await;
    let stage = Stage::set(&system).await;
    let mut work = accept(&system, &stage).await;
    let total = (HOLDING + QUEUED + WAITING) as u64;
    backlog_is(&system, total).await;
    let before: Vec<u32> = killed(&system).iter().map(|server| server.id()).collect();

    killed(&system).iter().for_each(|server| server.kill());
    let down = Instant::now();
    for server in killed(&system) {
        server.start_again().await;
    }
    let up = Instant::now();
    let after: Vec<u32> = killed(&system).iter().map(|server| server.id()).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "they are other processes");
    assert_eq!(backlog(&system).await, Some(total), "nothing of the backlog ended before or was lost");
    assert!(work.callers.iter().all(|(_, caller)| !caller.is_finished()), "they wait over the restart");

    // more than there are: an attempt that lost its lease is followed by another
    stage.let_go(HOLDING * 5);
    answered(&mut work, &stage).await;
    for (job, value) in &work.accepted {
        assert_ended_with(system.client(), job, value).await;
    }
    backlog_is(&system, 0).await;
    println!("down for {:?}, all ended {:?} after it was up", up - down, up.elapsed());
    counted(&system, &stage, &work).await;
}

/// Occupies both slots, then queues jobs through both gateways.
async fn accept(system: &System, stage: &Stage) -> Work {
    let clients = [0, 1].map(|number| system.client().at(system.gateway(number)));
    let mut work = Work { accepted: Vec::new(), callers: Vec::new() };
    for number in 0..HOLDING + QUEUED {
        let path = if number < HOLDING { HELD } else { QUICK };
        let value = format!("value-{number}");
        let job = clients[number % 2].run(path, stage.args(&value)).await;
        work.accepted.push((job, value));
        if number + 1 == HOLDING {
            stage.begins(HOLDING).await;
        }
    }
    for number in 0..WAITING {
        let value = format!("waited-{number}");
        work.callers.push((value.clone(), stage.caller(&clients[number % 2], QUICK, &value)));
    }
    work
}

/// Every caller gets the result of the own job.
async fn answered(work: &mut Work, stage: &Stage) {
    let (values, callers): (Vec<_>, Vec<_>) = work.callers.drain(..).unzip();
    let answers = within("the answers of all who wait", BOUND, join_all(callers)).await;
    for (value, answer) in values.into_iter().zip(answers) {
        let answer = answer.unwrap().expect(200);
        assert_eq!(answer.json(), value.as_str());
        work.accepted.push((answer.header("x-job-id").to_owned(), value));
    }
    assert!(!stage.ended().is_empty());
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
