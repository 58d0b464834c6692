//! Asking for a job's end, wherever the job is.

use futures::StreamExt;
use job_queue::{CancelAnswer, End, JobState, Outcome, Renewal, StartAnswer, Undo, Waited, canceled_result};
use proto::{InstanceId, JobId};
use test_servers::within;

use crate::stage::{Stage, eve, finish, job, nonce, soon, start, success, workspace};

fn canceled() -> End {
    End { outcome: Outcome::Canceled, result: canceled_result(&eve()) }
}

#[tokio::test]
async fn a_queued_job_ends_at_once_and_is_never_run() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let mut job = job("bash");
    gateway.publish(&mut job).await.unwrap();
    let queued = gateway.finder.find(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!(queued.job, job);
    assert_eq!(gateway.cancel(&job).await, CancelAnswer::Canceled(canceled()));
    assert_eq!(gateway.cancel(&job).await, CancelAnswer::Ended, "once");
    let record = gateway.records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!((record.state, record.cancel), (JobState::Ended(Outcome::Canceled), Some(eve())));
    // a worker that is handed the message all the same finds the end
    let mut worker = stage.worker(&["bash"], 1).await;
    let delivery = worker.next().await;
    let started = worker.start(&job).await;
    assert!(matches!(started, StartAnswer::Ended(end) if end == canceled()));
    delivery.lease.hand_back(None).await;
    gateway.finder.remove(&queued).await.unwrap();
    assert!(!gateway.holds(&job).await);
    gateway.finder.remove(&queued).await.expect("that it is gone is no error");
}

#[tokio::test]
async fn a_worker_wakes_the_waiter_of_a_job_cancelled_while_queued() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let mut job = job("bash");
    job.reply_to = Some(gateway.completions.instance().clone());
    let waiter = gateway.completions.wait(job.id).unwrap();
    gateway.publish(&mut job).await.unwrap();
    gateway.cancel(&job).await;
    let mut worker = stage.worker(&["bash"], 1).await;
    let delivery = worker.next().await;
    worker.complete(&delivery).await;
    let outcome = within("the end", waiter.ended(&gateway.records, &job.workspace, soon())).await.unwrap();
    assert!(matches!(outcome, Waited::Ended(end) if end == canceled()));
}

#[tokio::test]
async fn a_running_job_is_marked_and_its_worker_told() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    let mut orders = Box::pin(worker.control.orders(&worker.id).await.unwrap());
    let mut job = job("bash");
    gateway.publish(&mut job).await.unwrap();
    let delivery = worker.next().await;
    let attempt = worker.run(&job).await;
    let answer = gateway.cancel(&job).await;
    assert_eq!(answer, CancelAnswer::Running(Some(worker.id.clone())));
    gateway.control.nudge(&worker.id, &job.workspace, job.id).await;
    assert_eq!(within("the order", orders.next()).await, Some(job.id));
    let renewal = worker.records.renew(&job.workspace, job.id, attempt).await.unwrap();
    assert_eq!(renewal, Renewal::Canceled(eve()));
    finish(&worker.records, &job, attempt, &canceled()).await;
    delivery.lease.settle(&job, &canceled(), &worker.events).await;
    assert_eq!(gateway.records.end_of(&job.workspace, job.id).await.unwrap(), Some(canceled()));
}

#[tokio::test]
async fn a_cancellation_outlives_a_start_that_was_taken_back() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let (records, worker) = (stage.records(), InstanceId::random("worker"));
    let (mut job, first) = (job("bash"), nonce());
    gateway.publish(&mut job).await.unwrap();
    let asked = |answer: StartAnswer| match answer {
        StartAnswer::Run { attempt, cancel_asked, .. } => (attempt, cancel_asked),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(start(&records, &job, &worker, &first).await), (1, false));
    assert_eq!(gateway.cancel(&job).await, CancelAnswer::Running(Some(worker.clone())));
    assert!(records.undo_start(&job, (1, &first), Undo::Away).await.unwrap());
    // whoever starts it next learns of it from the start itself, also when its answer was lost
    let second = nonce();
    for _ in 0..2 {
        assert_eq!(asked(start(&records, &job, &worker, &second).await), (1, true));
    }
}

#[tokio::test]
async fn what_is_over_or_never_was_cannot_be_cancelled() {
    let stage = Stage::start().await;
    let (records, worker) = (stage.records(), proto::InstanceId::random("worker"));
    let job = job("bash");
    start(&records, &job, &worker, &nonce()).await;
    finish(&records, &job, 1, &success("1")).await;
    assert_eq!(
        records.cancel(&job.workspace, job.id, &eve(), None, None).await.unwrap(),
        CancelAnswer::Ended
    );
    assert_eq!(
        records.cancel(&job.workspace, job.id, &eve(), Some(&job), None).await.unwrap(),
        CancelAnswer::Ended
    );
    assert_eq!(records.end_of(&job.workspace, job.id).await.unwrap(), Some(success("1")));
    let unknown = records.cancel(&workspace(), JobId::random(), &eve(), None, None).await.unwrap();
    assert_eq!(unknown, CancelAnswer::Absent);
}

#[tokio::test]
async fn of_a_start_and_a_cancellation_at_once_exactly_one_wins() {
    let stage = Stage::start().await;
    let (gateway, worker) = (stage.records(), stage.records());
    let id = proto::InstanceId::random("worker");
    let (mut ran, mut canceled_first) = (0, 0);
    for round in 0..200 {
        let job = job("bash");
        let (by, call) = (eve(), nonce());
        let begins = start(&worker, &job, &id, &call);
        let cancels = gateway.cancel(&job.workspace, job.id, &by, Some(&job), None);
        let (started, asked) = tokio::join!(begins, cancels);
        let renewal = worker.renew(&job.workspace, job.id, 1).await.unwrap();
        match (started, asked.unwrap()) {
            (StartAnswer::Run { attempt: 1, .. }, CancelAnswer::Running(Some(told))) => {
                assert_eq!((told, renewal), (id.clone(), Renewal::Canceled(eve())));
                ran += 1;
            }
            (StartAnswer::Ended(end), CancelAnswer::Canceled(told)) => {
                assert!(end == told && renewal == Renewal::Fenced);
                canceled_first += 1;
            }
            both => panic!("round {round}: {both:?}"),
        }
    }
    assert_eq!(ran + canceled_first, 200);
}
