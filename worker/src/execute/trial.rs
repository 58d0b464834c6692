//! Which interpreters run a script here, confined as scripts are: one that its user may not even
//! reach is no use, whatever the worker itself can run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lifecycle::supervisor::Host;
use proto::{IsolationMode, JobId, Language};
use sandbox::Network;

use super::executor::{Config, Executor, StartError};
use super::invocation::{Invocation, Limits, Surroundings, Verdict};
use super::kill::Kill;
use super::log::LogSink;
use super::pads::Pads;
use super::policy::Policy;
use crate::runtime::{Candidates, Runtime, Runtimes};

/// A script that returns a number takes no longer.
const BOUND: Duration = Duration::from_secs(30);

/// What a trial is made with.
pub(super) struct Trials<'a> {
    config: &'a Arc<Config>,
    host: &'a Host,
    jobs_dir: PathBuf,
}

impl<'a> Trials<'a> {
    pub(super) fn new(config: &'a Arc<Config>, host: &'a Host, jobs_dir: PathBuf) -> Self {
        Self { config, host, jobs_dir }
    }

    /// The runtimes that run, and the policy that lets them.
    ///
    /// # Errors
    /// A configured interpreter does not run, or none does.
    pub(super) async fn all(&self, mut policy: Policy) -> Result<(Runtimes, Policy), StartError> {
        let (mut found, mut tried) = (Vec::new(), Vec::new());
        for (language, candidates) in Runtimes::candidates(self.config) {
            let configured = self.is_configured(language);
            if let Some(runtime) = self.first(candidates, &policy, configured, &mut tried).await? {
                policy = policy.allowing(runtime.readable());
                found.push(runtime);
            }
        }
        if found.is_empty() {
            return Err(StartError::NoLanguage { path: self.config.search_path.clone(), tried });
        }
        Ok((Runtimes::of(found), policy))
    }

    fn is_configured(&self, language: Language) -> bool {
        match language {
            Language::Python3 => self.config.python.is_some(),
            Language::Deno => self.config.deno.is_some(),
            Language::Bash => self.config.bash.is_some(),
            _ => false,
        }
    }

    async fn first(
        &self,
        mut candidates: Candidates,
        policy: &Policy,
        configured: bool,
        failed: &mut Vec<String>,
    ) -> Result<Option<Arc<dyn Runtime>>, StartError> {
        // each is asked only when those before it have failed
        loop {
            let (candidate, others) = blocking(move || (candidates.next(), candidates)).await?;
            candidates = others;
            let Some(candidate) = candidate else { return Ok(None) };
            let tried = match candidate {
                Ok(runtime) => self.runs(&runtime, policy).await.map(|()| runtime),
                Err(error) => Err(error),
            };
            match tried {
                Ok(runtime) => return Ok(Some(runtime)),
                Err(error) if configured => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "interpreter found but unusable");
                    failed.push(error.to_string());
                }
            }
        }
    }

    async fn runs(&self, runtime: &Arc<dyn Runtime>, policy: &Policy) -> Result<(), StartError> {
        let policy = policy.allowing(runtime.readable());
        let one = std::num::NonZeroUsize::MIN;
        let pads = Pads::empty(self.host.clone(), policy, self.jobs_dir.clone(), one);
        let runtimes = Runtimes::of(vec![Arc::clone(runtime)]);
        let executor = Executor::of(self.config, runtimes, pads);
        match outcome(&executor, runtime.as_ref(), self.config.isolation.network).await {
            Verdict::Success { .. } => Ok(()),
            Verdict::Failure { error } => Err(String::from_utf8_lossy(&error).into_owned()),
            Verdict::Fault { error } => Err(error.message),
            Verdict::Killed(reason) => Err(reason.error(&Limits::default()).message),
        }
        .map_err(|reason| StartError::Interpreter {
            language: runtime.language(),
            program: runtime.program().to_owned(),
            reason: format!("a script confined as scripts are here fails: {reason}"),
        })
    }
}

async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Result<T, StartError> {
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.map_err(|error| StartError::NoLanguage { path: String::new(), tried: vec![error.to_string()] })
}

async fn outcome(executor: &Executor, runtime: &dyn Runtime, network: Network) -> Verdict {
    let invocation = Invocation {
        job_id: JobId::random(),
        language: runtime.language(),
        content: runtime.trial().into(),
        path: "trial".to_owned(),
        args: Bytes::from_static(b"{}"),
        limits: Limits { timeout: BOUND, network, ..Limits::default() },
        mode: IsolationMode::Fresh,
        owner: None,
    };
    let (_switch, kill) = Kill::new();
    match executor.prepare(invocation).await {
        Ok(prepared) => {
            let (outcome, leftovers) = executor.run(prepared, Surroundings::default(), Silence, kill).await;
            leftovers.remove().await;
            outcome.verdict
        }
        Err(error) => super::Outcome::never_ran(error).verdict,
    }
}

/// What a trial says is in its error.
struct Silence;

impl LogSink for Silence {
    async fn write(&mut self, _chunk: Bytes) {}
}
