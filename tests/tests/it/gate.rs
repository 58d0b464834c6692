//! A script that runs until the test lets it go on, and the look at what was really queued.

use serde_json::{Value, json};
use system_tests::{Client, Hub, System};

/// Where a script waits until the test opens it.
pub(crate) struct Gate {
    hub: Hub,
    name: String,
}

impl Gate {
    /// Deploys `path`: a Bash script that says `waiting`, waits, and returns `through`.
    pub(crate) async fn deploy(system: &System, path: &str) -> Self {
        let (hub, name) = (system.hub().clone(), path.to_owned());
        let source = format!(
            "echo waiting\nexec 3<>/dev/tcp/127.0.0.1/{}\necho wait {name} >&3\nread -r _ <&3\necho ok >&3\necho through\n",
            hub.port()
        );
        system.client().deploy(path, "bash", &source).await;
        Self { hub, name }
    }

    /// Lets everything through, from now on.
    pub(crate) fn open(&self) {
        self.hub.open(&self.name);
    }
}

/// A gate of a system without a hub: its script asks the API until another script is there.
pub(crate) struct ApiGate;

impl ApiGate {
    /// As [`Gate::deploy`].
    pub(crate) async fn deploy(client: &Client, path: &str) -> Self {
        let source = "echo waiting\nask() { curl -sf -o /dev/null -H \"Authorization: Bearer $WM_TOKEN\" \
                      \"$BASE_INTERNAL_URL/api/w/$WM_WORKSPACE/scripts/get/p/f/a/open\"; }\n\
                      until ask; do sleep 0.05; done\necho through\n";
        client.deploy(path, "bash", source).await;
        Self
    }

    /// Lets everything through, from now on, by way of the API as it is there now.
    pub(crate) async fn open(self, client: &Client) {
        client.deploy("f/a/open", "bash", "echo").await;
    }
}

/// Asserts that nothing was ever queued: a job that is queued now and has ended is the only one.
pub(crate) async fn assert_no_job_but_a_new_one(client: &Client) {
    client.deploy("f/witness/one", "bash", "echo seen").await;
    let answer = client.wait("f/witness/one", json!({})).await.expect(200);
    let id = answer.header("x-job-id").to_owned();
    let rows: Vec<Value> = client.list("per_page=1000").await;
    let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids, [id], "{rows:#?}");
}
