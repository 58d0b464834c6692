//! Which workers are there: signs of life, their expiry, and their end.

use job_queue::{Presence, Records, RedisConfig, WorkerRow};
use proto::{InstanceId, Tag};
use redis::AsyncCommands;
use test_servers::{Valkey, within};

use crate::stage::RETENTION;

fn tag(name: &str) -> Tag {
    name.parse().expect("a tag")
}

fn row(tags: &[&str]) -> WorkerRow {
    let tags = tags.iter().map(|name| tag(name)).collect();
    WorkerRow { id: InstanceId::random("worker"), group: "default".to_owned(), tags, slots: 4 }
}

/// Until so many workers serve the tag: the sign of life is given by another task.
async fn serve(records: &Records, name: &str, count: u64) {
    let counted = async {
        while records.workers_of(&tag(name)).await.expect("valkey answers") != count {
            tokio::task::yield_now().await;
        }
    };
    within(&format!("{count} workers of {name}"), counted).await;
}

#[tokio::test]
async fn workers_are_counted_by_tag_until_they_leave_or_die() {
    let valkey = Valkey::start().await;
    let records = Records::open(&RedisConfig { url: valkey.url(), retention: RETENTION.into() }).unwrap();
    let (one, two) = (row(&["bash", "python3"]), row(&["bash"]));
    let presences = [one.clone(), two.clone()].map(|row| Presence::new(records.clone(), row));
    assert_eq!(records.workers_of(&tag("bash")).await.unwrap(), 0);
    tokio::select! {
        () = presences[0].keep() => {}
        () = presences[1].keep() => {}
        () = async {
            serve(&records, "bash", 2).await;
            serve(&records, "python3", 1).await;
        } => {}
    }
    let client = redis::Client::open(valkey.admin_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let expiring = [format!("hm:worker:{}", one.id), "hm:tags:bash".to_owned(), "hm:tags:python3".to_owned()];
    for key in expiring {
        let left: i64 = redis.pttl(&key).await.unwrap();
        assert!((1..=30_000).contains(&left), "{key}: {left} ms");
    }
    presences[0].withdraw().await.unwrap();
    serve(&records, "bash", 1).await;
    serve(&records, "python3", 0).await;
    // the other one's last sign of life was more than 30 s ago
    let long_ago = job_queue::now_us() / 1000 - 30_001;
    redis.zadd::<_, _, _, ()>("hm:tags:bash", two.id.as_str(), long_ago).await.unwrap();
    serve(&records, "bash", 0).await;
}
