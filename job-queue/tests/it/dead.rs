//! The stream of dead letters.

use broker::names;
use broker::permissions::PROVISION;
use bytes::Bytes;
use job_queue::{DeadLetter, DeadLetters, DeathReason, Job, PublishError};
use proto::JobId;

use crate::stage::{Stage, job, workspace};

fn letter(job: &Job, message: &str) -> DeadLetter {
    DeadLetter {
        reason: DeathReason::WorkerLost,
        message: message.to_owned(),
        attempts: 3,
        died_us: 1_700_000_000_000_000,
        last_log: "the end\n".to_owned(),
        subject: format!("job.0.bash.p1.{}.{}", job.workspace.token(), job.id),
        envelope: job.encode(),
    }
}

async fn letters(stage: &Stage) -> (DeadLetters, DeadLetters) {
    let (gateway, worker) = (stage.gateway().await, stage.nats.broker(broker::permissions::WORKER).await);
    (DeadLetters::new(gateway.broker), DeadLetters::new(worker))
}

#[tokio::test]
async fn a_job_has_one_letter_the_latest() {
    let stage = Stage::start().await;
    let (gateway, worker) = letters(&stage).await;
    let job = job("bash");
    assert!(gateway.find(&job.workspace, job.id).await.unwrap().is_none());
    worker.bury(&letter(&job, "first")).await.unwrap();
    let first = gateway.find(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!((first.id, &first.letter), (job.id, &letter(&job, "first")));
    assert_eq!(first.letter.job(&job.workspace, job.id), Some(job.clone()));
    assert_eq!(first.letter.job(&job.workspace, JobId::random()), None, "another's envelope is nobody's");
    assert!(first.letter.is_another_jobs(&job.workspace, JobId::random()));
    assert!(!first.letter.is_another_jobs(&job.workspace, job.id));

    worker.bury(&letter(&job, "second")).await.unwrap();
    // whoever has read the first one takes nothing but that away
    gateway.discard(&first).await.unwrap();
    let second = gateway.find(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!(second.letter.message, "second");
    for _ in 0..2 {
        gateway.discard(&second).await.unwrap();
    }
    assert!(gateway.find(&job.workspace, job.id).await.unwrap().is_none());
    // and it may die anew at once
    worker.bury(&letter(&job, "third")).await.unwrap();
    assert!(gateway.find(&job.workspace, job.id).await.unwrap().is_some());
}

#[tokio::test]
async fn pages_are_of_one_workspace_oldest_first() {
    let stage = Stage::start().await;
    let (gateway, worker) = letters(&stage).await;
    assert!(gateway.page(&workspace(), 0, 10).await.unwrap().next.is_none());
    let mut ids = Vec::new();
    for number in 0..7 {
        let mut job = job("bash");
        if number % 3 == 2 {
            job.workspace = "elsewhere".parse().unwrap();
        } else {
            ids.push(job.id);
        }
        worker.bury(&letter(&job, "dead")).await.unwrap();
    }
    let (mut seen, mut behind) = (Vec::new(), 0);
    loop {
        let page = gateway.page(&workspace(), behind, 2).await.unwrap();
        let Some(next) = page.next else { break };
        assert!(page.letters.len() <= 2);
        behind = next;
        seen.extend(page.letters.iter().map(|kept| kept.id));
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn what_is_no_job_has_no_letter() {
    let stage = Stage::start().await;
    let (_, worker) = letters(&stage).await;
    let job = job("bash");
    let nowhere = DeadLetter { subject: "job.0.bash".to_owned(), ..letter(&job, "x") };
    assert!(worker.bury(&nowhere).await.unwrap_err().to_string().contains("job.0.bash"));
    // more than a message may be: the job stays where it is
    let large = DeadLetter { envelope: Bytes::from(vec![0; 1024 * 1024]), ..letter(&job, "x") };
    assert!(worker.bury(&large).await.is_err());
}

#[tokio::test]
async fn a_full_stream_takes_no_letter_and_drops_none() {
    let stage = Stage::start().await;
    let (gateway, worker) = letters(&stage).await;
    let first = job("bash");
    worker.bury(&letter(&first, "first")).await.unwrap();
    let context = stage.nats.broker(PROVISION).await.jetstream().clone();
    let mut config = context.get_stream(names::DEAD_STREAM).await.unwrap().cached_info().config.clone();
    let size = std::mem::replace(&mut config.max_bytes, 1000);
    context.update_stream(&config).await.unwrap();
    let second = job("bash");
    let long = "x".repeat(1000);
    assert!(matches!(worker.bury(&letter(&second, &long)).await, Err(PublishError::Full)));
    assert!(gateway.find(&second.workspace, second.id).await.unwrap().is_none());
    let kept = gateway.find(&first.workspace, first.id).await.unwrap().unwrap();
    assert_eq!(kept.letter.message, "first", "the oldest is not dropped for it");
    config.max_bytes = size;
    context.update_stream(&config).await.unwrap();
    worker.bury(&letter(&second, &long)).await.unwrap();
    assert!(gateway.find(&second.workspace, second.id).await.unwrap().is_some());
}
