//! Starting a gateway: connections, tables, the completion subscription, then the port.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use broker::{Broker, BrokerConfig, Link};
use catalog::{Catalog, Kind};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use job_queue::{
    Afters, ArgsStore, Collector, Completions, Control, DeadLetters, Events, Finder, Mover, Pressure,
    Publisher, QueuedRows, Records, RedisConfig, Sweeper, Ticks,
};
use lifecycle::Process;
use proto::InstanceId;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::app::{App, Parts};
use crate::auth::{AuthClient, Authenticator};
use crate::config::Config;
use crate::connection::{Connection, Patience, Unanswered};
use crate::job_id::JobIds;
use crate::ticks;

/// What a gateway reads of the catalog.
const KINDS: [Kind; 5] = [Kind::Workspace, Kind::User, Kind::Revoked, Kind::Head, Kind::Schedule];
/// How long a client may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the first callers wait for the tables; later they get 503 instead.
const LOAD: Duration = Duration::from_secs(2);

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// The port is taken, or the configuration cannot be used.
pub async fn run(config: Config, process: Process) -> anyhow::Result<()> {
    let listener = lifecycle::bind(config.listen, "listen").await?;
    run_on(listener, config, process).await
}

/// The same on a socket that is already bound.
///
/// # Errors
/// The configuration cannot be used.
pub async fn run_on(listener: TcpListener, config: Config, process: Process) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let housekeeping = Housekeeping { process: &process, over: CancellationToken::new() };
    let patience = Patience { head: HEADER_TIMEOUT, idle: config.keep_alive };
    let app = assemble(config, &housekeeping).await?;
    let catalog = app.catalog.clone();
    let router = crate::router::build(app);
    tracing::info!(server.address = %address, "gateway listens");
    loaded(&catalog, &process).await;
    serve(listener, router, patience, &process).await;
    housekeeping.over.cancel();
    Ok(())
}

async fn assemble(config: Config, housekeeping: &Housekeeping<'_>) -> anyhow::Result<App> {
    let instance = InstanceId::random("gateway");
    let broker = Broker::connect(BrokerConfig {
        url: config.nats_url.clone(),
        user: broker::permissions::GATEWAY.to_owned(),
        password: config.nats_password.expose().clone(),
        name: instance.to_string(),
    })
    .await?;
    let redis = RedisConfig { url: config.redis_url.expose().clone(), retention: config.retention };
    let records = Records::open(&redis)?;
    let auth = AuthClient::new(&config.auth_url, config.auth_credential.expose()).context("auth-url")?;
    let (completions, demultiplexer) = Completions::subscribe(&broker, instance, config.max_waiters).await?;
    let (queued_rows, rows_writer) = QueuedRows::new(records.clone(), housekeeping.over.clone());
    let catalog = Catalog::open(broker.clone(), &KINDS);
    housekeeping.spawn("completions", demultiplexer);
    housekeeping.spawn_until_it_ends("listing rows", rows_writer);
    let sweeper = Sweeper::new(broker.clone(), records.clone());
    housekeeping.spawn("sweeper", crate::sweep::keep(sweeper, catalog.clone(), config.sweep_every));
    let collector = Collector::new(broker.clone(), records.clone(), config.args_grace);
    housekeeping.spawn("collector", crate::sweep::collect(collector, config.sweep_every));
    watch_dependencies(&broker, &catalog, housekeeping.process);
    let publisher = Publisher::new(broker.clone());
    let pressure = Pressure::new(&broker, &records, config.bounds);
    let job_ids = JobIds::new(config.auth_credential.expose());
    let app = App::new(Parts {
        catalog,
        auth: Authenticator::new(auth),
        records,
        publisher,
        pressure,
        finder: Finder::new(broker.clone()),
        dead_letters: DeadLetters::new(broker.clone()),
        args: ArgsStore::new(broker.clone()),
        completions,
        events: Events::new(broker.clone()),
        ticks: Ticks::new(broker.clone()),
        afters: Afters::new(broker.clone()),
        control: Control::new(broker.clone()),
        queued_rows,
        job_ids,
        tasks: housekeeping.process.tasks.clone(),
        config,
    });
    fire_timers(&broker, &app, housekeeping).await?;
    Ok(app)
}

/// Every gateway moves jobs whose time has come, and fires schedules, until it drains.
async fn fire_timers(broker: &Broker, app: &App, housekeeping: &Housekeeping<'_>) -> anyhow::Result<()> {
    let (fired, due) = tokio::sync::mpsc::unbounded_channel();
    let mover = Mover::open(broker.clone(), app.publisher.clone(), fired).await?;
    let process = housekeeping.process;
    let drain = process.shutdown.drain_token().clone();
    housekeeping.spawn("ticks and handlers", ticks::work_off_due(app.clone(), due));
    housekeeping.spawn("schedules' timers", ticks::keep(app.clone()));
    process.spawn_essential("timers", async move {
        mover.run(drain.clone()).await;
        anyhow::ensure!(drain.is_cancelled(), "it ended while jobs may come due");
        Ok(())
    });
    Ok(())
}

/// Tasks that serve requests and end after the last of them.
struct Housekeeping<'a> {
    process: &'a Process,
    over: CancellationToken,
}

impl Housekeeping<'_> {
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let over = self.over.clone();
        self.spawn_until_it_ends(name, async move {
            over.run_until_cancelled(task).await;
        });
    }

    /// A task that knows itself when it is over, and has something to finish then.
    fn spawn_until_it_ends(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.process.shutdown.clone();
        self.process.spawn_essential(name, async move {
            task.await;
            anyhow::ensure!(shutdown.is_draining(), "it ended while requests were served");
            Ok(())
        });
    }
}

/// Ready when NATS is connected and the tables were loaded.
fn watch_dependencies(broker: &Broker, catalog: &Catalog, process: &Process) {
    let (nats, tables) = (process.readiness.latch("nats"), process.readiness.latch("catalog"));
    let (link, catalog, drain) = (broker.link(), catalog.clone(), process.shutdown.drain_token().clone());
    process.spawn("dependencies", async move {
        let watching = async {
            tokio::join!(nats.follow(link, Link::why_not), async {
                catalog.ready().await;
                tables.ready();
            });
        };
        drain.run_until_cancelled(watching).await;
    });
}

/// Whoever calls a gateway that has just started waits in the listener's queue for the moment
/// until it can answer.
async fn loaded(catalog: &Catalog, process: &Process) {
    tokio::select! {
        () = catalog.ready() => {}
        () = tokio::time::sleep(LOAD) => {}
        () = process.shutdown.draining() => {}
    }
}

/// Answers a request; its connection is not idle meanwhile.
async fn answer(
    unanswered: Unanswered,
    router: axum::Router,
    request: http::Request<hyper::body::Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let answer = router.oneshot(request).await;
    drop(unanswered);
    answer
}

/// Serves until the drain; then no new connections, and those that wait are answered.
async fn serve(listener: TcpListener, router: axum::Router, patience: Patience, process: &Process) {
    let graceful = GracefulShutdown::new();
    let mut server = auto::Builder::new(TokioExecutor::new());
    // ours tells a slow head from an idle connection
    server.http1().timer(TokioTimer::new()).header_read_timeout(None);
    let draining = process.shutdown.draining();
    tokio::pin!(draining);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut draining => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // small answers must not wait for the caller's acknowledgement
        let _ = stream.set_nodelay(true);
        let stream = Connection::new(stream, patience);
        let (requests, router) = (stream.requests(), router.clone());
        let answering = tower::service_fn(move |request| answer(requests.begin(), router.clone(), request));
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(answering));
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = process.shutdown.aborting() => tracing::warn!("callers that still wait are cut off"),
    }
}
