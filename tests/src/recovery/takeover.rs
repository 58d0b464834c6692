//! A worker is killed while it runs jobs: until another one runs them.

use std::time::Duration;

use job_queue::now_us;

use super::{HELD, Said, args, deploy, said, since};
use crate::system::System;
use crate::waiting::eventually;

/// Jobs of each round, over both workers.
const JOBS: usize = 4;
/// More than any wait of a round.
const BOUND: Duration = Duration::from_secs(90);

/// From each kill of a worker to the beginning of each of its jobs elsewhere; `rounds` kills, at different times since
/// the last renewal of the jobs' leases.
///
/// # Panics
/// A job does not run elsewhere within 90 s.
pub async fn takeovers(lease: Duration, rounds: u32) -> Vec<Duration> {
    let text = format!("{}ms", lease.as_millis());
    let system = System::start().workers(2).slots(JOBS).lease(&text).await;
    deploy(system.client()).await;
    let mut times = Vec::new();
    for round in 0..rounds {
        // a lease is renewed at each third of it
        let phase = lease / 3 * round / rounds;
        times.extend(takeover(&system, round, phase).await);
    }
    times
}

async fn takeover(system: &System, round: u32, phase: Duration) -> Vec<Duration> {
    let (hub, client) = (system.hub(), system.client());
    let mut jobs = Vec::new();
    for number in 0..JOBS {
        jobs.push(client.run(HELD, args(hub, &format!("{round}-{number}"))).await);
    }
    let begun = begins(system, &jobs, 1).await;
    // the wait is what is varied here, not for anything to happen
    tokio::time::sleep(phase).await;
    let killed = system.worker((round % 2) as usize);
    let name = name_of(killed);
    let killed_us = now_us();
    killed.slay().await;
    let lost: Vec<String> =
        begun.into_iter().filter(|said| said.worker == name).map(|said| said.job).collect();
    let again = begins(system, &lost, 2).await;
    assert!(again.iter().all(|said| said.worker != name), "elsewhere: {again:?}");
    hub.let_go("held", JOBS);
    for job in &jobs {
        client.end_of(job).await;
    }
    killed.start_again().await;
    again.iter().map(|said| since(killed_us, said.at_us)).collect()
}

/// The beginning of each of these jobs, for the so many-th time.
async fn begins(system: &System, jobs: &[String], time: usize) -> Vec<Said> {
    eventually("all jobs have begun", BOUND, async || {
        let said = said(system.hub());
        let of =
            |job: &String| said.iter().filter(|said| said.job == *job && !said.ended).nth(time - 1).cloned();
        jobs.iter().map(of).collect::<Option<Vec<_>>>()
    })
    .await
}

fn name_of(worker: &crate::Service) -> String {
    let lines = worker.log_lines();
    let line = lines.iter().find(|line| line["message"] == "worker starts");
    line.and_then(|line| line["worker.id"].as_str()).expect("a worker says who it is").to_owned()
}
