//! The worker's configuration.

mod sandbox;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use lifecycle::{FromValues, Secret, Values};
use proto::Tag;

use crate::execute::{Bounds, Place, Surrounding};

pub(crate) use self::sandbox::Sandbox;

/// More often would be a load of its own.
const BURY_LEAST: Duration = Duration::from_millis(100);

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// NATS servers.
    pub nats_url: String,
    /// Password of the NATS user `worker`.
    pub nats_password: Secret<String>,
    /// Redis with user and password.
    pub redis_url: Secret<String>,
    /// auth-service.
    pub auth_url: String,
    /// The credential auth-service knows workers by.
    pub auth_credential: Secret<String>,
    /// The group this worker belongs to, `WM_WORKER_GROUP` of its scripts.
    pub group: String,
    /// Jobs run at once.
    pub slots: NonZeroUsize,
    /// Tags served besides those of the languages found; empty with `only_tags` unset.
    pub tags: Vec<Tag>,
    /// Serve exactly `tags`, not those of the languages found.
    pub only_tags: bool,
    /// How long a job is ours without renewal.
    pub lease: Duration,
    /// How often a job may be started, its worker lost each time.
    pub max_attempts: u32,
    /// When a job whose dead letter was not taken is looked at again.
    pub bury_again: Duration,
    /// How long a script may run when it does not say.
    pub timeout_default: Duration,
    /// The longest a script may ask for.
    pub timeout_max: Duration,
    /// How long runs are kept after their end.
    pub retention: Duration,
    /// The longest that a workspace may have it.
    pub retention_max: Duration,
    /// Where jobs' folders are made.
    pub work_dir: PathBuf,
    /// Where interpreters are looked for, and the `PATH` of scripts.
    pub path: String,
    /// The Python interpreter.
    pub python: Option<PathBuf>,
    /// The Deno program.
    pub deno: Option<PathBuf>,
    /// Folders of Python packages every script can import, read-only.
    pub python_path: Vec<PathBuf>,
    /// How many processes that have loaded a script may wait for its next job.
    pub warm: Bounds,
    /// How long each of them may wait.
    pub warm_idle: Duration,
    /// How many processes of each language that is used here wait for any script.
    pub warm_spares: usize,
    /// How scripts are confined, and what each may use.
    pub sandbox: Sandbox,
    /// Where scripts reach the API, without a slash at its end.
    pub base_internal_url: String,
    /// Where people reach it.
    pub base_url: String,
}

/// What processes may keep while they wait.
fn warm(v: &mut Values) -> Bounds {
    Bounds {
        count: v.or("warm-processes", "64", "processes that may wait for the next job of their script"),
        kib: v.or("warm-memory", "2097152", "KiB of memory that they may have together"),
    }
}

impl FromValues for Config {
    fn from_values(v: &mut Values) -> Self {
        let paths: Vec<String> =
            v.list("python-path", "", "folders of Python packages every script can import");
        let config = Self {
            nats_url: v.or("nats-url", "nats://127.0.0.1:4222", "NATS servers, separated by commas"),
            nats_password: v.secret("nats-password", "password of the NATS user `worker`"),
            redis_url: v.secret("redis-url", "redis://user:password@host:port/0"),
            auth_url: v.or("auth-url", "http://127.0.0.1:9090", "address of auth-service"),
            auth_credential: v.secret("auth-credential", "the credential auth-service knows workers by"),
            group: v.or("group", "default", "the group this worker belongs to"),
            slots: v.or("slots", "4", "jobs run at once"),
            tags: v.list("tags", "", "tags served besides those of the languages found"),
            only_tags: v.switch("only-tags", "serve exactly --tags"),
            lease: v.duration("lease", "15s", "how long a job is ours without renewal"),
            max_attempts: v.or(
                "max-attempts",
                "5",
                "how often a job may be started, its worker lost each time",
            ),
            bury_again: v.duration(
                "bury-again",
                "60s",
                "when a job whose dead letter was not taken, as their stream is full, is looked at again",
            ),
            timeout_default: v.duration(
                "timeout-default",
                "15m",
                "how long a script may run when it does not say",
            ),
            timeout_max: v.duration("timeout-max", "24h", "the longest a script may ask for"),
            retention: v.duration("retention", "168h", "how long runs are kept that no gateway says it of"),
            retention_max: v.duration(
                "retention-max",
                "720h",
                "longest time that a workspace may keep its runs",
            ),
            work_dir: v.or(
                "work-dir",
                "/var/tmp/hookmill-worker",
                "where jobs' folders are made; ours alone",
            ),
            path: v.or(
                "path",
                "/usr/local/bin:/usr/bin:/bin",
                "where interpreters are looked for, and the PATH of scripts",
            ),
            python: v.optional("python", "the Python interpreter; else `python3` of --path"),
            deno: v.optional("deno", "the Deno program; else `deno` of --path"),
            python_path: paths.into_iter().map(PathBuf::from).collect(),
            warm: warm(v),
            warm_idle: v.duration(
                "warm-idle",
                "10m",
                "how long a process may wait for the next job of its script",
            ),
            warm_spares: v.or("warm-spares", "2", "processes of each used language that wait for any script"),
            sandbox: Sandbox::from_values(v),
            base_internal_url: v.or(
                "base-internal-url",
                "http://127.0.0.1:8000",
                "where scripts reach the API",
            ),
            base_url: v.or("base-url", "http://127.0.0.1:8000", "where people reach the API"),
        };
        config.check(v);
        config
    }
}

impl Config {
    /// What no single value says.
    fn check(&self, v: &mut Values) {
        let lease_fits = (Duration::from_secs(1)..=Duration::from_secs(15)).contains(&self.lease);
        v.check(lease_fits, "lease is not within 1s and 15s");
        v.check(self.bury_again >= BURY_LEAST, "bury-again is less than 100ms");
        v.check(self.timeout_default <= self.timeout_max, "timeout-default is longer than timeout-max");
        v.check(!self.base_internal_url.ends_with('/'), "base-internal-url ends with a slash");
        for (key, url) in self.services() {
            // what is not known cannot be kept from scripts
            v.check(place(&url).is_some(), &format!("{key} names no host and port"));
        }
        v.check(!self.only_tags || !self.tags.is_empty(), "only-tags without tags would serve nothing");
    }

    /// What lies around scripts. The ports they may connect to are those of the internet without those of the
    /// services beside us, and the API's.
    pub(crate) fn surrounding(&self) -> Surrounding {
        let services: Vec<Place> = self.services().into_iter().filter_map(|(_, url)| place(&url)).collect();
        let api = place(&self.base_internal_url);
        let served = |port: &u16| services.iter().any(|service| service.port == *port);
        let internet = self.sandbox.internet_ports.iter().copied().filter(|port| !served(port));
        let loopback = self.sandbox.loopback_ports.clone();
        let ports =
            internet.chain(api.as_ref().map(|api| api.port)).chain(loopback.iter().copied()).collect();
        let (allowed, resolvers) = (self.sandbox.internet_allow.clone(), self.sandbox.resolvers.clone());
        Surrounding { ports, allowed, api, loopback, services, resolvers }
    }

    /// The services beside us: the setting that names each, and its URL.
    fn services(&self) -> Vec<(&'static str, String)> {
        // a server of NATS may go without its scheme, and there may be several
        let nats = self.nats_url.split(',').map(str::trim).filter(|url| !url.is_empty());
        let nats = nats.map(|url| if url.contains("://") { url.to_owned() } else { format!("nats://{url}") });
        let others = [("redis-url", self.redis_url.expose().to_owned()), ("auth-url", self.auth_url.clone())];
        nats.map(|url| ("nats-url", url)).chain(others).collect()
    }
}

/// Host and port of a URL; the port is its scheme's when it names none.
fn place(url: &str) -> Option<Place> {
    let url = url::Url::parse(url.trim()).ok()?;
    let of_scheme = match url.scheme() {
        "https" => Some(443),
        "http" => Some(80),
        "nats" | "tls" => Some(4222),
        "redis" | "rediss" => Some(6379),
        _ => None,
    };
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    Some(Place { host, port: url.port().or(of_scheme)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_urls() {
        let urls = [
            ("http://a", Some(("a", 80))),
            ("https://a:8443/x", Some(("a", 8443))),
            ("nats://a", Some(("a", 4222))),
            ("nats://u:p@a.b:4333", Some(("a.b", 4333))),
            ("redis://u:p%40@a:7000/0", Some(("a", 7000))),
            ("redis://:p^w,d@a/0", Some(("a", 6379))),
            ("http://[::1]:8000", Some(("::1", 8000))),
            ("a:1", None),
        ];
        for (url, expected) in urls {
            let expected = expected.map(|(host, port)| Place { host: host.to_owned(), port });
            assert_eq!(place(url), expected, "{url}");
        }
    }
}
