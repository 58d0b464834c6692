//! The stream of dead letters.

use bytes::Bytes;
use job_queue::{DeadLetter, DeadLetters, DeathReason, Job};
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
