//! The processes of an installation, each under a supervisor that ends it when we end, however we end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use lifecycle::supervisor::{Host, Input, Kind, Output, ServiceHandle, Spec};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// Lines of each log that are shown when a run fails.
const SHOWN_LINES: usize = 15;

/// Those that run, in the order of their start.
pub(super) struct Children {
    host: Host,
    running: Vec<Child>,
}

struct Child {
    name: &'static str,
    handle: ServiceHandle,
    log: PathBuf,
}

impl Children {
    pub(super) fn new(host: Host) -> Self {
        Self { host, running: Vec::new() }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn adopt(&mut self, name: &'static str, handle: ServiceHandle, log: &Path) {
        self.running.push(Child { name, handle, log: log.to_owned() });
    }

    pub(super) async fn start(
        &mut self,
        name: &'static str,
        program: PathBuf,
        args: Vec<String>,
        env: Vec<(String, String)>,
        cwd: &Path,
        log: PathBuf,
    ) -> anyhow::Result<()> {
        let kind = Kind::Service { grace: GRACE };
        let output = Output::File(log.clone());
        let spec = Spec {
            program,
            args,
            env,
            cwd: cwd.to_owned(),
            kind,
            output,
            input: Input::Null,
            grant: None,
            rules: None,
        };
        let mut handle = self.host.service(spec).await.with_context(|| format!("cannot start {name}"))?;
        if let Err(lost) = handle.started().await {
            bail!("cannot start {name}: {lost}");
        }
        self.adopt(name, handle, &log);
        Ok(())
    }

    /// Ends them, the last started first.
    pub(super) async fn stop(mut self) {
        while !self.running.is_empty() {
            self.stop_last().await;
        }
    }

    pub(super) async fn stop_last(&mut self) {
        if let Some(child) = self.running.pop() {
            // one that is gone already has ended
            let _ = child.handle.stop(GRACE).await;
        }
    }

    pub(super) async fn processes(&mut self) -> anyhow::Result<Vec<(&'static str, i32)>> {
        let mut processes = Vec::with_capacity(self.running.len());
        for child in &mut self.running {
            processes.push((child.name, child.handle.started().await?));
        }
        Ok(processes)
    }

    pub(super) fn logs(&self) -> String {
        self.running.iter().map(Child::tail).collect()
    }
}

impl Child {
    fn tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n  ");
        format!("{}:\n  {shown}\n", self.name)
    }
}
