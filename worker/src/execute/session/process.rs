//! One such process, and how it is started.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lifecycle::supervisor::{Control, Input, Kind, LogPipe, Lost, Output, Running, Spec};
use proto::IsolationMode;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use sandbox::{Grant, Limits, Network};
use serde_json::Value;
use tokio::net::UnixStream;
use uplink::Rules;

use super::frame::{Garbled, Inbox, Said};
use crate::execute::failure::JobError;
use crate::execute::folder::JobFolder;
use crate::execute::pads::{Launched, Pads};
use crate::execute::verdict::blocking;
use crate::runtime::Plan;

/// An interpreter that has not said by then that it takes jobs never will.
const READY_BOUND: Duration = Duration::from_secs(30);

/// A process whose socket has closed has this long to run what it runs at its end.
const END_BOUND: Duration = Duration::from_secs(1);

/// What a process was granted when it was started, for all of its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::execute) struct Terms {
    pub(in crate::execute) limits: Limits,
    pub(in crate::execute) network: Network,
    /// Whom it reaches, where it has a network of its own.
    pub(in crate::execute) rules: Option<Rules>,
    /// Processes of others of its user, as in [`Grant`].
    pub(in crate::execute) neighbours: u64,
}

/// A process, with a job or without.
#[derive(Debug)]
pub(in crate::execute) struct Process {
    pub(super) control: Control,
    pub(super) channel: UnixStream,
    pub(super) inbox: Inbox,
    pub(super) log: LogPipe,
    pub(super) folder: Arc<JobFolder>,
    launched: Launched,
    pub(in crate::execute) terms: Terms,
    /// Where it sees its folder.
    pub(super) cwd: String,
    /// What it has by way of environment whatever its script says.
    pub(super) env: Vec<(String, String)>,
    /// What it has loaded.
    pub(super) mode: Option<IsolationMode>,
    pub(super) jobs: u32,
    /// What it had in memory after its first job, in KiB.
    pub(super) first_kib: u64,
    /// And after its last one.
    pub(super) resident_kib: u64,
    frozen: bool,
}

/// How one is started.
pub(in crate::execute) struct Starting<'a> {
    pub(in crate::execute) plan: Plan,
    pub(in crate::execute) terms: Terms,
    pub(in crate::execute) search_path: &'a str,
    /// Of its first job, where it must be there from the start.
    pub(in crate::execute) env: &'a [(String, String)],
}

impl Process {
    /// Starts one. It takes jobs from now on, and works on them as soon as it is up.
    ///
    /// # Errors
    /// No launcher is to be had, or none takes its command.
    pub(in crate::execute) async fn start(pads: &Pads, of: Starting<'_>) -> Result<Self, Lost> {
        let pad = pads.take().await?;
        let (folder, tmp) = pad.seen();
        let (cwd, tmp) = (folder.display().to_string(), tmp.display().to_string());
        let own = [("PATH", of.search_path), ("HOME", &cwd), ("TMPDIR", &tmp), ("TZ", "UTC")];
        let own = own.into_iter().chain(of.plan.env.iter().map(|(name, value)| (*name, value.as_str())));
        let env: Vec<_> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let granted = Grant {
            limits: of.terms.limits,
            neighbours: of.terms.neighbours,
            lasting: true,
            network: of.terms.network,
        };
        let spec = Spec {
            program: of.plan.program,
            args: of.plan.args,
            env: merged(of.env, &env),
            cwd: folder,
            kind: Kind::Script,
            output: Output::Log(of.plan.streams),
            input: Input::Channel,
            grant: pads.policy().level().map(|_| granted),
            rules: of.terms.rules.clone(),
        };
        let (running, launched) = pad.start(spec).await?;
        let folder = launched.folder();
        let Running { log, errors: _, channel, control } = running;
        let channel = channel.ok_or_else(|| Lost::Io(std::io::Error::other("no channel")))?;
        let (terms, inbox) = (of.terms, Inbox::default());
        let (mode, jobs, first_kib, frozen) = (None, 0, 0, false);
        Ok(Self {
            control,
            channel,
            inbox,
            log,
            folder,
            launched,
            terms,
            cwd,
            env,
            mode,
            jobs,
            first_kib,
            resident_kib: 0,
            frozen,
        })
    }

    /// It is to have more than one job, or to wait for its first.
    pub(in crate::execute) fn stays(&mut self) {
        self.launched.stays();
    }

    /// Waits until it takes jobs.
    ///
    /// # Errors
    /// It does not, or not in time; the text says why.
    pub(in crate::execute) async fn up(&mut self) -> Result<(), String> {
        let said = async {
            tokio::select! {
                said = self.inbox.next(&mut self.channel, 0) => said.map_err(|error: Garbled| error.to_string()),
                exit = self.control.exited() => Err(format!("{exit:?}")),
            }
        };
        match tokio::time::timeout(READY_BOUND, said).await {
            Ok(Ok(Some((Said::Ready, _)))) => Ok(()),
            Ok(Ok(other)) => Err(format!("it said {other:?}")),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("it was not ready within {} s", READY_BOUND.as_secs())),
        }
    }

    /// Whether it can be given a job: it lives, and nothing has come from it that nobody asked for. The kernel is
    /// asked: the runtime may not have heard of its end yet.
    pub(in crate::execute) fn is_well(&self) -> bool {
        let said = rustix::net::recv(&self.channel, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.inbox.is_empty() && matches!(said, Err(Errno::AGAIN))
    }

    /// Nothing of it runs until [`Self::thaw`].
    pub(in crate::execute) fn freeze(&mut self) {
        self.control.freeze();
        self.frozen = true;
    }

    /// Lets it go on.
    pub(in crate::execute) fn thaw(&mut self) {
        if std::mem::take(&mut self.frozen) {
            self.control.thaw();
        }
    }

    /// What it has in memory, in KiB, as was seen after its last job.
    pub(in crate::execute) fn size_kib(&self) -> u64 {
        self.resident_kib
    }

    /// Lets it run what it runs at its end, and gives its supervisor back. Its end is brought about if it does not
    /// come.
    pub(in crate::execute) async fn retire(mut self) {
        self.thaw();
        self.end(END_BOUND).await;
    }

    /// Ends it and all that its jobs have left, and gives its supervisor back.
    pub(in crate::execute) async fn end(self, within: Duration) {
        let Self { mut control, channel, log, launched, folder, .. } = self;
        drop((channel, log));
        if tokio::time::timeout(within, control.exited()).await.is_err() {
            control.kill();
            let _ = control.exited().await;
        }
        launched.end(control.into_spare());
        // there may be a hundred thousand files in it
        tokio::task::spawn_blocking(move || drop(folder));
    }

    /// Writes the files that a script is loaded from, unless it is loaded.
    ///
    /// # Errors
    /// They cannot be written.
    pub(in crate::execute) async fn receive(
        &mut self,
        files: &[(&'static str, Bytes)],
    ) -> Result<(), JobError> {
        if self.mode.is_some() || files.is_empty() {
            return Ok(());
        }
        let (folder, files) = (Arc::clone(&self.folder), files.to_vec());
        let written =
            blocking(move || files.iter().try_for_each(|(name, content)| folder.write(name, content)));
        written.await?.map_err(|error| JobError::fault("a file of the job cannot be written", &error))
    }

    /// It has ended, and nothing of it is left.
    pub(in crate::execute) fn bury(self) -> Arc<JobFolder> {
        let Self { control, launched, folder, .. } = self;
        launched.end(control.into_spare());
        folder
    }

    /// What it is told to load.
    pub(super) fn wants(&self, script: &Value) -> Option<Value> {
        self.mode.is_none().then(|| script.clone())
    }
}

/// Both; what is given comes before what is our own.
fn merged(given: &[(String, String)], own: &[(String, String)]) -> Vec<(String, String)> {
    let own = own.iter().filter(|(name, _)| given.iter().all(|(other, _)| other != name));
    given.iter().chain(own).cloned().collect()
}
