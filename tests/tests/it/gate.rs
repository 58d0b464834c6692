//! A script that runs until the test lets it go on, and the look at what was really queued.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use system_tests::{Client, System};

/// Where a script waits until the test opens it.
pub(crate) struct Gate(PathBuf);

impl Gate {
    /// Deploys `path`: a Bash script that says `waiting`, waits, and returns `through`.
    pub(crate) async fn deploy(system: &System, path: &str) -> Self {
        Self::deploy_in(system.folder(), system.client(), path).await
    }

    /// The same with a folder of one's own.
    pub(crate) async fn deploy_in(folder: &Path, client: &Client, path: &str) -> Self {
        let file = folder.join(format!("gate-{}", path.replace('/', "-")));
        let source =
            format!("echo waiting\nuntil [ -e '{}' ]; do sleep 0.02; done\necho through\n", file.display());
        client.deploy(path, "bash", &source).await;
        Self(file)
    }

    /// Lets everything through, from now on.
    pub(crate) fn open(&self) {
        std::fs::write(&self.0, "").unwrap();
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
