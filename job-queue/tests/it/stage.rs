//! The scene of every test: both servers, provisioned; a gateway and workers as they are
//! connected in an installation.

use std::time::Duration;

use broker::Broker;
use broker::permissions::{GATEWAY, PROVISION, WORKER};
use bytes::Bytes;
use job_queue::{
    Args, ArgsStore, CallerInfo, CancelAnswer, CancelRequest, Completions, Control, Delivery, DeliveryNumber,
    End, EndAnswer, EndRequest, Events, Finder, Grant, Job, Outcome, PROVISION_DEFAULT_MAX_BYTES,
    ProcessStart, PublishError, Publisher, Puller, PullerConfig, Records, RedisConfig, Slots, StartAnswer,
    StartRequest, Trace, now_us, provision,
};
use proto::{InstanceId, IsolationMode, JobId, Language, WorkspaceId};
use test_servers::{Nats, Valkey, within};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long records live after their end, in these tests.
pub(crate) const RETENTION: Duration = Duration::from_hours(1);
/// A lease no test outlives.
pub(crate) const LONG_LEASE: Duration = Duration::from_mins(1);
/// The most attempts, where a test does not care.
pub(crate) const ATTEMPTS: u32 = 3;

/// Both servers.
pub(crate) struct Stage {
    pub(crate) nats: Nats,
    pub(crate) valkey: Valkey,
}

/// What a gateway holds.
pub(crate) struct Gateway {
    pub(crate) broker: Broker,
    pub(crate) publisher: Publisher,
    pub(crate) finder: Finder,
    pub(crate) completions: Completions,
    pub(crate) control: Control,
    pub(crate) events: Events,
    pub(crate) records: Records,
}

/// What a worker holds.
pub(crate) struct Worker {
    pub(crate) id: InstanceId,
    pub(crate) args: ArgsStore,
    pub(crate) control: Control,
    pub(crate) events: Events,
    pub(crate) records: Records,
    pub(crate) slots: Slots,
    pub(crate) jobs: mpsc::UnboundedReceiver<Delivery>,
    pub(crate) stop: CancellationToken,
    pub(crate) puller: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let (nats, valkey) = tokio::join!(Nats::start(), Valkey::start());
        let stage = Self { nats, valkey };
        stage.provision(PROVISION_DEFAULT_MAX_BYTES).await;
        stage
    }

    pub(crate) async fn provision(&self, max_bytes: i64) {
        let broker = self.nats.broker(PROVISION).await;
        provision(&broker, 1, max_bytes).await.expect("an installation can be provisioned");
    }

    pub(crate) fn records(&self) -> Records {
        let config = RedisConfig { url: self.valkey.url(), retention: RETENTION.into() };
        Records::open(&config).expect("the address is right")
    }

    /// A look into the server beside the crate's own.
    pub(crate) async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.valkey.admin_url()).expect("the address is right");
        client.get_multiplexed_async_connection().await.expect("the server runs")
    }

    pub(crate) async fn gateway(&self) -> Gateway {
        self.gateway_for(1000).await
    }

    /// A gateway on which at most `most` callers wait.
    pub(crate) async fn gateway_for(&self, most: usize) -> Gateway {
        let broker = self.nats.broker(GATEWAY).await;
        let instance = InstanceId::random("gateway");
        let (completions, demultiplexer) =
            Completions::subscribe(&broker, instance, most).await.expect("the client is open");
        tokio::spawn(demultiplexer);
        Gateway {
            publisher: Publisher::new(broker.clone()),
            finder: Finder::new(broker.clone()),
            completions,
            control: Control::new(broker.clone()),
            events: Events::new(broker.clone()),
            records: self.records(),
            broker,
        }
    }

    pub(crate) async fn worker(&self, tags: &[&str], slots: usize) -> Worker {
        self.leasing_worker(tags, slots, LONG_LEASE).await
    }

    pub(crate) async fn leasing_worker(&self, tags: &[&str], slots: usize, lease: Duration) -> Worker {
        let broker = self.nats.broker(WORKER).await;
        let (id, slots, stop) = (InstanceId::random("worker"), Slots::new(slots), CancellationToken::new());
        let tags = tags.iter().map(|tag| tag.parse().expect("a tag")).collect();
        let config = PullerConfig { worker: id.clone(), tags, lease };
        let puller = Puller::open(broker.clone(), config, slots.clone()).await.expect("the client is open");
        let (sender, jobs) = mpsc::unbounded_channel();
        let puller = tokio::spawn(puller.run(sender, stop.clone()));
        let (args, control) = (ArgsStore::new(broker.clone()), Control::new(broker.clone()));
        Worker {
            id,
            args,
            control,
            events: Events::new(broker),
            records: self.records(),
            slots,
            jobs,
            stop,
            puller,
        }
    }
}

impl Gateway {
    pub(crate) async fn publish(&self, job: &mut Job) -> Result<(), PublishError> {
        self.publish_with(job, Bytes::from_static(b"{}")).await
    }

    pub(crate) async fn publish_with(&self, job: &mut Job, args: Bytes) -> Result<(), PublishError> {
        self.publisher.publish(job, args, Instant::now() + Duration::from_secs(5)).await
    }

    /// Publishes `count` jobs of a tag.
    pub(crate) async fn publish_many(&self, tag: &str, count: usize) -> Vec<JobId> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let mut job = job(tag);
            self.publish(&mut job).await.expect("the job is taken");
            ids.push(job.id);
        }
        ids
    }

    /// Cancels as the gateway does: what the stream holds decides what there is to cancel.
    pub(crate) async fn cancel(&self, job: &Job) -> CancelAnswer {
        let queued = self.finder.find(&job.workspace, job.id).await.expect("nats-server answers");
        let message = queued.as_ref().map(|queued| &queued.job);
        self.records.cancel(&job.workspace, job.id, &eve(), message, None).await.expect("valkey answers")
    }

    /// Whether the stream holds the job.
    pub(crate) async fn holds(&self, job: &Job) -> bool {
        self.finder.find(&job.workspace, job.id).await.expect("nats-server answers").is_some()
    }
}

impl Worker {
    /// The next delivery.
    pub(crate) async fn next(&mut self) -> Delivery {
        within("a delivery", self.jobs.recv()).await.expect("the puller runs")
    }

    pub(crate) async fn start(&self, job: &Job) -> StartAnswer {
        start(&self.records, job, &self.id, &nonce()).await
    }

    /// Starts a job that is expected to run.
    pub(crate) async fn run(&self, job: &Job) -> u32 {
        match self.start(job).await {
            StartAnswer::Run { attempt, .. } => attempt,
            other => panic!("not run: {other:?}"),
        }
    }

    /// Runs a delivery to a successful end, as a worker does.
    pub(crate) async fn complete(&self, delivery: &Delivery) {
        let job = delivery.job.as_ref().expect("a readable envelope");
        let end = match self.start(job).await {
            StartAnswer::Run { attempt, .. } => {
                let end = success("1");
                let answer = finish(&self.records, job, attempt, &end).await;
                assert!(matches!(answer, EndAnswer::Written), "{answer:?}");
                end
            }
            StartAnswer::Ended(end) | StartAnswer::Exhausted(end) => end,
            StartAnswer::Later(next) => panic!("not run before {next:?}"),
            StartAnswer::Late => panic!("somebody else runs it"),
        };
        delivery.lease.settle(job, &end, &self.events).await;
    }

    /// Dies: nothing is handed back, and its connection with it.
    pub(crate) async fn die(self) {
        self.puller.abort();
        let _ = self.puller.await;
    }
}

pub(crate) async fn start(records: &Records, job: &Job, worker: &InstanceId, nonce: &str) -> StartAnswer {
    start_by(records, job, worker, nonce, FIRST).await
}

/// The first delivery of a message.
pub(crate) const FIRST: DeliveryNumber = DeliveryNumber { sequence: 1, count: 1 };

pub(crate) async fn start_by(
    records: &Records,
    job: &Job,
    worker: &InstanceId,
    nonce: &str,
    delivery: DeliveryNumber,
) -> StartAnswer {
    let request = StartRequest {
        job,
        worker,
        isolation: "landlock",
        nonce,
        delivery,
        max_attempts: ATTEMPTS,
        first_log: "job started\n",
    };
    records.start(&request).await.expect("valkey answers")
}

pub(crate) async fn finish(records: &Records, job: &Job, attempt: u32, end: &End) -> EndAnswer {
    let (last_log, process) = ("bye\n", Some(&process()));
    let request =
        EndRequest { job, attempt, end, run_us: 1500, mem_kib: 2048, process, last_log, retention: None };
    records.end(&request).await.expect("valkey answers")
}

/// How all processes of these tests come to their jobs.
pub(crate) fn process() -> ProcessStart {
    ProcessStart { isolation: IsolationMode::Warm, origin: "spare".to_owned(), took_us: 70 }
}

pub(crate) fn nonce() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub(crate) fn success(result: &str) -> End {
    End { outcome: Outcome::Success, result: Bytes::copy_from_slice(result.as_bytes()) }
}

pub(crate) fn eve() -> CancelRequest {
    CancelRequest { by: "eve".to_owned(), reason: "no longer needed".to_owned() }
}

pub(crate) fn workspace() -> WorkspaceId {
    "demo".parse().expect("a workspace")
}

/// A new job under a tag.
pub(crate) fn job(tag: &str) -> Job {
    Job {
        id: JobId::random(),
        workspace: workspace(),
        path: "f/demo/hello".parse().expect("a path"),
        hash: "00ff00ff00ff00ff".parse().expect("a hash"),
        language: Language::Python3,
        tag: tag.parse().expect("a tag"),
        args: Args::Inline(Bytes::from_static(b"{}")),
        caller: CallerInfo { created_by: "eve".to_owned(), ..CallerInfo::default() },
        grant: Grant::default(),
        trace: Trace::default(),
        reply_to: None,
        created_us: now_us(),
        scheduled_us: None,
        retry: None,
        retries: 0,
        schedule: None,
        retention: None,
        keyed_until_us: None,
        parent: None,
        root: None,
    }
}

/// So far from now.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
