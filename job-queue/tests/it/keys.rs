//! Idempotency keys in the store.

use std::time::Duration;

use job_queue::{Reservation, Reserved};
use proto::JobId;

use crate::stage::{Stage, workspace};

const LONG: Duration = Duration::from_hours(1);

fn reservation(key: &str, request: &str) -> Reservation {
    Reservation { key: key.to_owned(), request: request.to_owned() }
}

#[tokio::test]
async fn the_first_decides_and_everybody_is_told() {
    let stage = Stage::start().await;
    let records = stage.records();
    let [first, second] = [JobId::random(), JobId::random()];
    let key = reservation("k", "r");
    let reserve = async |key: &Reservation, id| records.reserve(&workspace(), key, id, LONG).await.unwrap();
    assert_eq!(reserve(&key, first).await, Reserved::First);
    assert_eq!(reserve(&key, first).await, Reserved::First, "the same call again after a lost reply");
    assert_eq!(reserve(&key, second).await, Reserved::Before(first));
    assert_eq!(reserve(&reservation("k", "other"), second).await, Reserved::OtherRequest(first));
    assert_eq!(reserve(&reservation("k2", "r"), second).await, Reserved::First);
}

#[tokio::test]
async fn a_key_is_given_back_while_nobody_else_knows_of_it() {
    let stage = Stage::start().await;
    let records = stage.records();
    let [first, second] = [JobId::random(), JobId::random()];
    let key = reservation("k", "r");
    let reserve = async |key: &Reservation, id| records.reserve(&workspace(), key, id, LONG).await.unwrap();
    let release = async |id| records.release(&workspace(), &key, id).await.unwrap();
    reserve(&key, first).await;
    // who was refused knows nothing of it
    reserve(&reservation("k", "other"), second).await;
    assert!(!release(second).await, "it is not that one's");
    assert!(release(first).await);
    assert!(!release(first).await);
    assert_eq!(reserve(&key, second).await, Reserved::First);
    assert_eq!(reserve(&key, first).await, Reserved::Before(second));
    assert!(!release(second).await, "somebody may have published its job");
    assert_eq!(reserve(&key, first).await, Reserved::Before(second));
}

#[tokio::test]
async fn a_key_is_remembered_for_its_time() {
    let stage = Stage::start().await;
    let id = JobId::random();
    stage.records().reserve(&workspace(), &reservation("k", "r"), id, LONG).await.unwrap();
    let mut redis = stage.redis().await;
    let name = format!("hm:{{{}}}:key:k", workspace().token());
    let left: i64 = redis::cmd("TTL").arg(name).query_async(&mut redis).await.unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
}
