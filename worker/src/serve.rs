//! Starting a worker: executor, connections, then pulling until the drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use broker::{Broker, BrokerConfig, Link};
use catalog::Catalog;
use futures::StreamExt;
use job_queue::{
    Afters, ArgsStore, Control, DeadLetters, Delivery, Events, Presence, Publisher, Puller, PullerConfig,
    Records, RedisConfig, Retention, Slots, StoreError, WorkerRow,
};
use lifecycle::supervisor::Host;
use lifecycle::{Latch, Process};
use proto::{InstanceId, Tag};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::{self, Health};
use crate::config::Config;
use crate::execute::{self, Executor};
use crate::job_token::JobTokens;
use crate::watchlist::Watchlist;

/// How long the last acknowledgements may take to leave a worker that ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What every attempt shares.
pub(crate) struct Worker {
    pub(crate) id: InstanceId,
    pub(crate) config: Config,
    pub(crate) executor: Executor,
    pub(crate) catalog: Catalog,
    pub(crate) records: Records,
    pub(crate) args: ArgsStore,
    pub(crate) events: Events,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) publisher: Publisher,
    pub(crate) afters: Afters,
    pub(crate) tokens: JobTokens,
    pub(crate) watchlist: Watchlist,
    /// Folders of ended jobs that are being removed.
    pub(crate) sweeps: Semaphore,
    pub(crate) health: Health,
    /// No more jobs are taken.
    pub(crate) drain: CancellationToken,
    /// The grace is over: what still runs is handed back.
    pub(crate) abort: CancellationToken,
}

/// Runs a worker until it is told to stop.
///
/// # Errors
/// The configuration cannot be used, no language runs here, or Redis may evict.
pub async fn run(config: Config, process: Process) -> anyhow::Result<()> {
    let id = InstanceId::random("worker");
    let broker = connect(&config, &id).await?;
    let worker = Arc::new(assemble(config, id, &broker, &process).await?);
    let tags = tags(&worker);
    report(&worker, &tags, &process);
    let nats = process.readiness.latch("nats");
    let store = process.readiness.latch("run store");
    let drain = process.shutdown.drain_token().clone();
    let (slots, deliveries, received) = {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Slots::new(worker.config.slots.get()), sender, receiver)
    };
    process.spawn_essential("store check", check_store(worker.records.clone(), store, drain.clone()));
    let link = broker.link();
    let follow = async move { nats.follow(link, Link::why_not).await };
    process.spawn("nats link", until(drain.clone(), follow));
    process.spawn("control", until(drain.clone(), obey(Control::new(broker.clone()), worker.clone())));
    let row = WorkerRow {
        id: worker.id.clone(),
        group: worker.config.group.clone(),
        tags: tags.clone(),
        slots: slots.total(),
    };
    process.spawn("presence", show(Presence::new(worker.records.clone(), row), drain.clone()));
    let pulls = PullerConfig { worker: worker.id.clone(), tags, lease: worker.config.lease };
    let puller = Puller::open(broker.clone(), pulls, slots).await?;
    process.spawn("puller", puller.run(deliveries, drain));
    work(&worker, received, &process).await;
    if !broker.flush(LAST_WORDS).await {
        tracing::warn!("the last acknowledgements were not sent: their jobs come again after a lease");
    }
    Ok(())
}

async fn connect(config: &Config, id: &InstanceId) -> anyhow::Result<Broker> {
    let settings = BrokerConfig {
        url: config.nats_url.clone(),
        user: broker::permissions::WORKER.to_owned(),
        password: config.nats_password.expose().clone(),
        name: id.to_string(),
    };
    Ok(Broker::connect(settings).await?)
}

async fn assemble(
    config: Config,
    id: InstanceId,
    broker: &Broker,
    process: &Process,
) -> anyhow::Result<Worker> {
    let retention = Retention { default: config.retention, longest: config.retention_max };
    let redis = RedisConfig { url: config.redis_url.expose().clone(), retention };
    Ok(Worker {
        executor: executor(&config).await?,
        catalog: Catalog::open(broker.clone(), &[]),
        records: Records::open(&redis)?,
        args: ArgsStore::new(broker.clone()),
        events: Events::new(broker.clone()),
        dead_letters: DeadLetters::new(broker.clone()),
        publisher: Publisher::new(broker.clone()),
        afters: Afters::new(broker.clone()),
        tokens: JobTokens::new(&config.auth_url, config.auth_credential.expose()).context("auth-url")?,
        watchlist: Watchlist::default(),
        sweeps: Semaphore::new(config.slots.get()),
        health: Health::new(process.readiness.latch("scripts")),
        drain: process.shutdown.drain_token().clone(),
        abort: process.shutdown.abort_token().clone(),
        config,
        id,
    })
}

async fn executor(config: &Config) -> anyhow::Result<Executor> {
    let settings = execute::Config {
        work_dir: config.work_dir.clone(),
        spares: config.slots,
        search_path: config.path.clone(),
        python: config.python.clone(),
        python_path: config.python_path.clone(),
        deno: config.deno.clone(),
        bash: None,
        isolation: config.sandbox.isolation,
        surrounding: config.surrounding(),
        warm: config.warm,
        warm_idle: config.warm_idle,
        warm_spares: config.warm_spares,
    };
    let host = Host::new().context("the supervisor cannot be started")?;
    Ok(Executor::new(&settings, host).await?)
}

/// The languages found, and what the configuration adds.
fn tags(worker: &Worker) -> Vec<Tag> {
    let languages = worker
        .executor
        .languages()
        .into_iter()
        .filter_map(|(language, _)| language.default_tag().parse().ok());
    let mut tags: Vec<Tag> = if worker.config.only_tags { Vec::new() } else { languages.collect() };
    tags.extend(worker.config.tags.iter().cloned());
    tags.sort();
    tags.dedup();
    tags
}

fn report(worker: &Worker, tags: &[Tag], process: &Process) {
    let languages: Vec<String> = worker
        .executor
        .languages()
        .into_iter()
        .map(|(language, version)| format!("{language} {version}"))
        .collect();
    let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    tracing::info!(worker.id = %worker.id, ?languages, ?tags, slots = worker.config.slots, "worker starts");
    let level = worker.executor.level().map_or("off", sandbox::Level::as_str);
    let shortfall = worker.executor.shortfall().unwrap_or_default();
    let cgroups = worker.executor.has_cgroups();
    let network = worker.executor.has_own_network();
    tracing::info!(
        sandbox.level = level,
        sandbox.cgroups = cgroups,
        sandbox.own_network = network,
        shortfall,
        "scripts are confined"
    );
    let detail = serde_json::json!(
        { "level": level, "cgroups": cgroups, "own_network": network, "shortfall": shortfall }
    );
    process.readiness.detail("sandbox", detail);
    process.readiness.detail("languages", languages);
    process.readiness.detail("tags", tags);
}

/// Deliveries to attempts, each a task of its own; ends when the puller has, and everything
/// that it handed out is worked off.
async fn work(worker: &Arc<Worker>, mut deliveries: mpsc::UnboundedReceiver<Delivery>, process: &Process) {
    let attempts = TaskTracker::new();
    while let Some(delivery) = deliveries.recv().await {
        let worker = worker.clone();
        // on the heap from the start: it is several kilobytes, and is handed on a few times
        let attempt = Box::pin(async move { attempt::handle(&worker, delivery).await });
        process.spawn("attempt", attempts.track_future(attempt));
    }
    attempts.close();
    attempts.wait().await;
}

/// Refuses a store that may evict, as soon as there is one to ask.
async fn check_store(records: Records, latch: Latch, drain: CancellationToken) -> anyhow::Result<()> {
    let checked = async {
        loop {
            match records.check_eviction().await {
                Ok(()) => return Ok(()),
                Err(StoreError::Unavailable(why)) => latch.not_ready(why),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    match drain.run_until_cancelled(checked).await {
        Some(Ok(())) => latch.ready(),
        Some(Err(error)) => return Err(error.into()),
        None => return Ok(()),
    }
    drain.cancelled().await;
    Ok(())
}

async fn until(drain: CancellationToken, task: impl Future<Output = ()>) {
    drain.run_until_cancelled(task).await;
}

/// Rings the keepers of jobs somebody wants ended.
async fn obey(control: Control, worker: Arc<Worker>) {
    match control.orders(&worker.id).await {
        Ok(orders) => orders.for_each(async |id| worker.watchlist.ring(id)).await,
        Err(error) => {
            tracing::error!(%error, "no control messages: cancellations arrive with the next renewal");
        }
    }
}

async fn show(presence: Presence, drain: CancellationToken) {
    drain.run_until_cancelled(presence.keep()).await;
    if let Err(error) = presence.withdraw().await {
        tracing::debug!(%error, "not taken off the list of workers");
    }
}
