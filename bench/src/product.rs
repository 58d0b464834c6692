//! The product as its callers see it: deploy, call a webhook, fetch a result; HTTP only.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use http::StatusCode;
use serde_json::{Value, json};

use crate::case::{Mode, Script, arguments};
use crate::http_client::{Call, Reply, once};
use crate::install::{Install, WORKSPACE};
use crate::load::{Plan, Sample, Target, closed_loop};

/// Connections that fetch results, after the load.
const FETCHERS: usize = 8;

/// How long fetching all results of a case may take.
const FETCH_WITHIN: Duration = Duration::from_secs(60);

/// Where the script of the long queue is deployed.
const BACKLOG: &str = "f/bench/backlog";

/// Where and as whom to call.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    addr: SocketAddr,
    token: String,
}

impl Product {
    pub(crate) fn of(install: &Install) -> Self {
        Self { addr: install.api, token: install.token.clone() }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn call(&self, call: Call) -> Call {
        call.with_token(&self.token)
    }

    /// Deploys the script of a language.
    ///
    /// # Errors
    /// The gateway refuses it.
    pub(crate) async fn deploy(&self, script: Script) -> anyhow::Result<()> {
        self.create(&script.path(), script, json!({})).await
    }

    /// Deploys the Bash script once more, for workers of a tag.
    ///
    /// # Errors
    /// The gateway refuses it.
    pub(crate) async fn deploy_backlog(&self, tag: &str) -> anyhow::Result<()> {
        self.create(BACKLOG, Script::Bash, json!({ "tag": tag })).await
    }

    async fn create(&self, path: &str, script: Script, more: Value) -> anyhow::Result<()> {
        let mut body = json!({
            "path": path, "summary": "", "description": "",
            "language": script.language(), "content": script.content(),
        });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let call = Call::post(format!("/api/w/{WORKSPACE}/scripts/create"), body.to_string());
        let reply = once(self.addr, self.call(call)).await?.expect(StatusCode::CREATED);
        reply.map(drop).with_context(|| format!("cannot deploy {path}"))
    }

    /// A webhook of a script.
    pub(crate) fn webhook(&self, script: Script, mode: Mode) -> Webhook {
        Webhook { product: self.clone(), path: script.path(), script, mode }
    }

    /// The asynchronous webhook of [`Product::deploy_backlog`].
    pub(crate) fn backlog_webhook(&self) -> Webhook {
        Webhook { product: self.clone(), path: BACKLOG.to_owned(), script: Script::Bash, mode: Mode::Async }
    }

    /// Asks for something of the workspace.
    pub(crate) fn get(&self, route: &str) -> Call {
        self.call(Call::get(format!("/api/w/{WORKSPACE}/{route}")))
    }

    /// Fetches the stored result of every job and compares it.
    ///
    /// # Errors
    /// One is missing, or another than it has to be.
    pub(crate) async fn compare(&self, script: Script, jobs: &[Sample]) -> anyhow::Result<usize> {
        let route = "completed/get_result";
        let fetched = self.fetch(jobs, route, move |n, body| agree(&script.expected(n), body)).await?;
        Ok(fetched.len())
    }

    /// The records of these jobs, in their order.
    ///
    /// # Errors
    /// One is missing.
    pub(crate) async fn records(&self, jobs: &[Sample]) -> anyhow::Result<Vec<Value>> {
        let bodies = self.fetch(jobs, "get", |_, _| Ok(())).await?;
        bodies.iter().map(|body| Ok(serde_json::from_str(body)?)).collect()
    }

    async fn fetch(
        &self,
        jobs: &[Sample],
        route: &'static str,
        check: impl Fn(u64, &[u8]) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> anyhow::Result<Vec<String>> {
        let ids = jobs.iter().map(|job| (job.n, job.job.clone())).collect();
        let count = u64::try_from(jobs.len())?;
        let plan = Plan { concurrency: FETCHERS, warm_up: 0, count, limit: FETCH_WITHIN };
        let fetch = Fetch { product: self.clone(), jobs: ids, route, check };
        let answered = closed_loop(self.addr, plan, fetch).await?;
        if answered.all().len() != jobs.len() {
            let (got, all) = (answered.all().len(), jobs.len());
            bail!("only {got} of {all} results could be fetched within {} s", FETCH_WITHIN.as_secs());
        }
        Ok(answered.all().iter().map(|sample| sample.job.clone()).collect())
    }
}

/// Calls one webhook, with other arguments each time.
pub(crate) struct Webhook {
    product: Product,
    path: String,
    script: Script,
    mode: Mode,
}

impl Target for Webhook {
    fn call(&self, n: u64) -> Call {
        let route = match self.mode {
            Mode::Async => "run",
            Mode::Sync => "run_wait_result",
        };
        let path = format!("/api/w/{WORKSPACE}/jobs/{route}/p/{}", self.path);
        self.product.call(Call::post(path, arguments(n).to_string()))
    }

    fn check(&self, n: u64, reply: Reply) -> anyhow::Result<String> {
        match self.mode {
            Mode::Async => Ok(String::from_utf8(reply.expect(StatusCode::CREATED)?.body.to_vec())?),
            Mode::Sync => {
                let reply = reply.expect(StatusCode::OK)?;
                agree(&self.script.expected(n), &reply.body)?;
                let id = reply.headers.get("x-job-id").context("no X-Job-Id in the answer")?;
                Ok(id.to_str()?.to_owned())
            }
        }
    }
}

/// Reads something of each job; the "job" of its samples is what was read.
struct Fetch<F> {
    product: Product,
    jobs: Vec<(u64, String)>,
    route: &'static str,
    check: F,
}

impl<F: Fn(u64, &[u8]) -> anyhow::Result<()> + Send + Sync + 'static> Target for Fetch<F> {
    fn call(&self, place: u64) -> Call {
        let id = self.job(place).map_or("", |(_, id)| id);
        let path = format!("/api/w/{WORKSPACE}/jobs_u/{}/{id}?no_logs=true", self.route);
        self.product.call(Call::get(path))
    }

    fn check(&self, place: u64, reply: Reply) -> anyhow::Result<String> {
        let (n, id) = self.job(place).context("a job that nobody asked for")?;
        let body = reply.expect(StatusCode::OK).with_context(|| format!("job {id}"))?.body;
        (self.check)(*n, &body).with_context(|| format!("job {id}"))?;
        Ok(String::from_utf8(body.to_vec())?)
    }
}

impl<F> Fetch<F> {
    fn job(&self, place: u64) -> Option<&(u64, String)> {
        self.jobs.get(usize::try_from(place).ok()?)
    }
}

/// Whether a result is the expected one.
pub(crate) fn agree(expected: &Value, body: &[u8]) -> anyhow::Result<()> {
    let got: Value = serde_json::from_slice(body).context("the result is not JSON")?;
    if got != *expected {
        bail!("the result is {got} instead of {expected}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_result_is_found() {
        let expected = Script::Python.expected(3);
        agree(&expected, expected.to_string().as_bytes()).unwrap();
        let wrong = Script::Python.expected(4).to_string();
        assert!(agree(&expected, wrong.as_bytes()).unwrap_err().to_string().contains("instead of"));
        assert!(agree(&expected, b"").is_err());
    }
}
