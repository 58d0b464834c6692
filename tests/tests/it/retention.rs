//! How long runs are kept: as their workspace says, and all of them whole until then; large arguments as well.

use std::time::Duration;

use serde_json::{Value, json};
use system_tests::{Answer, Client, System, eventually};

const BOUND: Duration = Duration::from_secs(60);
const HELLO: &str = "f/a/hello";

async fn edit(client: &Client, seconds: Value) -> Answer {
    let body = json!({ "retention_period_secs": seconds });
    client.post("workspaces/edit_retention").json(body).send().await
}

async fn set() -> System {
    let start = System::start().gateways(2).auth_setting("retention-min", "1s");
    start.gateway_setting("sweep-every", "300ms").gateway_setting("args-grace", "2s").await
}

/// Nothing tells of this job any more.
async fn gone(client: &Client, id: &str) {
    eventually("its time is over", BOUND, async || {
        let answer = client.get_path(&format!("jobs_u/get/{id}")).send().await;
        (answer.status == 404).then_some(())
    })
    .await;
}

async fn kept(system: &System, workspace: &str) -> Vec<String> {
    let keys = system.valkey().administer(&["KEYS", &format!("hm:{{{workspace}}}:*")]).await;
    redis::from_redis_value(keys.expect("valkey answers")).expect("names")
}

#[tokio::test]
async fn each_workspace_keeps_its_runs_as_it_says() {
    let system = set().await;
    let brief = system.client();
    let long = brief.in_workspace("admins");
    edit(brief, json!(1)).await.expect(200);
    let settings = brief.get_path("workspaces/get_settings").send().await.expect(200).json();
    assert_eq!(settings["retention_period_secs"], 1);
    let (mut ended, large) = (Vec::new(), json!({"value": "x".repeat(300_000)}));
    for client in [brief, &long] {
        client.deploy(HELLO, "bash", "echo hello").await;
        let id = client.run(HELLO, large.clone()).await;
        // what keeps it briefly may have forgotten it already
        eventually("it ends", BOUND, async || {
            let shown = client.get_path(&format!("jobs_u/get/{id}")).send().await;
            (shown.status == 404 || shown.json()["type"] == "CompletedJob").then_some(())
        })
        .await;
        ended.push(id);
    }
    gone(brief, &ended[0]).await;
    for client in [brief, &brief.at(system.gateway(1))] {
        assert_eq!(client.list("per_page=100").await, Vec::<Value>::new());
        assert_eq!(client.list(&format!("script_path_exact={HELLO}")).await, Vec::<Value>::new());
    }
    let workspace = brief.workspace();
    eventually("nothing is left of it", BOUND, async || {
        kept(&system, workspace).await.is_empty().then_some(())
    })
    .await;
    // three chunks, and what they are, of the other one
    eventually("its arguments go", BOUND, async || {
        (system.nats().held("OBJ_ARGS").await == Some(4)).then_some(())
    })
    .await;
    assert_eq!(long.end_of(&ended[1]).await["success"], true);
    assert_eq!(long.list("per_page=100").await.len(), 1);
    assert!(!kept(&system, "admins").await.is_empty());
}

#[tokio::test]
async fn what_is_no_time_is_refused_by_name() {
    let system = System::start().await;
    let client = system.client();
    for (sent, named) in [
        (json!(0), "0 is no whole number of seconds"),
        (json!(-1), "-1 is no whole number"),
        (json!(1.5), "1.5 is no whole number"),
        (json!("7d"), "\"7d\" is no whole number"),
        (json!(3599), "3599 is not between 3600 and 2592000"),
        (json!(2_592_001), "2592001 is not between 3600 and 2592000"),
    ] {
        let refused = edit(client, sent).await.expect(400).text();
        assert!(refused.contains(named), "{refused}");
    }
    for body in [json!({}), json!({"retention": 3600}), json!([])] {
        client.post("workspaces/edit_retention").json(body).send().await.expect(400);
    }
    let bob = system.member("bob").await;
    edit(&bob, json!(3600)).await.expect(403);
    edit(client, json!(3600)).await.expect(200);
    edit(client, Value::Null).await.expect(200);
    let settings = client.get_path("workspaces/get_settings").send().await.expect(200).json();
    assert_eq!(settings["retention_period_secs"], Value::Null);
}
