//! The gateway's configuration.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderName;
use job_queue::Retention;
use job_queue::{Bounds, Share};
use lifecycle::{FromValues, Secret, Values};
use proto::Language;

/// Below it callers and bodies are cut off that are only slow.
const IDLE_LEAST: Duration = Duration::from_secs(1);

/// More often would be a load of its own.
const SWEEP_LEAST: Duration = Duration::from_millis(100);

/// Less than it takes to publish a job would take its arguments away under it.
const ARGS_GRACE_LEAST: Duration = Duration::from_secs(2);

/// What a gateway needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// NATS servers.
    pub nats_url: String,
    /// Password of the NATS user `gateway`.
    pub nats_password: Secret<String>,
    /// Redis with user and password.
    pub redis_url: Secret<String>,
    /// auth-service.
    pub auth_url: String,
    /// The credential auth-service knows gateways by; also the key of signed job ids.
    pub auth_credential: Secret<String>,
    /// Languages that workers of this installation run.
    pub languages: Vec<Language>,
    /// How long a caller's connection may be idle between two requests.
    pub keep_alive: Duration,
    /// How long nothing of a request's body may come.
    pub body_idle: Duration,
    /// Largest request body, bytes.
    pub body_limit: usize,
    /// How long a synchronous webhook waits when the caller does not say.
    pub wait_default: Duration,
    /// The longest a caller may ask for.
    pub wait_max: Duration,
    /// Callers that may wait at once.
    pub max_waiters: usize,
    /// How long runs are kept after their end where their workspace does not say, and the longest that one may.
    pub retention: Retention,
    /// Headers, beside `Idempotency-Key` and `webhook-id`, in which senders name a delivery, in the order in which they
    /// count.
    pub idempotency_headers: Vec<HeaderName>,
    /// How long a key stands for its job; no longer than runs are kept, as a job that nobody knows any more would be
    /// made anew.
    pub idempotency_memory: Duration,
    /// How often the rows of queued jobs are compared with the job stream, by one of all gateways.
    pub sweep_every: Duration,
    /// Where new jobs are refused.
    pub bounds: Bounds,
    /// How old large arguments are at least that are removed because nothing knows their job.
    pub args_grace: Duration,
}

impl FromValues for Config {
    fn from_values(v: &mut Values) -> Self {
        let config = Self {
            listen: v.or("listen", "127.0.0.1:8000", "address of the HTTP API"),
            nats_url: v.or("nats-url", "nats://127.0.0.1:4222", "NATS servers, separated by commas"),
            nats_password: v.secret("nats-password", "password of the NATS user `gateway`"),
            redis_url: v.secret("redis-url", "redis://user:password@host:port/0"),
            auth_url: v.or("auth-url", "http://127.0.0.1:9090", "address of auth-service"),
            auth_credential: v.secret("auth-credential", "the credential auth-service knows gateways by"),
            languages: v.list("languages", "python3,deno,bash", "languages that workers here run"),
            keep_alive: v.duration(
                "keep-alive",
                "620s",
                "how long a connection may be idle; longer than the load balancer in front keeps it",
            ),
            body_idle: v.duration("body-idle", "30s", "how long nothing of a request's body may come"),
            body_limit: v.size("body-limit", "8MiB", "largest request body"),
            wait_default: v.duration(
                "wait-default",
                "60s",
                "how long a synchronous webhook waits by default",
            ),
            wait_max: v.duration("wait-max", "10m", "longest wait a caller may ask for"),
            max_waiters: v.or("max-waiters", "10000", "callers that may wait at once"),
            retention: Retention {
                default: v.duration("retention", "168h", "how long runs are kept after their end"),
                longest: v.duration(
                    "retention-max",
                    "720h",
                    "longest time that a workspace may keep its runs",
                ),
            },
            idempotency_headers: v.list(
                "idempotency-headers",
                "",
                "headers that name a delivery, beside Idempotency-Key and webhook-id",
            ),
            idempotency_memory: v.duration(
                "idempotency-memory",
                "72h",
                "how long an idempotency key stands for its job; no longer than retention",
            ),
            sweep_every: v.duration(
                "sweep-every",
                "60s",
                "how often the rows of queued jobs are put right, by one of all gateways",
            ),
            bounds: bounds(v),
            args_grace: v.duration(
                "args-grace",
                "10m",
                "how old large arguments are at least that are removed because nothing knows their job",
            ),
        };
        config.check(v);
        config
    }
}

impl Config {
    /// What no single value says.
    fn check(&self, v: &mut Values) {
        v.check(self.retention.default <= self.retention.longest, "retention is longer than retention-max");
        v.check(self.wait_default <= self.wait_max, "wait-default is longer than wait-max");
        v.check(self.sweep_every >= SWEEP_LEAST, "sweep-every is less than 100ms");
        v.check(self.keep_alive >= IDLE_LEAST, "keep-alive is less than 1s");
        v.check(self.body_idle >= IDLE_LEAST, "body-idle is less than 1s");
        v.check(self.bounds.timers_bytes > 0, "timers-limit is 0: no job could be put aside");
        v.check(self.bounds.args_bytes > 0, "args-limit is 0: no large arguments could be stored");
        v.check(self.args_grace >= ARGS_GRACE_LEAST, "args-grace is less than 2s");
        v.check(self.body_limit <= 64 * 1024 * 1024, "body-limit is over 64MiB, the most a queue can carry");
    }
}

fn bounds(v: &mut Values) -> Bounds {
    let stream_share: Share = v.or(
        "refuse-at",
        "80%",
        "share of the queue's size, the timers' or the large arguments' from which on new jobs are refused",
    );
    let redis_share: Share =
        v.or("refuse-at-redis", "90%", "share of Redis' memory limit from which on new jobs are refused");
    let redis_limit = v.size(
        "redis-limit",
        "0",
        "memory that Redis may use; 0: what its maxmemory says, which counts anyway",
    );
    let timers_limit = v.size(
        "timers-limit",
        "1GiB",
        "size of the stream of jobs that are put aside, which has no other limit",
    );
    let args_limit =
        v.size("args-limit", "4GiB", "size of the store of arguments over 256 KiB, which has no other limit");
    let oldest = v.duration(
        "refuse-when-oldest-waits",
        "72h",
        "how long the oldest job of a tag may wait before new ones of the tag are refused; 0s: as long as it takes",
    );
    Bounds {
        stream_share,
        redis_share,
        redis_bytes: Some(redis_limit as u64).filter(|bytes| *bytes > 0),
        timers_bytes: timers_limit as u64,
        args_bytes: args_limit as u64,
        oldest_waits: Some(oldest).filter(|oldest| !oldest.is_zero()),
    }
}
