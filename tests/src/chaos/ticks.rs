//! A schedule that comes each second, all the time.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use ring::digest;
use serde_json::json;
use uuid::Uuid;

use super::scripts;
use crate::client::Client;
use crate::waiting::retried;

/// What its jobs are given: they are told by it from all others.
pub(super) const VALUE: &str = "Tick";
/// The schedule.
const PATH: &str = "f/chaos/each";
/// How long its jobs work, in milliseconds.
const WORK_MS: u64 = 300;
/// How long its end may take when nothing is wrong any more.
const BOUND: Duration = Duration::from_secs(60);
/// How late a tick's job may run, in seconds.
const LATEST: i64 = 300;

/// Makes it.
pub(super) async fn begin(client: &Client, port: u16) {
    let schedule = json!({"path": PATH, "schedule": "* * * * * *", "timezone": "UTC", "enabled": true,
        "script_path": scripts::WORKS, "is_flow": false, "args": scripts::args(port, VALUE, WORK_MS)});
    client.post("schedules/create").json(schedule).send().await.expect(201);
}

/// Ends it.
pub(super) async fn end(client: &Client) {
    retried("the end of the schedule", BOUND, || async {
        let asked = client.request(Method::DELETE, &format!("schedules/delete/{PATH}")).try_send().await;
        asked.is_ok_and(|answer| matches!(answer.status, 200 | 404)).then_some(())
    })
    .await;
}

/// The ids that jobs of ticks have which began within these times, in Unix µs: worked out as documented, not by the
/// gateway's code.
pub(super) fn ids(first_us: i64, last_us: i64) -> BTreeSet<String> {
    let seconds = first_us / 1_000_000 - LATEST..=last_us / 1_000_000;
    seconds.map(|second| id_of(second * 1_000_000).to_string()).collect()
}

fn id_of(tick_us: i64) -> Uuid {
    let text = format!("hookmill tick v1 main {PATH} {tick_us}");
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
