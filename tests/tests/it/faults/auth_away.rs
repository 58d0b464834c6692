//! auth-service gone: known tokens go on for 30 s, others are told to come back, and jobs wait
//! for it without an attempt being counted. And the other way round: a token that is revoked
//! is refused everywhere at once.

use std::time::{Duration, Instant};

use serde_json::json;
use system_tests::{Client, System, eventually};

use super::stage::{BOUND, QUICK, Stage, assert_ended_with, figure};

/// How long a known token is promised to go on, and how long at most.
const AT_LEAST: Duration = Duration::from_secs(20);
const AT_MOST: Duration = Duration::from_secs(32);

async fn whoami(client: &Client) -> u16 {
    client.get_path("/api/users/whoami").send().await.status
}

#[tokio::test]
async fn known_tokens_go_on_for_30_s_and_jobs_wait() {
    // one worker: it has seen auth-service answer, and so counts on it for the next job
    let system = System::start().gateways(2).workers(1).slots(1).lease("2s").await;
    let (stage, admin) = (Stage::set(&system).await, system.client());
    let make = async || admin.with_token(&admin.make_token(json!({"label": "x"})).await);
    let (known, unknown) = (make().await, make().await);
    let used = Instant::now();
    known.wait(QUICK, stage.args("before")).await.expect(200).text();
    system.auth().kill();

    let asked = Instant::now();
    assert_eq!(whoami(&unknown).await, 503, "it may be good: nobody can tell");
    figure(&format!("an unknown token without auth-service: 503 after {:?}", asked.elapsed()));
    assert_eq!(whoami(&known.at(system.gateway(1))).await, 503, "that gateway has never seen it");
    let job = known.run(QUICK, stage.args("waits")).await;
    let until = lasts(&known, used).await;
    figure(&format!("a known token went on for {until:?}"));
    assert!(until > AT_LEAST && until < AT_MOST, "{until:?}");
    assert_eq!((whoami(&unknown).await, whoami(&known).await), (503, 503));
    assert_eq!(stage.runs_of(&job), 0, "a job waits for its token");

    system.auth().start_again().await;
    let back = Instant::now();
    assert_ended_with(admin, &job, "waits").await;
    figure(&format!("the job that waited ended {:?} after auth-service was back", back.elapsed()));
    assert_eq!((&admin.get(&job).await["attempt"], stage.runs_of(&job)), (&json!(1), 1));
    assert_eq!((whoami(&unknown).await, whoami(&known).await), (200, 200));
    let lines = system.worker(0).log_lines();
    let undone = lines.iter().any(|line| line.to_string().contains("without an attempt"));
    assert!(undone, "its start was taken back");
}

/// How long after its use the token is still good; nothing but 200 and then 503 may come.
async fn lasts(known: &Client, used: Instant) -> Duration {
    let mut last = Duration::ZERO;
    eventually("a 503 for the known token", BOUND, async || {
        let at = used.elapsed();
        match whoami(known).await {
            200 => {
                last = at;
                None
            }
            503 => Some(()),
            other => panic!("{other} after {at:?}"),
        }
    })
    .await;
    last
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_every_gateway_at_once() {
    const TOKENS: usize = 5;
    let system = System::start().gateways(2).workers(0).await;
    let admin = system.client();
    let mut slowest = Duration::ZERO;
    for _ in 0..TOKENS {
        let token = admin.make_token(json!({"label": "short"})).await;
        let holders = [0, 1].map(|number| admin.with_token(&token).at(system.gateway(number)));
        for holder in &holders {
            assert_eq!(whoami(holder).await, 200);
        }
        admin.revoke(&token).await;
        let revoked = Instant::now();
        for holder in &holders {
            eventually("a 401 for the revoked token", Duration::from_millis(300), async || {
                (whoami(holder).await == 401).then_some(())
            })
            .await;
        }
        slowest = slowest.max(revoked.elapsed());
    }
    figure(&format!("revoked tokens were refused at both gateways within {slowest:?} (promised: 100 ms)"));
}
