//! The durable profile, as the disks see it: no request is answered, and no job taken out of the queue, before what it
//! rests on was brought to the disk. strace notes every read, write and sync of nats-server, Valkey and a gateway; the
//! order within a process is that of its calls, and between processes that of their times, by one clock.
//!
//! The checks are shown to find something: in the relaxed profile, and where a worker acknowledges too early.

mod answers;
mod keeping;
mod nats;
mod valkey;

use std::time::Duration;

use futures::{StreamExt, stream};
use hookmill::up::profile::Profile;
use serde_json::json;
use system_tests::{Client, Start, System};

use self::answers::Answers;
use self::keeping::Early;
use self::nats::Nats;
use self::valkey::Valkey;
use crate::faults::stage::{backlog_is, figure};

const SCRIPT: &str = "f/durable/echo";
/// Requests one after the other, and then so many, of which [`AT_ONCE`] are under way.
const ALONE: usize = 6;
const TOGETHER: usize = 60;
const AT_ONCE: usize = 10;

/// How somebody asks for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Async,
    Sync,
    Keyed,
}

/// A job that was accepted, and by which words its request is known.
#[derive(Clone, Debug)]
struct Accepted {
    job: String,
    mode: Mode,
    marker: String,
}

/// What all of them did.
struct Seen {
    jobs: Vec<Accepted>,
    nats: Nats,
    valkey: Valkey,
    answers: Answers,
}

/// Some load, to the end of each of its processes.
async fn seen(start: Start) -> Seen {
    let system = start.traced().slots(2).await;
    system.client().deploy(SCRIPT, "bash", "value=\"$1\"\necho \"$value\"\n").await;
    let mut jobs = Vec::new();
    for number in 0..ALONE {
        jobs.push(accepted(system.client(), number).await);
    }
    let together = (ALONE..ALONE + TOGETHER).map(|number| accepted(system.client(), number));
    jobs.extend(stream::iter(together).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
    backlog_is(&system, 0).await;
    end(&system).await;
    let (nats, valkey) = (system.nats().trace().unwrap(), system.valkey().trace().unwrap());
    let answers = Answers::of(system.gateway(0).trace().unwrap()).await;
    Seen { jobs, nats: Nats::of(nats).await, valkey: Valkey::of(valkey).await, answers }
}

async fn accepted(client: &Client, number: usize) -> Accepted {
    let mode = [Mode::Async, Mode::Sync, Mode::Keyed][number % 3];
    let marker = format!("marker-{number}-");
    let verb = if mode == Mode::Sync { "run_wait_result" } else { "run" };
    let request = client.post(&format!("jobs/{verb}/p/{SCRIPT}")).json(json!({"value": &marker}));
    let job = match mode {
        Mode::Async => request.send().await.expect(201).text(),
        Mode::Keyed => request.header("idempotency-key", &marker).send().await.expect(201).text(),
        Mode::Sync => {
            let answer = request.send().await.expect(200);
            assert_eq!(answer.json(), marker);
            answer.header("x-job-id").to_owned()
        }
    };
    Accepted { job, mode, marker }
}

async fn end(system: &System) {
    for service in [system.worker(0), system.gateway(0)] {
        assert!(service.terminate().await.success(), "{} ends in order", service.name());
    }
    system.nats().terminate().await;
    system.valkey().terminate().await;
}

#[tokio::test]
async fn a_request_is_answered_when_its_job_is_on_disk() {
    let seen = seen(System::start()).await;
    let mut syncs = Vec::new();
    for accepted in &seen.jobs {
        let kept = seen.nats.published(&accepted.job);
        let kept = kept.unwrap_or_else(|early| panic!("{accepted:?}: {early} ({})", seen.nats.file()));
        let (came, went) = seen.answers.to(&accepted.job, &accepted.marker);
        assert!(came <= kept.written_ns, "{accepted:?}: it was written before it was asked for");
        assert!(
            kept.synced_ns <= went,
            "{accepted:?}: answered {} ns before the disk",
            kept.synced_ns - went
        );
        syncs.push(seen.nats.syncs_between(came, went));

        if accepted.mode == Mode::Keyed {
            let reserved = seen.valkey.reserved(&accepted.job);
            let reserved = reserved.unwrap_or_else(|early| panic!("{accepted:?}: {early}"));
            let published = seen.nats.publish_came(&accepted.job);
            assert!(reserved.synced_ns <= published, "{accepted:?}: published before its key was on disk");
        }
    }
    assert!(syncs.iter().all(|count| *count > 0), "{syncs:?}");
    told("syncs of the job stream between a request's arrival and its answer", syncs);
}

#[tokio::test]
async fn a_job_leaves_the_queue_when_its_end_is_on_disk() {
    let seen = seen(System::start()).await;
    let mut syncs = Vec::new();
    for accepted in &seen.jobs {
        let kept = seen.valkey.ended(&accepted.job);
        let kept = kept.unwrap_or_else(|early| panic!("{accepted:?}: {early} ({})", seen.valkey.file()));
        let acked = seen.nats.acknowledged(&accepted.job);
        assert!(kept.synced_ns <= acked, "{accepted:?}: acknowledged before its end was on disk");
        syncs.push(seen.valkey.syncs_between(kept.written_ns, acked));
        if accepted.mode == Mode::Sync {
            let (_, went) = seen.answers.to(&accepted.job, &accepted.marker);
            assert!(
                kept.synced_ns <= went,
                "{accepted:?}: its caller was told of an end that was not on disk"
            );
        }
    }
    assert!(syncs.iter().all(|count| *count > 0), "{syncs:?}");
    told("syncs of Valkey between an end's write and its acknowledgement", syncs);
}

#[tokio::test]
async fn the_relaxed_profile_answers_before_the_disk() {
    let seen = seen(System::start().profile(Profile::Relaxed)).await;
    let early = |found: Vec<Result<_, Early>>| found.iter().filter(|found| found.is_err()).count();
    let published = early(seen.jobs.iter().map(|accepted| seen.nats.published(&accepted.job)).collect());
    let ended = early(seen.jobs.iter().map(|accepted| seen.valkey.ended(&accepted.job)).collect());
    figure(&format!("relaxed: {published} publishes and {ended} ends of {} answered early", seen.jobs.len()));
    assert_eq!(published, seen.jobs.len(), "NATS syncs every two minutes");
    // its sync of each second may happen to come before an answer
    assert!(ended > seen.jobs.len() / 2, "{ended}");
}

#[tokio::test]
async fn an_acknowledgement_before_the_end_is_found() {
    let start = System::start().worker_program("worker-with-bugs");
    let seen = seen(start.worker_variable("PLANTED_BUG", "ack-before-end")).await;
    let early = seen.jobs.iter().filter(|accepted| {
        let kept = seen.valkey.ended(&accepted.job).expect("Valkey is as durable as ever");
        seen.nats.acknowledged(&accepted.job) < kept.synced_ns
    });
    let early = early.count();
    figure(&format!("planted: {early} of {} acknowledged before their end was on disk", seen.jobs.len()));
    assert!(early > seen.jobs.len() / 2, "{early}");
}

fn told(what: &str, mut counts: Vec<usize>) {
    counts.sort_unstable();
    let (least, middle, most) = (counts[0], counts[counts.len() / 2], counts[counts.len() - 1]);
    figure(&format!("{what}: {} jobs, at least {least}, median {middle}, at most {most}", counts.len()));
}

/// Milliseconds of a time in Unix ns, for messages.
fn ms(ns: u64) -> u128 {
    Duration::from_nanos(ns).as_millis()
}
