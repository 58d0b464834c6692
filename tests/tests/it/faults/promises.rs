//! What is promised of a fault's length. A busy machine gets three times the promise; `make chaos ARGS=--recovery`
//! measures, and docs/reliability.md has the figures.

use std::time::Duration;

use system_tests::recovery::{Outage, Server, outages, takeovers};

use super::stage::figure;

const LEASE: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_secs(5);
const STALL: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_run_elsewhere_within_one_and_a_half_leases() {
    let times = takeovers(LEASE, 2).await;
    figure(&format!("lease {LEASE:?}: {times:?}"));
    assert!(!times.is_empty(), "a worker was killed that had jobs");
    assert!(times.iter().all(|time| *time < LEASE * 3 / 2 * 3), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_seconds_without_nats() {
    let outage = outages(Server::Nats, AWAY, 1).await.remove(0);
    felt(&outage);
    assert!(outage.meanwhile.contains_key(&503), "it was away: {outage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_seconds_without_valkey() {
    let outage = outages(Server::Valkey, AWAY, 1).await.remove(0);
    felt(&outage);
    assert!(outage.meanwhile.contains_key(&503), "it was away: {outage:?}");
    assert!(outage.meanwhile.contains_key(&201), "asynchronous triggers go on: {outage:?}");
}

/// Nobody felt it for much longer than it was, and nobody got another error than a 503 for a request that came meanwhile.
fn felt(outage: &Outage) {
    figure(&format!("{outage:?}"));
    let bound = outage.away + STALL * 3;
    assert!(outage.without_ends < bound && outage.without_triggers < bound, "{outage:?}");
    assert!(outage.longest_wait < bound, "{outage:?}");
    assert!(outage.meanwhile.keys().all(|status| [200, 201, 503].contains(status)), "{outage:?}");
    assert!(outage.otherwise.keys().all(|status| [200, 201].contains(status)), "{outage:?}");
    assert!(outage.jobs > 0, "{outage:?}");
}
