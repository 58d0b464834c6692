//! What people and programs ask about jobs while many wait.

use std::time::Duration;

use anyhow::{Context, bail};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::http_client::{Call, Connection, Reply};
use crate::load::{Plan, Sample, Target, closed_loop};
use crate::product::Product;
use crate::stats::Spread;

/// How long all calls of one question may take.
const LIMIT: Duration = Duration::from_mins(2);

/// How long the rows of the last jobs may take to be written, the sweeper's rounds included.
const ROWS_WITHIN: Duration = Duration::from_mins(10);

/// Between two questions whether they are.
const PAUSE: Duration = Duration::from_millis(100);

/// The answers to one question.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReadReport {
    /// The route.
    pub(crate) route: &'static str,
    /// One caller's latency.
    pub(crate) latency: Spread,
}

/// Waits until the count of queued jobs is the number of accepted ones.
///
/// # Errors
/// It is not within ten minutes.
pub(super) async fn until_all_rows(product: &Product, size: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + ROWS_WITHIN;
    let mut connection = Connection::open(product.addr()).await?;
    loop {
        let reply = connection.send(product.get("jobs/queue/count")).await?.expect(StatusCode::OK)?;
        let count = counted(&reply)?;
        if count == size {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("queue/count says {count} instead of {size}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn counted(reply: &Reply) -> anyhow::Result<u64> {
    let body: Value = serde_json::from_slice(&reply.body)?;
    body["database_length"].as_u64().context("a count without its number")
}

/// Asks each question `count` times, and checks each answer.
///
/// # Errors
/// One is wrong.
pub(super) async fn ask(product: &Product, jobs: &[Sample], count: u64) -> anyhow::Result<Vec<ReadReport>> {
    // those that are asked for stand everywhere in the queue
    let stride = (jobs.len() / usize::try_from(count)?).max(1);
    let ids: Vec<String> = jobs.iter().step_by(stride).map(|sample| sample.job.clone()).collect();
    let mut reports = Vec::new();
    for question in [Question::Get, Question::List, Question::Count, Question::Queue] {
        let target = Asked { product: product.clone(), question, ids: ids.clone() };
        let plan = Plan { concurrency: 1, warm_up: count / 10, count, limit: LIMIT };
        let answered = closed_loop(product.addr(), plan, target).await.context(question.route())?;
        reports.push(ReadReport { route: question.route(), latency: answered.latency() });
    }
    Ok(reports)
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Get,
    List,
    Count,
    Queue,
}

impl Question {
    fn route(self) -> &'static str {
        match self {
            Self::Get => "jobs_u/get",
            Self::List => "jobs/list",
            Self::Count => "jobs/queue/count",
            Self::Queue => "jobs/queue/list",
        }
    }

    /// Whether the answer is one to this question.
    fn agrees(self, id: &str, body: &Value) -> bool {
        match self {
            Self::Get => body["id"] == id && body["running"] == false,
            Self::List | Self::Queue => body.as_array().is_some_and(|rows| !rows.is_empty()),
            Self::Count => body["database_length"].as_u64().is_some_and(|count| count > 0),
        }
    }
}

/// One question, again and again.
struct Asked {
    product: Product,
    question: Question,
    ids: Vec<String>,
}

impl Asked {
    fn id(&self, n: u64) -> &str {
        let place = usize::try_from(n).unwrap_or(0) % self.ids.len().max(1);
        self.ids.get(place).map_or("", String::as_str)
    }
}

impl Target for Asked {
    fn call(&self, n: u64) -> Call {
        match self.question {
            Question::Get => self.product.get(&format!("jobs_u/get/{}", self.id(n))),
            other => self.product.get(other.route()),
        }
    }

    fn check(&self, n: u64, reply: Reply) -> anyhow::Result<String> {
        let body: Value = serde_json::from_slice(&reply.expect(StatusCode::OK)?.body)?;
        if !self.question.agrees(self.id(n), &body) {
            bail!("not an answer: {body}");
        }
        Ok(String::new())
    }
}
